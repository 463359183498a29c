//! Is a request carried out, and what is the true answer?

use crate::answer::{Answer, Refusal};
use crate::arrival::Arrival;
use crate::calls::{self, Input};
use crate::core::State;
use crate::gate::Claim;
use crate::route::{Call, Verb};

pub fn apply(state: &mut State, arrival: &Arrival) -> Answer {
    match attempt(state, arrival) {
        Ok(answer) => answer,
        Err(refusal) => refusal.into(),
    }
}

fn attempt(state: &mut State, arrival: &Arrival) -> Result<Answer, Refusal> {
    let now = state.world.clock.now();
    let account = arrival.account();
    let switches = state.world.switches.of(account.unwrap_or_default());
    let claim = Claim {
        account,
        changes: arrival.route.as_ref().is_ok_and(|(_, verb)| verb.changes()),
        bad_credential: switches.bad_credential,
    };
    state.gate.admit(now, &arrival.credential, &claim)?;
    let (call, verb) = arrival.route.as_ref().map_err(Refusal::clone)?;
    if let Call::OwnToken { account } = call {
        return state.gate.own(&arrival.credential, account.as_deref());
    }
    if state.gate.is_blind(&arrival.credential) {
        return match verb {
            Verb::List => Ok(Answer::empty_list()),
            Verb::Read | Verb::Create | Verb::Update | Verb::Replace | Verb::Delete => Err(Refusal::not_found("share")),
        };
    }
    let input = Input { query: &arrival.query, body: &arrival.body, by_key: arrival.credential.is_key() };
    calls::perform(&mut state.world, call, *verb, &input)
}

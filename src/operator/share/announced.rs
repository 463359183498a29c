//! Which share did an announced create make?

use std::time::Duration;

use super::facts::{Snapshot, Timing};
use crate::api::status::CreateIntent;
use crate::cloudflare::{Fingerprint, ShareResource};
use crate::core::id::folded;
use crate::core::row_key::RowKey;
use crate::core::share_step::{self, Candidates, Sighting};
use crate::core::time::At;
use crate::operator::remote::observed_rows::resource_key;
use crate::operator::remote::observed_share::ObservedShare;

/// Cloudflare's clock as its headers tell it has whole seconds, and ours of it is a guess.
pub const CLOCK_SLACK: Duration = Duration::from_secs(2);

impl Snapshot<'_> {
    /// Live shares that the announced create may have made, and whether no more can come.
    pub(super) fn candidates(&self, intent: &CreateIntent) -> (Candidates, bool) {
        let Timing { now, settle_time, read_lag, .. } = self.timing;
        // What another credential showed, or did not show, proves nothing.
        let own = |(by, _): &&(Fingerprint, At)| Some(*by) == self.viewer.credential;
        let looks: Vec<At> = self.memory.empty_looks.iter().filter(own).map(|(_, at)| *at).collect();
        let started = started_at(intent);
        let end = started.plus(settle_time).plus(CLOCK_SLACK);
        let remote: Vec<At> = looks.iter().map(|look| self.timing.remote(*look)).collect();
        let announced = self.memory.announced_at;
        // Cloudflare's clock may jump: what this process announced settles by its own clock as well.
        let settled = share_step::has_settled(end, &remote, read_lag)
            && announced.is_none_or(|at| share_step::has_settled(at.plus(settle_time), &looks, read_lag));
        if settled && self.is_stranger() && self.cache.swept.is_some() && self.cache.live().next().is_none() {
            // The sweep will tell if that changes.
            return (Candidates::Hidden, true);
        }
        let fresh = (settle_time / 16).max(Duration::from_millis(400));
        if looks.last().is_none_or(|last| now.since(*last) >= fresh) {
            return (Candidates::Unread, false);
        }
        let sightings = self.cache.live().map(|seen| {
            let sure = self.timing.remote(seen.read_at) >= started.plus(read_lag)
                && announced.is_none_or(|at| seen.read_at >= at.plus(read_lag));
            self.sighting(intent, seen, sure)
        });
        let times = (started.minus(CLOCK_SLACK), self.timing.remote(now).plus(CLOCK_SLACK));
        let candidates = match (share_step::candidates(times, sightings), &self.desired.share_id) {
            // A person chose among those that could be meant.
            (Candidates::Many(ids), Some(chosen)) if ids.contains(chosen) => Candidates::One(chosen.clone()),
            (candidates, _) => candidates,
        };
        (candidates, settled)
    }

    fn sighting(&self, intent: &CreateIntent, seen: &ObservedShare, sure: bool) -> Sighting {
        let share = &seen.share;
        // Cloudflare may write a name in another way than it was sent.
        let answered = self.memory.create_answer.as_ref() == Some(&share.id);
        let named = (share.name == intent.name || answered) && share.is_sent_by(&self.desired.owner);
        let same = |rows: &[ShareResource]| {
            let keys: Vec<RowKey> = rows.iter().map(resource_key).collect();
            fingerprint(&intent.name, keys.iter()) == intent.fingerprint
        };
        Sighting {
            id: share.id.clone(),
            named,
            alike: named && seen.resources.as_deref().is_none_or(same),
            created: share.created.map(|created| At(created.as_millisecond())),
            sure,
            known: intent.known_shares.iter().any(|known| known == share.id.as_str()),
            taken: self.index.is_spoken_for(self.object, share.id.as_str()),
        }
    }
}

pub fn started_at(intent: &CreateIntent) -> At {
    let parsed = intent.started_at.parse::<k8s_openapi::jiff::Timestamp>();
    At(parsed.map_or(0, |time| time.as_millisecond()))
}

/// Hash of what a create is recognized by: its name and its resources.
pub fn fingerprint<'a>(name: &str, rows: impl Iterator<Item = &'a RowKey>) -> String {
    use sha2::{Digest, Sha256};
    let mut keys: Vec<String> = rows
        .filter_map(|key| match key {
            RowKey::Resource { kind, id, account } => {
                Some(format!("{kind}\n{}\n{}", folded(id.as_str()), folded(account.as_str())))
            }
            RowKey::Recipient(_) | RowKey::Excluded(_) => None,
        })
        .collect();
    keys.sort();
    let digest = Sha256::digest(format!("{name}\n\n{}", keys.join("\n\n")));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::id::{AccountId, SourceId};
    use crate::core::share_step::{Step, Want};
    use crate::operator::clock;
    use crate::operator::share::samples::{self, ID, NOW, credential, id, world};

    #[test]
    fn an_announced_create_is_resolved_only_by_looks_of_the_credential_that_sent_it() {
        let announced_at = NOW.minus(Duration::from_secs(600));
        let rows = [RowKey::Resource {
            kind: "custom-ruleset".into(),
            id: SourceId::parse(samples::RULESET).expect("an id"),
            account: AccountId::parse(samples::OWNER).expect("an id"),
        }];
        let status = json!({
            "seenWith": credential("one").to_string(),
            "intent": {
                "attempt": 1, "name": "waf", "startedAt": clock::timestamp(announced_at).to_string(),
                "fingerprint": fingerprint("waf", rows.iter()), "knownShares": [],
            },
        });
        let looks = |by: &str| {
            let at = |seconds| (credential(by), NOW.minus(Duration::from_secs(seconds)));
            vec![at(200), at(100), at(1)]
        };
        let made = || {
            let created = clock::timestamp(announced_at.plus(Duration::from_secs(1))).to_string();
            samples::remote(ID, json!({"created": created}))
        };
        let announced =
            |remote, by: &str| world(status.clone(), remote).with(|world| world.memory.empty_looks = looks(by));
        let table = [
            ("no look yet", world(status.clone(), vec![made()]), Step::Read(Want::List)),
            ("made", announced(vec![made()], "one"), Step::Bind { id: id(), adopted: false }),
            ("not made", announced(Vec::new(), "one"), Step::GiveUp),
            ("looked at with another credential", announced(Vec::new(), "two"), Step::Read(Want::List)),
            (
                "made by somebody with other resources",
                announced(vec![samples::remote(ID, json!({"resources": []}))], "one"),
                Step::GiveUp,
            ),
        ];
        for (what, world, expected) in table {
            assert_eq!(world.step(), expected, "{what}");
        }
    }
}

//! Whether every call of the client does at Cloudflare what it says.

mod answers;
mod faults;
mod hostile;
mod peer;
mod recipients;
mod resources;
mod shares;
mod tls;

use std::time::Duration;

use cfshare::cloudflare::{
    Api, Client, Credential, Error, NewResource, NewShare, Options, Recipient, Share, ShareResource, Target,
};
use cfshare::core::id::{AccountId, ShareId, SourceId};
use cfshare::core::meta::ResourceMeta;
use cfshare_simulator::{Config, Simulator, random_id};
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

type Test = (&'static str, fn(&Stage));

const PATIENCE: Duration = Duration::from_secs(10);

pub fn trials() -> Vec<Trial> {
    let mut trials = staged(shares::TESTS);
    trials.extend(staged(recipients::TESTS));
    trials.extend(staged(resources::TESTS));
    trials.extend(staged(faults::TESTS));
    trials.extend(plain(hostile::TESTS));
    trials.extend(plain(answers::TESTS));
    trials.extend(plain(tls::TESTS));
    trials
}

/// A simulator of its own for each test.
fn staged(tests: impl IntoIterator<Item = Test>) -> Vec<Trial> {
    let trial = |(name, test): Test| {
        Trial::test(format!("client::{name}"), move || {
            test(&Stage::start());
            Ok::<(), Failed>(())
        })
    };
    tests.into_iter().map(trial).collect()
}

fn plain(tests: impl IntoIterator<Item = (&'static str, fn())>) -> Vec<Trial> {
    let trial = |(name, test): (&str, fn())| {
        Trial::test(format!("client::{name}"), move || {
            test();
            Ok::<(), Failed>(())
        })
    };
    tests.into_iter().map(trial).collect()
}

struct Stage {
    simulator: Simulator,
    client: Client,
    credential: Credential,
    account: AccountId,
    runtime: tokio::runtime::Runtime,
}

impl Stage {
    fn start() -> Stage {
        let simulator = Simulator::start(Config::default()).unwrap();
        let options = Options { base_url: simulator.base_url().into(), answer_timeout: PATIENCE, ..Options::default() };
        Stage {
            simulator,
            client: Client::new(options).unwrap(),
            credential: Credential::Token("token-of-the-stage".into()),
            account: an_account(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    fn api(&self) -> Api<'_> {
        self.client.api(&self.credential, &self.account)
    }

    fn run<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    fn create(&self, new: &NewShare) -> Result<Share, Error> {
        self.run(self.api().create_share(new)).map(|reply| reply.body)
    }

    /// A share with one recipient and one resource, at rest.
    fn share(&self) -> Share {
        let share = self.create(&a_share("waf")).unwrap();
        self.settle();
        share
    }

    fn settle(&self) {
        assert!(self.simulator.wait_quiet(PATIENCE, self.account.as_str()));
    }

    fn read(&self, share: &ShareId) -> Result<Share, Error> {
        self.run(self.api().share(share)).map(|reply| reply.body)
    }

    fn recipients(&self, share: &ShareId) -> Vec<Recipient> {
        self.run(self.api().list_recipients(share, 1)).unwrap().body.rows
    }

    fn resources(&self, share: &ShareId) -> Vec<ShareResource> {
        self.run(self.api().list_resources(share, 1)).unwrap().body.rows
    }

    /// Accounts that receive, as the simulator has it.
    fn receiving(&self, share: &ShareId) -> Vec<String> {
        let state = self.simulator.share(share.as_str()).unwrap();
        let live = state.live_recipients().into_iter();
        live.map(|row| row.account_id.clone()).collect()
    }
}

fn an_account() -> AccountId {
    AccountId::parse(&random_id()).unwrap()
}

fn a_resource() -> NewResource {
    NewResource {
        meta: object(json!({"note": "by us"})),
        account: an_account(),
        id: SourceId::parse("b6a1c4de-0b8c-4a8e-9d53-0b1c2d3e4f50").unwrap(),
        kind: "gateway-policy".into(),
    }
}

fn a_share(name: &str) -> NewShare {
    NewShare { name: name.into(), recipients: vec![Target::Account(an_account())], resources: vec![a_resource()] }
}

fn object(value: Value) -> ResourceMeta {
    serde_json::from_value(value).expect("an object")
}

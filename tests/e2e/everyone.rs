//! Does the matrix find, among many accounts, each one that is not as it should be?

use std::collections::{BTreeMap, BTreeSet};

use cfshare_simulator::{Action, Edit, ErrorBody, RowError, Rule, ShareState, random_id};
use serde_json::Value;

use crate::Test;
use crate::cli::cfshare;
use crate::matrix::{agrees, matrix, operator};
use crate::own;
use crate::scene::{Scene, World, condition, ids};

pub const TESTS: &[Test] =
    &[("cli: the matrix of 400 accounts and 12 shares finds every one that is not in place", every_one)];

const ACCOUNTS: usize = 400;
/// Shares of which the last is for an organization.
const SHARES: usize = 9;
/// Shares of another account, which vanish.
const VANISHING: usize = 3;

/// What is expected of an account in a share.
type Expected = BTreeMap<(String, String), &'static str>;

struct Stage<'a> {
    scene: &'a Scene<'a>,
    accounts: Vec<String>,
    resource: String,
    expected: Expected,
}

/// A share for an organization.
struct Whole {
    organization: String,
    owner: String,
    excluded: String,
}

impl Whole {
    fn apply(&self, stage: &Stage<'_>, excluded: &str) {
        let more = format!("organization: {{id: {}, excluded: [{excluded}]}}", self.organization);
        let yaml = stage.scene.share(&name(SHARES - 1), &[], &[&stage.resource], &more);
        stage.scene.apply(&yaml.replace(&stage.scene.account, &self.owner));
    }
}

impl Stage<'_> {
    fn edit(&self, edit: Edit) {
        self.scene.world.simulator.edit(edit).expect("an edit");
    }

    fn all(&self) -> Vec<&str> {
        self.accounts.iter().map(String::as_str).collect()
    }

    fn share(&self, n: usize, recipients: &[&str], more: &str) {
        self.scene.apply(&self.scene.share(&name(n), recipients, &[&self.resource], more));
    }

    fn id(&self, n: usize) -> String {
        let share = self.scene.get("share", &name(n)).expect("the Share");
        share["status"]["shareID"].as_str().expect("an id").to_owned()
    }

    fn expect(&mut self, account: &str, n: usize, state: &'static str) {
        self.expected.insert((account.to_owned(), name(n)), state);
    }
}

fn name(n: usize) -> String {
    format!("baseline-{n:02}")
}

fn every_one(world: &World) {
    let scene = world.own_scene();
    let [other, organization, resource] = ids();
    let whole = Whole { organization, owner: random_id(), excluded: random_id() };
    let accounts: Vec<String> = (0..ACCOUNTS).map(|_| random_id()).collect();
    let mut stage = Stage { scene: &scene, accounts, resource, expected: Expected::new() };
    world.simulator.organization(&whole.organization, &[&whole.owner, &whole.excluded, &random_id()]);
    for account in &stage.accounts[..3] {
        world.simulator.account(account, |account| account.entitled = false);
    }
    let operator = operator(&scene);
    settle(&stage, &other, &whole);
    fail(&mut stage);
    wander(&mut stage, &whole);
    stage.edit(Edit::VanishAll { account: other.clone() });
    for n in SHARES..SHARES + VANISHING {
        scene.wait_reason("share", &name(n), "BreakerOpen");
    }
    let state = || [&scene.account, &other, &whole.owner].map(|account| world.simulator.state(account)).concat();
    compare(&stage, &state(), &matrix(&scene, &[]).json());
    agrees(&state(), &matrix(&scene, &["--live"]).json());
    own::crash(operator);
    scene.wait("the death of the operator is said", || matrix(&scene, &[]).code == 3);
    let table = matrix(&scene, &[]).json();
    assert_eq!(table["upToDate"], false);
    compare(&stage, &state(), &table);
    let page = cfshare(&scene, &["matrix", "-o", "html", "--lease-namespace", &scene.namespace]);
    assert!(page.code == 3 && page.out.len() < 8_000_000, "{} bytes", page.out.len());
}

fn refusal() -> Action {
    Action::StatusBefore { status: 400, body: ErrorBody::Json, code: Some(1001), retry_after: None }
}

/// All shares, with all accounts in each, and one child.
fn settle(stage: &Stage<'_>, other: &str, whole: &Whole) {
    let scene = stage.scene;
    let all = stage.all();
    for n in 0..SHARES - 1 {
        // The first three lack an entitlement: they are in the first share only.
        let recipients = if n == 0 { &all[..] } else { &all[3..] };
        stage.share(n, recipients, if n == 4 { "maxRemovals: 1" } else { "" });
    }
    whole.apply(stage, "");
    for n in SHARES..SHARES + VANISHING {
        let yaml = scene.share(&name(n), &all[3..399], &[&stage.resource], "");
        scene.apply(&yaml.replace(&scene.account, other));
    }
    scene.apply(&scene.recipient("child", &name(SHARES), all[399], ""));
    for n in 1..SHARES + VANISHING {
        scene.wait_ready("share", &name(n));
    }
    scene.wait_ready("sharerecipient", "child");
}

/// Nine recipients fail, in three ways.
fn fail(stage: &mut Stage<'_>) {
    let scene = stage.scene;
    let accounts = stage.accounts.clone();
    for account in &accounts[..3] {
        stage.expect(account, 0, "failed");
    }
    let share = stage.id(1);
    for account in &accounts[10..13] {
        let error = RowError {
            resource_id: stage.resource.clone(),
            resource_version: 1,
            error: "Internal error while the policy was copied".into(),
            terminal: false,
        };
        stage.edit(Edit::SetRecipient {
            share: share.clone(),
            recipient: account.clone(),
            status: Some("associating".into()),
            errors: Some(vec![error]),
            clear: false,
        });
        stage.expect(account, 1, "failed");
    }
    let share = stage.id(2);
    let all: Vec<&str> = accounts[3..].iter().map(String::as_str).collect();
    let refused = ids::<3>();
    for account in &refused {
        let path = format!("/accounts/*/shares/{share}/recipients");
        scene.world.simulator.fault(Rule::always("POST", &path, refusal()).account(&scene.account).saying(account));
        stage.expect(account, 2, "failed");
    }
    let more: Vec<&str> = refused.iter().map(String::as_str).collect();
    stage.share(2, &[&all[..], &more].concat(), "");
}

/// Some are there that no manifest declares any more, or ever did, and one that should be excluded.
fn wander(stage: &mut Stage<'_>, whole: &Whole) {
    let scene = stage.scene;
    let share = stage.id(3);
    for account in ids::<2>() {
        stage.edit(Edit::AddRecipient { share: share.clone(), account: account.clone() });
        stage.expect(&account, 3, "unmanaged");
    }
    let accounts = stage.accounts.clone();
    let all: Vec<&str> = accounts[3..].iter().map(String::as_str).collect();
    stage.share(4, &all[2..], "maxRemovals: 1");
    for account in &all[..2] {
        stage.expect(account, 4, "removalBlocked");
    }
    let path = "/accounts/*/shares/*/excluded-recipients";
    scene.world.simulator.fault(Rule::always("POST", path, refusal()).account(&whole.owner));
    let excluded = &whole.excluded;
    whole.apply(stage, &format!("{{accountID: {excluded}}}"));
    stage.expect(excluded, SHARES - 1, "shouldBeExcluded");
    // That exclusions are not in force is told before its members are looked at.
    stage.expect("", SHARES - 1, "unknown");
    for n in SHARES..SHARES + VANISHING {
        for account in &all[..396] {
            stage.expect(account, n, "unknown");
        }
    }
    stage.expect(&accounts[399], SHARES, "unknown");
    // What the operator sees and what it says: each share once more, and until nothing moves.
    for n in [0, 1, 2, 3, 4] {
        scene.wait(&format!("{} says what is wrong", name(n)), || {
            let table = matrix(scene, &[]).json();
            let found = states(&table);
            let wanted = stage.expected.iter().filter(|((_, share), _)| *share == name(n));
            wanted.into_iter().all(|(key, state)| found.get(key).is_some_and(|found| found == state))
        });
    }
    scene.wait_for("share", &name(SHARES - 1), "said that the exclusion was refused", |share| {
        condition(share, "Ready").is_some_and(|ready| ready["status"] == "False")
            && share["status"]["exceptions"][0]["accountID"] == excluded.as_str()
    });
}

/// The state of each account in each share.
fn states(table: &Value) -> BTreeMap<(String, String), String> {
    let rows = table["rows"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    rows.map(|row| ((text(&row["accountID"]), text(&row["share"])), text(&row["state"]))).collect()
}

/// Exactly the expected accounts are not in place, and no row contradicts Cloudflare.
fn compare(stage: &Stage<'_>, shares: &[ShareState], table: &Value) {
    let found = states(table);
    let odd: BTreeSet<_> = found
        .iter()
        .filter(|(_, state)| *state != "associated")
        .map(|(key, state)| (key.clone(), state.clone()))
        .collect();
    let wanted: BTreeSet<_> = stage.expected.iter().map(|(key, state)| (key.clone(), (*state).to_owned())).collect();
    let (missing, surplus): (Vec<_>, Vec<_>) = (wanted.difference(&odd).collect(), odd.difference(&wanted).collect());
    assert!(missing.is_empty() && surplus.is_empty(), "missing: {missing:#?}\nsurplus: {surplus:#?}");
    let inline = ACCOUNTS + (SHARES - 2) * (ACCOUNTS - 3) + VANISHING * 396;
    // A child, three that were refused, two strangers, the organization and its exclusion.
    assert_eq!(found.len(), inline + 1 + 3 + 2 + 2);
    agrees(shares, table);
}

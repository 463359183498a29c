//! What `cfshare matrix` and `status` say, compared with what Cloudflare has.

use std::collections::{BTreeMap, BTreeSet};

use cfshare_simulator::{Action, Association, Edit, ErrorBody, Policy, Rule, ShareState, random_id};
use cfshare_testbed::Process;
use serde_json::Value;

use crate::Test;
use crate::cli::{Ran, at_home, cfshare, finish};
use crate::own;
use crate::scene::{Scene, World, ids};

pub const TESTS: &[Test] = &[
    ("cli: the matrix never contradicts Cloudflare, through all states", walked),
    ("cli: of 400 accounts and 12 shares every row is as Cloudflare has it, with each kind of trouble", large),
    ("cli: the matrix shows recipients whose removal is blocked", blocked),
    ("cli: the matrix says what it leaves out, and reads Cloudflare when asked", left_out),
    ("cli: the matrix never takes an exclusion for granted", exclusion),
    ("cli: without an operator or anything to show, the commands say so", nobody),
    ("cli: without a Lease the commands judge by the statuses, and say what they cannot know", leaseless),
    (
        "cli: a live matrix shows shares without an object, and tells a share that it cannot see from one that is gone",
        strangers,
    ),
    ("cli: a credential whose limit is reached holds up no other one", throttled),
];

pub fn operator(scene: &Scene<'_>) -> Process {
    let flags = [
        ("--leader-elect", ""),
        ("--lease-namespace", scene.namespace.as_str()),
        ("--lease-duration", "4s"),
        ("--call-timeout", "2s"),
    ];
    own::start(scene, &flags)
}

pub fn matrix(scene: &Scene<'_>, more: &[&str]) -> Ran {
    let mut args = vec!["matrix", "-o", "json", "--lease-namespace", scene.namespace.as_str()];
    args.extend(more);
    cfshare(scene, &args)
}

fn state(rows: &Value, account: &str) -> String {
    let row = rows["rows"].as_array().into_iter().flatten().find(|row| row["accountID"] == account);
    row.and_then(|row| row["word"].as_str()).unwrap_or("no row").to_owned()
}

/// No row says what Cloudflare does not have, and nobody receives anything without a row.
pub fn agrees(shares: &[ShareState], table: &Value) {
    let rows: Vec<&Value> = table["rows"].as_array().into_iter().flatten().collect();
    for row in &rows {
        let (Some(account), Some(id)) = (row["accountID"].as_str(), row["shareID"].as_str()) else { continue };
        let share = shares.iter().find(|share| share.id == id);
        let live = share.filter(|share| share.live());
        let there = live.and_then(|share| share.live_recipients().into_iter().find(|row| row.account_id == account));
        let receives = there.is_some_and(|row| row.status == Association::Associated);
        let fine = receives && there.is_some_and(|row| row.errors.is_empty());
        let excluded = live.is_some_and(|share| share.excluded.iter().any(|id| id == account));
        let holds = match row["state"].as_str().expect("a state") {
            "associated" => fine,
            "pending" => !fine,
            "failed" | "waived" => !fine,
            "toBeRemoved" | "removalBlocked" | "unmanaged" => there.is_some(),
            "excluded" => excluded,
            "shouldBeExcluded" => !excluded,
            "notShared" => there.is_none(),
            "unknown" | "inNoShare" => true,
            other => panic!("{other}"),
        };
        assert!(holds, "{row:#}\n{there:#?}");
    }
    let left_out =
        table["shares"].as_array().into_iter().flatten().any(|share| share["leftOut"] != Value::Array(vec![]));
    let listed: BTreeSet<(&str, &str)> =
        rows.iter().filter_map(|row| Some((row["shareID"].as_str()?, row["accountID"].as_str()?))).collect();
    for share in shares.iter().filter(|share| share.live() && !left_out) {
        let whole = rows.iter().any(|row| row["organizationID"].is_string() && row["shareID"] == share.id.as_str());
        for row in share.live_recipients() {
            assert!(whole || listed.contains(&(&share.id, &row.account_id)), "{} is missing", row.account_id);
        }
    }
}

/// Waits until the account is told as it should be, and then nothing is contradicted.
fn told(scene: &Scene<'_>, account: &str, word: &str) -> Value {
    scene.wait(&format!("{account} is told as {word}"), || state(&matrix(scene, &[]).json(), account) == word);
    let table = matrix(scene, &[]).json();
    agrees(&scene.state(), &table);
    agrees(&scene.state(), &matrix(scene, &["--live"]).json());
    table
}

fn walked(world: &World) {
    let scene = world.own_scene();
    let operator = operator(&scene);
    let [one, two, three, four, stranger, first] = ids();
    // Before there is anything, and a child without a Share.
    scene.apply(&scene.recipient("three", "waf", &three, "name: lab"));
    told(&scene, &three, "not shared yet");
    scene.apply(&scene.share("waf", &[&one, &two], &[], ""));
    told(&scene, &one, "not shared yet");
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "three");
    for account in [&one, &two, &three] {
        let table = told(&scene, account, "associated");
        assert!(table["rows"][0]["verifiedAt"].is_string(), "{table:#}");
    }
    // Somebody adds one.
    let share = scene.only().id;
    world.simulator.edit(Edit::AddRecipient { share: share.clone(), account: stranger.clone() }).expect("an edit");
    told(&scene, &stranger, "associated, not declared");
    // One fails for good.
    world.simulator.account(&four, |account| account.entitled = false);
    scene.apply(&scene.share("waf", &[&one, &two, &four], &[&first], ""));
    told(&scene, &four, "failed");
    // One line goes, and its row with it.
    scene.apply(&scene.share("waf", &[&one, &four], &[&first], ""));
    told(&scene, &two, "no row");
    // The token is revoked: nothing is known any more.
    let before = scene.changes().len();
    world.simulator.token(&scene.token, Policy { revoked: true, ..Policy::default() });
    scene.ask("share", "waf");
    scene.wait("everything is unknown", || state(&matrix(&scene, &[]).json(), &one) == "unknown");
    agrees(&scene.state(), &matrix(&scene, &[]).json());
    world.simulator.token(&scene.token, Policy::default());
    told(&scene, &one, "associated");
    // What was asked for while the token was revoked is made up for: another try of what failed.
    scene.wait("another try", || scene.changes_since(before).iter().any(|call| call.starts_with("POST")));
    told(&scene, &four, "failed");
    // Nobody works any more.
    own::crash(operator);
    scene.wait("the death of the operator is said", || matrix(&scene, &[]).code == 3);
    let ran = cfshare(&scene, &["matrix", "--lease-namespace", &scene.namespace]);
    assert!(ran.code == 3 && ran.out.starts_with("WARNING: no cfshare replica is active: "), "{}", ran.out);
    let ran = cfshare(&scene, &["status", "share/waf", "--lease-namespace", &scene.namespace]);
    assert!(ran.code == 2 && ran.out.starts_with("WARNING: no cfshare replica is active: "), "{}", ran.out);
    assert!(ran.out.contains("adds it again: kubectl annotate --overwrite shares.cfshare.dev waf -n "), "{}", ran.out);
}

/// How many accounts are in each state, by the words for programs.
fn counts(table: &Value) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in table["rows"].as_array().into_iter().flatten().filter(|row| row["accountID"].is_string()) {
        *counts.entry(row["state"].as_str().expect("a state").to_owned()).or_default() += 1;
    }
    counts
}

fn large(world: &World) {
    let scene = world.own_scene();
    let operator = operator(&scene);
    let ids: Vec<String> = (0..400).map(|_| random_id()).collect();
    let accounts: Vec<&str> = ids.iter().map(String::as_str).collect();
    // A share with some accounts, one for a whole organization, and some that will vanish have three owners.
    let [organization, whole, member, excluded, other, first] = crate::scene::ids();
    let simulator = &world.simulator;
    // Nine fail in three ways, and one more whose failure is waived.
    for id in accounts[..3].iter().chain(&accounts[9..10]) {
        simulator.account(id, |account| account.entitled = false);
    }
    accounts[3..6].iter().for_each(|id| simulator.account(id, |account| account.known = false));
    let refused = Action::StatusBefore { status: 400, body: ErrorBody::Json, code: Some(1001), retry_after: None };
    for id in &accounts[6..9] {
        let rule = Rule::always("POST", "/accounts/*/shares/*/recipients", refused.clone());
        simulator.fault(rule.account(&scene.account).saying(id));
    }
    simulator.organization(&organization, &[&whole, &member, &excluded]);
    let exclude = Rule::always("POST", "/accounts/*/shares/*/excluded-recipients", Action::Forbidden {});
    simulator.fault(exclude.account(&whole));

    let waived = |yaml: String| {
        let waiver = "waiver: {reason: no entitlement yet, until: 2099-01-01T00:00:00Z}";
        yaml.replace(&format!("{{accountID: {}}}", accounts[9]), &format!("{{accountID: {}, {waiver}}}", accounts[9]))
    };
    let mut shares = vec![waived(scene.share("s0", &accounts[9..], &[&first], ""))];
    shares.extend((1..7).map(|n| scene.share(&format!("s{n}"), &accounts[20..], &[&first], "maxRemovals: 1")));
    let more = format!("organization: {{id: {organization}, excluded: [{{accountID: {excluded}}}]}}");
    shares.push(scene.share("everyone", &[], &[&first], &more).replace(&scene.account, &whole));
    let of_other = |n: usize| scene.share(&format!("b{n}"), &accounts[300..310], &[&first], "");
    shares.extend((0..4).map(|n| of_other(n).replace(&scene.account, &other)));
    shares.push(scene.recipient("child", "b0", accounts[350], ""));
    scene.apply(&shares.join("---\n"));
    let names = (1..7).map(|n| format!("s{n}")).chain((0..4).map(|n| format!("b{n}")));
    names.for_each(|name| drop(scene.wait_ready("share", &name)));
    scene.wait_ready("sharerecipient", "child");
    scene.wait_ready("share", "s0");

    scene.apply(&waived(scene.share("s0", &accounts, &[&first], "")));
    scene.apply(&scene.share("s2", &accounts[22..], &[&first], "maxRemovals: 1"));
    let share = scene.live().into_iter().find(|share| share.name == "s1").expect("it").id;
    for id in &accounts[..2] {
        simulator.edit(Edit::AddRecipient { share: share.clone(), account: (*id).to_owned() }).expect("an edit");
    }
    simulator.edit(Edit::DeleteAll { account: other.clone() }).expect("an edit");
    scene.wait_reason("share", "s2", "RemovalBlocked");
    scene.wait_reason("share", "everyone", "ExclusionsNotInForce");
    (0..4).for_each(|n| drop(scene.wait_reason("share", &format!("b{n}"), "BreakerOpen")));

    let expected: BTreeMap<String, usize> = [
        ("associated", 390 + 380 + 378 + 4 * 380),
        ("failed", 9),
        ("waived", 1),
        ("unmanaged", 2),
        ("removalBlocked", 2),
        ("shouldBeExcluded", 1),
        ("unknown", 4 * 10 + 1),
    ]
    .map(|(state, count)| (state.to_owned(), count))
    .into();
    let state = || [scene.state(), simulator.state(&whole), simulator.state(&other)].concat();
    scene.wait("every row is found", || counts(&matrix(&scene, &[]).json()) == expected);
    agrees(&state(), &matrix(&scene, &[]).json());
    agrees(&state(), &matrix(&scene, &["--live"]).json());
    own::crash(operator);
    scene.wait("the death of the operator is said", || matrix(&scene, &[]).code == 3);
    let table = matrix(&scene, &[]).json();
    agrees(&state(), &table);
    assert_eq!(counts(&table), expected);
    assert_eq!(table["shares"].as_array().map(Vec::len), Some(12), "{:#}", table["shares"]);
}

fn blocked(world: &World) {
    let scene = world.own_scene();
    let _operator = operator(&scene);
    let accounts: [String; 12] = ids();
    let [first] = ids();
    let all: Vec<&str> = accounts.iter().map(String::as_str).collect();
    scene.apply(&scene.share("waf", &all, &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &all[..3], &[&first], ""));
    scene.wait_reason("share", "waf", "RemovalBlocked");
    let table = told(&scene, &accounts[3], "to be removed (blocked)");
    let with = |word: &str| table["rows"].as_array().into_iter().flatten().filter(|row| row["word"] == word).count();
    assert_eq!((with("associated"), with("to be removed (blocked)")), (3, 9), "{table:#}");
    let ran = cfshare(&scene, &["status", "share/waf", "--lease-namespace", &scene.namespace]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    for account in &all[3..] {
        assert!(ran.out.contains(&format!("\n  {account}\n")), "{}", ran.out);
    }
    assert!(ran.out.contains("cfshare.dev/confirm-removals="), "{}", ran.out);
}

fn left_out(world: &World) {
    let scene = world.own_scene();
    let _operator = operator(&scene);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let share = scene.only().id;
    let strangers: Vec<String> = (0..25).map(|_| random_id()).collect();
    for account in &strangers {
        world.simulator.edit(Edit::AddRecipient { share: share.clone(), account: account.clone() }).expect("an edit");
    }
    let more = "and 5 more that no manifest declares";
    scene.wait("what is left out is said", || matrix(&scene, &[]).json()["shares"][0]["leftOut"][0] == more);
    let ran = cfshare(&scene, &["matrix", "--lease-namespace", &scene.namespace]);
    assert!(ran.code == 0 && ran.out.contains(&format!("{more}; --live lists all\n")), "{} {}", ran.out, ran.code);
    let before = scene.changes().len();
    let of_one = || scene.journal().iter().filter(|entry| entry.template.ends_with("/shares/*")).count();
    let reads = of_one();
    let table = matrix(&scene, &["--live"]).json();
    assert_eq!(of_one(), reads, "the list of the account showed the share");
    agrees(&scene.state(), &table);
    assert_eq!(table["rows"].as_array().map(Vec::len), Some(26), "{table:#}");
    assert_eq!((&table["source"], scene.changes().len()), (&Value::from("cloudflare"), before));
    // Names from a file, and an account that is in no share.
    let file = scene.file("accounts.csv");
    std::fs::write(&file, format!("id,name\n{one},Payments\nno-share,Lab\n")).expect("a file");
    let table = matrix(&scene, &["--accounts", &file.display().to_string()]).json();
    // It may be one of those that the status leaves out.
    assert_eq!(state(&table, "no-share"), "unknown", "{table:#}");
    let live = matrix(&scene, &["--live", "--accounts", &file.display().to_string()]).json();
    assert_eq!(state(&live, "no-share"), format!("in no share in namespace {}", scene.namespace), "{live:#}");
    let row = table["rows"].as_array().into_iter().flatten().find(|row| row["accountID"] == one.as_str());
    assert_eq!(row.map(|row| &row["name"]), Some(&Value::from("Payments")));
    for by in ["account", "share", "resource"] {
        for form in ["table", "wide", "csv", "yaml", "html"] {
            let ran = cfshare(&scene, &["matrix", "--by", by, "-o", form, "--lease-namespace", &scene.namespace]);
            assert!(ran.code == 0 && ran.out.contains(&one), "{by} {form}: {} {}", ran.out, ran.err);
        }
    }
    assert_eq!(scene.changes().len(), before);
}

fn exclusion(world: &World) {
    let scene = world.own_scene();
    let [organization, one, two, first] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one, &two]);
    let _operator = operator(&scene);
    let more = |excluded: &str| format!("organization: {{id: {organization}, excluded: [{excluded}]}}");
    scene.apply(&scene.share("all", &[], &[&first], &more(&format!("{{accountID: {two}}}"))));
    scene.wait_ready("share", "all");
    told(&scene, &two, "excluded");
    // An exclusion that is not confirmed is never shown as one.
    let rule =
        Rule::always("POST", "/accounts/*/shares/*/excluded-recipients", Action::Forbidden {}).account(&scene.account);
    world.simulator.fault(rule);
    scene.apply(&scene.share("all", &[], &[&first], &more(&format!("{{accountID: {two}}}, {{accountID: {one}}}"))));
    scene.wait("the exclusion is tried", || {
        scene.changes().iter().any(|call| call.starts_with("POST") && call.ends_with("Some(403)"))
    });
    for _ in 0..5 {
        let word = state(&matrix(&scene, &[]).json(), &one);
        assert!(word != "excluded" && word != "no row", "{word}");
    }
    assert_eq!(state(&matrix(&scene, &["--live"]).json(), &one), "associated, should be excluded");
}

fn nobody(world: &World) {
    let scene = world.scene();
    for command in ["status", "matrix", "plan"] {
        let ran = cfshare(&scene, &[command]);
        let nothing = format!("no Shares in namespace {}: choose another one with -n, or use -A", scene.namespace);
        let said = ran.code == 1 && ran.err.contains(&nothing);
        assert!(said || command == "plan" && ran.code == 0, "{command}: {} {}", ran.out, ran.err);
        let ran = finish(
            {
                let mut process = at_home(&scene, env!("CARGO_BIN_EXE_cfshare"));
                process.args([command, "-n", "no-such-namespace"]);
                process
            },
            "",
        );
        assert!(ran.code == 1 && ran.err.contains("no-such-namespace does not exist"), "{command}: {}", ran.err);
    }
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let ran = cfshare(&scene, &["status", "share/nothing"]);
    assert!(ran.code == 1 && ran.err.contains("has no Share nothing"), "{}", ran.err);
    for (flags, said) in [
        (["--user", "nobody-at-all"], "--user: the kubeconfig has no user nobody-at-all"),
        (["-l", "!!"], "the API server does not accept this: unable to parse requirement"),
    ] {
        let ran = cfshare(&scene, &[&["status"], &flags[..]].concat());
        assert!(ran.code == 1 && ran.err.starts_with(&format!("cfshare: {said}")), "{}", ran.err);
        assert!(!ran.err.contains("Status {"), "{}", ran.err);
    }
    let ran = cfshare(&scene, &["status", "-l", "team=none"]);
    assert!(ran.code == 1 && ran.err.contains("no Shares with the labels team=none"), "{}", ran.err);
}

fn leaseless(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let text = cfshare(&scene, &["matrix", "--lease-namespace", &scene.namespace]);
    let note = format!("NOTE: there is no Lease {}/cfshare, so it is not known whether cfshare runs", scene.namespace);
    assert!(text.code == 0 && text.out.starts_with(&note), "{} {}", text.code, text.out);
    assert!(text.out.contains("cfshare was active ") && text.out.contains("--live reads it"), "{}", text.out);
    for target in [&[][..], &["share/waf"]] {
        let ran = cfshare(&scene, &[&["status", "--lease-namespace", &scene.namespace], target].concat());
        assert!(ran.code == 0 && ran.out.starts_with(&note), "{} {}", ran.code, ran.out);
        assert!(ran.out.contains("cfshare was active "), "{}", ran.out);
    }
    let table = matrix(&scene, &[]).json();
    assert!(table["upToDate"] == true && table["rows"][0]["verifiedAt"].is_string(), "{table:#}");
    agrees(&scene.state(), &table);
    // Nobody processes the next change. What comes of it with time is tested where time can be given.
    own::crash(operator);
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    let ran = matrix(&scene, &[]);
    assert_eq!((ran.code, state(&ran.json(), &two)), (0, "unknown".to_owned()), "a change may wait for a moment");
}

fn strangers(world: &World) {
    let scene = world.own_scene();
    let _operator = operator(&scene);
    let [one, two, stranger, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.apply(&scene.share("dns", &[&two], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("share", "dns");
    let resources = || vec![crate::cli::resource(&first, Value::Null)];
    let by_hand = crate::cli::seed(&scene, "by hand", &[&stranger], resources(), false);
    let file = scene.file("accounts.csv");
    std::fs::write(&file, format!("id,name\n{stranger},Lab\nno-share,Nobody\n")).expect("a file");
    let accounts = ["--accounts".to_owned(), file.display().to_string()];
    let named = |more: &[&str]| matrix(&scene, &[&[accounts[0].as_str(), accounts[1].as_str()], more].concat());

    scene.wait("the sweep is announced", || named(&[]).code == 0);
    let ran = named(&[]);
    let table = ran.json();
    let none = format!("in no Share object in namespace {}", scene.namespace);
    assert_eq!((ran.code, state(&table, &stranger), state(&table, "no-share")), (0, none.clone(), none));
    assert!(table["notes"].to_string().contains("shares at Cloudflare without a Share object"), "{table:#}");
    let ran = named(&["--live"]);
    let table = ran.json();
    assert_eq!((ran.code, state(&table, &stranger)), (0, "associated, no Share object".to_owned()), "{table:#}");
    assert_eq!(state(&table, "no-share"), format!("in no share in namespace {}", scene.namespace));
    agrees(&scene.state(), &table);
    let row = table["rows"].as_array().into_iter().flatten().find(|row| row["accountID"] == stranger.as_str());
    let row = row.expect("a row");
    assert_eq!((&row["namespace"], &row["share"], &row["shareID"]), (&Value::Null, &"by hand".into(), &by_hand.into()));
    assert!(table["rows"].as_array().into_iter().flatten().take(3).all(|row| row["since"].is_string()), "{table:#}");

    // One Share whose Secret is missing does not keep the others from being read.
    let patch = r#"{"spec":{"credentialsRef":{"name":"cloudflare-nothing"}}}"#;
    scene.kubectl(&["patch", "shares.cfshare.dev", "dns", "--type=merge", "-p", patch]);
    let ran = named(&["--live"]);
    let table = ran.json();
    let words = [&one, &two, &stranger].map(|account| state(&table, account));
    assert_eq!(words, ["associated", "unknown", "associated, no Share object"], "{table:#}");
    assert!(ran.code == 3 && ran.err.contains(&format!("Share {}/dns: ", scene.namespace)), "{} {}", ran.code, ran.err);

    // A token of another account gets 404 for shares that are there.
    world.simulator.token("blind", Policy { blind: true, ..Policy::default() });
    let mut command = at_home(&scene, env!("CARGO_BIN_EXE_cfshare"));
    command.env("CLOUDFLARE_API_TOKEN", "blind").args(["matrix", "--live", "-o", "json", "-n", &scene.namespace]);
    command.args(&accounts);
    let ran = finish(command, "");
    let table = ran.json();
    assert_eq!((ran.code, state(&table, &one)), (3, "unknown".to_owned()), "{table:#}");
    assert!(table["warnings"].to_string().contains("this credential has never shown the share"), "{table:#}");
    assert_eq!(state(&table, "no-share"), "unknown", "the status of dns proves nothing: {table:#}");
    // The one that showed the share is believed.
    scene.kubectl(&["patch", "shares.cfshare.dev", "waf", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#]);
    scene.wait_reason("share", "waf", "Suspended");
    let id = scene.live().into_iter().find(|share| share.name == "waf").expect("it is there").id;
    world.simulator.edit(Edit::DeleteShare { share: id }).expect("an edit");
    scene.wait("it is gone", || state(&matrix(&scene, &["--live"]).json(), &one) == "absent");
}

fn throttled(world: &World) {
    let scene = world.own_scene();
    let operator = operator(&scene);
    let [one, two, first, other] = ids();
    scene.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: other}}\nstringData: {{apiToken: token-{}}}\n",
        random_id()
    ));
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let of_other = scene.share("dns", &[&two], &[&first], "credentialsRef: {name: other}");
    scene.apply(&of_other.replace(&scene.account, &other));
    scene.wait_ready("share", "waf");
    scene.wait_ready("share", "dns");
    own::crash(operator);
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    let limit = Action::Throttle { code: None, retry_after: Some("299".to_owned()) };
    for path in ["/accounts/*/shares", "/accounts/*/shares/*", "/accounts/*/shares/*/recipients"] {
        world.simulator.fault(Rule::always("GET", path, limit.clone()).account(&other));
    }
    let began = std::time::Instant::now();
    let ran = matrix(&scene, &["--live"]);
    let table = ran.json();
    assert_eq!((ran.code, state(&table, &one), table["upToDate"].as_bool()), (3, "associated".into(), Some(false)));
    let row = table["rows"].as_array().into_iter().flatten().find(|row| row["share"] == "dns").expect("a row");
    assert!(row["word"] == "unknown" && row["reason"].to_string().contains("try again in 29"), "{table:#}");
    let ran = cfshare(&scene, &["plan"]);
    assert!(ran.code == 1 && ran.out.contains(&format!("  + recipient {two}\n")), "{} {}", ran.code, ran.out);
    assert!(ran.out.contains("rate limit; try again in 29"), "{}", ran.out);
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "it waited: {:?}", began.elapsed());
}

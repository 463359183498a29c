//! What `cfshare matrix` and `status` say, compared with what Cloudflare has.

use std::collections::BTreeSet;

use cfshare_simulator::{Action, Association, Edit, Policy, Rule, ShareState, random_id};
use cfshare_testbed::Process;
use serde_json::Value;

use crate::Test;
use crate::cli::{Ran, at_home, cfshare, finish};
use crate::own;
use crate::scene::{Scene, World, ids};

pub const TESTS: &[Test] = &[
    ("cli: the matrix never contradicts Cloudflare, through all states", walked),
    ("cli: the matrix shows recipients whose removal is blocked", blocked),
    ("cli: the matrix says what it leaves out, and reads Cloudflare when asked", left_out),
    ("cli: the matrix never takes an exclusion for granted", exclusion),
    ("cli: without an operator or anything to show, the commands say so", nobody),
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
            "failed" => !fine,
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
    world.simulator.token(&scene.token, Policy { revoked: true, ..Policy::default() });
    scene.ask("share", "waf");
    scene.wait("everything is unknown", || state(&matrix(&scene, &[]).json(), &one) == "unknown");
    agrees(&scene.state(), &matrix(&scene, &[]).json());
    world.simulator.token(&scene.token, Policy::default());
    told(&scene, &one, "associated");
    // Nobody works any more.
    own::crash(operator);
    scene.wait("the death of the operator is said", || matrix(&scene, &[]).code == 3);
    let ran = cfshare(&scene, &["matrix", "--lease-namespace", &scene.namespace]);
    assert!(ran.code == 3 && ran.out.starts_with("WARNING: no cfshare replica is active: "), "{}", ran.out);
    let ran = cfshare(&scene, &["status", "share/waf", "--lease-namespace", &scene.namespace]);
    assert!(ran.code == 2 && ran.out.starts_with("WARNING: no cfshare replica is active: "), "{}", ran.out);
    assert!(ran.out.contains("Another attempt: kubectl annotate shares.cfshare.dev waf -n "), "{}", ran.out);
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
    let table = matrix(&scene, &["--live"]).json();
    agrees(&scene.state(), &table);
    assert_eq!(table["rows"].as_array().map(Vec::len), Some(26), "{table:#}");
    assert_eq!((&table["source"], scene.changes().len()), (&Value::from("cloudflare"), before));
    // Names from a file, and an account that is in no share.
    let file = scene.file("accounts.csv");
    std::fs::write(&file, format!("id,name\n{one},Payments\nno-share,Lab\n")).expect("a file");
    let table = matrix(&scene, &["--accounts", &file.display().to_string()]).json();
    assert_eq!(state(&table, "no-share"), "in no share", "{table:#}");
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
    for command in ["status", "matrix"] {
        let ran = cfshare(&scene, &[command]);
        let nothing = format!("no Shares in namespace {}: choose another one with -n, or use -A", scene.namespace);
        assert!(ran.code == 1 && ran.err.contains(&nothing), "{command}: {} {}", ran.out, ran.err);
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
    // The shared operator has no Lease, so nothing can be said about it.
    let ran = cfshare(&scene, &["matrix", "--lease-name", "no-such-lease"]);
    assert!(ran.code == 3 && ran.out.contains("there is no Lease cfshare-system/no-such-lease"), "{}", ran.out);
    let ran = cfshare(&scene, &["status", "share/nothing"]);
    assert!(ran.code == 1 && ran.err.contains("has no Share nothing"), "{}", ran.err);
    let ran = cfshare(&scene, &["status", "-l", "team=none"]);
    assert!(ran.code == 1 && ran.err.contains("no Shares with the labels team=none"), "{}", ran.err);
}

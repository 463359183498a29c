//! How many recipients and resources a share may lose without confirmation, whoever declared them.

use cfshare_simulator::{Action, ErrorBody, Rule, random_id};
use cfshare_testbed::Process;
use serde_json::Value;

use crate::Test;
use crate::expect::{has, sweeps};
use crate::own;
use crate::scene::{Scene, World, condition, ids, message};

pub const TESTS: &[Test] = &[
    ("removals: a patch that replaces the list instead of adding to it removes nobody", replaced_list),
    ("removals: a number and a percentage are kept exactly", exactly),
    ("removals: without a limit most of a small share stays", unlimited),
    ("removals: all resources replaced in one edit wait for a person", replaced_resources),
    ("removals: a single resource can be exchanged, but not where none may go", exchanged_resource),
    ("removals: deleted objects of resources wait for a person although others replace them", replaced_objects),
    ("removals: a resource that was only changed counts among those that stay", changed_resource),
    ("removals: a restart changes nothing of what is said of removals that wait", said_once),
    ("removals: four restarts let no more objects go than the limit", restarts),
    ("removals: entries and objects count together", together),
    ("removals: the message names what would go, what went lately, and both ways out", told),
    ("removals: while some of what waits is kept, the rest still waits", kept_one_by_one),
    ("removals: a confirmation counts although its annotation is gone again, and only once", confirmed_once),
    ("removals: what is deleted while a confirmed removal is in progress needs a confirmation of its own", joined),
    ("removals: accounts that are excluded later count as removed", excluded),
    ("removals: an object that goes right after the create is gone when Cloudflare says so", end_after_create),
    ("removals: twenty that are answered with an id alone are no failure", bare_answers),
    ("removals: a request and a word to the breaker count although their annotations are gone again", asked),
];

/// Which depends on what takes less than a second.
pub const ALONE: &[Test] =
    &[("removals: an entry that becomes an object of its own in one apply keeps its row", moved)];

fn accounts(count: usize) -> Vec<String> {
    (0..count).map(|_| random_id()).collect()
}

fn strs(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
}

/// Applies the Share `waf` with a ShareRecipient for each account, `r-0` and so on, and waits until these are Ready.
fn with_objects(scene: &Scene<'_>, share: &str, accounts: &[String]) {
    let name = |n: usize| format!("r-{n}");
    let objects = accounts.iter().enumerate().map(|(n, id)| scene.recipient(&name(n), "waf", id, ""));
    scene.apply(&format!("{share}---\n{}", objects.collect::<Vec<_>>().join("---\n")));
    for n in 0..accounts.len() {
        scene.wait_ready("sharerecipient", &name(n));
    }
}

fn blocked(scene: &Scene<'_>, kind: &str, name: &str) -> Value {
    let object = scene.wait_reason(kind, name, "RemovalBlocked");
    assert!(condition(&object, "Stalled").is_some(), "{object:#}");
    object
}

/// Runs the command that the message gives.
fn confirm(scene: &Scene<'_>, object: &Value) {
    let message = message(object);
    let command = message.split("kubectl ").nth(1).and_then(|rest| rest.split(';').next());
    let command = command.unwrap_or_else(|| panic!("no command in {message}"));
    assert!(command.starts_with("annotate shares.cfshare.dev waf "), "{message}");
    scene.kubectl(&command.split_whitespace().collect::<Vec<_>>());
}

fn settle(scene: &Scene<'_>) {
    scene.wait_ready("share", "waf");
    sweeps(scene, 2);
}

fn deletes(scene: &Scene<'_>) -> usize {
    scene.changes().iter().filter(|call| call.starts_with("DELETE")).count()
}

fn replaced_list(world: &World) {
    for more in ["", "maxRemovals: 0"] {
        let scene = world.scene();
        let (five, [six, x]) = (accounts(5), ids());
        scene.apply(&scene.share("waf", &strs(&five), &[&x], more));
        scene.wait_ready("share", "waf");
        scene.apply(&scene.share("waf", &[&six], &[&x], more));
        let share = blocked(&scene, "share", "waf");
        assert!(message(&share).starts_with("5 of 5 recipients"), "{share:#}");
        sweeps(&scene, 2);
        let all: Vec<&str> = strs(&five).into_iter().chain([six.as_str()]).collect();
        assert!(has(&scene.only(), &all, &[&x]), "{:#?}", scene.changes());
        assert_eq!((scene.changes().len(), deletes(&scene)), (2, 0), "{:#?}", scene.changes());
        // An edit that has nothing to do with it is no confirmation.
        scene.apply(&scene.share("waf", &[&six], &[&x], &format!("{more}\nname: another")));
        blocked(&scene, "share", "waf");
        scene.wait_sweep();
        assert_eq!(deletes(&scene), 0);
        // The way back.
        scene.apply(&scene.share("waf", &all, &[&x], more));
        settle(&scene);
        assert_eq!(deletes(&scene), 0);
    }
}

fn moved(world: &World) {
    let scene = world.own_scene();
    let mut command = own::bare_command(&scene);
    command.args(["--namespace", &scene.namespace]);
    let _operator = Process::start(command, scene.file("operator.log")).expect("the operator starts");
    let [one, two, x] = ids();
    scene.apply(&scene.share("waf", &[&one, &two], &[&x], ""));
    scene.wait_ready("share", "waf");
    let rows = || {
        let share = scene.only();
        let rows = share.recipients.iter().map(|row| (row.account_id.clone(), row.id.clone()));
        rows.collect::<Vec<_>>()
    };
    let before = rows();
    // What is applied in between takes a while.
    let secret = |n: usize| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: between-{n}}}\n");
    let between = (0..20).map(secret).collect::<Vec<_>>().join("---\n");
    let (share, child) = (scene.share("waf", &[&one], &[&x], ""), scene.recipient("two", "waf", &two, ""));
    scene.apply(&format!("{share}---\n{between}---\n{child}"));
    scene.wait_ready("sharerecipient", "two");
    scene.wait_ready("share", "waf");
    scene.wait_sweep();
    assert_eq!(rows(), before);
    assert_eq!(scene.changes().len(), 1, "{:#?}", scene.changes());
}

fn exactly(world: &World) {
    for (limit, of, allowed) in
        [("maxRemovals: 0", 5, 0), ("maxRemovals: 1", 20, 1), ("maxRemovals: 3", 3, 3), ("maxRemovals: 25%", 10, 2)]
    {
        let scene = world.scene();
        let (many, [x]) = (accounts(of), ids());
        scene.apply(&scene.share("waf", &strs(&many), &[&x], limit));
        scene.wait_ready("share", "waf");
        if allowed < of {
            scene.apply(&scene.share("waf", &strs(&many[allowed + 1..]), &[&x], limit));
            blocked(&scene, "share", "waf");
            scene.wait_sweep();
            assert!(has(&scene.only(), &strs(&many), &[&x]), "{limit}");
        }
        scene.apply(&scene.share("waf", &strs(&many[allowed..]), &[&x], limit));
        scene.wait_state("as many less as are allowed", |shares| has(&shares[0], &strs(&many[allowed..]), &[&x]));
        scene.wait_ready("share", "waf");
    }
}

fn unlimited(world: &World) {
    for (of, allowed) in [(1, 1), (2, 1), (3, 2), (4, 2), (7, 3), (12, 5)] {
        let scene = world.scene();
        let (many, [x]) = (accounts(of), ids());
        scene.apply(&scene.share("waf", &strs(&many), &[&x], ""));
        scene.wait_ready("share", "waf");
        if allowed < of {
            scene.apply(&scene.share("waf", &strs(&many[allowed + 1..]), &[&x], ""));
            blocked(&scene, "share", "waf");
            scene.wait_sweep();
            assert!(has(&scene.only(), &strs(&many), &[&x]), "{of}");
        }
        scene.apply(&scene.share("waf", &strs(&many[allowed..]), &[&x], ""));
        scene.wait_state("as many less as are allowed", |shares| has(&shares[0], &strs(&many[allowed..]), &[&x]));
    }
}

fn replaced_resources(world: &World) {
    for (recipients, more) in [(30, "maxRemovals: 0"), (1, ""), (1, "maxRemovals: 100%"), (1, "maxRemovals: 50")] {
        let scene = world.scene();
        let (many, old, new) = (accounts(recipients), accounts(6), accounts(6));
        scene.apply(&scene.share("waf", &strs(&many), &strs(&old), more));
        scene.wait_ready("share", "waf");
        scene.apply(&scene.share("waf", &strs(&many), &strs(&new), more));
        let share = blocked(&scene, "share", "waf");
        assert!(message(&share).starts_with("6 of 6 resources"), "{share:#}");
        sweeps(&scene, 2);
        let both: Vec<&str> = strs(&old).into_iter().chain(strs(&new)).collect();
        assert!(has(&scene.only(), &strs(&many), &both), "{:#?}", scene.changes());
        confirm(&scene, &share);
        scene.wait_state("the new resources alone", |shares| has(&shares[0], &strs(&many), &strs(&new)));
        scene.wait_ready("share", "waf");
    }
}

fn exchanged_resource(world: &World) {
    let scene = world.scene();
    let [a, first, second, other] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&first, &second], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&a], &[&first, &other], ""));
    scene.wait_state("the other resource instead", |shares| has(&shares[0], &[&a], &[&first, &other]));
    scene.wait_ready("share", "waf");
    let scene = world.scene();
    scene.apply(&scene.share("waf", &[&a], &[&first, &second], "maxRemovals: 0"));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&a], &[&first, &other], "maxRemovals: 0"));
    blocked(&scene, "share", "waf");
    scene.wait_sweep();
    assert!(has(&scene.only(), &[&a], &[&first, &second, &other]));
}

fn replaced_objects(world: &World) {
    let scene = world.own_scene();
    // What was added within a quarter of the settle time is new.
    let _operator = own::start(&scene, &[("--settle-time", "240s")]);
    let ([a], old, new) = (ids(), accounts(4), accounts(4));
    let objects = |prefix: &str, ids: &[String]| -> String {
        let one = |(n, id): (usize, &String)| scene.resource(&format!("{prefix}-{n}"), "waf", id, "");
        ids.iter().enumerate().map(one).collect::<Vec<_>>().join("---\n")
    };
    scene.apply(&format!("{}---\n{}", scene.share("waf", &[&a], &[], ""), objects("old", &old)));
    scene.wait_ready("share", "waf");
    scene.wait_state("the old resources", |shares| has(&shares[0], &[&a], &strs(&old)));
    scene.apply(&objects("new", &new));
    let both: Vec<&str> = strs(&old).into_iter().chain(strs(&new)).collect();
    scene.wait_state("all resources", |shares| has(&shares[0], &[&a], &both));
    scene.kubectl(&["delete", "shareresource", "old-0", "old-1", "old-2", "old-3", "--wait=false"]);
    blocked(&scene, "share", "waf");
    let left = scene.only().live_resources().len();
    assert!(left >= 6, "more than half of four went: {left}");
    sweeps(&scene, 2);
    assert_eq!(scene.only().live_resources().len(), left);
}

fn changed_resource(world: &World) {
    let scene = world.own_scene();
    // What was added within a quarter of the settle time is new; what was changed is not.
    let _operator = own::start(&scene, &[("--settle-time", "240s")]);
    let [a, one, two, three] = ids();
    let first = |meta: &str| scene.resource("one", "waf", &one, meta);
    scene.apply(&[first(""), scene.resource("three", "waf", &three, "")].join("---\n"));
    scene.apply(&scene.share("waf", &[&a], &[&two], ""));
    scene.wait_ready("share", "waf");
    scene.wait_state("all resources", |shares| has(&shares[0], &[&a], &[&one, &two, &three]));
    scene.wait_ready("shareresource", "one");
    scene.apply(&first("meta: {mode: log}"));
    scene.wait_state("the changed resource", |shares| {
        shares[0].live_resources().iter().any(|row| row.resource_id == one && row.meta["mode"] == "log")
    });
    scene.kubectl(&["delete", "shareresource", "three", "--wait=false"]);
    scene.apply(&scene.share("waf", &[&a], &[], ""));
    scene.wait_state("two of three resources gone", |shares| has(&shares[0], &[&a], &[&one]));
}

fn restarts(world: &World) {
    let scene = world.own_scene();
    let (many, [x]) = (accounts(20), ids());
    let mut operator = own::start(&scene, &[]);
    with_objects(&scene, &scene.share("waf", &[], &[&x], ""), &many);
    let mut calls = 0;
    for round in 0..4 {
        let names: Vec<String> = (0..5).map(|n| format!("r-{}", round * 5 + n)).collect();
        let mut args = vec!["delete", "sharerecipient", "--wait=false"];
        args.extend(names.iter().map(String::as_str));
        scene.kubectl(&args);
        if round == 0 {
            scene.wait("five removals", || deletes(&scene) == 5);
        } else {
            blocked(&scene, "sharerecipient", &names[0]);
        }
        calls = deletes(&scene);
        own::crash(operator);
        operator = own::start(&scene, &[]);
    }
    sweeps(&scene, 2);
    assert_eq!((calls, deletes(&scene)), (5, 5), "{:#?}", scene.changes());
    assert_eq!(scene.only().live_recipients().len(), 15);
    // The share says so as well, with the command that confirms; then all go.
    let share = blocked(&scene, "share", "waf");
    confirm(&scene, &share);
    scene.wait_state("nobody left", |shares| shares[0].live_recipients().is_empty());
}

fn together(world: &World) {
    let scene = world.scene();
    let (many, [one, two, three, x]) = (accounts(20), ids());
    scene.apply(&scene.share("waf", &strs(&many), &[&x], "maxRemovals: 4"));
    for (name, id) in [("one", &one), ("two", &two), ("three", &three)] {
        scene.apply(&scene.recipient(name, "waf", id, ""));
        scene.wait_ready("sharerecipient", name);
    }
    scene.apply(&scene.share("waf", &strs(&many[3..]), &[&x], "maxRemovals: 4"));
    scene.wait("three removals", || deletes(&scene) == 3);
    scene.kubectl(&["delete", "sharerecipient", "one", "--timeout=60s"]);
    assert_eq!(deletes(&scene), 4);
    scene.delete("sharerecipient", "two");
    let child = blocked(&scene, "sharerecipient", "two");
    assert!(message(&child).contains("4 in the last 10 minutes"), "{child:#}");
    scene.apply(&scene.share("waf", &strs(&many[4..]), &[&x], "maxRemovals: 4"));
    let share = scene.wait_for("share", "waf", "counted both", |share| message(share).starts_with("2 of 23 "));
    scene.wait_sweep();
    assert_eq!(deletes(&scene), 4);
    confirm(&scene, &share);
    scene.wait_gone("sharerecipient", "two");
    scene.wait("the removals that were confirmed", || deletes(&scene) == 6);
}

fn told(world: &World) {
    let scene = world.scene();
    let [a, b, c, x] = ids();
    let entry = |id: &str, name: &str| format!("{{accountID: {id}, name: {name}}}");
    let share = |entries: &[String]| {
        let head = scene.head("Share", "waf");
        format!(
            "{head}spec:\n  accountID: {}\n  maxRemovals: 1\n  recipients: [{}]\n  resources: [{{type: custom-ruleset, \
             id: {x}}}]\n",
            scene.account,
            entries.join(", ")
        )
    };
    scene.apply(&share(&[entry(&a, "shop"), entry(&b, "bank"), entry(&c, "mail")]));
    scene.wait_ready("share", "waf");
    scene.apply(&share(&[entry(&b, "bank"), entry(&c, "mail")]));
    scene.wait("the removal", || deletes(&scene) == 1);
    scene.wait_ready("share", "waf");
    scene.apply(&share(&[entry(&b, "bank")]));
    let object = blocked(&scene, "share", "waf");
    assert_eq!(
        message(&object),
        format!(
            "1 of 3 recipients would lose the share, in addition to 1 in the last 10 minutes; only 1 recipient \
             may be removed within 10 minutes without confirmation (spec.maxRemovals: 1), so these are kept for now: \
             recipient mail ({c}). To remove them: kubectl annotate shares.cfshare.dev waf -n {} \
             cfshare.dev/confirm-removals={} --overwrite; to keep them, declare them again",
            scene.namespace, object["metadata"]["generation"],
        )
    );
}

fn said_once(world: &World) {
    let scene = world.own_scene();
    let (many, [x, y]) = (accounts(8), ids());
    let operator = own::start(&scene, &[]);
    let all: Vec<&str> = many.iter().map(String::as_str).chain([y.as_str()]).collect();
    scene.apply(&scene.share("waf", &all, &[&x], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&y], &[&x], ""));
    let before = blocked(&scene, "share", "waf");
    own::crash(operator);
    let _operator = own::start(&scene, &[]);
    sweeps(&scene, 2);
    let after = scene.get("share", "waf").expect("the Share");
    assert_eq!(before["status"]["conditions"], after["status"]["conditions"]);
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
}

fn kept_one_by_one(world: &World) {
    let scene = world.own_scene();
    let (many, [x, y]) = (accounts(8), ids());
    let operator = own::start(&scene, &[]);
    with_objects(&scene, &scene.share("waf", &[&y], &[&x], ""), &many);
    // A row that the operator has just made counts as one that replaces another: after a restart it has made none.
    own::crash(operator);
    let _operator = own::start(&scene, &[]);
    sweeps(&scene, 2);
    let names: Vec<String> = (0..8).map(|n| format!("r-{n}")).collect();
    let deleted = names.iter().map(String::as_str);
    scene.kubectl(&["delete", "sharerecipient", "--wait=false"].into_iter().chain(deleted).collect::<Vec<_>>());
    let eight = |object: &Value| message(object).starts_with("8 of 9 recipients would lose the share; only 4 ");
    let share = scene.wait_for("share", "waf", "said that eight recipients wait", eight);
    assert!(
        message(&share).ends_with("to keep them, set deletionPolicy: Retain on the objects that are being deleted")
    );
    let keep = |name: &String| {
        let retain = r#"{"spec":{"deletionPolicy":"Retain"}}"#;
        scene.kubectl(&["patch", "sharerecipient", name, "--type=merge", "-p", retain]);
        scene.wait_gone("sharerecipient", name);
    };
    names[..6].iter().for_each(keep);
    let two =
        |object: &Value| message(object).starts_with("2 of 9 recipients would lose the share (8 until some were kept)");
    scene.wait_for("share", "waf", "said that two recipients still wait", two);
    scene.wait_sweep();
    names[6..].iter().for_each(keep);
    let share = scene.wait_ready("share", "waf");
    assert_eq!(share["status"]["recentRemovals"], Value::Null);
    assert_eq!(deletes(&scene), 0);
}

fn confirmed_once(world: &World) {
    let scene = world.scene();
    let (many, [x, y]) = (accounts(8), ids());
    with_objects(&scene, &scene.share("waf", &[&y], &[&x], "maxRemovals: 0"), &many);
    scene.kubectl(&["delete", "sharerecipient", "r-0", "r-1", "r-2", "r-3", "--wait=false"]);
    let four = |object: &Value| message(object).starts_with("4 of ");
    let share = scene.wait_for("share", "waf", "said that four recipients wait", four);
    let generation = share["metadata"]["generation"].to_string();
    // As Flux does: the annotation is taken away before anything was done.
    confirm(&scene, &share);
    scene.annotate("share", "waf", "cfshare.dev/confirm-removals-");
    for n in 0..4 {
        scene.wait_gone("sharerecipient", &format!("r-{n}"));
    }
    let share = scene.wait_ready("share", "waf");
    assert_eq!(share["status"]["confirmedRemovals"]["generation"].to_string(), generation);
    // What was confirmed is done: the same word says nothing about the next removals.
    scene.annotate("share", "waf", &format!("cfshare.dev/confirm-removals={generation}"));
    scene.delete("sharerecipient", "r-4");
    let share = blocked(&scene, "share", "waf");
    blocked(&scene, "sharerecipient", "r-4");
    scene.wait_sweep();
    assert_eq!(deletes(&scene), 4);
    confirm(&scene, &share);
    scene.wait_gone("sharerecipient", "r-4");
}

fn joined(world: &World) {
    let scene = world.scene();
    let (many, [x, y]) = (accounts(6), ids());
    with_objects(&scene, &scene.share("waf", &[&y], &[&x], "maxRemovals: 0"), &many);
    let away = Action::StatusBefore { status: 503, body: ErrorBody::Json, code: None, retry_after: None };
    let rule = Rule::always("DELETE", "/accounts/*/shares/*/recipients/*", away).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.kubectl(&["delete", "sharerecipient", "r-0", "r-1", "--wait=false"]);
    let two = |object: &Value| message(object).starts_with("2 of ");
    let share = scene.wait_for("share", "waf", "said that two recipients wait", two);
    confirm(&scene, &share);
    let open = |object: &Value| object["status"]["confirmedRemovals"]["open"] == true;
    scene.wait_for("share", "waf", "recorded the confirmation", open);
    scene.kubectl(&["delete", "sharerecipient", "r-2", "r-3", "--wait=false"]);
    blocked(&scene, "sharerecipient", "r-3");
    let two_more = |object: &Value| {
        let others = many[2..4].iter().all(|id| message(object).contains(id));
        message(object).starts_with("2 of ") && others
    };
    let share = scene.wait_for("share", "waf", "said that two others wait", two_more);
    world.simulator.remove_fault(rule);
    scene.wait_gone("sharerecipient", "r-0");
    scene.wait_gone("sharerecipient", "r-1");
    scene.wait_sweep();
    let receives = |n: usize| scene.only().live_recipients().iter().any(|row| row.account_id == many[n]);
    assert_eq!([0, 1, 2, 3].map(receives), [false, false, true, true]);
    confirm(&scene, &share);
    scene.wait_gone("sharerecipient", "r-2");
    scene.wait_gone("sharerecipient", "r-3");
}

fn excluded(world: &World) {
    let scene = world.scene();
    let ([organization, x], many) = (ids(), accounts(10));
    let members: Vec<&str> = std::iter::once(scene.account.as_str()).chain(strs(&many)).collect();
    world.simulator.organization(&organization, &members);
    let share = |excluded: &[String]| {
        let list: Vec<String> = excluded.iter().map(|id| format!("{{accountID: {id}}}")).collect();
        let more = format!("organization: {{id: {organization}, excluded: [{}]}}", list.join(", "));
        scene.share("waf", &[], &[&x], &more)
    };
    // Whom the manifest excluded from the start loses nothing.
    scene.apply(&share(&many[..6]));
    scene.wait_ready("share", "waf");
    assert_eq!(scene.only().excluded.len(), 6);
    scene.apply(&share(&many[..9]));
    let object = blocked(&scene, "share", "waf");
    assert!(message(&object).starts_with("3 of 4 recipients would lose the share"), "{object:#}");
    assert!(message(&object).ends_with("to keep them, take them out of spec.organization.excluded"), "{object:#}");
    sweeps(&scene, 2);
    assert_eq!(scene.only().excluded.len(), 6);
    scene.apply(&share(&many[..8]));
    scene.wait_state("two more", |shares| shares[0].excluded.len() == 8);
    // To exclude nobody any more takes nothing away.
    scene.apply(&share(&[]));
    scene.wait_state("nobody excluded", |shares| shares[0].excluded.is_empty());
    // Who is excluded again a moment later never received it.
    sweeps(&scene, 2);
    scene.apply(&share(&many));
    let object = blocked(&scene, "share", "waf");
    confirm(&scene, &object);
    scene.wait_state("all excluded", |shares| shares[0].excluded.len() == 10);
}

fn bare_answers(world: &World) {
    let scene = world.scene();
    let (many, [x]) = (accounts(21), ids());
    scene.apply(&scene.share("waf", &strs(&many), &[&x], "maxRemovals: 100%"));
    let ready = scene.wait_ready("share", "waf");
    let fields = ["account_id", "association_status", "created", "modified", "resources"];
    let remove = fields.map(|field| format!("/result/{field}")).to_vec();
    let bare = Action::Rewrite { set: Default::default(), remove };
    let rule = Rule::always("DELETE", "/accounts/*/shares/*/recipients/*", bare).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.apply(&scene.share("waf", &strs(&many[20..]), &[&x], "maxRemovals: 100%"));
    scene.wait_state("one left", |shares| has(&shares[0], &strs(&many[20..]), &[&x]));
    scene.wait_ready("share", "waf");
    assert_eq!(world.simulator.fired(rule), 20, "{:#?}", scene.changes());
    let (entries, _) = world.cluster.audit_since(0).expect("an audit log");
    let told = entries.iter().map(|entry| &entry["responseObject"]);
    let told = told.filter(|object| object["metadata"]["uid"] == ready["metadata"]["uid"]);
    assert_eq!(told.filter(|object| object["status"]["conditions"].to_string().contains("Unavailable")).count(), 0);
}

fn end_after_create(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--settle-time", "240s")]);
    let [a, b, x] = ids();
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = Some(60_000));
    scene.apply(&format!("{}---\n{}", scene.share("waf", &[&a], &[&x], ""), scene.recipient("bee", "waf", &b, "")));
    scene.wait_state("the share with both", |shares| shares.first().is_some_and(|s| has(s, &[&a, &b], &[&x])));
    scene.delete("sharerecipient", "bee");
    scene.wait_gone("sharerecipient", "bee");
    assert!(has(&scene.only(), &[&a], &[&x]), "{:#?}", scene.changes());
}

fn asked(world: &World) {
    let scene = world.scene();
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    for annotation in ["cfshare.dev/requestedAt", "reconcile.fluxcd.io/requestedAt"] {
        let request = random_id();
        scene.annotate("share", "waf", &format!("{annotation}={request}"));
        scene.annotate("share", "waf", &format!("{annotation}-"));
        scene.wait_for("share", "waf", "was looked at on request", |share| {
            share["status"]["lastHandledReconcileAt"] == request.as_str()
        });
    }
    let time = "2026-01-01T00:00:00Z";
    scene.annotate("share", "waf", &format!("cfshare.dev/close-breaker={time}"));
    scene.annotate("share", "waf", "cfshare.dev/close-breaker-");
    scene.wait_for("share", "waf", "recorded the word", |share| share["status"]["lastCloseBreaker"] == time);
}

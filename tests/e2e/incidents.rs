//! Do the condition, the Event, the metrics and the alert, the log and the runbook say in each incident what is wrong,
//! where, and what to do?

use std::time::Duration;

use cfshare_simulator::{Action, Edit, Policy, Rule};
use cfshare_testbed::Process;

use crate::Test;
use crate::alerts::{firing, self_test};
use crate::health::{self, ALL, grant};
use crate::runbook;
use crate::scene::{Scene, World, condition, ids, message, metrics};

pub const TESTS: &[Test] = &[
    ("incidents: alerts are told by what is served", |_| self_test()),
    ("incidents: a list is emptied", emptied),
    ("incidents: the token is revoked", revoked),
    ("incidents: the token may read, but not write", may_not_write),
    ("incidents: shares vanish", vanished),
    ("incidents: no replica leads", no_leader),
    ("incidents: the watch is forbidden", no_watch),
    ("incidents: another client uses up the rate limit", throttled),
    ("incidents: a recipient fails for good", recipient_failed),
    ("incidents: a deletion does not end", stuck),
    ("incidents: an exclusion is refused", exclusion),
    ("incidents: the cluster is rebuilt", rebuilt),
    ("incidents: two writers fight", fight),
];

/// What is told of a Share called waf, or waf-0.
struct Told<'a> {
    reason: &'a str,
    alert: &'a str,
    /// What the message names: what is affected, and what to do.
    message: &'a [&'a str],
    /// Other Shares that say the same.
    others: &'a [&'a str],
}

fn check(scene: &Scene<'_>, operator: &Process, name: &str, told: &Told<'_>) {
    let Told { reason, alert, .. } = told;
    let stalled = |share: &serde_json::Value| {
        condition(share, "Ready").is_some_and(|ready| ready["reason"] == *reason && ready["status"] != "True")
            && condition(share, "Stalled").is_some()
    };
    let share = scene.wait_for("share", name, &format!("needed somebody because of {reason}"), stalled);
    let text = message(&share);
    for part in told.message {
        assert!(text.contains(part), "{reason} does not say {part}: {text}");
    }
    // Where all Shares of an account say the same, one Event does.
    let names = std::iter::once(name).chain(told.others.iter().copied());
    let named =
        |(event, note): &(String, String)| event == reason && told.message.iter().all(|part| note.contains(part));
    scene.wait("an Event", || names.clone().any(|name| scene.events(name).iter().any(named)));
    let object = format!("pass{{object=Share {}/{name} ", scene.namespace);
    let logged = |line: &str| line.contains(&object) && line.contains("not Ready: ") && line.contains(reason);
    scene.wait(&format!("a line about {object} in the log"), || operator.log().lines().any(logged));
    let about =
        [("share", name), ("share_namespace", &scene.namespace), ("account", &scene.account), ("reason", reason)];
    alerted(scene, operator, alert, &about);
    in_runbook(scene, name, reason);
}

/// The alert's expression becomes true, with these labels as far as it has them, and it says where to look.
fn alerted(scene: &Scene<'_>, operator: &Process, alert: &str, about: &[(&str, &str)]) {
    let fires = || {
        firing(alert, &metrics(&operator.log())).into_iter().find(|firing| {
            let named = about.iter().filter_map(|(name, value)| Some(firing.labels.get(*name)? == value));
            named.clone().all(|same| same) && named.count() >= about.len().min(1)
        })
    };
    scene.wait(&format!("{alert} is due: {}", metrics(&operator.log())), || fires().is_some());
    let said = fires().map(|firing| firing.said).unwrap_or_default();
    assert!(!said.contains("{{"), "{alert}: {said}");
    assert!(!runbook::commands(alert, "Look").is_empty(), "{alert} says nowhere to look");
}

/// The page of the reason says what to do, and its commands that look can be pasted.
fn in_runbook(scene: &Scene<'_>, name: &str, reason: &str) {
    for block in runbook::commands(reason, "Look") {
        let (fine, said) = runbook::paste(scene, name, &scene.token, &block);
        assert!(fine && !said.trim().is_empty(), "{reason}: {block}\n{said}");
    }
    let what = runbook::section(reason, "Do");
    assert!(what.split_whitespace().count() > 8, "{reason}: {what}");
}

fn shared<'w>(world: &'w World) -> (Scene<'w>, &'w Process) {
    (world.scene(), &world.operator)
}

fn emptied(world: &World) {
    let (scene, operator) = shared(world);
    let [one, two, three, first] = ids();
    scene.apply(&scene.share("waf", &[&one, &two, &three], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[], &[&first], ""));
    let told = Told {
        reason: "RemovalBlocked",
        alert: "CfshareRemovalsBlocked",
        message: &[&one, &two, &three, "kubectl annotate", "cfshare.dev/confirm-removals="],
        others: &[],
    };
    check(&scene, operator, "waf", &told);
}

fn revoked(world: &World) {
    let (scene, operator) = shared(world);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    world.simulator.token(&scene.token, Policy { revoked: true, ..Policy::default() });
    let told = Told {
        reason: "Denied",
        alert: "CfshareCredentialsFail",
        message: &[&scene.account, "cloudflare-credentials", "token"],
        others: &[],
    };
    check(&scene, operator, "waf", &told);
}

fn may_not_write(world: &World) {
    let (scene, operator) = shared(world);
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    world.simulator.token(&scene.token, Policy { read_only: true, ..Policy::default() });
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    let told = Told {
        reason: "Denied",
        alert: "CfshareCredentialsFail",
        message: &[&scene.account, "cloudflare-credentials", "edit Resource Sharing"],
        others: &[],
    };
    check(&scene, operator, "waf", &told);
}

fn vanished(world: &World) {
    let (scene, operator) = shared(world);
    for name in ["waf-0", "waf-1", "waf-2", "waf-3"] {
        let [one, first] = ids();
        scene.apply(&scene.share(name, &[&one], &[&first], ""));
        scene.wait_ready("share", name);
    }
    world.simulator.edit(Edit::DeleteAll { account: scene.account.clone() }).expect("an edit");
    let told = Told {
        reason: "BreakerOpen",
        alert: "CfshareBreakerOpen",
        message: &[&scene.account, "token", "kubectl annotate", "cfshare.dev/close-breaker"],
        others: &["waf-1", "waf-2", "waf-3"],
    };
    check(&scene, operator, "waf-0", &told);
}

fn throttled(world: &World) {
    let scene = world.own_scene();
    let operator = scene.operator(&[]);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let throttle = Action::Throttle { retry_after: None, code: Some(10100) };
    world.simulator.fault(Rule::always("GET", "*", throttle).account(&scene.account));
    let share = scene.wait_reason("share", "waf", "Throttled");
    let text = message(&share);
    assert!(text.contains(&scene.account) && text.contains("since"), "{text}");
    alerted(&scene, &operator, "CfshareThrottled", &[]);
    let about = [("share_namespace", scene.namespace.as_str()), ("account", &scene.account)];
    alerted(&scene, &operator, "CfshareCredentialsFail", &about);
    in_runbook(&scene, "waf", "Throttled");
    let logged = |line: &str| line.contains(&scene.account) && line.contains("429");
    scene.wait("a line in the log", || operator.log().lines().any(logged));
}

fn recipient_failed(world: &World) {
    let (scene, operator) = shared(world);
    let [one, failing, other, first] = ids();
    for id in [&failing, &other] {
        world.simulator.account(id, |account| account.entitled = false);
    }
    scene.apply(&scene.share("waf", &[&one, &failing, &other], &[&first], ""));
    let both = |share: &serde_json::Value| message(share).contains(" (and 1 more, see status.exceptions). ");
    let text = message(&scene.wait_for("share", "waf", "told of both", both));
    let failing = [failing, other].into_iter().find(|id| text.contains(id)).expect("one is named");
    let told = Told {
        reason: "RecipientFailed",
        alert: "CfshareShareNotReady",
        message: &[&failing, "kubectl annotate", "cfshare.dev/requestedAt"],
        others: &[],
    };
    check(&scene, operator, "waf", &told);
    // The command is the end of the message.
    let command = text.split("then run: ").nth(1).expect("a command");
    let (fine, said) = runbook::paste(&scene, "waf", &scene.token, command);
    assert!(fine, "{command}: {said}");
}

fn stuck(world: &World) {
    let (scene, operator) = shared(world);
    let [one, first] = ids();
    world.simulator.delays(Some(&scene.account), |delays| delays.delete_share_ms = None);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let share = scene.only().id;
    scene.delete("share", "waf");
    let told = Told {
        reason: "Deleting",
        alert: "CfshareShareNotReady",
        message: &[&share, &scene.account, "may still receive it", "kubectl patch", "\"deletionPolicy\":\"Retain\""],
        others: &[],
    };
    check(&scene, operator, "waf", &told);
    let text = message(&scene.get("share", "waf").expect("it is there"));
    let command = text.split("without waiting: ").nth(1).expect("a command");
    let (fine, said) = runbook::paste(&scene, "waf", &scene.token, command);
    assert!(fine, "{command}: {said}");
    scene.wait_gone("share", "waf");
}

fn exclusion(world: &World) {
    let (scene, operator) = shared(world);
    let [organization, one, two, first] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one, &two]);
    let path = "/accounts/*/shares/*/excluded-recipients";
    world.simulator.fault(Rule::always("POST", path, Action::Forbidden {}).account(&scene.account));
    let more = format!("organization: {{id: {organization}, excluded: [{{accountID: {two}}}]}}");
    scene.apply(&scene.share("waf", &[], &[&first], &more));
    let told = Told {
        reason: "ExclusionsNotInForce",
        alert: "CfshareExclusionsNotInForce",
        message: &[&two, "10000", "kubectl annotate"],
        others: &[],
    };
    check(&scene, operator, "waf", &told);
}

fn rebuilt(world: &World) {
    let (scene, operator) = shared(world);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "deletionPolicy: Retain"));
    scene.wait_ready("share", "waf");
    scene.delete("share", "waf");
    scene.wait_gone("share", "waf");
    let share = scene.only().id;
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let told = Told { reason: "NameTaken", alert: "CfshareShareNotReady", message: &[&share, "shareID"], others: &[] };
    check(&scene, operator, "waf", &told);
    assert_eq!(scene.only().id, share);
}

fn fight(world: &World) {
    let scene = world.own_scene();
    // What it counts, it counts of this test alone.
    let operator = scene.operator(&[]);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let share = scene.only().id;
    let rename = || Edit::Rename { share: share.clone(), name: "somebody else's".into() };
    for _ in 0..2 {
        world.simulator.edit(rename()).expect("an edit");
        scene.wait_state("it put right", |shares| shares[0].name == "waf");
        scene.wait_ready("share", "waf");
    }
    world.simulator.edit(rename()).expect("an edit");
    let told = Told {
        reason: "NotConverging",
        alert: "CfshareShareNotReady",
        message: &["name", "twice", "kubectl annotate"],
        others: &[],
    };
    check(&scene, &operator, "waf", &told);
    let served = metrics(&operator.log());
    assert!(served.lines().any(|line| line == "cfshare_drift_corrections_total 2"), "{served}");
}

/// An operator with a ServiceAccount that may do no more than this.
fn limited(scene: &Scene<'_>, verbs: &str, lease: bool) -> Process {
    let kubeconfig = health::account(scene, "limited");
    grant(scene, &scene.namespace, "limited", verbs, lease);
    let flags = [("--lease-namespace", scene.namespace.as_str())];
    let mut command = health::command(scene, &kubeconfig, &scene.namespace, &flags);
    command.arg("--leader-elect");
    health::start(scene, "operator.log", command)
}

fn no_leader(world: &World) {
    let scene = world.own_scene();
    let operator = limited(&scene, ALL, false);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let said = format!("not allowed to read or renew the Lease {}/cfshare", scene.namespace);
    assert!(operator.logs(&said, Duration::from_secs(60)), "{}", operator.log());
    alerted(&scene, &operator, "CfshareNoLeader", &[]);
    alerted(&scene, &operator, "CfshareLeaseFails", &[]);
    assert!(!runbook::section("CfshareNoLeader", "Do").is_empty());
    let ran = crate::cli::cfshare(&scene, &["matrix", "--lease-namespace", &scene.namespace]);
    assert!(ran.code == 3 && ran.out.starts_with("WARNING: there is no Lease "), "{}", ran.out);
    assert!(ran.out.contains("cfshare has not written any status yet"), "{}", ran.out);
}

fn no_watch(world: &World) {
    let scene = world.own_scene();
    let operator = limited(&scene, "get, list, patch", true);
    let namespace = [("watched_namespace", scene.namespace.as_str()), ("kind", "Share")];
    alerted(&scene, &operator, "CfshareWatchFails", &namespace);
    alerted(&scene, &operator, "CfshareNamespaceNotServed", &namespace);
    let log = operator.log();
    assert!(log.contains("is not allowed to list and watch") && log.contains(&scene.namespace), "{log}");
    assert!(!runbook::section("CfshareWatchFails", "Do").is_empty());
}

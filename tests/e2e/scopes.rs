//! What an operator knows of the objects that it does not see: not listed yet, out of its scope, or gone.

use std::time::Duration;

use cfshare_testbed::Process;
use serde_json::Value;

use crate::Test;
use crate::expect::{self, has};
use crate::interceptor::{Fault, Interceptor};
use crate::own;
use crate::quiet::writes;
use crate::scene::{Scene, World, condition, ids, is_ready, message, metrics};

pub const TESTS: &[Test] = &[
    ("scopes: restarts with one namespace change and write nothing", restarts_of_one),
    ("scopes: twenty restarts with two namespaces change and write nothing", restarts_of_two),
    ("scopes: twenty restarts with four namespaces change and write nothing", restarts_of_four),
    ("scopes: restarts with eight namespaces change and write nothing", restarts_of_eight),
    ("scopes: an object whose label is taken off keeps its row, and the Share names it", labels_taken_off),
    ("scopes: a selector that only the Shares carry removes nothing", only_shares_carry),
    ("scopes: an object is deleted out of scope, and its row goes once it is back", deleted_out_of_scope),
    ("scopes: the row of an object that is gone for good is removed", gone_out_of_scope),
    ("scopes: a Share whose label is taken off is left alone, and its objects are looked after", share_out_of_scope),
    (
        "scopes: the commands call a Share whose label is taken off unknown, since nobody reconciles it",
        out_of_scope_is_told,
    ),
    ("scopes: a row goes to an object that is out of scope", heir_out_of_scope),
    ("scopes: rows are removed though it takes long to list what is out of scope", slow_lists),
    ("scopes: a deletion that the API server forbids to finish is told", forbidden_deletion),
    ("scopes: a status that the API server refuses is told, and written once it is accepted", refused_status),
    (
        "scopes: a finalizer that a webhook takes off or puts back is told, and nothing is left behind",
        finalizer_stripped,
    ),
];

const QUICK: (&str, &str) = ("--sweep-interval", "500ms");

/// Shares whose rows come from the Share and from objects, one of them with pruning.
struct Corner<'w> {
    scene: Scene<'w>,
    recipients: [String; 2],
    resources: [String; 2],
}

const SHARES: [(&str, &str); 2] = [("pruned", "prune: true"), ("plain", "")];

impl<'w> Corner<'w> {
    fn furnish(world: &'w World) -> Corner<'w> {
        let scene = world.own_scene();
        let (recipients, resources): ([String; 2], [String; 2]) = (ids(), ids());
        for (name, more) in SHARES {
            scene.apply(&format!(
                "{}---\n{}---\n{}",
                scene.share(name, &[&recipients[0]], &[&resources[0]], more),
                scene.recipient(&format!("{name}-account"), name, &recipients[1], ""),
                scene.resource(&format!("{name}-rules"), name, &resources[1], ""),
            ));
        }
        Corner { scene, recipients, resources }
    }

    fn wait_ready(&self) {
        for (name, _) in SHARES {
            self.scene.wait_ready("share", name);
            self.scene.wait_ready("sharerecipient", &format!("{name}-account"));
            self.scene.wait_ready("shareresource", &format!("{name}-rules"));
        }
    }

    fn is_whole(&self) -> bool {
        let [one, two] = self.recipients.each_ref().map(String::as_str);
        let [first, second] = self.resources.each_ref().map(String::as_str);
        let live = self.scene.live();
        live.len() == SHARES.len() && live.iter().all(|share| has(share, &[one, two], &[first, second]))
    }
}

/// Kills an operator of so many namespaces and starts it again, and expects that nobody can tell.
fn restart(world: &World, namespaces: usize, times: usize) {
    let corners: Vec<Corner> = (0..namespaces).map(|_| Corner::furnish(world)).collect();
    let names: Vec<&str> = corners.iter().map(|corner| corner.scene.namespace.as_str()).collect();
    let names = names.join(",");
    let first = &corners[0].scene;
    let mut operator = own::across(first, &names, &[QUICK]);
    corners.iter().for_each(Corner::wait_ready);
    corners.iter().for_each(|corner| expect::sweeps(&corner.scene, 2));
    let (_, mark) = writes(first, 0);
    let before: Vec<usize> = corners.iter().map(|corner| corner.scene.changes().len()).collect();
    for _ in 0..times {
        own::crash(operator);
        operator = own::across(first, &names, &[QUICK]);
        corners.iter().for_each(|corner| expect::sweeps(&corner.scene, 2));
        for (corner, before) in corners.iter().zip(&before) {
            assert_eq!(corner.scene.changes_since(*before), [""; 0]);
        }
    }
    for corner in &corners {
        assert_eq!(writes(&corner.scene, mark).0, Vec::<Value>::new());
        assert!(corner.is_whole(), "{:#?}", corner.scene.live());
    }
    // Objects that came with the last start are still looked after: what others take away comes back.
    for Corner { scene, recipients, .. } in &corners {
        let share = scene.live().into_iter().find(|share| share.name == "pruned").expect("it is there");
        let row = share.live_recipients().into_iter().find(|row| row.account_id == recipients[1]).expect("its row");
        let path = format!("accounts/{}/shares/{}/recipients/{}", scene.account, share.id, row.id);
        let url = format!("{}/{path}", world.simulator.base_url());
        world.call_cloudflare("DELETE", &url, &scene.token, &Value::Null);
    }
    for corner in &corners {
        corner.scene.wait("the row that was taken away", || corner.is_whole());
    }
}

fn restarts_of_one(world: &World) {
    restart(world, 1, 5);
}

fn restarts_of_two(world: &World) {
    restart(world, 2, 20);
}

fn restarts_of_four(world: &World) {
    restart(world, 4, 20);
}

fn restarts_of_eight(world: &World) {
    restart(world, 8, 5);
}

/// The label that brings objects into scope, beside the one that keeps other operators away.
const TEAM: (&str, &str) = ("--watch-label-selector", "cfshare-test-own=true,team=waf");

fn label(scene: &Scene, kind: &str, name: &str, label: &str) {
    scene.kubectl(&["label", "--overwrite", kind, name, label]);
}

/// A Share with pruning, and an object for a second recipient and a second resource.
fn labelled<'w>(world: &'w World, more: &str) -> (Scene<'w>, Process, [String; 4]) {
    let scene = world.own_scene();
    let [one, two, first, second] = ids();
    let operator = own::start(&scene, &[QUICK, TEAM]);
    let yaml = format!(
        "{}---\n{}---\n{}",
        scene.share("waf", &[&one], &[&first], more),
        scene.recipient("two", "waf", &two, ""),
        scene.resource("second", "waf", &second, ""),
    );
    scene.apply(&yaml.replace("labels: {", "labels: {team: waf, "));
    for (kind, name) in [("share", "waf"), ("sharerecipient", "two"), ("shareresource", "second")] {
        scene.wait_ready(kind, name);
    }
    expect::sweeps(&scene, 2);
    (scene, operator, [one, two, first, second])
}

fn whole(scene: &Scene, [one, two, first, second]: &[String; 4]) -> bool {
    has(&scene.only(), &[one, two], &[first, second])
}

fn labels_taken_off(world: &World) {
    for more in ["prune: true", "prune: false"] {
        let (scene, operator, ids) = labelled(world, more);
        let before = scene.changes().len();
        label(&scene, "sharerecipient", "two", "team-");
        let share = scene.wait_reason("share", "waf", "OutOfScope");
        let text = message(&share);
        let command = format!("kubectl label sharerecipients.cfshare.dev two -n {}", scene.namespace);
        assert!(text.contains("ShareRecipient two") && text.contains(&command), "{text}");
        assert!(condition(&share, "Stalled").is_some(), "{share:#}");
        expect::sweeps(&scene, 4);
        own::crash(operator);
        let _operator = own::start(&scene, &[QUICK, TEAM]);
        expect::sweeps(&scene, 4);
        assert_eq!(scene.changes_since(before), [""; 0], "{more}");
        assert!(whole(&scene, &ids));
        let share = scene.ask("share", "waf");
        assert_eq!(message(&share), text);
        label(&scene, "sharerecipient", "two", "team=waf");
        scene.wait_ready("share", "waf");
        scene.wait_ready("sharerecipient", "two");
        assert_eq!(scene.changes_since(before), [""; 0], "{more}");
        // It is looked after as before.
        scene.delete("sharerecipient", "two");
        scene.wait_gone("sharerecipient", "two");
        assert_eq!(scene.changes_since(before).len(), 1);
    }
}

fn only_shares_carry(world: &World) {
    for more in ["prune: true", "prune: false"] {
        let (scene, operator, ids) = labelled(world, more);
        let before = scene.changes().len();
        own::crash(operator);
        label(&scene, "share", "waf", "tier=one");
        let selector = ("--watch-label-selector", "cfshare-test-own=true,tier=one");
        let operator = own::start(&scene, &[QUICK, selector]);
        if more == "prune: true" {
            let text = message(&scene.wait_reason("share", "waf", "OutOfScope"));
            assert!(text.contains("ShareRecipient two, ShareResource second do not match"), "{text}");
        }
        expect::sweeps(&scene, 4);
        assert_eq!(scene.changes_since(before), [""; 0], "{more}");
        assert!(whole(&scene, &ids));
        // A look that somebody asks for tells of them, whatever was told before.
        let share = scene.ask("share", "waf");
        assert!(!is_ready(&share) && message(&share).contains("ShareRecipient two"), "{share:#}");
        own::crash(operator);
        let _operator = own::start(&scene, &[QUICK, TEAM]);
        scene.wait_ready("share", "waf");
        assert_eq!(scene.changes_since(before), [""; 0], "{more}");
    }
}

fn deleted_out_of_scope(world: &World) {
    let (scene, _operator, ids) = labelled(world, "prune: true");
    let before = scene.changes().len();
    label(&scene, "sharerecipient", "two", "team-");
    scene.wait_reason("share", "waf", "OutOfScope");
    scene.delete("sharerecipient", "two");
    scene.ask("share", "waf");
    expect::sweeps(&scene, 4);
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert!(whole(&scene, &ids));
    label(&scene, "sharerecipient", "two", "team=waf");
    scene.wait_gone("sharerecipient", "two");
    scene.wait_ready("share", "waf");
    assert_eq!(scene.changes_since(before).len(), 1, "{:?}", scene.changes_since(before));
    assert!(has(&scene.only(), &[&ids[0]], &[&ids[2], &ids[3]]));
}

fn gone_out_of_scope(world: &World) {
    let (scene, _operator, ids) = labelled(world, "prune: true");
    let before = scene.changes().len();
    label(&scene, "sharerecipient", "two", "team-");
    scene.wait_reason("share", "waf", "OutOfScope");
    scene.delete("sharerecipient", "two");
    scene.ask("share", "waf");
    expect::sweeps(&scene, 4);
    assert_eq!(scene.changes_since(before), [""; 0]);
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    scene.kubectl(&["patch", "sharerecipient", "two", "--type=merge", "-p", patch]);
    scene.wait_gone("sharerecipient", "two");
    // Nobody declares it any more, and the Share prunes, without being asked to.
    scene.wait_ready("share", "waf");
    assert_eq!(scene.changes_since(before).len(), 1, "{:?}", scene.changes_since(before));
    assert!(has(&scene.only(), &[&ids[0]], &[&ids[2], &ids[3]]));
}

fn share_out_of_scope(world: &World) {
    let (scene, _operator, ids) = labelled(world, "prune: true");
    let before = scene.changes().len();
    label(&scene, "share", "waf", "team-");
    expect::sweeps(&scene, 4);
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert!(whole(&scene, &ids));
    assert!(is_ready(&scene.get("shareresource", "second").expect("it is there")));
    // The Share, though out of scope, declares the recipient that the object declares, too: the row is not removed.
    let both = scene.share("waf", &[&ids[0], &ids[1]], &[&ids[2]], "prune: true");
    scene.apply(&both);
    scene.delete("sharerecipient", "two");
    scene.wait_gone("sharerecipient", "two");
    assert_eq!(scene.changes_since(before), [""; 0]);
    // What only the object declares goes with it.
    scene.delete("shareresource", "second");
    scene.wait_gone("shareresource", "second");
    assert_eq!(scene.changes_since(before).len(), 1, "{:?}", scene.changes_since(before));
    // An object that comes meanwhile says why nothing is shared through its Share.
    scene.apply(&scene.share("new", &[], &[&ids[2]], ""));
    let three = scene.recipient("three", "new", &ids[1], "");
    scene.apply(&three.replace("labels: {", "labels: {team: waf, "));
    let text = message(&scene.wait_reason("sharerecipient", "three", "WaitingForShare"));
    assert!(text.contains(&format!("kubectl label shares.cfshare.dev new -n {}", scene.namespace)), "{text}");
    label(&scene, "share", "waf", "team=waf");
    scene.wait_ready("share", "waf");
    assert!(has(&scene.only(), &[&ids[0], &ids[1]], &[&ids[2]]));
    assert_eq!(scene.changes_since(before).len(), 1, "{:?}", scene.changes_since(before));
}

fn out_of_scope_is_told(world: &World) {
    let scene = world.own_scene();
    let lease = [
        ("--leader-elect", ""),
        ("--lease-namespace", scene.namespace.as_str()),
        ("--lease-duration", "4s"),
        ("--call-timeout", "2s"),
    ];
    let _operator = own::start(&scene, &[&[QUICK, TEAM][..], &lease].concat());
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "").replace("labels: {", "labels: {team: waf, "));
    scene.wait_ready("share", "waf");
    let told = |command: &[&str]| {
        let ran = crate::cli::cfshare(&scene, &[command, &["--lease-namespace", &scene.namespace]].concat());
        (ran.code, ran.out)
    };
    assert_eq!(told(&["status"]).0, 0);
    scene.wait("the sweep is announced", || told(&["matrix"]).0 == 0);
    label(&scene, "share", "waf", "team-");
    let why = format!("not reconciled by this cfshare, which watches only objects with the labels {}", TEAM.1);
    for (command, code) in [(&["status"][..], 2), (&["status", "share/waf"], 2), (&["matrix"], 3)] {
        let (ended, out) = told(command);
        assert!(ended == code && out.contains(&why) && !out.contains("  True  "), "{command:?}: {ended} {out}");
    }
    let (_, out) = told(&["matrix"]);
    assert!(out.contains("  unknown  -  "), "neither associated nor verified: {out}");
    label(&scene, "share", "waf", "team=waf");
    scene.wait_ready("share", "waf");
    assert_eq!((told(&["status"]).0, told(&["matrix"]).0), (0, 0));
}

fn heir_out_of_scope(world: &World) {
    let (scene, _operator, ids) = labelled(world, "prune: true");
    let same = scene.recipient("same", "waf", &ids[1], "");
    scene.apply(&same.replace("labels: {", "labels: {team: waf, "));
    scene.wait_reason("sharerecipient", "same", "DuplicateDeclaration");
    label(&scene, "sharerecipient", "same", "team-");
    let before = scene.changes().len();
    scene.delete("sharerecipient", "two");
    scene.wait_gone("sharerecipient", "two");
    scene.wait_reason("share", "waf", "OutOfScope");
    expect::sweeps(&scene, 4);
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert!(whole(&scene, &ids));
    label(&scene, "sharerecipient", "same", "team=waf");
    scene.wait_ready("sharerecipient", "same");
    assert_eq!(scene.changes_since(before), [""; 0]);
}

fn slow_lists(world: &World) {
    let scene = world.own_scene();
    // A look takes longer than it may be old before something is removed.
    let proxy = Interceptor::start(&world.cluster, Fault::SlowLists(Duration::from_secs(6)));
    let kubeconfig = scene.file("proxy.kubeconfig");
    proxy.kubeconfig(&kubeconfig);
    let mut command = own::command(&scene, &scene.namespace, &[QUICK]);
    command.env("KUBECONFIG", &kubeconfig);
    let _operator = Process::start(command, scene.file("operator.log")).expect("the operator starts");
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.wait_ready("share", "waf");
    let before = proxy.held();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_state("one of them removed", |shares| has(&shares[0], &[&one], &[&first]));
    scene.wait_ready("share", "waf");
    assert!(proxy.held() <= before + 4, "{} lists", proxy.held() - before);
}

/// Makes the API server refuse updates of that resource in the namespace, for that reason; returns the name of the binding.
fn hold(scene: &Scene<'_>, resource: &str, reason: &str) -> String {
    let name = format!("hold-{}", scene.namespace);
    scene.apply(&format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
         matchConstraints:\n    resourceRules:\n    - {{apiGroups: [cfshare.dev], apiVersions: ['*'], \
         resources: [{resource}], operations: [UPDATE]}}\n    \
         namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {}}}}}\n  \
         validations: [{{expression: 'false', message: held, reason: {reason}}}]\n---\n\
         apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {{name: {name}}}\n\
         spec: {{policyName: {name}, validationActions: [Deny]}}\n",
        scene.namespace
    ));
    name
}

/// What the shared operator has counted so far.
fn counted(world: &World, counter: &str) -> u64 {
    let served = metrics(&world.operator.log());
    let count = served.lines().find_map(|line| line.strip_prefix(counter)?.strip_prefix(' ')).expect("a metric");
    count.parse().expect("a number")
}

const REFUSED: &str = "cfshare_requests_refused_total";
const FORBIDDEN: &str = "cfshare_deletions_forbidden_total";

fn refused_status(world: &World) {
    for reason in ["Forbidden", "Invalid"] {
        let scene = world.scene();
        let [one, another, first] = ids();
        let before = counted(world, REFUSED);
        scene.apply(&scene.share("waf", &[&one], &[&first], ""));
        scene.wait_ready("share", "waf");
        let name = hold(&scene, "shares/status", reason);
        let patch = ["patch", "share", "waf", "--subresource=status", "--type=merge", "--dry-run=server", "-p"];
        let patch = [patch.as_slice(), &[r#"{"status": {"remoteStatus": "x"}}"#]].concat();
        scene.wait("the policy is in force", || scene.try_kubectl(&patch, None).is_err());
        scene.apply(&scene.share("waf", &[&one, &another], &[&first], ""));
        let told = scene.wait_event("waf", |reason, text| reason == "RequestRefused" && text.contains("held"));
        assert_eq!(told.iter().filter(|(reason, _)| reason == "RequestRefused").count(), 1, "{told:?}");
        assert!(counted(world, REFUSED) > before);
        assert!(has(&scene.only(), &[&one], &[&first]), "what cannot be announced is not sent");
        for block in crate::runbook::commands("CfshareRequestsRefused", "Look") {
            let (fine, said) = crate::runbook::paste(&scene, "waf", &scene.token, &block);
            assert!(fine || said.trim() == "no", "{block}\n{said}");
        }
        scene.kubectl(&["delete", "validatingadmissionpolicybinding", &name]);
        scene.wait_state("both recipients", |shares| has(&shares[0], &[&one, &another], &[&first]));
        scene.wait_ready("share", "waf");
    }
}

/// Has the API server change what is written of Shares in the namespace, as a webhook may; returns how it is undone.
fn meddle(scene: &Scene<'_>, when: &str, patch: &str) -> impl Fn() {
    let name = format!("meddle-{}", scene.namespace);
    scene.apply(&format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingAdmissionPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
         failurePolicy: Fail\n  reinvocationPolicy: Never\n  matchConstraints:\n    \
         resourceRules: [{{apiGroups: [cfshare.dev], apiVersions: ['*'], resources: [shares], operations: [UPDATE]}}]\n    \
         namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {}}}}}\n  \
         matchConditions: [{{name: when, expression: \"{when}\"}}]\n  \
         mutations: [{{patchType: JSONPatch, jsonPatch: {{expression: '[JSONPatch{{{patch}}}]'}}}}]\n---\n\
         apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingAdmissionPolicyBinding\nmetadata: {{name: {name}}}\n\
         spec: {{policyName: {name}}}\n",
        scene.namespace
    ));
    let kinds = ["mutatingadmissionpolicybinding", "mutatingadmissionpolicy"];
    move || kinds.iter().for_each(|kind| drop(scene.kubectl(&["delete", kind, &name])))
}

fn finalizer_stripped(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("probe", &[], &[], ""));
    let has = "has(object.metadata.finalizers) && 'cfshare.dev/finalizer' in object.metadata.finalizers";
    let undo = meddle(&scene, has, r#"op: "remove", path: "/metadata/finalizers""#);
    let finalizers = || {
        let patch = r#"{"metadata": {"finalizers": ["cfshare.dev/finalizer"]}}"#;
        let args = ["patch", "share", "probe", "--type=merge", "--dry-run=server", "-o", "yaml", "-p", patch];
        scene.kubectl(&args).contains("cfshare.dev/finalizer")
    };
    scene.wait("the policy is in force", || !finalizers());
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_event("waf", |reason, text| reason == "RequestRefused" && text.contains("mutating webhook removes"));
    assert!(scene.live().is_empty(), "without a finalizer it would be left behind: {:#?}", scene.changes());
    undo();
    scene.wait_ready("share", "waf");
    let undo = meddle(
        &scene,
        "!has(object.metadata.finalizers)",
        r#"op: "add", path: "/metadata/finalizers", value: ["cfshare.dev/finalizer"]"#,
    );
    scene.wait("the policy is in force", || {
        let args = [
            "patch",
            "share",
            "probe",
            "--type=merge",
            "--dry-run=server",
            "-o",
            "yaml",
            "-p",
            "{\"spec\": {\"name\": \"x\"}}",
        ];
        scene.kubectl(&args).contains("cfshare.dev/finalizer")
    });
    scene.delete("share", "waf");
    scene.wait_event("waf", |reason, text| reason == "DeletionForbidden" && text.contains("puts it back"));
    undo();
    scene.wait_gone("share", "waf");
    scene.wait_nothing();
}

fn forbidden_deletion(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let before = counted(world, FORBIDDEN);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let name = hold(&scene, "shares", "Forbidden");
    let patch = ["annotate", "share", "waf", "x=y", "--dry-run=server"];
    scene.wait("the policy is in force", || scene.try_kubectl(&patch, None).is_err());
    scene.delete("share", "waf");
    let told = scene.wait_event("waf", |reason, text| reason == "DeletionForbidden" && text.contains("held"));
    assert_eq!(told.iter().filter(|(reason, _)| reason == "DeletionForbidden").count(), 1, "{told:?}");
    assert!(counted(world, FORBIDDEN) > before);
    scene.kubectl(&["delete", "validatingadmissionpolicybinding", &name]);
    scene.wait_gone("share", "waf");
    scene.wait_nothing();
}

//! The other commands of the program: what they print, what they answer, and that they change nothing.

use std::io::Write;
use std::process::{Command, Stdio};

use cfshare_simulator::{Action, Edit, Policy, Rule, Seed, SeedResource, SeedShare};
use serde_json::{Value, json};

use crate::Test;
use crate::scene::{Scene, World, condition, ids, is_ready, metrics};

pub const TESTS: &[Test] = &[
    ("cli: a plan for new manifests names the create and calls nothing", plan_new),
    ("cli: a plan for settled objects is empty", plan_settled),
    ("cli: a plan for a settled share whose target type Cloudflare leaves out is empty", plan_untold),
    ("cli: the operator makes the calls that a plan names", plan_kept),
    ("cli: a plan for an organization names nobody beside it, and the operator does the same", plan_organization),
    ("cli: a plan for files on top of the cluster names what they change", plan_on_top),
    ("cli: a plan that prunes names what goes, and the operator does the same", plan_pruned),
    ("cli: a plan that prunes says which deletions wait for a person, and that protected shares stay", plan_held),
    ("cli: a plan that cannot be carried out is an error that says why", plan_refused),
    ("cli: an import is adopted without a write", import),
    ("cli: an import as objects is adopted without a write", import_objects),
    ("cli: an import of one share prints just that one", import_one),
    ("cli: a status tells what is not in place", status),
    ("cli: the matrix tells who receives what", matrix),
    ("cli: the doctor finds what is wrong and shows no credential", doctor),
    ("cli: the doctor knows which rights the operator lacks", doctor_rights),
    ("cli: the program is a plugin of kubectl", plugin),
];

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }
}

pub fn finish(mut command: Command, input: &str) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // Who reads nothing closes it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// A program with an environment of its own, which reaches this scene's cluster and Cloudflare.
pub fn at_home(scene: &Scene, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("KUBECONFIG", scene.world.cluster.kubeconfig());
    command.env("CFSHARE_CLOUDFLARE_URL", scene.world.simulator.base_url());
    command
}

pub fn cfshare(scene: &Scene, args: &[&str]) -> Ran {
    cfshare_with(scene, args, "")
}

fn cfshare_with(scene: &Scene, args: &[&str], input: &str) -> Ran {
    let mut command = at_home(scene, env!("CARGO_BIN_EXE_cfshare"));
    command.args(args);
    let place = ["--namespace", scene.namespace.as_str()];
    if !args.contains(&"-A") {
        command.args(place);
    }
    finish(command, input)
}

/// Without a cluster, with the token in the environment.
pub fn alone(scene: &Scene, args: &[&str], input: &str) -> Ran {
    let mut command = at_home(scene, env!("CARGO_BIN_EXE_cfshare"));
    command.env_remove("KUBECONFIG").env("CLOUDFLARE_API_TOKEN", &scene.token).args(args);
    finish(command, input)
}

fn plan_new(world: &World) {
    let scene = world.own_scene();
    let [one, two, first, second] = ids();
    let head = scene.head("Share", "waf");
    let yaml = format!(
        "{head}spec:\n  accountID: {}\n  name: WAF baseline\n  recipients: [{{accountID: {one}, name: payments-prod}}]\n  \
         resources: [{{type: custom-ruleset, id: {first}}}]\n---\n{}---\n{}",
        scene.account,
        scene.recipient("two", "waf", &two, ""),
        scene.resource("second", "waf", &second, "name: rules"),
    );
    let expected = |name: &str| {
        let mut with = vec![
            format!("recipient payments-prod ({one})"),
            format!("recipient {two}"),
            format!("resource custom-ruleset/{first}"),
            format!("resource rules (custom-ruleset/{second})"),
        ];
        with.sort();
        let head = format!("Share {name} (account {})\n  + create share \"WAF baseline\"", scene.account);
        (format!("{head} with 2 recipients and 2 resources\n"), with, "\n1 call for 1 of 1 Share\n")
    };
    let check = |ran: &Ran, name: &str| {
        assert_eq!((ran.code, ran.err.as_str()), (2, ""), "{}", ran.out);
        let (head, with, end) = expected(name);
        assert!(ran.out.starts_with(&head) && ran.out.ends_with(end), "{}", ran.out);
        let mut lines: Vec<&str> = ran.out.lines().filter_map(|line| line.strip_prefix("      ")).collect();
        lines.sort_unstable();
        assert_eq!(lines, with, "{}", ran.out);
    };
    // From the standard input and from a folder, with no cluster at all.
    check(&alone(&scene, &["plan", "-f", "-"], &yaml), "default/waf");
    let folder = scene.file("manifests");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("a.yaml"), &yaml).expect("a file");
    check(&alone(&scene, &["plan", "-n", "ns", "-f", &folder.display().to_string()], ""), "ns/waf");
    let nothing = alone(&scene, &["plan", "-f", "-"], "# nothing\n---\n");
    assert!(
        nothing.code == 1 && nothing.err.contains("the files contain no Share"),
        "{} {}",
        nothing.code,
        nothing.err
    );
    // In the cluster, where no operator looks at it.
    scene.apply(&yaml);
    check(&cfshare(&scene, &["plan"]), &format!("{}/waf", scene.namespace));
    let plan = cfshare(&scene, &["plan", "-o", "json"]).json();
    assert_eq!((&plan["calls"], &plan["shares"][0]["calls"][0]["call"]), (&json!(1), &json!("createShare")));
    assert_eq!(plan["shares"][0]["calls"][0]["with"].as_array().map(Vec::len), Some(4));
    assert_eq!(scene.changes(), [""; 0]);
}

fn plan_settled(world: &World) {
    let scene = world.scene();
    let [one, two, first, second] = ids();
    scene.apply(&format!(
        "{}---\n{}---\n{}",
        scene.share("waf", &[&one], &[&first], ""),
        scene.recipient("two", "waf", &two, ""),
        scene.resource("second", "waf", &second, "meta: {a: 1, b: [x]}"),
    ));
    for (kind, name) in [("share", "waf"), ("sharerecipient", "two"), ("shareresource", "second")] {
        scene.wait_ready(kind, name);
    }
    let before = scene.changes().len();
    let ran = cfshare(&scene, &["plan"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "no calls for 1 Share\n", ""));
    assert_eq!(scene.changes().len(), before);
}

fn plan_untold(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    for path in ["/accounts/*/shares", "/accounts/*/shares/*"] {
        let remove = vec!["/result/target_type".to_owned(), "/result/0/target_type".to_owned()];
        let action = Action::Rewrite { set: Default::default(), remove };
        world.simulator.fault(Rule::always("GET", path, action).account(&scene.account));
    }
    let ran = cfshare(&scene, &["plan"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "no calls for 1 Share\n", ""));
}

fn plan_kept(world: &World) {
    let scene = world.own_scene();
    let [one, two, three, stranger, first, second, third] = ids();
    let manifest = |name: &str, recipients: &[&str], resources: &[&str], child: &str| {
        format!(
            "{}---\n{}",
            scene.share("waf", recipients, resources, &format!("name: {name}")),
            scene.resource("third", "waf", &third, child)
        )
    };
    let operator = scene.operator(&[]);
    scene.apply(&manifest("before", &[&one, &two], &[&first], "meta: {a: 1}"));
    scene.wait_ready("share", "waf");
    scene.wait_ready("shareresource", "third");
    operator.stop(crate::scene::PATIENCE);
    let share = scene.only().id;
    world.simulator.edit(Edit::RemoveRecipient { share: share.clone(), recipient: one.clone() }).expect("an edit");
    world.simulator.edit(Edit::AddRecipient { share: share.clone(), account: stranger }).expect("an edit");
    assert!(world.simulator.wait_quiet(crate::scene::PATIENCE, &scene.account));
    scene.apply(&manifest("after", &[&one, &three], &[&first, &second], "meta: {a: 2}"));
    let before = scene.changes().len();
    let ran = cfshare(&scene, &["plan"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, ""), "{}", ran.out);
    let mut lines: Vec<&str> = ran.out.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    let mut expected = vec![
        format!("+ recipient {one}, which somebody removed at Cloudflare"),
        format!("+ recipient {three}"),
        format!("+ resource custom-ruleset/{second}"),
        format!("- recipient {two}"),
        ". not declared in any manifest, and kept (prune is false): 1 recipient or resource".to_owned(),
        "6 calls for 1 of 1 Share".to_owned(),
        format!("Share {}/waf (account {}, share {share})", scene.namespace, scene.account),
        "~ rename \"before\" -> \"after\"".to_owned(),
        format!("~ meta of resource custom-ruleset/{third}: {{\"a\":1}} -> {{\"a\":2}}"),
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected, "{}", ran.out);
    assert_eq!(scene.changes().len(), before);
    // And that is what the operator does.
    let _operator = scene.operator(&[]);
    scene.wait_ready("share", "waf");
    scene.wait_ready("shareresource", "third");
    let changes = scene.changes_since(before);
    assert_eq!(changes.len(), 6, "{changes:?}");
    let ran = cfshare(&scene, &["plan"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
}

fn plan_organization(world: &World) {
    let scene = world.own_scene();
    let [organization, one, two, stranger, first] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one, &two]);
    let more = format!("organization: {{id: {organization}, excluded: [{{accountID: {two}, name: lab}}]}}");
    // The child comes first, and is no reason to name an account.
    scene.apply(&scene.recipient("stranger", "all", &stranger, ""));
    scene.apply(&scene.share("all", &[], &[&first], &more));
    let ran = cfshare(&scene, &["plan"]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.out.contains("--organization-shares"), "{}", ran.out);
    let create = format!("  + create share \"all\" with organization {organization} and 1 resource\n");
    let calls = format!("{create}      resource custom-ruleset/{first}\n  + excluded account lab ({two})\n");
    assert!(ran.out.contains(&calls), "{}", ran.out);
    let _operator = scene.operator(&[]);
    scene.wait_ready("share", "all");
    let bodies: Vec<Value> =
        scene.journal().iter().filter(|entry| entry.changing).map(|entry| json!(entry.body)).collect();
    assert!(!bodies.is_empty() && !json!(bodies).to_string().contains(&stranger), "{bodies:#?}");
    let ran = cfshare(&scene, &["plan"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
}

fn plan_on_top(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.apply(&scene.share("other", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("share", "other");
    let before = scene.changes().len();
    let yaml = scene.share("waf", &[&one, &three], &[&first], "");
    let ran = cfshare_with(&scene, &["plan", "--cluster", "-f", "-"], &yaml);
    assert_eq!((ran.code, ran.err.as_str()), (2, ""), "{}", ran.out);
    assert!(ran.out.contains(&format!("  + recipient {three}\n  - recipient {two}\n")), "{}", ran.out);
    assert!(ran.out.ends_with("\n2 calls for 1 of 1 Share\n"), "{}", ran.out);
    // A child alone is about its Share in the cluster.
    let yaml = scene.recipient("three", "waf", &three, "");
    let ran = cfshare_with(&scene, &["plan", "--cluster", "-f", "-"], &yaml);
    assert!(ran.code == 2 && ran.out.contains(&format!("  + recipient {three}\n")), "{}", ran.out);
    let ran = alone(&scene, &["plan", "-f", "-"], &yaml);
    assert!(ran.code == 1 && ran.err.contains("--cluster"), "{}", ran.err);
    // Nothing is planned for what cannot be applied.
    let moved = scene.share("waf", &[&one, &two], &[&first], "").replace(&scene.account, &three);
    let with_both = scene.share("waf", &[&one], &[&first], "organization: {id: o1}\nrecipients: []");
    let orphan = scene.recipient("four", "nobody", &three, "");
    let adopting = scene.share("waf", &[&one, &two], &[&first], "shareID: 3fd85f74b32742f1bff64a85009dda07");
    for (yaml, said) in [
        (moved, "spec.accountID: cannot be changed: a share cannot move to another account"),
        (with_both, "spec.organization: organization already includes every account"),
        (orphan, "names this Share in spec.shareRef, and it is neither in the files nor in the cluster"),
        (adopting, "but spec.shareID is 3fd85f74b32742f1bff64a85009dda07 and cannot be changed"),
    ] {
        let ran = cfshare_with(&scene, &["plan", "--cluster", "-f", "-"], &yaml);
        assert!(
            ran.code == 1 && ran.out.contains("\n  ! ") && ran.out.contains(said),
            "{said}: {} {}",
            ran.out,
            ran.err
        );
        assert!(ran.out.ends_with("\nno calls for 1 Share; 1 Share could not be planned\n"), "{}", ran.out);
    }
    assert_eq!(scene.changes().len(), before);
}

fn plan_pruned(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    let waf = scene.share("waf", &[&one], &[&first], "");
    scene.apply(&waf);
    scene.apply(&scene.share("other", &[&one], &[&first], ""));
    scene.apply(&scene.share("kept", &[&one], &[&first], "deletionPolicy: Retain"));
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.apply(&scene.recipient("three", "kept", &three, ""));
    for (kind, name) in [
        ("share", "waf"),
        ("share", "other"),
        ("share", "kept"),
        ("sharerecipient", "two"),
        ("sharerecipient", "three"),
    ] {
        scene.wait_ready(kind, name);
    }
    let ran = cfshare_with(&scene, &["plan", "--cluster", "-f", "-"], &waf);
    assert_eq!((ran.code, ran.out.as_str()), (0, "no calls for 1 Share\n"), "{}", ran.err);
    let ran = cfshare_with(&scene, &["plan", "--cluster", "--prune", "-f", "-"], &waf);
    assert_eq!((ran.code, ran.err.as_str()), (2, ""), "{}", ran.out);
    let id =
        |name: &str| scene.get("share", name).expect("it")["status"]["shareID"].as_str().expect("an id").to_owned();
    assert!(ran.out.contains(&format!("  - recipient {two}\n")), "{}", ran.out);
    assert!(ran.out.contains(&format!("  - delete share {}\n", id("other"))), "{}", ran.out);
    let kept = format!("  . being deleted: share {} stays at Cloudflare\n  - recipient {three}\n", id("kept"));
    assert!(ran.out.contains(&kept), "{}", ran.out);
    assert!(ran.out.ends_with("\n3 calls for 3 of 3 Shares\n"), "{}", ran.out);
    let before = scene.changes().len();
    scene.kubectl(&["delete", "share", "other", "kept", "--timeout=60s"]);
    scene.kubectl(&["delete", "sharerecipient", "two", "three", "--timeout=60s"]);
    assert_eq!(scene.changes().len() - before, 3, "{:#?}", scene.changes());
}

fn plan_held(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let keeper = scene.share("keeper", &[&one], &[&first], "");
    scene.apply(&keeper);
    scene.apply(&scene.share("protected", &[&one], &[&first], "deletionProtection: true"));
    let doomed: Vec<String> = (0..6).map(|n| format!("waf-{n}")).collect();
    for name in &doomed {
        scene.apply(&scene.share(name, &[&one], &[&first], ""));
    }
    for name in doomed.iter().map(String::as_str).chain(["keeper", "protected"]) {
        scene.wait_ready("share", name);
    }
    let ran = cfshare_with(&scene, &["plan", "--cluster", "--prune", "-f", "-"], &keeper);
    assert_eq!((ran.code, ran.err.as_str()), (2, ""), "{}", ran.out);
    let held = format!("6 shares of account {} would be deleted at once", scene.account);
    assert_eq!(ran.out.matches(&held).count(), 6, "{}", ran.out);
    assert!(ran.out.contains("5 are deleted within 10 minutes, and the others stay"), "{}", ran.out);
    let protected = "  . spec.deletionProtection is true, so the share is kept: none of these calls are made\n";
    assert_eq!(ran.out.matches(protected).count(), 1, "{}", ran.out);
    assert!(ran.out.ends_with("\n6 calls for 6 of 8 Shares\n"), "{}", ran.out);
    let before = scene.changes().len();
    doomed.iter().for_each(|name| scene.delete("share", name));
    let reason =
        |share: &Value| condition(share, "Ready").and_then(|ready| ready["reason"].as_str().map(str::to_owned));
    let left = || doomed.iter().filter_map(|name| scene.get("share", name)).collect::<Vec<_>>();
    scene.wait("five are deleted and one waits", || {
        let left = left();
        left.len() == 1 && reason(&left[0]).as_deref() == Some("DeletionBlocked")
    });
    assert_eq!(scene.changes().len() - before, 5, "{:#?}", scene.changes());
    scene.confirm_deletions();
}

fn plan_refused(world: &World) {
    let scene = world.own_scene();
    let [one, first] = ids();
    let id = seed(&scene, "waf", &[&one], vec![resource(&first, Value::Null)], false);
    let yaml = scene.share("waf", &[&one], &[&first], "");
    let ran = alone(&scene, &["plan", "-f", "-"], &yaml);
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(
        ran.out.contains(&format!(
            "  ! a share named waf already exists (id {id}), so none is created: set `shareID: {id}`"
        )),
        "{}",
        ran.out
    );
    let ran = alone(&scene, &["plan", "-f", "-"], &scene.share("waf", &[&one], &[&first], "adoptionPolicy: SameName"));
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains(&format!("  . share {id} is adopted\n")), "{}", ran.out);
    // Each of these is one sentence, and none is taken for a plan with changes.
    let misspelt = yaml.replace("recipients:", "recipient:");
    for (args, input, sentence) in [
        (&["plan", "-f", "-"][..], misspelt.as_str(), "there is no field spec.recipient: check its spelling"),
        (&["plan", "-f", "/nowhere.yaml"], "", "-f: /nowhere.yaml does not exist: check the path"),
        (&["plan", "-f", "https://example.com/a.yaml"], "", "is not a file: download it first"),
        (&["status", "share/"], "", "share/ does not name a Share: write share/NAME"),
        (&["crds", "--dir", "/dev/null/crds"], "", "--dir: /dev/null/crds cannot be written to"),
        (&["plan", "--no-such-flag"], "", "unexpected argument"),
        (&["import", "--account", "a", "-n", "Bad NS"], "", "a namespace has up to 63 lower case letters"),
        (&["run", "--namespace", "team-a,Team B"], "", "invalid value 'Team B' for '--namespace"),
    ] {
        let ran = alone(&scene, args, input);
        assert!(ran.code == 1 && ran.err.contains(sentence), "{args:?}: {} {}", ran.code, ran.err);
    }
    let mut command = at_home(&scene, env!("CARGO_BIN_EXE_cfshare"));
    command.env_remove("KUBECONFIG").args(["plan", "-f", "-"]);
    let ran = finish(command, &yaml);
    assert!(ran.code == 1 && ran.out.contains("! no credential: set CLOUDFLARE_API_TOKEN"), "{}", ran.out);
    world.simulator.token(&scene.token, Policy { revoked: true, ..Policy::default() });
    let ran = alone(&scene, &["plan", "-f", "-"], &yaml);
    assert!(ran.code == 1 && ran.out.contains("the credential is invalid or lacks a permission"), "{}", ran.out);
    assert!(!format!("{}{}", ran.out, ran.err).contains(&scene.token));
    assert_eq!(scene.changes(), [""; 0]);
}

pub fn resource(id: &str, meta: Value) -> SeedResource {
    let meta = Some(meta).filter(|meta| !meta.is_null());
    SeedResource { resource_type: "custom-ruleset".into(), id: id.into(), account: None, meta }
}

pub fn seed(
    scene: &Scene,
    name: &str,
    recipients: &[&str],
    resources: Vec<SeedResource>,
    organization: bool,
) -> String {
    let recipients = recipients.iter().map(|id| (*id).to_owned()).collect();
    let list = vec![SeedShare { name: name.into(), recipients, resources, organization }];
    let account = scene.account.clone();
    let seed = Seed { account, shares: 0, recipients: 0, resources: 0, prefix: String::new(), list };
    scene.world.simulator.seed(seed).expect("a seed")[0].id.clone()
}

/// Shares as an account has them: odd names and ids, meta, a resource of another account, an organization.
fn furnish(scene: &Scene) {
    let [organization, one, two, first, second, third, elsewhere] = ids();
    let digits = "12345678901234567890123456789012";
    scene.world.simulator.organization(&organization, &[&scene.account, &one, &two, digits]);
    let odd = json!({"yes": true, "note": "a: \"b\" # c", "nested": {"on": [1, 2.5, {"x": "0x1f"}]}});
    seed(
        scene,
        "WAF: baseline \"A\"",
        &[&one, digits],
        vec![resource(&first, odd), resource(&second, Value::Null)],
        false,
    );
    let foreign = SeedResource { account: Some(elsewhere), ..resource(&third, Value::Null) };
    seed(scene, "waf baseline a", &[&two], vec![foreign], false);
    let all = seed(scene, "日本", &[], vec![resource(&first, Value::Null)], true);
    // One that left stays in the list for ever.
    let share = seed(scene, "left", &[&one, &two], vec![resource(&first, Value::Null)], false);
    scene.world.simulator.edit(Edit::RemoveRecipient { share, recipient: one }).expect("an edit");
    assert!(scene.world.simulator.wait_quiet(crate::scene::PATIENCE, &scene.account));
    assert!(scene.world.simulator.share(&all).is_some_and(|share| share.live()));
}

/// Applies what was imported; every share is taken over, and Cloudflare hears nothing but reads.
fn adopt(scene: &Scene, yaml: &str, kinds: &[(&str, usize)]) {
    let shares = scene.live();
    let before = scene.changes().len();
    scene.apply(yaml);
    for (kind, count) in kinds {
        let list: Value = serde_json::from_str(&scene.kubectl(&["get", kind, "-o", "json"])).expect("JSON");
        let names: Vec<&str> =
            list["items"].as_array().into_iter().flatten().filter_map(|o| o["metadata"]["name"].as_str()).collect();
        assert_eq!(names.len(), *count, "{kind}: {names:?}\n{yaml}");
        for name in names {
            // The Share may be there before its children.
            let object = scene.wait_for(kind, name, "took over all", |object| {
                is_ready(object) && object["status"]["unmanagedCount"].is_null()
            });
            assert!(*kind != "share" || object["status"]["adopted"] == true, "{object:#}");
        }
    }
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert_eq!(format!("{shares:?}"), format!("{:?}", scene.live()));
    let ran = cfshare(scene, &["plan"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    // There is a way back.
    for (kind, _) in kinds {
        scene.kubectl(&["delete", kind, "--all", "--timeout=60s"]);
    }
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert_eq!(format!("{shares:?}"), format!("{:?}", scene.live()));
}

fn import(world: &World) {
    let scene = world.scene();
    furnish(&scene);
    let ran = alone(&scene, &["import", "--account", &scene.account, "-n", &scene.namespace], "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("4 shares"), "{}", ran.err);
    for name in ["waf-baseline-a", "left"] {
        assert!(ran.out.contains(&format!("  name: \"{name}\"\n")), "{}", ran.out);
    }
    assert!(ran.out.contains("accountID: \"12345678901234567890123456789012\""), "{}", ran.out);
    adopt(&scene, &ran.out, &[("share", 4), ("sharerecipient", 0), ("shareresource", 0)]);
}

fn import_objects(world: &World) {
    let scene = world.scene();
    furnish(&scene);
    // From the Secret in the namespace.
    let ran = cfshare(&scene, &["import", "--account", &scene.account, "--objects"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    adopt(&scene, &ran.out, &[("share", 4), ("sharerecipient", 4), ("shareresource", 5)]);
}

fn import_one(world: &World) {
    let scene = world.own_scene();
    let [one, first] = ids();
    let id = seed(&scene, "waf", &[&one], vec![resource(&first, Value::Null)], false);
    seed(&scene, "other", &[&one], vec![resource(&first, Value::Null)], false);
    let ran = alone(&scene, &["import", "--account", &scene.account, "--share", &id], "");
    let expected = format!(
        "---\n# share {id}: waf\napiVersion: cfshare.dev/v1alpha1\nkind: Share\nmetadata:\n  name: \"waf\"\nspec:\n  \
         accountID: \"{}\"\n  deletionPolicy: \"Retain\"\n  name: \"waf\"\n  recipients:\n  - {{accountID: \"{one}\"}}\n  resources:\n  \
         - {{id: \"{first}\", type: \"custom-ruleset\"}}\n  shareID: \"{id}\"\n",
        scene.account
    );
    assert_eq!((ran.code, ran.out), (0, expected));
    let ran = alone(&scene, &["import", "--account", &scene.account, "--share", "nothing"], "");
    assert!(ran.code == 1 && ran.out.is_empty() && ran.err.contains("owns no live share nothing"), "{}", ran.err);
}

fn status(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    let ran = cfshare(&scene, &["status"]);
    assert!(ran.code == 1 && ran.err.contains("no Shares in namespace "), "{} {}", ran.out, ran.err);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.apply(&scene.recipient("three", "waf", &three, ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "three");
    // The child's row counts for the Share as soon as it has seen it.
    scene.ask("share", "waf");
    let ran = cfshare(&scene, &["status"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.ends_with("\n2 of 2 objects ready\n"), "{}", ran.out);
    world.simulator.account(&two, |account| account.entitled = false);
    let head = scene.head("Share", "blocked");
    scene.apply(&format!(
        "{head}spec:\n  accountID: {}\n  recipients: [{{accountID: {two}, name: payments-prod}}]\n  \
         resources: [{{type: custom-ruleset, id: {first}}}]\n",
        scene.account
    ));
    scene.wait_for("share", "blocked", "told the failure", |share| {
        share["status"]["exceptions"][0]["message"].as_str().is_some_and(|text| text.contains("entitlement"))
    });
    let ran = cfshare(&scene, &["status"]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.out.contains(&format!("  payments-prod (recipient {two}) has been associating since ")), "{}", ran.out);
    assert!(ran.out.contains("Recipient is missing necessary entitlement"), "{}", ran.out);
    assert!(ran.out.ends_with("\n2 of 3 objects ready\n"), "{}", ran.out);
    let list = cfshare(&scene, &["status", "-o", "json"]).json();
    let blocked = list.as_array().into_iter().flatten().find(|object| object["name"] == "blocked");
    assert_eq!(blocked.map(|object| &object["exceptions"][0]["name"]), Some(&json!("payments-prod")), "{list:#}");
}

fn matrix(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.apply(&scene.recipient("two", "waf", &two, "name: payments-prod"));
    let id = scene.wait_ready("share", "waf")["status"]["shareID"].as_str().expect("an id").to_owned();
    scene.wait_ready("sharerecipient", "two");
    let ran = cfshare(&scene, &["matrix", "-o", "csv"]);
    // The operator of all tests holds no Lease.
    assert!(ran.code == 0 && ran.err.contains("it is not known whether cfshare runs"), "{} {}", ran.code, ran.err);
    // Then a row was last verified when its status was written.
    let without_time = |line: &str| {
        let mut cells: Vec<&str> = line.split(',').collect();
        assert!(cells.remove(8).ends_with('Z'), "{line}");
        cells.insert(8, "");
        cells.join(",")
    };
    let mut lines: Vec<String> = ran.out.lines().skip(1).map(without_time).collect();
    lines.sort_unstable();
    let line = |label: &str, account: &str, by: &str| {
        format!(
            "{label},{account},{},waf,{id},associated,custom-ruleset/{first},,,{by},,custom-ruleset/{first}",
            scene.namespace
        )
    };
    let mut expected = vec![line("", &one, "Share"), line("payments-prod", &two, "ShareRecipient/two")];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    let table = cfshare(&scene, &["matrix", "-o", "json"]).json();
    assert_eq!(table["rows"].as_array().map(Vec::len), Some(2), "{table:#}");
}

fn doctor(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let told = |ran: &Ran, line: &str| assert!(ran.out.lines().any(|l| l.starts_with(line)), "{line}\n{}", ran.out);
    let account = &scene.account;
    // Before there is any Share, with the Secret or with the environment's credential.
    let ran = cfshare(&scene, &["doctor", "--account", account]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    let whose = format!("Secret {}/cloudflare-credentials", scene.namespace);
    told(&ran, &format!("ok    account {account}: {whose} can list its shares, 0 live"));
    let ran = alone(&scene, &["doctor", "--account", account], "");
    told(&ran, &format!("ok    account {account}: the environment's credential can list its shares"));
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let before = scene.changes().len();
    let ran = cfshare(&scene, &["doctor"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    for line in [
        "ok    cluster: Kubernetes v1.",
        "ok    CRD shares.cfshare.dev: matches this version",
        "ok    Shares: 1 in namespace ",
        "warn  rights: not checked",
        "ok    Cloudflare: reachable",
        "ok    clock: agrees with Cloudflare's",
        &format!(
            "ok    Secret {}/cloudflare-credentials: present and well-formed (API token; credential=",
            scene.namespace
        ),
        &format!(
            "ok    account {account}: Secret {}/cloudflare-credentials can list its shares, 1 live",
            scene.namespace
        ),
    ] {
        told(&ran, line);
    }
    assert!(!ran.out.contains(&scene.token) && !ran.err.contains(&scene.token));
    let label =
        ran.out.lines().find_map(|line| line.split_once("; ")?.1.split_once(" in metrics").map(|(label, _)| label));
    let label = label.expect("the label of the credential");
    let metric = format!("cfshare_budget_tokens{{{label}}}");
    scene.wait("the metric of the credential", || metrics(&world.operator.log()).contains(&metric));
    let of_share = format!("share_namespace=\"{}\",share=\"waf\"", scene.namespace);
    let of_secret = format!("secret_namespace=\"{}\",secret=\"cloudflare-credentials\"", scene.namespace);
    for line in [
        format!("cfshare_recipients{{{of_share},state=\"associated\"}} 1"),
        format!("cfshare_credential_info{{{label},{of_secret},account=\"{account}\"}} 1"),
    ] {
        scene.wait(&line, || metrics(&world.operator.log()).lines().any(|served| served == line));
    }
    let whose = format!("Secret {}/cloudflare-credentials", scene.namespace);
    told(&ran, &format!("ok    {whose}: the token has no expiry date"));
    for owner in [None, Some(account.clone())] {
        let expires_on = Some("2020-01-01T00:00:00Z".to_owned());
        world.simulator.token(&scene.token, Policy { expires_on, owner, ..Policy::default() });
        let ran = cfshare(&scene, &["doctor"]);
        told(&ran, &format!("warn  {whose}: the token expires on 2020-01-01T00:00:00Z: create a new one"));
    }
    world.simulator.token(&scene.token, Policy { revoked: true, ..Policy::default() });
    let ran = cfshare(&scene, &["doctor"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    told(&ran, &format!("fail  account {account}: Secret"));
    assert!(!ran.out.contains(&scene.token));
    scene.kubectl(&["delete", "secret", "cloudflare-credentials"]);
    let ran = cfshare(&scene, &["doctor"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    told(&ran, &format!("fail  Secret {}/cloudflare-credentials: the Secret", scene.namespace));
    // Without a credential too it tells whether Cloudflare is there.
    told(&ran, "ok    Cloudflare: reachable");
    let mut elsewhere = at_home(&scene, env!("CARGO_BIN_EXE_cfshare"));
    elsewhere.args(["doctor", "--namespace", "nobody-made-it"]);
    let ran = finish(elsewhere, "");
    assert_eq!(ran.code, 1, "{}", ran.out);
    told(&ran, "fail  Shares: namespace nobody-made-it does not exist");
    let ran = alone(&scene, &["doctor", "--cloudflare-url", "http://127.0.0.1:9/"], "");
    assert_eq!(ran.code, 1, "{}", ran.out);
    told(&ran, "fail  cluster: no Kubernetes cluster");
    told(&ran, "fail  Cloudflare: could not reach Cloudflare");
    assert_eq!(scene.changes().len(), before);
}

fn doctor_rights(world: &World) {
    let scene = world.own_scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.kubectl(&["create", "serviceaccount", "operator"]);
    let whose = format!("{}/operator", scene.namespace);
    let ran = cfshare(&scene, &["doctor", "--service-account", &whose]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    let line = ran.out.lines().find(|line| line.starts_with("fail  rights: the operator may not ")).expect("a line");
    for right in [
        "watch shares in ",
        "patch shares/status in ",
        "get secrets cloudflare-credentials in ",
        "get leases cfshare in ",
    ] {
        assert!(line.contains(right), "{line}");
    }
    scene.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: operator}}\nrules:\n\
         - {{apiGroups: [cfshare.dev], resources: [shares, sharerecipients, shareresources], verbs: [get, list, watch, patch]}}\n\
         - {{apiGroups: [cfshare.dev], resources: [shares/status, sharerecipients/status, shareresources/status], verbs: [patch]}}\n\
         - {{apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}}\n\
         - {{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create, get, update]}}\n\
         - {{apiGroups: [''], resources: [secrets], resourceNames: [cloudflare-credentials], verbs: [get]}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: operator}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator}}\n\
         subjects: [{{kind: ServiceAccount, name: operator, namespace: {}}}]\n",
        scene.namespace
    ));
    let granted = "ok    rights: the operator has all permissions that it uses";
    scene.wait("the rights are granted", || {
        cfshare(&scene, &["doctor", "--service-account", &whose]).out.contains(granted)
    });

    // Of the namespaces that it watches, one grants nothing, and one is not there.
    let (other, gone) = (world.own_scene().namespace, format!("{}-gone", scene.namespace));
    let watched = [scene.namespace.as_str(), &other, &gone].join(",");
    let ran = cfshare(&scene, &["doctor", "--service-account", &whose, "--watched", &watched]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    let line = ran.out.lines().find(|line| line.starts_with("fail  rights: the operator may not ")).expect("a line");
    assert!(line.contains(&format!("list shares in {other}")), "{line}");
    assert!(!line.contains(&format!("list shares in {},", scene.namespace)), "{line}");
    assert!(ran.out.contains(&format!("fail  namespace {gone}: it does not exist")), "{}", ran.out);
}

fn plugin(world: &World) {
    let scene = world.scene();
    let folder = scene.file("plugins");
    std::fs::create_dir_all(&folder).expect("a folder");
    let link = folder.join("kubectl-cfshare");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cfshare"), &link).expect("a link");
    let mut command = world.cluster.kubectl(&["cfshare", "status", "-n", &scene.namespace]);
    command.env("PATH", &folder);
    let ran = finish(command, "");
    assert!(ran.code == 1 && ran.err.contains("no Shares in namespace "), "{} {}", ran.out, ran.err);
}

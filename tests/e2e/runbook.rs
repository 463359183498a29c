//! Whether the runbook is complete, and whether its commands end the incidents that it is for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use cfshare_simulator::{Action, Edit, ErrorBody, Policy, Rule};
use serde_json::Value;

use crate::Test;
use crate::expect::has;
use crate::own;
use crate::scene::{Scene, World, ids, message, metrics};

pub const TESTS: &[Test] = &[
    ("runbook: every alert leads to its page, and every reason that may need a person has one", complete),
    ("runbook: every figure of the dashboard shows trouble in colour, is never NaN, and leads to its page", dashboard),
    ("runbook: kubectl understands every command that looks", looks),
    ("runbook: the hash of a credential in an alert leads to the Shares that use it", credential_of_an_alert),
    ("runbook: RemovalBlocked ends as its page says", removal_blocked),
    ("runbook: DeletionBlocked ends as its page says, either way", deletion_blocked),
    ("runbook: RecipientFailed ends as its page says", recipient_failed),
    ("runbook: NameTaken ends as its page says", name_taken),
    ("runbook: CredentialsNotFound ends as its page says", credentials_not_found),
    ("runbook: CredentialsNotFound ends as its page says, in a namespace that is being deleted", no_credentials_left),
    ("runbook: Denied ends as its page says", denied),
    ("runbook: BreakerOpen ends as its page says", breaker_open),
    ("runbook: BreakerOpen ends as its page says, where the shares are given up", given_up),
    ("runbook: Differs ends as its page says", differs),
    ("runbook: Rejected ends as its page says", rejected),
    ("runbook: ExclusionsNotInForce ends as its pages say", exclusions),
    (
        "runbook: ExclusionsNotInForce ends as its pages say, where nobody is to receive an adopted share",
        end_of_adopted,
    ),
    ("runbook: NotConverging ends as its page says", not_converging),
    ("runbook: CfshareRepeatedDrift ends as its page says", repeated_drift),
    ("runbook: Ambiguous ends as its page says", ambiguous),
    ("runbook: Deleting ends as its page says", deleting),
    ("runbook: DeletionProtected ends as its page says, either way", deletion_protected),
    ("runbook: LastResource ends as its page says, where the share goes", last_resource_deleted),
    ("runbook: LastResource ends as its page says, where the object is released", last_resource_released),
    ("runbook: every command that does something is tried", tried),
];

/// Reasons that are no trouble, or that a person has chosen.
const NOBODY_IS_NEEDED: &[&str] = &[
    "Associated",
    "Waived",
    "Associating",
    "Creating",
    "Progressing",
    "WaitingForRecipients",
    "WaitingForResources",
    "Suspended",
    "Observed",
];
const HEADINGS: &[&str] = &["**What it means.**", "**How bad it is.**", "## Look", "## Do", "## Over when"];

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbook"))
}

fn names() -> BTreeSet<String> {
    let files = fs::read_dir(folder()).expect("the runbook").map(|entry| entry.expect("an entry").path());
    let stems = files.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned());
    stems.filter(|stem| stem != "README").collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(folder().join(format!("{name}.md"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a page says under a heading.
pub fn section(name: &str, heading: &str) -> String {
    let text = page(name);
    let (_, section) = text.split_once(&format!("## {heading}\n")).unwrap_or_else(|| panic!("{name}: {heading}"));
    section.split("\n## ").next().unwrap_or_default().to_owned()
}

/// The commands under a heading, block by block.
pub fn commands(name: &str, heading: &str) -> Vec<String> {
    section(name, heading)
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(str::to_owned)
        .collect()
}

fn dashboard(_: &World) {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/chart/files/dashboard.json"));
    let dashboard: Value = serde_json::from_str(&text.expect("the dashboard")).expect("JSON");
    let (pages, panels) = (names(), dashboard["panels"].as_array().expect("panels"));
    let linked = |link: &Value| {
        let page = link["url"].as_str().and_then(|url| url.strip_prefix("https://cfshare.github.io/cfshare/runbook/"));
        page.and_then(|page| page.strip_suffix(".html")).expect("a page of the runbook").to_owned()
    };
    let links = |panel: &Value| panel["links"].as_array().into_iter().flatten().map(linked).collect::<Vec<_>>();
    for name in panels.iter().flat_map(links) {
        assert!(pages.contains(&name), "{name}");
    }
    let mut figures = 0;
    for panel in panels.iter().filter(|panel| ["stat", "gauge"].contains(&panel["type"].as_str().unwrap_or_default())) {
        let title = &panel["title"];
        let steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array().expect("thresholds");
        let alarm = steps.iter().any(|step| ["red", "orange"].contains(&step["color"].as_str().unwrap_or_default()));
        assert!(alarm && !links(panel).is_empty(), "{title}");
        let expression = panel["targets"][0]["expr"].as_str().expect("an expression");
        let defined = expression.ends_with("or vector(0)") || expression.contains(" / ");
        assert!(defined && !panel["fieldConfig"]["defaults"]["noValue"].is_null(), "{title}: {expression}");
        figures += 1;
    }
    assert!(figures > 8, "{figures}");
    // Nothing was called, or no pass was made, in the window: a quantile of nothing is NaN, and is left out.
    let expressions = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions = expressions.filter_map(|target| target["expr"].as_str());
    let quantiles: Vec<&str> = expressions.filter(|text| text.contains("histogram_quantile")).collect();
    assert!(quantiles.len() >= 4 && quantiles.iter().all(|text| text.ends_with(" >= 0")), "{quantiles:#?}");
    // One alert each is told by its figure; the others by the table of Shares or by the objects.
    let shown: BTreeSet<String> = panels.iter().flat_map(links).collect();
    let elsewhere = [
        "CfshareCredentialsFail",
        "CfshareDeletionForbidden",
        "CfshareLeaseFails",
        "CfshareObjectsNotReady",
        "CfsharePanics",
        "CfshareRequestsRefused",
    ];
    let alerts = pages.iter().filter(|name| name.starts_with("Cfshare") && !elsewhere.contains(&name.as_str()));
    assert_eq!(alerts.filter(|name| !shown.contains(*name)).collect::<Vec<_>>(), [""; 0]);
}

fn complete(_: &World) {
    let pages = names();
    let alerts = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/chart/files/alerts.yaml"));
    let alerts: Value = serde_yaml::from_str(&alerts.expect("alerts")).expect("YAML");
    let mut expected = BTreeSet::new();
    for alert in alerts["groups"][0]["rules"].as_array().expect("rules") {
        let name = alert["alert"].as_str().expect("a name");
        let url = format!("https://cfshare.github.io/cfshare/runbook/{name}.html");
        assert_eq!(alert["annotations"]["runbook_url"], url.as_str());
        expected.insert(name.to_owned());
    }
    let reference = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference.md")).expect("reference");
    let reasons = reference.split("## Reasons").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("reasons");
    let reasons = reasons.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    expected.extend(reasons.filter(|reason| !NOBODY_IS_NEEDED.contains(reason)).map(str::to_owned));
    assert_eq!(pages, expected);
    let index = page("README");
    for name in &pages {
        assert!(index.contains(&format!("[{name}]({name}.md)")), "the index leaves out {name}");
        let text = page(name);
        let places: Vec<Option<usize>> = HEADINGS.iter().map(|heading| text.find(heading)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{name}: {places:?}");
    }
}

fn credential_of_an_alert(world: &World) {
    let (scene, other) = (world.scene(), world.scene());
    let [one, first] = ids();
    for scene in [&scene, &other] {
        scene.apply(&scene.share("waf", &[&one], &[&first], ""));
        scene.wait_ready("share", "waf");
    }
    let account = format!("account=\"{}\"", scene.account);
    let hash = || {
        let served = metrics(&world.operator.log());
        let mut lines = served.lines().filter(|line| line.starts_with("cfshare_account_sweep_interval_seconds{"));
        let line = lines.find(|line| line.contains(&account))?;
        line.split("credential=\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned)
    };
    scene.wait("the credential in the metrics", || hash().is_some());
    let hash = hash().expect("it is there");
    for name in ["CfshareAccountNotRead", "CfshareCallsQueued"] {
        let block = commands(name, "Look").into_iter().find(|block| block.contains("$credential")).expect("a block");
        let (fine, said) = paste(&scene, "waf", &scene.token, &format!("credential={hash}\n{block}"));
        assert!(fine && said.lines().count() == 1 && said.contains(&scene.namespace), "{name}: {hash}: {said}");
    }
}

/// Runs a block of a page as somebody would who pastes it, and returns what it said.
pub fn paste(scene: &Scene<'_>, name: &str, token: &str, block: &str) -> (bool, String) {
    let cluster = &scene.world.cluster;
    let own = cluster.programs().search_path();
    let path = format!("{}:{}", own.to_string_lossy(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-ec", block])
        .env("PATH", path)
        .env("KUBECONFIG", cluster.kubeconfig())
        .envs([("ns", scene.namespace.as_str()), ("name", name), ("op", "cfshare-system"), ("token", token)])
        .output()
        .expect("sh");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

fn carry_out(scene: &Scene<'_>, name: &str, block: &str) {
    let (fine, said) = paste(scene, name, &scene.token, block);
    assert!(fine, "{block}\n{said}");
}

/// Does what the page says, and what it says of the end.
fn follow(scene: &Scene<'_>, name: &str, reason: &str, choice: usize) {
    for block in commands(reason, "Look") {
        carry_out(scene, name, &block);
    }
    carry_out(scene, name, &commands(reason, "Do")[choice]);
    for block in commands(reason, "Over when") {
        carry_out(scene, name, &block);
    }
}

/// Pages with commands under Do, each of which a test here carries out.
const TRIED: &[&str] = &[
    "Ambiguous",
    "BreakerOpen",
    "CfshareExclusionsNotInForce",
    "CfshareRepeatedDrift",
    "CredentialsNotFound",
    "Deleting",
    "DeletionBlocked",
    "DeletionProtected",
    "Denied",
    "Differs",
    "ExclusionsNotInForce",
    "LastResource",
    "NameTaken",
    "NotConverging",
    "RecipientFailed",
    "Rejected",
    "RemovalBlocked",
];

fn tried(_: &World) {
    let names = names();
    let with_commands: Vec<&String> = names.iter().filter(|name| !commands(name, "Do").is_empty()).collect();
    assert_eq!(with_commands, TRIED);
}

/// What the API server has not got is no fault of the page.
fn looks(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let mut count = 0;
    for name in names() {
        for block in commands(&name, "Look") {
            for command in block.replace("\\\n", "").lines() {
                let (_, said) = paste(&scene, "waf", &scene.token, command);
                assert!(!said.lines().any(|line| line.starts_with("error:")), "{name}: {command}\n{said}");
                // The operator has its rights here, so a question about them that is put right is answered so.
                assert!(!command.contains("auth can-i") || said.trim() == "yes", "{name}: {command}\n{said}");
                count += 1;
            }
        }
    }
    assert!(count > 40, "only {count} commands were found");
    let (_, said) = paste(&scene, "waf", &scene.token, "kubectl get shares.cfshare.dev -o jsonpath='{'");
    assert!(said.contains("error:"), "the check can fail: {said}");
}

/// A ShareResource that is deleted, of a share that stayed when its Share was deleted.
fn last_of_retained(scene: &Scene, one: &str, first: &str) -> Value {
    scene.apply(&scene.share("waf", &[one], &[], "deletionPolicy: Retain"));
    scene.apply(&scene.resource("first", "waf", first, ""));
    scene.wait_ready("shareresource", "first");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.delete("shareresource", "first");
    scene.wait_reason("shareresource", "first", "LastResource")
}

fn last_resource_deleted(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    last_of_retained(&scene, &one, &first);
    world.simulator.edit(Edit::DeleteShare { share: scene.only().id }).expect("an edit");
    // Otherwise the next sweep shows it.
    scene.annotate("shareresource", "first", "cfshare.dev/requestedAt=now");
    scene.wait_gone("shareresource", "first");
}

fn last_resource_released(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let object = last_of_retained(&scene, &one, &first);
    let command = commands("LastResource", "Do").remove(0);
    assert!(message(&object).contains("kubectl patch shareresources.cfshare.dev first"), "{}", message(&object));
    carry_out(&scene, "first", &command);
    scene.wait_gone("shareresource", "first");
    assert!(has(&scene.only(), &[&one], &[&first]), "{:#?}", scene.changes());
}

fn removal_blocked(world: &World) {
    let scene = world.scene();
    let [one, two, three, four, first] = ids();
    scene.apply(&scene.share("waf", &[&one, &two, &three, &four], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_reason("share", "waf", "RemovalBlocked");
    follow(&scene, "waf", "RemovalBlocked", 0);
    assert_eq!(scene.only().live_recipients().len(), 1);
}

fn deletion_blocked(world: &World) {
    let scene = world.scene();
    let all: Vec<String> = (0..8)
        .map(|n| {
            let [one, first] = ids();
            scene.share(&format!("waf-{n}"), &[&one], &[&first], "")
        })
        .collect();
    scene.apply(&all.join("---\n"));
    (0..8).for_each(|n| drop(scene.wait_ready("share", &format!("waf-{n}"))));
    scene.kubectl(&["delete", "shares.cfshare.dev", "--all", "--wait=false"]);
    let held = || -> Vec<String> {
        let names = (0..8).map(|n| format!("waf-{n}"));
        let blocked = |share: Value| share["status"]["conditions"].to_string().contains("DeletionBlocked");
        names.filter(|name| scene.get("share", name).is_some_and(blocked)).collect()
    };
    scene.wait("five deletions, and three that are held", || scene.live().len() == 3 && held().len() == 3);
    let held = held();
    follow(&scene, &held[0], "DeletionBlocked", 0);
    assert_eq!(scene.live().len(), 2);
    follow(&scene, &held[1], "DeletionBlocked", 1);
    assert_eq!(scene.live().len(), 2);
    follow(&scene, &held[2], "DeletionBlocked", 0);
}

fn recipient_failed(world: &World) {
    let scene = world.scene();
    let [one, failing, first] = ids();
    world.simulator.account(&failing, |account| account.entitled = false);
    scene.apply(&scene.share("waf", &[&one, &failing], &[&first], ""));
    scene.wait_reason("share", "waf", "RecipientFailed");
    world.simulator.account(&failing, |account| account.entitled = true);
    follow(&scene, "waf", "RecipientFailed", 0);
}

fn name_taken(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "deletionPolicy: Retain"));
    scene.wait_ready("share", "waf");
    scene.delete("share", "waf");
    scene.wait_gone("share", "waf");
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_reason("share", "waf", "NameTaken");
    follow(&scene, "waf", "NameTaken", 0);
    scene.only();
}

fn credentials_not_found(world: &World) {
    let scene = world.scene();
    scene.delete("secret", "cloudflare-credentials");
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_reason("share", "waf", "CredentialsNotFound");
    follow(&scene, "waf", "CredentialsNotFound", 0);
    // Another Secret, which is there and has nothing in its key.
    scene.kubectl(&["create", "secret", "generic", "cloudflare-readonly", "--from-literal=apiToken="]);
    scene.apply(&scene.share("dns", &[&one], &[&first], "credentialsRef: {name: cloudflare-readonly}"));
    scene.wait_reason("share", "dns", "CredentialsNotFound");
    follow(&scene, "dns", "CredentialsNotFound", 0);
}

/// The operator was away when the Secret went with its namespace.
fn no_credentials_left(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "two");
    own::crash(operator);
    scene.kubectl(&["delete", "namespace", &scene.namespace, "--wait=false"]);
    scene.wait("the Secret to go", || scene.get("secret", "cloudflare-credentials").is_none());
    let is_deleting = |share: Value| !share["metadata"]["deletionTimestamp"].is_null();
    scene.wait("the Share to go as well", || scene.get("share", "waf").is_some_and(is_deleting));
    let _operator = own::start(&scene, &[]);
    let share = scene.wait_reason("share", "waf", "CredentialsNotFound");
    let (id, text) = (scene.only().id, message(&share));
    assert!(text.contains(&format!("share {id} of account {}", scene.account)), "{text}");
    let command = text.split("release the object: ").nth(1).expect("a command");
    carry_out(&scene, "waf", &format!("{command} --dry-run=server"));
    carry_out(&scene, "waf", &commands("CredentialsNotFound", "Do")[1]);
    assert_eq!(scene.only().id, id, "it is for a person to delete");
}

fn denied(world: &World) {
    let scene = world.scene();
    world.simulator.token("revoked", Policy { revoked: true, ..Policy::default() });
    scene.put_token("revoked");
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_reason("share", "waf", "Denied");
    follow(&scene, "waf", "Denied", 0);
    // The Secret of another Share, with which the one of the first has nothing to do.
    let default = || scene.get("secret", "cloudflare-credentials").expect("it is there")["data"].clone();
    let before = default();
    scene.kubectl(&["create", "secret", "generic", "cloudflare-readonly", "--from-literal=apiToken=revoked"]);
    scene.apply(&scene.share("dns", &[&one], &[&first], "credentialsRef: {name: cloudflare-readonly}"));
    scene.wait_reason("share", "dns", "Denied");
    scene.put_token("canary");
    let others = default();
    follow(&scene, "dns", "Denied", 0);
    assert_ne!(before, others);
    assert_eq!(default(), others);
}

fn breaker_open(world: &World) {
    let scene = world.scene();
    lost(&scene);
    follow(&scene, "waf-0", "BreakerOpen", 0);
    (0..4).for_each(|n| drop(scene.wait_ready("share", &format!("waf-{n}"))));
    assert_eq!(scene.live().len(), 4);
}

fn differs(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], "managementPolicy: Observe"));
    scene.wait_reason("share", "waf", "Differs");
    follow(&scene, "waf", "Differs", 0);
    scene.wait_ready("share", "waf");
    assert_eq!(scene.only().live_recipients().len(), 2);
}

/// Four Shares whose shares are lost, so that the breaker is open.
fn lost(scene: &Scene<'_>) {
    for n in 0..4 {
        let [one, first] = ids();
        scene.apply(&scene.share(&format!("waf-{n}"), &[&one], &[&first], ""));
        scene.wait_ready("share", &format!("waf-{n}"));
    }
    scene.world.simulator.edit(Edit::DeleteAll { account: scene.account.clone() }).expect("an edit");
    (0..4).for_each(|n| drop(scene.wait_reason("share", &format!("waf-{n}"), "BreakerOpen")));
}

fn given_up(world: &World) {
    let scene = world.scene();
    lost(&scene);
    (0..4).for_each(|n| carry_out(&scene, &format!("waf-{n}"), &commands("BreakerOpen", "Do")[1]));
    (0..4).for_each(|n| scene.wait_gone("share", &format!("waf-{n}")));
    assert_eq!(scene.live().len(), 0);
}

fn rejected(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let refused = Action::StatusBefore { status: 400, body: ErrorBody::Json, code: Some(1001), retry_after: None };
    let rule = Rule::always("POST", "/accounts/*/shares/*/recipients", refused).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.wait_reason("share", "waf", "Rejected");
    world.simulator.remove_fault(rule);
    follow(&scene, "waf", "Rejected", 0);
    scene.wait_ready("share", "waf");
    assert_eq!(scene.only().live_recipients().len(), 2);
}

fn exclusions(world: &World) {
    for page in ["ExclusionsNotInForce", "CfshareExclusionsNotInForce"] {
        let scene = world.scene();
        let [organization, one, two, first] = ids();
        world.simulator.organization(&organization, &[&scene.account, &one, &two]);
        let path = "/accounts/*/shares/*/excluded-recipients";
        let rule = Rule::always("POST", path, Action::Forbidden {}).account(&scene.account);
        let rule = world.simulator.fault(rule);
        let more = format!("organization: {{id: {organization}, excluded: [{{accountID: {two}}}]}}");
        scene.apply(&scene.share("waf", &[], &[&first], &more));
        scene.wait_reason("share", "waf", "ExclusionsNotInForce");
        world.simulator.remove_fault(rule);
        follow(&scene, "waf", page, 0);
        scene.wait_ready("share", "waf");
    }
}

fn end_of_adopted(world: &World) {
    for page in ["ExclusionsNotInForce", "CfshareExclusionsNotInForce"] {
        let scene = world.scene();
        let [organization, one, two, first] = ids();
        world.simulator.organization(&organization, &[&scene.account, &one, &two]);
        let rule = Rule::always("POST", "/accounts/*/shares/*/excluded-recipients", Action::Forbidden {});
        world.simulator.fault(rule.account(&scene.account));
        crate::cli::seed(&scene, "waf", &[], vec![crate::cli::resource(&first, Value::Null)], true);
        let organization = format!("organization: {{id: {organization}, excluded: [{{accountID: {two}}}]}}");
        let more = format!("adoptionPolicy: SameName\ndeletionProtection: true\n{organization}");
        scene.apply(&scene.share("waf", &[], &[&first], &more));
        let share = scene.wait_reason("share", "waf", "ExclusionsNotInForce");
        assert_eq!(share["status"]["effective"]["deletionPolicy"], "Retain", "{share:#}");
        carry_out(&scene, "waf", &commands(page, "Do")[1]);
        assert!(scene.get("share", "waf").is_none() && scene.live().is_empty(), "{:#?}", scene.live());
    }
}

/// Somebody else renames the share, and again each time that it is corrected.
fn renamed(scene: &Scene<'_>, times: usize) {
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let share = scene.only().id;
    for time in 1..=times {
        let rename = Edit::Rename { share: share.clone(), name: "somebody else's".into() };
        scene.world.simulator.edit(rename).expect("an edit");
        if time < 3 {
            scene.wait_state("it put right", |shares| shares[0].name == "waf");
            scene.wait_ready("share", "waf");
        }
    }
}

fn not_converging(world: &World) {
    let scene = world.scene();
    renamed(&scene, 3);
    scene.wait_reason("share", "waf", "NotConverging");
    follow(&scene, "waf", "NotConverging", 0);
    scene.wait_state("it put right", |shares| shares[0].name == "waf");
    scene.wait_ready("share", "waf");
}

fn repeated_drift(world: &World) {
    let scene = world.scene();
    renamed(&scene, 2);
    scene.wait_event("waf", |reason, _| reason == "Drifted");
    follow(&scene, "waf", "CfshareRepeatedDrift", 0);
    scene.wait_for("share", "waf", "was only observed", |share| {
        share["status"]["effective"]["managementPolicy"] == "Observe"
    });
}

fn ambiguous(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let resource = || vec![crate::cli::resource(&first, Value::Null)];
    let [_, chosen] = [0, 1].map(|_| crate::cli::seed(&scene, "waf", &[&one], resource(), false));
    scene.apply(&scene.share("waf", &[&one], &[&first], "adoptionPolicy: SameName"));
    scene.wait_reason("share", "waf", "Ambiguous");
    commands("Ambiguous", "Look").iter().for_each(|block| carry_out(&scene, "waf", block));
    carry_out(&scene, "waf", &format!("share={chosen}\n{}", commands("Ambiguous", "Do")[0]));
    let share = scene.wait_ready("share", "waf");
    assert_eq!(share["status"]["shareID"], chosen.as_str());
}

fn deleting(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    world.simulator.delays(Some(&scene.account), |delays| delays.delete_share_ms = None);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.delete("share", "waf");
    scene.wait_for("share", "waf", "was being deleted", |share| share["status"].to_string().contains("\"Deleting\""));
    follow(&scene, "waf", "Deleting", 0);
    assert!(scene.get("share", "waf").is_none());
}

fn deletion_protected(world: &World) {
    for (choice, left) in [(0, 0), (1, 1)] {
        let scene = world.own_scene();
        let _operator = crate::deletions::deleted_and_protected(&scene);
        follow(&scene, "waf-0", "DeletionProtected", choice);
        scene.wait("as many shares as the page says", || scene.live().len() == left);
    }
}

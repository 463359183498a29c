//! Which manifests the API server takes, which it refuses, and whether it says what to write instead.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use cfshare_testbed::Cluster;
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

mod tables;

use tables::{Case, Change, NAMESPACE, cases, changes, object};

type Verdict = Result<(), Failed>;

/// All of them share one cluster, and leave nothing in it but the CRDs and two namespaces.
pub fn trials<C>(cluster: C) -> Vec<Trial>
where
    C: Deref<Target = Cluster> + Clone + Send + 'static,
{
    let mut trials = Vec::new();
    let mut add = |sentence: String, trial: Box<dyn FnOnce(&Cluster) -> Verdict + Send>| {
        let cluster = cluster.clone();
        trials.push(Trial::test(format!("manifests: {sentence}"), move || trial(prepared(&cluster))));
    };
    for case in cases() {
        add(sentence(&case), Box::new(move |cluster| answers(cluster, "create", &case)));
    }
    for Change { before, after } in changes() {
        add(sentence(&after), Box::new(move |cluster| changed(cluster, before, after)));
    }
    for (sentence, trial) in OTHERS {
        add((*sentence).to_owned(), Box::new(trial));
    }
    trials
}

fn sentence(case: &Case) -> String {
    format!("{}: {}", if case.says.is_empty() { "taken" } else { "refused" }, case.what)
}

/// The CRDs and two namespaces, once.
fn prepared(cluster: &Cluster) -> &Cluster {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let crds = folder("crds").display().to_string();
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", &crds];
        cluster.run(&apply, None).unwrap();
        let wait = ["wait", "--for=condition=Established", "--timeout=60s", "-f", &crds];
        cluster.run(&wait, None).unwrap();
        for name in [NAMESPACE, "security-baseline"] {
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
            store(cluster, "apply --server-side", &namespace).unwrap();
        }
    });
    cluster
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Tries a manifest without storing it.
fn answers(cluster: &Cluster, verb: &str, case: &Case) -> Verdict {
    match (store(cluster, &format!("{verb} --dry-run=server"), &case.manifest), case.says.as_slice()) {
        (Ok(_), []) => Ok(()),
        (Err(answer), []) => Err(answer.into()),
        (Ok(_), _) => Err("the API server took it".into()),
        (Err(answer), words) => match words.iter().find(|word| !answer.contains(*word)) {
            Some(missing) => Err(format!("no {missing:?} in: {answer}").into()),
            None => Ok(()),
        },
    }
}

/// Tries a change of an object that is stored, under a name of its own.
fn changed(cluster: &Cluster, mut before: Value, mut after: Case) -> Verdict {
    let name = format!("changed-{}", COUNTER.fetch_add(1, Ordering::Relaxed));
    before["metadata"]["name"] = json!(name);
    after.manifest["metadata"]["name"] = json!(name);
    store(cluster, "create", &before)?;
    let verdict = answers(cluster, "replace", &after);
    if before["spec"]["deletionProtection"] == true {
        // Other tests have installed the policy that refuses to delete it.
        before["spec"]["deletionProtection"] = json!(false);
        store(cluster, "replace", &before)?;
    }
    store(cluster, "delete --wait=false", &before)?;
    verdict
}

static COUNTER: AtomicUsize = AtomicUsize::new(0);

type Test = fn(&Cluster) -> Verdict;

const OTHERS: &[(&str, Test)] = &[
    ("every example is taken", examples),
    ("two authors own recipients of one share", two_authors),
    ("a status begins unobserved", unobserved),
    ("the tables answer at a glance", tables),
    ("every field explains itself", explanations),
];

fn examples(cluster: &Cluster) -> Verdict {
    let examples = folder("deploy/examples");
    let of = |file: fs::DirEntry| fs::read_to_string(file.path()).unwrap_or_default();
    let text: String = fs::read_dir(&examples)?.flatten().map(of).collect();
    let written = text.lines().filter(|line| line.starts_with("kind: ")).count();
    let examples = examples.display().to_string();
    let answer = cluster.run(&["create", "--dry-run=server", "-f", &examples], None)?;
    let taken = answer.lines().filter(|line| line.ends_with("created (server dry run)")).count();
    expect(taken == written && taken > 0, || format!("{taken} of {written}: {answer}"))
}

/// Each withdraws its own entries and no others, the last one too, though the list goes with it.
fn two_authors(cluster: &Cluster) -> Verdict {
    let author = |name: &str, accounts: &[&str]| {
        let accounts: Vec<Value> = accounts.iter().map(|id| json!({ "accountID": id })).collect();
        let share = object("Share", "authors", json!({ "accountID": "a", "recipients": accounts }));
        store(cluster, &format!("apply --server-side --field-manager={name}"), &share)?;
        kubectl(cluster, "get share authors -o jsonpath={.spec.recipients[*].accountID}")
    };
    let seen =
        [author("payments", &["a"])?, author("shop", &["b", "c"])?, author("payments", &[])?, author("shop", &[])?];
    kubectl(cluster, "delete share authors --wait=false")?;
    expect(seen == ["a", "a b c", "b c", ""], || format!("{seen:?}"))
}

/// Else `helm install --wait` would report success before the operator has acted.
fn unobserved(cluster: &Cluster) -> Verdict {
    for manifest in family("unobserved") {
        let status = store(cluster, "create --dry-run=server -o jsonpath={.status}", &manifest)?;
        expect(status == r#"{"observedGeneration":-1}"#, || status.clone())?;
    }
    Ok(())
}

fn tables(cluster: &Cluster) -> Verdict {
    let family = family("shown");
    for manifest in &family {
        store(cluster, "create", manifest)?;
    }
    let mut shown = family[0].clone();
    shown["status"] = json!({
        "observedGeneration": 1,
        "conditions": [{
            "type": "Ready", "status": "False", "reason": "Associating", "observedGeneration": 1,
            "message": "3 of 300 are associating", "lastTransitionTime": "2026-11-24T10:00:00Z",
        }],
        "recipients": { "declared": 300, "associated": 297, "pending": 3, "failed": 0, "summary": "297/300" },
        "resources": { "declared": 4, "active": 4, "summary": "4/4" },
    });
    store(cluster, "apply --server-side --subresource=status", &shown)?;
    let table = |what: &str| kubectl(cluster, &format!("get {what}")).map(|text| squeezed(&text));
    let plain = kubectl(cluster, "get cfs shown")?;
    let share = squeezed(&plain);
    let wide = table("cfs shown -o wide")?;
    let recipient = table("cfsr --field-selector spec.shareRef.name=shown")?;
    let resource = table("cfsx --field-selector spec.shareRef.name=shown")?;
    let category = table("cloudflare -o name")?;
    for manifest in &family {
        store(cluster, "delete --wait=false", manifest)?;
    }
    for (table, start) in [
        (share, "NAME READY RECIPIENTS RESOURCES REASON AGE\nshown False 297/300 4/4 Associating"),
        (wide.clone(), "NAME READY RECIPIENTS RESOURCES REASON AGE ACCOUNT SHARE ID MESSAGE\nshown False"),
        (recipient, "NAME READY SHARE LABEL REASON AGE\nshown shown payments-prod"),
        (resource, "NAME READY SHARE TYPE REASON AGE\nshown shown b"),
    ] {
        expect(table.starts_with(start), || format!("not {start:?}: {table}"))?;
    }
    expect(wide.trim_end().ends_with("3 of 300 are associating"), || wide.clone())?;
    expect(plain.lines().all(|line| line.len() <= 80), || plain.clone())?;
    let kinds = ["share", "sharerecipient", "shareresource"];
    expect(kinds.iter().all(|kind| category.contains(&format!("{kind}.cfshare.dev/shown"))), || category.clone())
}

fn explanations(cluster: &Cluster) -> Verdict {
    let recipients = kubectl(cluster, "explain share.spec.recipients")?;
    expect(recipients.contains("Accounts that receive the share"), || recipients.clone())?;
    for kind in ["share", "sharerecipient", "shareresource"] {
        for part in ["spec", "status"] {
            let text = kubectl(cluster, &format!("explain {kind}.{part}"))?;
            let fields = text.lines().filter(|line| line.contains("\t<")).count();
            expect(fields >= 5 && !text.contains("<no description>"), || text.clone())?;
        }
    }
    Ok(())
}

/// One object of each kind.
fn family(name: &str) -> [Value; 3] {
    let share_ref = json!({ "name": name });
    [
        object("Share", name, json!({ "accountID": "a", "recipients": [] })),
        object("ShareRecipient", name, json!({ "shareRef": share_ref, "accountID": "a", "name": "payments-prod" })),
        object("ShareResource", name, json!({ "shareRef": share_ref, "type": "b", "id": "c" })),
    ]
}

/// A table without its layout.
fn squeezed(table: &str) -> String {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    table.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// In the namespace of these trials.
fn kubectl(cluster: &Cluster, command: &str) -> Result<String, String> {
    let words: Vec<&str> = ["--namespace", NAMESPACE].into_iter().chain(command.split_whitespace()).collect();
    cluster.run(&words, None).map_err(|error| error.to_string())
}

fn store(cluster: &Cluster, command: &str, manifest: &Value) -> Result<String, String> {
    let words: Vec<&str> = command.split_whitespace().chain(["-f", "-"]).collect();
    cluster.run(&words, Some(&manifest.to_string())).map_err(|error| error.to_string())
}

fn expect(fact: bool, complaint: impl FnOnce() -> String) -> Verdict {
    if fact { Ok(()) } else { Err(complaint().into()) }
}

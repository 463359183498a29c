//! The life of one share: made, failed, mended, changed, changed by others, deleted.

use cfshare_simulator::{Association, Edit, Life, RowError};
use cfshare_testbed::Error;

use crate::stage::{Stage, ensure, ready};

/// The account that owns everything in the examples.
pub const SECURITY: &str = "023e105f4ecef8ad9ca31a8372d0c353";
/// The accounts of the first example, in its order.
const RECIPIENTS: [(&str, &str); 5] = [
    ("372e67954025e0ba6aaa6d586b9e0b59", "Payments"),
    ("8f14e45fceea167a5a36dedd4bea2543", "Payments staging"),
    ("c9f0f895fb98ab9159f51fd0297e236d", "Shop"),
    ("45c48cce2e2d7fbdea1afc51c7c6ad26", "Shop staging"),
    ("d3d9446802a44259755d38e6d163e820", "Data platform"),
];
const SEARCH: &str = "16790b9d0e3c4d25b8a1f60c2d7e9a41";
const BY_HAND: &str = "b6d767d2f8ed5d21a44b0e5886680cb9";
const RULESET: &str = "2f2feab2026849078ba485f918791bdc";
const SHARE: &str = "WAF baseline";

pub fn tell(stage: &mut Stage) -> Result<(), Error> {
    install(stage)?;
    share(stage)?;
    mend(stage)?;
    add(stage)?;
    remove(stage)?;
    others_change(stage)
}

fn install(stage: &Stage) -> Result<(), Error> {
    stage.simulator.account(SECURITY, |account| account.name = Some("Security".into()));
    for (id, name) in RECIPIENTS {
        stage.simulator.account(id, |account| account.name = Some(name.into()));
    }
    stage.terminal.step("Three kinds, a namespace and a Secret");
    stage.shell("kubectl apply --server-side -f crds/")?;
    stage.await_crds();
    stage.shell("kubectl wait --for=condition=Established --timeout=30s -f crds/ >/dev/null")?;
    stage.shell("kubectl create namespace security-baseline")?;
    stage.shell("kubectl config set-context --current --namespace=security-baseline")?;
    stage.shell("kubectl create secret generic cloudflare-credentials --from-literal=apiToken=a-token")?;
    Ok(())
}

fn share(stage: &Stage) -> Result<(), Error> {
    // Nothing is associated by itself: the accounts follow one after the other, as they do at Cloudflare.
    stage.simulator.delays(Some(SECURITY), |delays| delays.associate_ms = None);
    stage.terminal.step("A WAF ruleset and a Gateway policy are shared with five accounts");
    stage.terminal.say("READY tells the truth: the last account lacks an entitlement, and is named.");
    stage.shell("kubectl apply -f deploy/examples/share.yaml")?;
    stage.watch("kubectl get shares.cfshare.dev waf-baseline --watch", "RecipientFailed", || {
        stage.until("waf-baseline", "has a share at Cloudflare", |share| share["status"]["shareID"].is_string())?;
        let id = stage.remote(SHARE)?.id;
        for (n, (account, _)) in RECIPIENTS.iter().take(4).enumerate() {
            set(stage, &id, account, "associated", vec![])?;
            let summary = format!("{}/5", n + 1);
            stage.until("waf-baseline", &format!("says {summary}"), |share| {
                share["status"]["recipients"]["summary"] == summary.as_str()
            })?;
        }
        let error = RowError {
            resource_id: RULESET.into(),
            resource_version: 1,
            error: "Recipient is missing necessary entitlement".into(),
            terminal: true,
        };
        set(stage, &id, RECIPIENTS[4].0, "associating", vec![error])?;
        let failed = stage.until("waf-baseline", "says that a recipient failed", |share| {
            ready(share)["reason"] == "RecipientFailed" && share["status"]["recipients"]["summary"] == "4/5"
        })?;
        let named = &failed["status"]["exceptions"];
        ensure(named[0]["name"] == "data-platform" && named.as_array().is_some_and(|all| all.len() == 1), || {
            format!("status.exceptions should name data-platform alone: {named}")
        })
    })?;
    let failed = stage.shell("kubectl get shares.cfshare.dev waf-baseline -o jsonpath='{.status.exceptions}'")?;
    ensure(failed.contains("missing necessary entitlement"), || "the cause should be named".into())
}

fn set(stage: &Stage, share: &str, account: &str, status: &str, errors: Vec<RowError>) -> Result<(), Error> {
    let edit = Edit::SetRecipient {
        share: share.into(),
        recipient: account.into(),
        status: Some(status.into()),
        errors: Some(errors),
        clear: false,
    };
    stage.simulator.edit(edit).map(drop).map_err(Error::new)
}

fn mend(stage: &Stage) -> Result<(), Error> {
    stage.simulator.delays(Some(SECURITY), |delays| delays.associate_ms = Some(600));
    stage.terminal.step("The account gets its entitlement, and one annotation asks for another try");
    stage.shell("kubectl annotate shares.cfshare.dev waf-baseline cfshare.dev/requestedAt=\"$(date +%s)\"")?;
    stage.shell("kubectl wait shares.cfshare.dev waf-baseline --for=condition=Ready --timeout=60s")?;
    stage.until_ready("waf-baseline", "5/5")?;
    stage.shell("kubectl get shares.cfshare.dev")?;
    let live = stage.remote(SHARE)?.live_recipients().len();
    ensure(live == 5, || format!("{live} recipients are live at Cloudflare instead of 5"))
}

fn add(stage: &Stage) -> Result<(), Error> {
    stage.terminal.step("One line more in the manifest is one call more, and the other accounts notice nothing");
    let example = stage.read("deploy/examples/share.yaml")?;
    let last = example.lines().find(|line| line.contains(RECIPIENTS[4].0)).unwrap_or_default();
    let more = format!("{last}\n  - {{accountID: {SEARCH}, name: search-prod}}");
    stage.write("share.yaml", &example.replace(last, &more))?;
    stage.shell_ending("diff deploy/examples/share.yaml share.yaml", 1)?;
    stage.shell_ending("cfshare plan --cluster -f share.yaml", 2)?;
    let mark = stage.simulator.last_request();
    stage.shell("kubectl apply -f share.yaml")?;
    stage.until_ready("waf-baseline", "6/6")?;
    stage.shell("kubectl get shares.cfshare.dev")?;
    stage.show_calls(mark);
    let calls = stage.changes(mark);
    let one = calls.len() == 1 && calls[0].method == "POST" && calls[0].body["recipient_account_id"] == SEARCH;
    ensure(one, || format!("{} changing calls were made instead of one POST", calls.len()))
}

fn remove(stage: &Stage) -> Result<(), Error> {
    stage.terminal.step("A line less ends that sharing");
    let manifest = stage.read("share.yaml")?;
    let kept: Vec<&str> = manifest.lines().filter(|line| !line.contains("shop-staging")).collect();
    stage.write("before.yaml", &manifest)?;
    stage.write("share.yaml", &(kept.join("\n") + "\n"))?;
    stage.shell_ending("diff before.yaml share.yaml", 1)?;
    let mark = stage.simulator.last_request();
    stage.shell("kubectl apply -f share.yaml")?;
    stage.until_ready("waf-baseline", "5/5")?;
    stage.shell("kubectl get shares.cfshare.dev")?;
    stage.show_calls(mark);
    let share = stage.remote(SHARE)?;
    let gone = share.recipients.iter().filter(|row| row.account_id == RECIPIENTS[3].0);
    let ended = gone.clone().count() == 1 && gone.clone().all(|row| row.status == Association::Disassociated);
    ensure(ended && share.live_recipients().len() == 5, || "shop-staging should be disassociated, nobody else".into())
}

fn others_change(stage: &Stage) -> Result<(), Error> {
    let id = stage.remote(SHARE)?.id;
    let mark = stage.simulator.last_request();
    stage.terminal.step("Somebody adds an account in Cloudflare's dashboard: it is shown, and stays");
    let edit = Edit::AddRecipient { share: id.clone(), account: BY_HAND.into() };
    stage.simulator.edit(edit).map_err(Error::new)?;
    stage.until("waf-baseline", "shows the account that nobody declared", |share| {
        let unmanaged = &share["status"]["unmanaged"][0];
        unmanaged["accountID"] == BY_HAND && unmanaged["state"] == "associated"
    })?;
    stage.shell("kubectl get shares.cfshare.dev waf-baseline -o jsonpath='{.status.unmanaged}'")?;
    stage.until_ready("waf-baseline", "5/5")?;
    ensure(stage.changes(mark).is_empty(), || "nothing should have been changed".into())?;

    stage.terminal.step("Somebody changes what the manifest says: it is shown, and put right");
    let edit = Edit::SetMeta { share: id, resource: RULESET.into(), meta: serde_json::json!({"mode": "log only"}) };
    stage.simulator.edit(edit).map_err(Error::new)?;
    stage.wait("the ruleset's settings are as before, and the share is Ready", || {
        let share = stage.remote(SHARE).ok()?;
        let right = share.live_resources().iter().all(|row| row.meta == serde_json::json!({}));
        (right && !stage.changes(mark).is_empty()).then_some(())
    })?;
    stage.until("waf-baseline", "is Ready, without a drift", |share| {
        crate::stage::is_ready(share) && share["status"]["drift"].is_null()
    })?;
    stage.wait("an Event tells of the drift", || stage.has_event("Drifted").then_some(()))?;
    stage.shell("kubectl events --for shares.cfshare.dev/waf-baseline --types=Warning")?;
    stage.show_calls(mark);
    let calls = stage.changes(mark);
    ensure(calls.len() == 1 && calls[0].method == "PUT", || format!("{} changes instead of one PUT", calls.len()))
}

pub fn end(stage: &Stage) -> Result<(), Error> {
    stage.simulator.delays(Some(SECURITY), |delays| delays.delete_share_ms = Some(1500));
    stage.terminal.step("A deleted object waits until Cloudflare says that the share is gone");
    stage.shell("kubectl delete shares.cfshare.dev waf-baseline --wait=false")?;
    stage.until("waf-baseline", "says that it is being deleted", |share| ready(share)["reason"] == "Deleting")?;
    stage.shell("kubectl get shares.cfshare.dev waf-baseline")?;
    stage.shell("kubectl wait --for=delete shares.cfshare.dev/waf-baseline --timeout=60s")?;
    let shares = stage.shares();
    let left = shares.iter().filter(|share| share.name == SHARE && share.status != Life::Deleted).count();
    let receiving: usize = shares.iter().filter(|share| share.name == SHARE).map(|s| s.live_recipients().len()).sum();
    ensure(left == 0 && receiving == 0, || format!("{left} shares and {receiving} recipients are left at Cloudflare"))
}

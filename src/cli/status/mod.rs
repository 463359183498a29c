//! `cfshare status`: where all Shares and their children stand, and what is not in place.

mod one;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::cluster::{Cluster, Objects, Scope};
use super::lease::LeaseName;
use super::matrix::Rows;
use super::output::{Exit, count, table};
use super::reach::Reach;
use super::signs::Foreword;
use crate::api::condition::ready;
use crate::api::status::{RecentCall, RowRef, ShareStatus};
use crate::api::{ChildObject, Kind, Name, ObjectKey, Share, ShareRecipient, ShareResource, int32};
use crate::core::interned::Interned;

/// Show the state of all Shares and their ShareRecipients and ShareResources, or details of one Share (`status share/NAME`)
///
/// It reads only the cluster: what the operator last observed, whether an operator is active, and whether it watches them.
/// Exit code 0: all are ready. 2: some are not. 3: all were ready, but no operator is active, or that is in doubt. 1: error,
/// or there is nothing to show.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct Status {
    /// One Share, such as share/waf-baseline
    #[arg(value_name = "share/NAME", value_parser = share_name)]
    share: Option<String>,
    #[command(flatten)]
    scope: Scope,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Form,
    /// Refresh on every change, until interrupted
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    lease: LeaseName,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Form {
    Text,
    Json,
    Yaml,
}

impl Form {
    /// For people, as the text says, or else for programs.
    fn print(self, text: impl FnOnce() -> String, list: impl FnOnce() -> Vec<Value>) -> anyhow::Result<String> {
        Ok(match self {
            Form::Text => text(),
            Form::Json => format!("{}\n", serde_json::to_string_pretty(&list())?),
            Form::Yaml => serde_yaml::to_string(&list())?,
        })
    }
}

/// The name in share/NAME, or in NAME alone.
fn share_name(target: &str) -> Result<String, String> {
    let name = match target.split_once('/') {
        Some(("share" | "shares" | "cfs" | "shares.cfshare.dev" | "share.cfshare.dev", name)) => name,
        None => target,
        Some((kind, _)) => return Err(format!("{kind} is not supported: write share/NAME")),
    };
    if name.is_empty() || name.contains('/') {
        return Err(format!("{target} does not name a Share: write share/NAME"));
    }
    Ok(name.to_owned())
}

/// How often --watch looks.
const PAUSE: Duration = Duration::from_secs(2);

impl Status {
    pub async fn run(&self, out: &mut impl Write) -> anyhow::Result<Exit> {
        let cluster = self.scope.cluster().await?;
        let mut before = None;
        loop {
            let Screen { foreword, body, exit } = match &self.share {
                Some(name) => self.one(&cluster, name).await?,
                None => self.list(&cluster).await?,
            };
            // How long ago something was is no change.
            let shown = Some((foreword.warning.is_some(), body.clone()));
            if shown != before {
                if self.watch && std::io::stdout().is_terminal() {
                    out.write_all(b"\x1b[2J\x1b[H")?;
                } else if before.is_some() {
                    writeln!(out)?;
                }
                out.write_all(self.with(&foreword, body).as_bytes())?;
                out.flush()?;
                before = shown;
            }
            if !self.watch {
                return Ok(exit);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn list(&self, cluster: &Cluster) -> anyhow::Result<Screen> {
        let objects = cluster.objects().await?;
        let mut standings = standings(&objects);
        standings.sort_by(|a, b| a.place().cmp(&b.place()));
        if standings.is_empty() {
            return Err(cluster.nothing().await);
        }
        let pulse = self.lease.read(cluster).await;
        let reach = Reach::read(cluster, &pulse).await?;
        standings.iter_mut().for_each(|standing| standing.look_up(&reach));
        let foreword = Foreword::new(&pulse, &objects.shares, &objects.recipients, Timestamp::now());
        let body = self.output.print(|| text(&standings), || standings.iter().map(json).collect())?;
        Ok(Screen { exit: exit(&standings, &foreword), foreword, body })
    }

    /// What programs read stays what it is.
    fn with(&self, foreword: &Foreword, body: String) -> String {
        match (self.output, foreword.lines()) {
            (Form::Text, lines) if !lines.is_empty() => format!("{lines}\n{body}"),
            (Form::Text, _) => body,
            (Form::Json | Form::Yaml, _) => {
                foreword.warning.iter().chain(&foreword.note).for_each(|line| eprintln!("cfshare: {line}"));
                body
            }
        }
    }

    async fn one(&self, cluster: &Cluster, name: &str) -> anyhow::Result<Screen> {
        let Some(namespace) = &cluster.namespace else {
            anyhow::bail!("share/{name} is in one namespace: specify it with -n instead of -A");
        };
        let Some(share) = cluster.share(namespace, name).await? else {
            let nothing = cluster.nothing().await.to_string();
            if nothing.contains("does not exist") {
                anyhow::bail!(nothing);
            }
            anyhow::bail!("namespace {namespace} has no Share {name}: `cfshare status -A` lists all");
        };
        let (mut recipients, mut resources): (Vec<ShareRecipient>, Vec<ShareResource>) =
            (cluster.list().await?, cluster.list().await?);
        recipients.retain(|child| child.spec.share_ref.name == name);
        resources.retain(|child| child.spec.share_ref.name == name);
        let objects = Objects { shares: vec![share], recipients, resources };
        let (share, recipients) = (&objects.shares[0], &objects.recipients);
        let records = objects.children().filter_map(ChildObject::record);
        let calls: Vec<&RecentCall> = records.flat_map(|record| &record.common.recent_calls).collect();
        let pulse = self.lease.read(cluster).await;
        let reach = Reach::read(cluster, &pulse).await?;
        let mut standings = standings(&objects);
        standings.iter_mut().for_each(|standing| standing.look_up(&reach));
        let foreword = Foreword::new(&pulse, &objects.shares, recipients, Timestamp::now());
        let exit = exit(&standings, &foreword);
        let list = || {
            let mut list: Vec<Value> = standings.iter().map(json).collect();
            for (key, value) in one::calls(share, &calls, &pulse) {
                // The Share comes first.
                list[0][key] = value;
            }
            list
        };
        let rows = || Rows::new(share, recipients.iter().collect(), &reach);
        let screen = || one::screen(&rows(), &calls, &pulse, Timestamp::now());
        let body = self.output.print(screen, list)?;
        Ok(Screen { foreword, body, exit })
    }
}

/// What is shown at once.
struct Screen {
    foreword: Foreword,
    body: String,
    exit: Exit,
}

fn exit(standings: &[Standing], foreword: &Foreword) -> Exit {
    match (standings.iter().all(Standing::is_ready), &foreword.warning) {
        (false, _) => Exit::Differs,
        (true, Some(_)) => Exit::Stale,
        (true, None) => Exit::Good,
    }
}

/// Where one object stands.
struct Standing {
    key: ObjectKey,
    /// The Share, of itself or of its child.
    share: Interned,
    generation: Option<i64>,
    /// Of a child only what it has in common with a Share.
    status: ShareStatus,
    /// Why nobody reconciles it, if that is known.
    beyond: Option<String>,
}

fn standings(objects: &Objects) -> Vec<Standing> {
    objects.shares.iter().map(of_share).chain(objects.children().map(of_child)).collect()
}

impl Standing {
    /// Children stand below their Share.
    fn place(&self) -> (&str, &str, Kind, &str) {
        (&self.key.name.namespace, &self.share, self.key.kind, &self.key.name.name)
    }

    fn look_up(&mut self, reach: &Reach) {
        self.beyond = reach.beyond(self.key.kind, &self.key.name);
    }

    /// How many recipients and resources are in place.
    fn summaries(&self) -> [&str; 2] {
        let recipients = self.status.recipients.as_ref().map(|counts| &*counts.summary);
        let resources = self.status.resources.as_ref().map(|counts| &*counts.summary);
        [recipients, resources].map(Option::unwrap_or_default)
    }

    /// The condition that speaks of the object as it is now; `Err`: why there is none.
    fn condition(&self) -> Result<&Condition, &str> {
        let common = &self.status.common;
        match (&self.beyond, ready(&common.conditions)) {
            (Some(why), _) => Err(why),
            (None, Some(ready)) if Some(common.observed_generation) == self.generation => Ok(ready),
            (None, Some(_) | None) => Err("cfshare has not processed the last change yet"),
        }
    }

    fn is_ready(&self) -> bool {
        self.word() == "True"
    }

    fn word(&self) -> &str {
        self.condition().map_or("Unknown", |ready| &ready.status)
    }

    fn reason(&self) -> (&str, &str) {
        self.condition().map_or_else(|why| ("-", why), |ready| (&ready.reason, &ready.message))
    }
}

fn of_share(share: &Share) -> Standing {
    let key = ObjectKey::share(Name::of(share));
    let (own, generation) = (key.name.name.clone(), share.metadata.generation);
    Standing { key, share: own, generation, status: share.status.clone().unwrap_or_default(), beyond: None }
}

fn of_child(child: &dyn ChildObject) -> Standing {
    let common = child.record().map(|record| record.common.clone()).unwrap_or_default();
    let status = ShareStatus { common, ..ShareStatus::default() };
    let (key, share) = (child.object_key(), child.share().name);
    Standing { key, share, generation: child.metadata().generation, status, beyond: None }
}

fn text(standings: &[Standing]) -> String {
    let head = ["NAMESPACE", "KIND", "NAME", "READY", "RECIPIENTS", "RESOURCES", "REASON", "MESSAGE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for standing in standings {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let (reason, message) = standing.reason();
        let (ObjectKey { kind, name }, [recipients, resources]) = (&standing.key, standing.summaries());
        rows.push(vec![
            name.namespace.to_string(),
            kind.to_string(),
            name.name.to_string(),
            standing.word().to_owned(),
            or_dash(recipients),
            or_dash(resources),
            reason.to_owned(),
            message.to_owned(),
        ]);
    }
    let mut text = table(&rows);
    for standing in standings {
        let lines = details(&standing.status);
        if !lines.is_empty() {
            text.push_str(&format!("\n{}\n", standing.key));
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    }
    let ready = standings.iter().filter(|standing| standing.is_ready()).count();
    text.push_str(&format!("\n{ready} of {} ready\n", count(standings.len(), "object")));
    text
}

/// What is not in place, a line each.
fn details(status: &ShareStatus) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in &status.exceptions {
        let what = row(&entry.row);
        let what = entry.name.as_ref().map_or(what.clone(), |name| format!("{name} ({what})"));
        let message = if entry.message.is_empty() { String::new() } else { format!(": {}", entry.message) };
        let last = if entry.terminal { "; Cloudflare does not retry" } else { "" };
        let waived = entry.waiver.as_ref().map_or(String::new(), |waiver| format!("; {waiver}"));
        lines.push(format!("{what} has been {} since {}{message}{last}{waived}", entry.state, entry.since.0));
    }
    if status.exceptions_omitted > 0 {
        lines.push(format!("{} more are not in place", status.exceptions_omitted));
    }
    for drift in &status.common.drift {
        lines.push(format!("drifted: {} is {} instead of {}", drift.path, drift.observed, drift.desired));
    }
    for entry in &status.unmanaged {
        lines.push(format!("unmanaged: {} is {}", row(&entry.row), entry.state));
    }
    let listed = int32(status.unmanaged.len());
    if status.unmanaged_count > listed {
        lines.push(format!("{} more are unmanaged", status.unmanaged_count - listed));
    }
    lines
}

fn row(row: &RowRef) -> String {
    let what = if row.account_id.is_some() { "recipient" } else { "resource" };
    format!("{what} {row}")
}

fn json(standing: &Standing) -> Value {
    let (reason, message) = standing.reason();
    let (ObjectKey { kind, name }, [recipients, resources]) = (&standing.key, standing.summaries());
    let status = &standing.status;
    json!({
        "kind": kind.to_string(),
        "namespace": &*name.namespace,
        "name": &*name.name,
        "share": &*standing.share,
        "ready": standing.word(),
        "reason": reason,
        "message": message,
        "recipients": recipients,
        "resources": resources,
        "exceptions": status.exceptions,
        "exceptionsOmitted": status.exceptions_omitted,
        "drift": status.common.drift,
        "unmanaged": status.unmanaged,
        "unmanagedCount": status.unmanaged_count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(generation: i64, status: Value) -> Standing {
        let object = json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
            "metadata": {"name": "waf", "namespace": "ns", "generation": generation},
            "spec": {"accountID": "acc"}, "status": status,
        });
        of_share(&serde_json::from_value(object).expect("a Share"))
    }

    fn ready(word: &str) -> Value {
        json!([{"type": "Ready", "status": word, "reason": "Associated", "message": "all is well",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}])
    }

    #[test]
    fn a_share_is_ready_only_for_its_present_generation() {
        assert!(share(2, json!({"observedGeneration": 2, "conditions": ready("True")})).is_ready());
        let stale = share(3, json!({"observedGeneration": 2, "conditions": ready("True")}));
        assert!(!stale.is_ready());
        assert_eq!((stale.word(), stale.reason().0), ("Unknown", "-"));
        assert!(!share(1, Value::Null).is_ready());
    }

    #[test]
    fn what_is_not_in_place_is_named_below_the_table() {
        let standing = share(
            1,
            json!({
                "observedGeneration": 1, "conditions": ready("False"),
                "recipients": {"declared": 3, "associated": 1, "pending": 1, "failed": 1, "summary": "1/3"},
                "exceptions": [{"accountID": "372e", "name": "payments-prod", "state": "associating", "terminal": true,
                                "since": "2026-01-01T00:00:00Z", "message": "no entitlement"}],
                "exceptionsOmitted": 4,
                "drift": [{"path": "name", "desired": "a", "observed": "b"}],
                "unmanaged": [{"type": "t", "id": "x", "state": "active"}], "unmanagedCount": 3,
            }),
        );
        assert_eq!(
            text(&[standing]),
            "NAMESPACE  KIND   NAME  READY  RECIPIENTS  RESOURCES  REASON      MESSAGE\n\
             ns         Share  waf   False  1/3         -          Associated  all is well\n\n\
             Share ns/waf\n  \
             payments-prod (recipient 372e) has been associating since 2026-01-01T00:00:00Z: no entitlement; Cloudflare does not \
             retry\n  4 more are not in place\n  drifted: name is b instead of a\n  \
             unmanaged: resource t/x is active\n  2 more are unmanaged\n\n0 of 1 object ready\n"
        );
    }
}

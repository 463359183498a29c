//! `cfshare matrix`: who receives what.

use std::collections::BTreeMap;
use std::io::Write;

use clap::{Args, ValueEnum};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::cluster::Scope;
use super::output::{Exit, print_json, table};
use crate::api::{Share, ShareRecipient, ShareResource};
use crate::operator::Name;

/// Show who receives what: each receiving account, its shares, their resources and how far they are
///
/// It reads the cluster alone: what is declared, and what the operator last saw of it.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct Matrix {
    #[command(flatten)]
    scope: Scope,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORM")]
    output: Form,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Form {
    Text,
    Csv,
    Json,
}

impl Matrix {
    pub async fn run(&self, out: &mut impl Write) -> anyhow::Result<Exit> {
        let (shares, recipients, resources) = self.scope.cluster().await?.objects().await?;
        let matrix = matrix(&shares, &recipients, &resources);
        match self.output {
            Form::Text => out.write_all(text(&matrix).as_bytes())?,
            Form::Csv => out.write_all(csv(&matrix).as_bytes())?,
            Form::Json => print_json(out, &json(&matrix))?,
        }
        Ok(Exit::Good)
    }
}

/// An account, or all members of an organization.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Receiver {
    Account(String),
    Organization(String),
}

/// One receiver, with all that it receives.
#[derive(Default)]
struct Entry {
    label: Option<String>,
    received: Vec<Received>,
}

struct Received {
    share: Name,
    share_id: Option<String>,
    resources: Vec<String>,
    /// How far it is: Cloudflare's word, or that nobody declares it.
    state: String,
}

type Table = BTreeMap<Receiver, Entry>;

fn matrix(shares: &[Share], recipients: &[ShareRecipient], resources: &[ShareResource]) -> Table {
    let mut table = Table::new();
    for share in shares {
        let name = Name::of(share);
        let ours = |namespace: Option<String>, parent: &str| {
            namespace.unwrap_or_default() == name.namespace && parent == name.name
        };
        let carried: Vec<String> = share
            .spec
            .resources
            .iter()
            .map(|entry| resource(&entry.kind, &entry.id, entry.name.as_deref()))
            .chain(
                resources
                    .iter()
                    .filter(|child| ours(child.namespace(), &child.spec.share_ref.name))
                    .map(|child| resource(&child.spec.kind, &child.spec.id, child.spec.name.as_deref())),
            )
            .collect();
        let share_id = share.status.as_ref().and_then(|status| status.share_id.clone());
        let mut add = |receiver: Receiver, label: Option<&str>, state: String| {
            let entry = table.entry(receiver).or_default();
            entry.label = entry.label.take().or_else(|| label.map(str::to_owned));
            if entry.received.iter().all(|received| received.share != name) {
                let (share, share_id) = (name.clone(), share_id.clone());
                entry.received.push(Received { share, share_id, resources: carried.clone(), state });
            }
        };
        if let Some(organization) = &share.spec.organization {
            let state = if is_ready(share) { "associated" } else { "not ready" };
            add(Receiver::Organization(organization.id.clone()), None, state.into());
            for entry in &organization.excluded {
                add(Receiver::Account(entry.account_id.clone()), entry.name.as_deref(), "excluded".into());
            }
        }
        for entry in share.spec.recipients.iter().flatten() {
            let state = state(share, &entry.account_id);
            add(Receiver::Account(entry.account_id.clone()), entry.name.as_deref(), state);
        }
        for child in recipients.iter().filter(|child| ours(child.namespace(), &child.spec.share_ref.name)) {
            let status = child.status.as_ref();
            let word = status.and_then(|status| status.association_status.clone());
            let failed = status.is_some_and(|status| status.errors.iter().any(|error| error.terminal));
            let state = if failed { "failed".to_owned() } else { word.unwrap_or_else(|| "not shared yet".into()) };
            add(Receiver::Account(child.spec.account_id.clone()), child.spec.name.as_deref(), state);
        }
        let unmanaged = share.status.iter().flat_map(|status| &status.unmanaged);
        for (entry, account) in unmanaged.filter_map(|entry| Some((entry, entry.account_id.clone()?))) {
            add(Receiver::Account(account), None, format!("{}, declared by nobody", entry.state));
        }
    }
    table
}

fn resource(kind: &str, id: &str, label: Option<&str>) -> String {
    match label {
        Some(label) => format!("{kind}/{label}"),
        None => format!("{kind}/{id}"),
    }
}

fn is_ready(share: &Share) -> bool {
    let conditions = share.status.iter().flat_map(|status| &status.common.conditions);
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// How far a declared account is, by what the Share's status says of it.
fn state(share: &Share, account: &str) -> String {
    let Some(status) = share.status.as_ref().filter(|status| status.share_id.is_some()) else {
        return "not shared yet".into();
    };
    let exception = status.exceptions.iter().find(|entry| entry.account_id.as_deref() == Some(account));
    match exception {
        Some(entry) if entry.terminal => format!("failed: {}", entry.message),
        Some(entry) => entry.state.clone(),
        // The list of exceptions is cut, or older than the manifest.
        None if status.exceptions_omitted > 0
            || Some(status.common.observed_generation) != share.metadata.generation =>
        {
            "unknown".into()
        }
        None => "associated".into(),
    }
}

fn columns(receiver: &Receiver, entry: &Entry) -> (String, String) {
    match receiver {
        Receiver::Account(id) => (entry.label.clone().unwrap_or_else(|| "-".into()), id.clone()),
        Receiver::Organization(id) => ("(whole organization)".into(), id.clone()),
    }
}

fn text(matrix: &Table) -> String {
    if matrix.is_empty() {
        return "nobody receives anything here\n".to_owned();
    }
    let mut rows = vec![["ACCOUNT", "ID", "SHARE", "STATE", "RESOURCES"].map(str::to_owned).to_vec()];
    for (receiver, entry) in matrix {
        let (label, id) = columns(receiver, entry);
        for received in &entry.received {
            let resources = received.resources.join(", ");
            rows.push(vec![label.clone(), id.clone(), received.share.to_string(), received.state.clone(), resources]);
        }
    }
    table(&rows)
}

fn csv(matrix: &Table) -> String {
    let mut text = String::from("account,id,namespace,share,share_id,state,resources\r\n");
    for (receiver, entry) in matrix {
        let (label, id) = columns(receiver, entry);
        for Received { share, share_id, resources, state } in &entry.received {
            let label = if label == "-" { "" } else { label.as_str() };
            let resources = resources.join(" ");
            let share_id = share_id.as_deref().unwrap_or_default();
            let cells = [label, &id, &share.namespace, &share.name, share_id, state, &resources];
            text.push_str(&cells.map(cell).join(","));
            text.push_str("\r\n");
        }
    }
    text
}

/// Spreadsheets take some cells for formulas: a quote before those keeps them text.
fn cell(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@', '\t']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn json(matrix: &Table) -> Value {
    let entries = matrix.iter().map(|(receiver, entry)| {
        let (account, organization) = match receiver {
            Receiver::Account(id) => (Some(id), None),
            Receiver::Organization(id) => (None, Some(id)),
        };
        let shares: Vec<Value> = entry
            .received
            .iter()
            .map(|received| {
                json!({
                    "namespace": received.share.namespace, "name": received.share.name, "shareID": received.share_id,
                    "state": received.state, "resources": received.resources,
                })
            })
            .collect();
        json!({ "accountID": account, "organizationID": organization, "name": entry.label, "shares": shares })
    });
    Value::Array(entries.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let share = json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
            "metadata": {"name": "waf", "namespace": "ns", "generation": 1},
            "spec": {"accountID": "acc", "recipients": [{"accountID": "a1", "name": "=pay, ments"}, {"accountID": "a2"}],
                     "resources": [{"type": "t", "id": "x", "name": "rules"}]},
            "status": {"observedGeneration": 1, "shareID": "s1",
                "exceptions": [{"accountID": "a2", "state": "associating", "since": "2026-01-01T00:00:00Z"}],
                "unmanaged": [{"accountID": "a9", "state": "associated"}]},
        });
        let child = json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "ShareRecipient",
            "metadata": {"name": "a3", "namespace": "ns"}, "spec": {"shareRef": {"name": "waf"}, "accountID": "a3"},
        });
        let all = json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share", "metadata": {"name": "all", "namespace": "ns"},
            "spec": {"accountID": "acc", "organization": {"id": "org", "excluded": [{"accountID": "a1"}]}},
        });
        let shares = [share, all].map(|share| serde_json::from_value(share).expect("a Share"));
        matrix(&shares, &[serde_json::from_value(child).expect("a ShareRecipient")], &[])
    }

    #[test]
    fn each_account_has_a_line_for_each_of_its_shares() {
        assert_eq!(
            text(&sample()),
            "ACCOUNT               ID   SHARE   STATE                           RESOURCES\n\
             =pay, ments           a1   ns/waf  associated                      t/rules\n\
             =pay, ments           a1   ns/all  excluded\n\
             -                     a2   ns/waf  associating                     t/rules\n\
             -                     a3   ns/waf  not shared yet                  t/rules\n\
             -                     a9   ns/waf  associated, declared by nobody  t/rules\n\
             (whole organization)  org  ns/all  not ready\n"
        );
        assert_eq!(text(&Table::new()), "nobody receives anything here\n");
    }

    #[test]
    fn csv_is_quoted_and_holds_no_formula() {
        let csv = csv(&sample());
        assert_eq!(csv.lines().nth(1), Some("\"'=pay, ments\",a1,ns,waf,s1,associated,t/rules"));
        assert_eq!(csv.lines().count(), 7);
    }

    #[test]
    fn as_json_it_is_a_list_of_receivers() {
        let matrix = json(&sample());
        assert_eq!(matrix[0]["shares"][1]["state"], "excluded");
        assert_eq!(matrix[4]["organizationID"], "org");
    }
}

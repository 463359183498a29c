//! `cfshare matrix`: who receives what, by what was seen, and since when.

mod html;
mod live;
mod print;
mod proof;
mod resources;
mod rows;
mod state;
mod table;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::accounts;
use super::cluster::{Objects, Scope};
use super::lease::{Leader, LeaseName, Pulse, age, is_stale};
use super::output::{Exit, print_json};
use super::remote::Endpoint;
use super::signs::{self, Trace};
use crate::api::condition::ready;
use crate::api::status::CommonStatus;
use crate::api::{Kind, Name, Share, int32};
use crate::core::interned::Interned;
use crate::operator::sweeps;
pub(in crate::cli) use proof::said;
use rows::Found;
pub(in crate::cli) use rows::{Receiver, Rows};
use state::Cell;
pub(in crate::cli) use state::State;
use table::{By, Column, Table};

/// Show which account receives which share, with the resources and the state at Cloudflare
///
/// It shows what the operator observed and recorded, and when that was last verified. What the status does not prove is
/// `unknown`. With --live, it reads Cloudflare directly, with the credential from CLOUDFLARE_API_TOKEN, or
/// CLOUDFLARE_EMAIL and CLOUDFLARE_API_KEY, or else from the Secrets in the cluster; a read-only token is enough.
///
/// Exit code 0: the table is up to date. 3: it may be out of date; the first lines say why. 1: error, or there is
/// nothing to show.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct Matrix {
    #[command(flatten)]
    scope: Scope,
    /// Output format; html is a single page that needs no network
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
    /// First column, by which the rows are sorted
    #[arg(long, value_enum, default_value = "account", value_name = "WHAT")]
    by: By,
    /// File with ids and names of accounts (CSV or JSON): names the accounts, and also lists those in no share
    #[arg(long, value_name = "FILE")]
    accounts: Option<PathBuf>,
    /// Read Cloudflare now instead of using what the operator last observed
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    endpoint: Endpoint,
    #[command(flatten)]
    lease: LeaseName,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    #[value(alias = "text")]
    Table,
    Wide,
    Csv,
    Json,
    Yaml,
    Html,
}

impl Matrix {
    pub async fn run(&self, out: &mut impl Write) -> anyhow::Result<Exit> {
        let names = self.accounts.as_deref().map(accounts::read).transpose()?.unwrap_or_default();
        let cluster = self.scope.cluster().await?;
        let objects = cluster.objects().await?;
        if objects.shares.is_empty() && objects.recipients.is_empty() {
            return Err(cluster.nothing().await);
        }
        let mut table = if self.live {
            let reader = live::Reader::new(&cluster, &self.endpoint, objects.shares.len());
            live_table(&objects, reader).await?
        } else {
            let pulse = self.lease.read(&cluster).await;
            table(&objects, &pulse, Timestamp::now())
        };
        table.name_accounts(&names, cluster.part().as_deref());
        let text = match self.output {
            Format::Table => print::table(&table, self.by, false),
            Format::Wide => print::table(&table, self.by, true),
            Format::Csv => print::csv(&table, self.by),
            Format::Html => html::page(&table),
            Format::Yaml => serde_yaml::to_string(&print::json(&table))?,
            Format::Json => {
                print_json(out, &print::json(&table))?;
                String::new()
            }
        };
        out.write_all(text.as_bytes())?;
        if !matches!(self.output, Format::Table | Format::Wide) {
            table.warnings.iter().chain(&table.notes).for_each(|line| eprintln!("cfshare: {line}"));
        }
        Ok(if table.warnings.is_empty() { Exit::Good } else { Exit::Stale })
    }
}

fn column(share: &Share, rows: &Rows, children: &Objects, verified: Option<Timestamp>) -> Column {
    let name = Name::of(share);
    let ours = |child: &&crate::api::ShareResource| {
        child.spec.share_ref.name == name.name && child.namespace().unwrap_or_default() == name.namespace
    };
    let children: Vec<_> = children.resources.iter().filter(ours).collect();
    let status = &rows.status;
    let ready = ready(&status.common.conditions);
    let mut more = Vec::new();
    if status.exceptions_omitted > 0 {
        more.push(format!("and {} more recipients or resources that are not in place", status.exceptions_omitted));
    }
    let listed = int32(status.unmanaged.len());
    if status.unmanaged_count > listed {
        more.push(format!("and {} more that no manifest declares", status.unmanaged_count - listed));
    }
    Column {
        resources: resources::resources(rows, &children),
        share_id: status.share_id.clone(),
        owner: share.spec.account_id.clone(),
        owner_name: status.account_name.clone(),
        ready: ready.map_or("Unknown", |ready| &ready.status).to_owned(),
        reason: ready.map(|ready| ready.reason.clone()).unwrap_or_default(),
        name,
        verified,
        more,
        proved: rows.is_proved(),
    }
}

fn rows_of<'a>(share: &'a Share, objects: &'a Objects) -> Rows<'a> {
    let name = Name::of(share);
    let ours = |child: &&crate::api::ShareRecipient| {
        child.spec.share_ref.name == name.name && child.namespace().unwrap_or_default() == name.namespace
    };
    Rows::new(share, objects.recipients.iter().filter(ours).collect())
}

/// What the objects show of the operator.
fn traces(objects: &Objects) -> Vec<Trace> {
    let observed = |common: &CommonStatus| common.observed_generation;
    let shares = objects.shares.iter().map(|share| {
        let status = share.status.as_ref();
        let failed = status.is_some_and(|status| {
            status.exceptions_omitted > 0 || status.exceptions.iter().any(|exception| exception.terminal)
        });
        Trace::of(Kind::Share, share.meta(), status.map(|status| observed(&status.common)), failed)
    });
    let recipients = objects.recipients.iter().map(|child| {
        let status = child.status.as_ref();
        let failed = status.is_some_and(|status| status.errors.iter().any(|error| error.terminal));
        let observed = status.map(|status| observed(&status.child.common));
        Trace::of(Kind::ShareRecipient, child.meta(), observed, failed)
    });
    shares.chain(recipients).collect()
}

/// The table by what the operator observed and recorded.
fn table(objects: &Objects, pulse: &Pulse, now: Timestamp) -> Table {
    let mut table = Table::new(now, false);
    table.warnings.extend(pulse.warning(objects.shares.iter().map(|share| share.spec.account_id.as_str())));
    if let Leader::Unknown(why) = &pulse.leader {
        match signs::judge(&traces(objects), now) {
            Ok(active) => table.notes.push(format!(
                "{why}; {active}. VERIFIED says when a status was last written: what others changed at Cloudflare since \
                 then is not shown, and --live reads it"
            )),
            Err(doubt) => table.warnings.push(format!("{why}; {doubt}")),
        }
    }
    for share in &objects.shares {
        let rows = rows_of(share, objects);
        let verified = match (&rows.status.share_id, &rows.status.seen_with) {
            // Nothing is compared, even if its account is read for other Shares.
            _ if rows.is_suspended() => None,
            (Some(_), Some(credential)) => {
                let sweep = pulse.sweeps.get(&sweeps::key(&share.spec.account_id, credential));
                let at = sweep.and_then(|sweep| Timestamp::from_second(sweep.at).ok());
                match (sweep, at) {
                    (Some(sweep), Some(at)) if is_stale(sweep, now) => table.warn(format!(
                        "account {} was last read {} ago, more than two sweeps: what follows may have changed since",
                        share.spec.account_id,
                        age(now.duration_since(at))
                    )),
                    (None, _) if pulse.serves(&share.spec.account_id) => table.warn(format!(
                        "it is not known when account {} was last read: the operator has not read it since it started",
                        share.spec.account_id
                    )),
                    _ => {}
                }
                let written = || Some(()).filter(|()| matches!(pulse.leader, Leader::Unknown(_)));
                at.or_else(|| written().and_then(|()| signs::written(share.meta())))
            }
            _ => None,
        };
        let found = rows.waive(rows.all(), now);
        table.add(column(share, &rows, objects, verified), found);
    }
    table.add_orphans(objects);
    table
}

async fn live_table(objects: &Objects, mut reader: live::Reader<'_>) -> anyhow::Result<Table> {
    let now = Timestamp::now();
    let mut table = Table::new(now, true);
    for share in &objects.shares {
        let rows = rows_of(share, objects);
        let id = rows.status.share_id.clone().or_else(|| share.spec.share_id.clone());
        let read = match &id {
            Some(id) => reader.read(share, id).await?,
            None => None,
        };
        let column = column(share, &rows, objects, read.as_ref().map(|read| read.at));
        let (column, found) = as_read(column, &rows, id, read.as_ref());
        table.add(column, rows.waive(found, now));
    }
    table.add_orphans(objects);
    Ok(table)
}

/// The column with what was read of the share of this id, and its rows; `None`: Cloudflare has no such share.
fn as_read(mut column: Column, rows: &Rows, id: Option<Interned>, read: Option<&live::Read>) -> (Column, Vec<Found>) {
    let Some(id) = id else { return (column, rows.all()) };
    column.proved = true;
    column.more.clear();
    let found = match read {
        Some(read) => {
            column.resources = read.resources(std::mem::take(&mut column.resources));
            read.rows(rows)
        }
        None => {
            let gone = Cell::new(State::Pending, "absent", format!("Cloudflare has no share {id} in this account"));
            column.resources.iter_mut().for_each(|carried| carried.cell = gone.clone());
            rows.all().into_iter().map(|row| Found { cell: gone.clone(), ..row }).collect()
        }
    };
    column.share_id = Some(id);
    (column, found)
}

#[cfg(test)]
mod tests;

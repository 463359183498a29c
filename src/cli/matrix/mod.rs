//! `cfshare matrix`: who receives what, by what was seen, and since when.

mod html;
mod live;
mod print;
mod proof;
mod resources;
mod rows;
mod state;
mod table;

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};

use super::accounts;
use super::cluster::{Cluster, Objects, Scope};
use super::credentials::Remotes;
use super::lease::{Leader, LeaseName, Pulse, age, is_stale};
use super::output::{Exit, print_json};
use super::progress;
use super::reach::Reach;
use super::remote::{Endpoint, words};
use super::signs::{self, Foreword};
use super::survey::Survey;
use crate::api::condition::ready;
use crate::api::{Name, Share, int32};
use crate::core::id::{AnyId, same};
use crate::core::interned::Interned;
use crate::operator::sweeps;
use live::Answer;
pub(in crate::cli) use proof::said;
use rows::Found;
pub(in crate::cli) use rows::{Receiver, Rows};
use state::Cell;
pub(in crate::cli) use state::State;
use table::{By, Column, Table};

/// What the table lacks, as long as Cloudflare does not say what there is.
const ONLY_OBJECTS: &str = "shares at Cloudflare without a Share object are not in this table";
/// The operator's Lease says a sweep when it is renewed, which is every 15 s by default.
const LEASE_LAG: SignedDuration = SignedDuration::from_secs(60);

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
    /// Read Cloudflare now instead of using what the operator last observed, and also show shares without a Share object
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
            let remotes = Remotes::new(Some(&cluster), &self.endpoint, &objects.shares);
            live_table(&objects, &cluster, Survey::new(remotes)).await
        } else {
            let pulse = self.lease.read(&cluster).await;
            let reach = Reach::read(&cluster, &pulse).await?;
            table(&objects, &pulse, &reach, Timestamp::now())
        };
        table.note_organizations();
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

fn rows_of<'a>(share: &'a Share, objects: &'a Objects, reach: &'a Reach) -> Rows<'a> {
    let name = Name::of(share);
    let ours = |child: &&crate::api::ShareRecipient| {
        child.spec.share_ref.name == name.name && child.namespace().unwrap_or_default() == name.namespace
    };
    Rows::new(share, objects.recipients.iter().filter(ours).collect(), reach)
}

/// The table by what the operator observed and recorded.
fn table(objects: &Objects, pulse: &Pulse, reach: &Reach, now: Timestamp) -> Table {
    let mut table = Table::new(now, false);
    let Foreword { warning, note } = Foreword::new(pulse, &objects.shares, &objects.recipients, now);
    table.warnings.extend(warning);
    table.notes.extend(note.map(|note| {
        format!(
            "{note}. VERIFIED says when a status was last written: what others changed at Cloudflare since then is not \
             shown, and --live reads it"
        )
    }));
    for share in &objects.shares {
        let rows = rows_of(share, objects, reach);
        let beyond = rows.beyond();
        if let Some(why) = &beyond {
            table.warn(format!("Share {}: {why}. Its rows are unknown, and --live reads Cloudflare", Name::of(share)));
        }
        let verified = match (&rows.status.share_id, &rows.status.seen_with) {
            // Nothing is compared, even if its account is read for other Shares.
            _ if rows.is_suspended() || beyond.is_some() => None,
            (Some(_), Some(credential)) => {
                let sweep = pulse.sweeps.get(&sweeps::key(&share.spec.account_id, credential));
                let at = sweep.and_then(|sweep| Timestamp::from_second(sweep.at).ok());
                match (sweep, at) {
                    (Some(sweep), Some(at)) if is_stale(sweep, now) => table.warn(format!(
                        "account {} was last read {}: what follows may have changed since",
                        share.spec.account_id,
                        since(at, now)
                    )),
                    (None, _) if pulse.serves(&share.spec.account_id) && was_written_lately(share, &rows, now) => {
                        table.warn(format!(
                            "when account {} was last read is not in the operator's Lease yet: try again in 15 s",
                            share.spec.account_id
                        ));
                    }
                    (None, _) if pulse.serves(&share.spec.account_id) => table.warn(format!(
                        "it is not known when account {} was last read: the operator has not read it since it started",
                        share.spec.account_id
                    )),
                    _ => {}
                }
                let written = || Some(()).filter(|()| matches!(pulse.leader, Leader::Unknown(_)));
                match at {
                    // That read was before there was anything to see.
                    Some(at) if at < made_at(share) => Some(share).filter(|_| rows.is_proved()).and_then(written_at),
                    Some(at) => Some(at),
                    None => written().and_then(|()| written_at(share)),
                }
            }
            _ => None,
        };
        let found = rows.waive(rows.all(), now);
        table.add(column(share, &rows, objects, verified), found);
    }
    table.add_orphans(objects, reach);
    table.notes.push(format!("{ONLY_OBJECTS}; --live reads them"));
    table
}

fn written_at(share: &Share) -> Option<Timestamp> {
    signs::written(share.meta())
}

/// Whether the operator has just read the share, so that its Lease will say so.
fn was_written_lately(share: &Share, rows: &Rows, now: Timestamp) -> bool {
    rows.is_proved() && written_at(share).is_some_and(|at| now.duration_since(at) < LEASE_LAG)
}

/// Since when the object and its share have been there, as far as the status remembers.
fn made_at(share: &Share) -> Timestamp {
    let calls = share.status.iter().flat_map(|status| &status.common.recent_calls);
    let created = calls.filter(|call| call.call.starts_with("create share ")).map(|call| call.at.0);
    created.chain(share.meta().creation_timestamp.iter().map(|time| time.0)).max().unwrap_or_default()
}

/// The shares at Cloudflare that an object of the cluster has, or means by its id; an error says why that is not known.
async fn owned(cluster: &Cluster) -> anyhow::Result<HashSet<AnyId>> {
    let shares = cluster.whole().list::<Share>().await?;
    let ids = |share: &Share| {
        let recorded = share.status.as_ref().and_then(|status| status.share_id.clone());
        recorded.into_iter().chain(share.spec.share_id.clone())
    };
    Ok(shares.iter().flat_map(ids).map(AnyId::new).collect())
}

/// The table by what Cloudflare says now.
async fn live_table(objects: &Objects, cluster: &Cluster, mut survey: Survey<'_>) -> Table {
    let now = Timestamp::now();
    let (mut table, mut is_blind) = (Table::new(now, true), false);
    let reach = Reach::default();
    let total = objects.shares.len();
    for (before, share) in objects.shares.iter().enumerate() {
        let rows = rows_of(share, objects, &reach);
        let id = rows.status.share_id.clone().or_else(|| share.spec.share_id.clone());
        let what = || format!("reading share {} of {total} from Cloudflare", before + 1);
        let answer = match &id {
            Some(id) => {
                let read = progress::shown(what, live::read(&mut survey, share, id)).await;
                Some(read.unwrap_or_else(|error| Answer::Unknown(words(&error))))
            }
            None => None,
        };
        is_blind |= matches!(answer, Some(Answer::Unknown(_)));
        if let Some(why) = answer.as_ref().and_then(Answer::unread) {
            table.warn(format!("Share {}: {why}", Name::of(share)));
        }
        let verified = answer.as_ref().and_then(Answer::at);
        let column = column(share, &rows, objects, verified);
        let (column, found) = as_read(column, &rows, id.zip(answer));
        table.add(column, rows.waive(found, now));
    }
    table.add_orphans(objects, &reach);
    match add_unmanaged(&mut table, objects, cluster, &mut survey).await {
        // Who does not see what an object has may not see the rest either.
        Ok(is_whole) => table.has_unmanaged = is_whole && !is_blind,
        Err(why) => table.notes.push(format!("{ONLY_OBJECTS}: which those are is not known ({why})")),
    }
    table
}

/// Adds the shares of the same accounts that have no object. Returns whether all of them are there.
async fn add_unmanaged(
    table: &mut Table,
    objects: &Objects,
    cluster: &Cluster,
    survey: &mut Survey<'_>,
) -> anyhow::Result<bool> {
    let (mut listed, mut unlisted) = (BTreeMap::new(), BTreeMap::new());
    for share in &objects.shares {
        match survey.account(share).await {
            Ok(account) => drop(listed.insert(account.view(), account)),
            Err(why) => drop(unlisted.entry(AnyId::new(&*share.spec.account_id)).or_insert(why)),
        }
    }
    // Another Secret may have shown it.
    unlisted.retain(|account, _| !listed.keys().any(|(id, _)| same(id.as_str(), account.as_str())));
    for (account, why) in &unlisted {
        table.warn(format!("account {account} cannot be listed, so {ONLY_OBJECTS}: {}", words(why)));
    }
    // What an object had got before the list was made stands in the object now.
    let mut known = owned(cluster).await?;
    for (account, share) in listed.values().flat_map(|account| account.shares.iter().map(move |share| (account, share)))
    {
        if !known.insert(AnyId::new(share.id.as_str())) {
            continue;
        }
        let read = account.read(share.clone()).await;
        match &read {
            Ok(read) => read.exclusions_unread.iter().for_each(|why| table.warn(why.clone())),
            Err(why) => table.warn(words(why)),
        }
        let column = Column::unmanaged(share, read.as_ref().ok());
        table.add(column, read.map(|read| read.unmanaged()).unwrap_or_default());
    }
    Ok(unlisted.is_empty())
}

/// The column with what was answered of the share of this id, and its rows.
fn as_read(mut column: Column, rows: &Rows, asked: Option<(Interned, Answer)>) -> (Column, Vec<Found>) {
    let Some((id, answer)) = asked else { return (column, rows.all()) };
    let cell = match answer {
        Answer::Read(read) => {
            column.resources = read.resources(std::mem::take(&mut column.resources));
            (column.proved, column.share_id) = (true, Some(id));
            column.more.clear();
            return (column, read.rows(rows));
        }
        Answer::Absent => {
            column.proved = true;
            column.more.clear();
            Cell::new(State::Pending, "absent", format!("Cloudflare has no share {id} in this account"))
        }
        Answer::Unknown(why) => {
            // What a status says proves nothing of what Cloudflare was asked for.
            column.proved = false;
            column.more.clear();
            Cell::unknown(why)
        }
    };
    column.share_id = Some(id);
    column.resources.iter_mut().for_each(|carried| carried.cell = cell.clone());
    (column, rows.all().into_iter().map(|row| Found { cell: cell.clone(), ..row }).collect())
}

/// How long ago an account was read whose sweep is stale.
fn since(at: Timestamp, now: Timestamp) -> String {
    if at > now {
        return format!("at a time that is still {} ahead of this machine's clock", age(at.duration_since(now)));
    }
    format!("{} ago, more than two sweeps", age(now.duration_since(at)))
}

#[cfg(test)]
mod tests;

//! Which of a Share's objects are out of scope or not shown by the watch, and what may not be removed because of them?

use std::time::Duration;

use super::plan::Plan;
use super::removals;
use super::share_pass::SharePass;
use crate::api::{ObjectKey, Reason, ShareRecipient, ShareResource};
use crate::core::row_key::RowKey;
use crate::core::row_step::Step;
use crate::core::share_step::Mode;
use crate::operator::cluster::index::Index;
use crate::operator::cluster::outside::{FAILED_GAP, Recency};
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::cluster::trouble::with_cause;
use crate::operator::delays;
use crate::operator::pass::verdict::Verdict;
use crate::operator::rows::declare::Sibling;
use crate::operator::rows::facts::RowPlan;
use crate::operator::rows::row_state::first_and_more;

/// For so long a look holds for what another one precedes.
const MAX_AGE_OF_FIRST_LOOK: Duration = Duration::from_secs(600);
/// A message names so many objects.
const MAX_NAMED: usize = 3;

/// Before it is said how much the share loses: looks for objects that declare what is to be removed, and that the watch does
/// not show since it is late. Returns whether there is news: then plan again.
pub async fn look_for_children_outside(share: &mut SharePass, plan: &Plan, requested: bool) -> bool {
    if share.mode != Mode::Manage {
        return false;
    }
    let removed: Vec<RowKey> = removals::planned(share, plan);
    let has_late = share.desired.siblings.iter().any(|sibling| sibling.late);
    let within = match (has_late, removed.is_empty()) {
        (true, _) => delays::HUMAN,
        // Before they are removed, `look_before_removal` has the last word.
        (false, false) => MAX_AGE_OF_FIRST_LOOK,
        (false, true) => return false,
    };
    // Somebody says that it is another way now.
    let asked = (requested && has_late).then(|| share.pass.outdated_before(true));
    // What was listed before an edit does not show the objects that came with it.
    let asked = asked.max((!removed.is_empty()).then(|| removals::handed_over_at(share)));
    let kinds = Kinds::of(&removed);
    let kinds = Kinds { recipients: has_late || kinds.recipients, resources: has_late || kinds.resources };
    look(share, kinds, Recency { within, asked }).await
}

/// Before these rows are removed because nobody declares them: the objects of the namespace that may do so were listed a
/// moment ago, and after the edit that took the rows away. Returns whether there is news.
pub async fn look_before_removal(share: &mut SharePass, removed: &[RowKey]) -> bool {
    let asked = Some(removals::handed_over_at(share));
    look(share, Kinds::of(removed), Recency { within: delays::FRESH, asked }).await
}

/// Which kinds of objects may declare what is asked about.
#[derive(Clone, Copy)]
struct Kinds {
    recipients: bool,
    resources: bool,
}

impl Kinds {
    fn of(rows: &[RowKey]) -> Kinds {
        Kinds { recipients: rows.iter().any(RowKey::is_recipient), resources: rows.iter().any(RowKey::is_resource) }
    }
}

/// Returns whether other objects are known now. What cannot be listed is not listed again in this pass, nothing is removed, and
/// that is reported at its end.
async fn look(share: &mut SharePass, kinds: Kinds, recency: Recency) -> bool {
    if share.unlisted.is_some() {
        return false;
    }
    if let Err(unlisted) = look_for_kinds(share, kinds, recency).await {
        share.unlisted = Some(unlisted);
        return false;
    }
    // Whoever listed them, it may have been after this pass began.
    share.desired.look_again(&share.pass.object, &share.pass.context.cluster.index)
}

async fn look_for_kinds(share: &SharePass, kinds: Kinds, recency: Recency) -> Result<(), Verdict> {
    if kinds.recipients {
        look_for::<ShareRecipient>(share, recency).await?;
    }
    if kinds.resources {
        look_for::<ShareResource>(share, recency).await?;
    }
    Ok(())
}

/// Looks for objects of one kind; an error says that they cannot be listed.
async fn look_for<K: Reconciled>(share: &SharePass, recency: Recency) -> Result<(), Verdict> {
    let (cluster, namespace) = (&share.pass.context.cluster, &share.pass.key.name.namespace);
    let Err(error) = cluster.outside.look::<K>(&cluster.index, namespace, recency).await else { return Ok(()) };
    let message = format!(
        "nothing is removed from this share that a {} may declare, because cfshare cannot list those in namespace \
         {namespace}: {}",
        K::KIND,
        with_cause(&error),
    );
    Err(Verdict::unknown(Reason::Progressing, message).requeue_after(FAILED_GAP))
}

/// The message about objects outside that declare rows of this share.
pub fn out_of_scope(share: &SharePass) -> Option<Verdict> {
    let (late, mut outside): (Vec<&Sibling>, Vec<&Sibling>) =
        share.desired.siblings.iter().filter(|sibling| sibling.outside).partition(|sibling| sibling.late);
    outside.sort_by_key(|sibling| &sibling.key);
    let Some(first) = outside.first() else { return unseen(late) };
    let (does, declares) = match outside.len() {
        1 => ("does", "it declares"),
        _ => ("do", "they declare"),
    };
    let message = format!(
        "{} {does} not match --watch-label-selector, so cfshare does not reconcile what {declares}, and leaves it \
         at Cloudflare as it is. Restore the labels: {}",
        named(&outside),
        into_scope(&share.pass.context.cluster.index, &first.key),
    );
    Some(Verdict::stalled(Reason::OutOfScope, message))
}

/// What is reported of objects that exist, match, and were not brought by the watch.
fn unseen(mut late: Vec<&Sibling>) -> Option<Verdict> {
    // What is going was perhaps gone before the list ended.
    late.retain(|sibling| !sibling.child.is_deleting());
    late.sort_by_key(|sibling| &sibling.key);
    let namespace = &late.first()?.key.name.namespace;
    let message = format!(
        "cfshare has not received {} from the API server's watch yet, and leaves what is declared there at Cloudflare as it \
         is. If this persists, objects in namespace {namespace} cannot be listed or watched",
        named(&late),
    );
    Some(Verdict::working(Reason::Progressing, message).requeue_after(delays::HUMAN))
}

fn named(siblings: &[&Sibling]) -> String {
    let named: Vec<String> =
        siblings.iter().map(|sibling| format!("{} {}", sibling.key.kind, sibling.key.name.name)).collect();
    first_and_more(&named, MAX_NAMED)
}

impl Plan {
    /// Nothing is removed, and nothing said to be declared by nobody.
    pub fn defer_removals(&mut self) {
        for RowPlan { step, .. } in self.rows.values_mut() {
            if matches!(step, Step::Remove | Step::Ignore) {
                *step = Step::Keep;
            }
        }
    }
}

/// A command that brings an object into scope, or shows what keeps it out.
pub fn into_scope(index: &Index, key: &ObjectKey) -> String {
    let object = format!("{} {} -n {}", key.kind.kubectl_name(), key.name.name, key.name.namespace);
    match index.selector().labels() {
        Some(labels) => format!("kubectl label {object} {labels} --overwrite"),
        None => format!("kubectl get {object} --show-labels"),
    }
}

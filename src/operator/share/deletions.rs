//! How many shares of an account are deleted at once before a person has to confirm, and where that is on record.
//!
//! Deleted objects vanish, so the deletions of the last minutes are on record in the status of another Share of the
//! account: one that stays, or else one that is held back. A Share that carries the record hands it over before its
//! finalizer goes. Where no other Share is left, there is nothing to protect, and nothing to record; nor where there is no
//! limit.

use std::collections::HashSet;
use std::sync::Arc;

use kube::ResourceExt;

use super::desired::retains;
use super::share_pass::SharePass;
use crate::api::status::RecentDeletion;
use crate::api::{CONFIRM_DELETION, Reason, Share, has_finalizer, is_deleting, observes, own_record};
use crate::core::deletions::{self, Decision, DeletionLog, Facts, Record};
use crate::core::time::At;
use crate::operator::pass::Pass;
use crate::operator::pass::context::Context;
use crate::operator::pass::verdict::Verdict;
use crate::operator::stop::Stop;
use crate::operator::{clock, delays};

struct AccountDeletions {
    shares: Vec<Arc<Share>>,
    recent: Record,
}

impl AccountDeletions {
    fn of(context: &Context, id: &str, log: &mut DeletionLog, now: At) -> AccountDeletions {
        let index = &context.cluster.index;
        let shares: Vec<Arc<Share>> = index.of_account(id).iter().filter_map(|name| index.shares.find(name)).collect();
        let (own, serving_since) = (&mut log.recorded, context.cluster.shards.serving_since(id));
        for share in shares.iter().filter(|share| is_bound(share)) {
            let recorded = share.status.iter().flat_map(|status| &status.recent_deletions);
            let at = |deletion: &RecentDeletion| clock::from_time(&deletion.at).unless_ahead(now, serving_since);
            own.extend(recorded.map(|deletion| (deletion.uid.clone(), at(deletion))));
        }
        own.retain(|_, at| deletions::counts(*at, now));
        AccountDeletions { shares, recent: own.clone() }
    }

    /// How many shares the limit is a part of.
    fn managed(&self) -> usize {
        let managed = self.shares.iter().filter(|share| is_managed(share));
        let uids: HashSet<String> = managed.filter_map(|share| share.uid()).collect();
        uids.len() + self.recent.keys().filter(|uid| !uids.contains(*uid)).count()
    }

    /// Which Shares may keep the record when the one with this UID is gone, the likeliest to stay first.
    fn keepers(&self, leaving: &str) -> Vec<&Arc<Share>> {
        let fits = |share: &&Arc<Share>| {
            is_bound(share) && share.uid().as_deref() != Some(leaving) && has_finalizer(&share.metadata)
        };
        let mut keepers: Vec<&Arc<Share>> = self.shares.iter().filter(fits).collect();
        keepers.sort_by_cached_key(|share| {
            let recorded = share.uid().is_some_and(|uid| self.recent.contains_key(&uid));
            let created = share.creation_timestamp().map(|time| time.0);
            (is_deleting(&share.metadata), recorded, created, share.namespace(), share.name_any())
        });
        keepers
    }

    /// Writes the record down where it outlives the Share with this UID.
    async fn save(&self, context: &Context, leaving: &str) -> Result<(), Stop> {
        let (mut failed, mut forbidden) = (None, HashSet::new());
        for keeper in self.keepers(leaving) {
            if forbidden.contains(&keeper.namespace()) {
                continue;
            }
            match self.save_in(context, keeper).await {
                Ok(()) => return Ok(()),
                // It went a moment ago, and the watch will say so: another one will do until then.
                Err(Stop::Kubernetes(kube::Error::Api(status))) if status.code == 404 => failed = Some(Stop::Conflict),
                // A namespace that cannot be written to must not hold up the others, and loses no share meanwhile.
                Err(Stop::Kubernetes(kube::Error::Api(status))) if status.code == 403 => {
                    forbidden.insert(keeper.namespace());
                }
                // Nor must a Share with no room left in it.
                Err(stop) if stop.is_too_large() => {}
                Err(stop) => return Err(stop),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn save_in(&self, context: &Context, keeper: &Arc<Share>) -> Result<(), Stop> {
        let mut status = keeper.status.clone().unwrap_or_default();
        let known: HashSet<&str> = status.recent_deletions.iter().map(|deletion| deletion.uid.as_str()).collect();
        if self.recent.keys().all(|uid| known.contains(uid.as_str())) {
            return Ok(());
        }
        let entry = |(uid, at): (&String, &At)| RecentDeletion { uid: uid.clone(), at: clock::time(*at) };
        status.recent_deletions = self.recent.iter().map(entry).collect();
        context.cluster.write_status(keeper, &status).await?;
        Ok(())
    }
}

fn is_bound(share: &Share) -> bool {
    own_record(share).is_some_and(|status| status.share_id.is_some())
}

/// Whether the share counts among those that the limit is a part of.
pub fn is_managed(share: &Share) -> bool {
    is_bound(share) && !observes(share) && !retains(share, share.status.as_ref())
}

/// Hands the record over before the object that carries it goes.
pub async fn hand_over(pass: &Pass<Share>) -> Result<(), Stop> {
    if pass.status.recent_deletions.is_empty() {
        return Ok(());
    }
    let owner = &pass.object.spec.account_id;
    let log = pass.context.deletions_of(owner);
    let mut log = log.lock().await;
    let account = AccountDeletions::of(&pass.context, owner, &mut log, pass.now());
    account.save(&pass.context, &pass.object.uid().unwrap_or_default()).await
}

/// Whether a person confirmed that this object's share is to be deleted.
fn is_confirmed(pass: &Pass<Share>, now: At) -> bool {
    let until = pass.asked(CONFIRM_DELETION);
    let until = until.and_then(|time| time.parse::<k8s_openapi::jiff::Timestamp>().ok());
    let deleted = pass.object.metadata.deletion_timestamp.as_ref().map(clock::from_time);
    until.zip(deleted).is_some_and(|(until, deleted)| deletions::is_confirmed(At(until.as_millisecond()), deleted, now))
}

/// Why the share is not deleted though its object is; `None`: the deletion may be sent, and is on record.
pub async fn withheld_deletion(share: &mut SharePass) -> Result<Option<Verdict>, Stop> {
    let context = share.pass.context.clone();
    let now = share.pass.now();
    let owner = share.desired.owner.as_str();
    let uid = share.pass.object.uid().unwrap_or_default();
    // Whatever the others do.
    if share.pass.object.spec.deletion_protection == Some(true) {
        return Ok(Some(protected_from_deletion(share)));
    }
    let mut facts = Facts {
        confirmed: is_confirmed(&share.pass, now),
        recorded: false,
        withheld: share.pass.status.deletion_held_since.is_some(),
        recent: 0,
        managed: 0,
    };
    // A person has confirmed it, or there is no limit.
    if deletions::decide(&facts, context.settings.max_deletions) == Decision::Send {
        return Ok(None);
    }
    // One decision at a time in each account, or several would each find room for one more.
    let log = context.deletions_of(owner);
    let mut log = log.lock().await;
    facts.recorded = log.recorded.contains_key(&uid);
    let counted = log.counted_lately(now).filter(|_| facts.withheld && !facts.recorded);
    facts.managed = counted.unwrap_or_default();
    if counted.is_some()
        && let Decision::Withhold { allowed } = deletions::decide(&facts, context.settings.max_deletions)
    {
        return Ok(Some(withheld_verdict(share, facts, allowed)));
    }
    let mut account = AccountDeletions::of(&context, owner, &mut log, now);
    facts.recorded = account.recent.contains_key(&uid);
    facts.recent = account.recent.keys().filter(|other| **other != uid).count();
    facts.managed = account.managed();
    log.count(facts.managed, now);
    match deletions::decide(&facts, context.settings.max_deletions) {
        Decision::Send => Ok(None),
        Decision::RecordAndSend => {
            account.recent.insert(uid.clone(), now);
            account.save(&context, &uid).await?;
            log.recorded.insert(uid, now);
            Ok(None)
        }
        Decision::Withhold { allowed } => {
            share.pass.status.deletion_held_since.get_or_insert(clock::time(now));
            Ok(Some(withheld_verdict(share, facts, allowed)))
        }
    }
}

fn withheld_verdict(share: &SharePass, facts: Facts, allowed: usize) -> Verdict {
    let namespace = &share.pass.key.name.namespace;
    let annotation = format!("{CONFIRM_DELETION}=$(date -u +%FT%TZ)");
    let message = format!(
        "share {} is not deleted, and its accounts continue to receive it: --max-deletions allows {allowed} of the {} \
         shares of account {} to be deleted within 10 minutes without confirmation. To delete it: `{}`; to delete all Shares that \
         wait in this namespace: `kubectl annotate --overwrite shares.cfshare.dev --all -n {namespace} {annotation}`. {}",
        share.pass.status.share_id.as_deref().unwrap_or_default(),
        facts.managed,
        share.desired.owner,
        share.pass.key.annotate_now(CONFIRM_DELETION),
        how_to_keep(share),
    );
    Verdict::stalled(Reason::DeletionBlocked, message).requeue_after(delays::HUMAN)
}

fn protected_from_deletion(share: &SharePass) -> Verdict {
    let message = format!(
        "share {} is not deleted, and its accounts continue to receive it, because spec.deletionProtection is true. \
         To delete it: `{}`. {}",
        share.pass.status.share_id.as_deref().unwrap_or_default(),
        share.pass.key.set_field("deletionProtection", "false"),
        how_to_keep(share),
    );
    Verdict::stalled(Reason::DeletionProtected, message).requeue_after(delays::HUMAN)
}

fn how_to_keep(share: &SharePass) -> String {
    format!(
        "To keep it: `{}`, then apply the manifest again with adoptionPolicy: SameName; no account loses the share in the \
         meantime",
        share.pass.key.retain(),
    )
}

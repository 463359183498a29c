//! How do the shards of this process come and go while it works?

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::api::{Name, ObjectKey};
use crate::operator::cluster::partition::Partition;
use crate::operator::cluster::reconciled::Reconciled;
use crate::operator::pass::context::Context;

/// For so many looks in a row a replica must have more than its part before it gives a shard back.
const EXCESS_LOOKS: u32 = 2;

/// How often it is looked up who else uses a credential.
const DIVISION_PERIOD: Duration = Duration::from_secs(5);

/// Where accounts of several shards use one credential, each process uses a part of its rate: Cloudflare counts all of
/// them together.
pub async fn divide_rates(context: Arc<Context>) {
    loop {
        let shards = &context.cluster.shards;
        let mut users = HashMap::<_, BTreeSet<u16>>::new();
        for (secret, accounts) in context.cluster.index.accounts_of_secrets() {
            // Another Secret, of another shard, may hold the same credential: so all are read.
            if let Ok(found) = context.remote.credentials.resolve(&secret).await {
                let of_credential = users.entry(found.fingerprint()).or_default();
                of_credential.extend(accounts.iter().map(|account| shards.shard_of(account)));
            }
        }
        context.remote.limiters.divide(|credential| {
            let of_credential = users.get(&credential);
            let ours = of_credential.map_or(0, |users| users.iter().filter(|shard| shards.is_served(**shard)).count());
            match (ours, of_credential) {
                (1.., Some(users)) => ours as f64 / users.len() as f64,
                _ => 1.0 / f64::from(shards.count()),
            }
        });
        tokio::time::sleep(DIVISION_PERIOD).await;
    }
}

/// Serves the shards that this process holds, and gives back what is more than its part.
pub async fn keep(context: Arc<Context>, partition: Arc<Partition>, lease: Duration, end_timeout: Duration) {
    let mut served = BTreeSet::new();
    // Shards, the number of the list that they wait for, and the namespaces that have come.
    let mut awaited: Vec<(BTreeSet<u16>, u64, BTreeSet<Option<String>>)> = Vec::new();
    let mut exceeds = 0;
    let mut look = tokio::time::interval(lease / 4);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let shards = &context.cluster.shards;
        let held: BTreeSet<u16> = partition.held().into_iter().collect();
        let taken: Vec<u16> = held.difference(&served).copied().collect();
        if !taken.is_empty() {
            let list = shards.begin(&taken, context.clock.now());
            tracing::info!(shards = ?taken, "shards taken: their objects are worked on once all objects are listed");
            awaited.push((taken.iter().copied().collect(), list, BTreeSet::new()));
            served.extend(taken);
        }
        for (shards, list, come) in &mut awaited {
            let scopes = context.cluster.outside.scopes().iter().filter(|scope| !come.contains(*scope));
            let fresh: BTreeSet<Option<String>> = scopes
                .filter(|scope| context.cluster.shards.is_scope_listed(scope.as_deref(), *list))
                .cloned()
                .collect();
            requeue(&context, shards, &fresh);
            come.extend(fresh);
        }
        awaited.retain(|(_, _, come)| come.len() < context.cluster.outside.scopes().len());
        tokio::select! {
            () = partition.moved.notified() => {}
            () = shards.listed.notified() => {}
            _ = look.tick() => {
                exceeds = if partition.division().exceeds() { exceeds + 1 } else { 0 };
                if exceeds >= EXCESS_LOOKS && let Some(shard) = served.last().copied() {
                    exceeds = 0;
                    if give_back(&context, &partition, shard, end_timeout).await {
                        served.remove(&shard);
                        for (shards, _, _) in &mut awaited {
                            shards.remove(&shard);
                        }
                    } else {
                        let list = shards.begin(&[shard], context.clock.now());
                        awaited.push(([shard].into(), list, BTreeSet::new()));
                    }
                }
            }
        }
    }
}

/// Ends all work in the shard, then gives its Lease back. Whether it could be ended.
async fn give_back(context: &Context, partition: &Partition, shard: u16, end_timeout: Duration) -> bool {
    let shards = &context.cluster.shards;
    shards.end(shard);
    if tokio::time::timeout(end_timeout, shards.idle(shard)).await.is_err() {
        tracing::warn!(
            shard,
            "a shard is not given back to another replica yet, because some of its objects are still reconciled"
        );
        return false;
    }
    for account in context.remote.accounts.all() {
        if shards.shard_of(account.id.as_str()) == shard {
            context.remote.accounts.close(&account);
        }
    }
    let mut of_shard = Vec::new();
    for_each(context, |key, belongs| of_shard.extend(Some(key).filter(|_| belongs == shard)));
    of_shard.iter().for_each(|key| context.forget(key));
    context.remote.leadership.forget_sweeps(shard);
    partition.give_back(shard).await;
    true
}

/// Has all objects of these shards and scopes looked at.
fn requeue(context: &Context, shards: &BTreeSet<u16>, scopes: &BTreeSet<Option<String>>) {
    if scopes.is_empty() {
        return;
    }
    let (all, namespaces) =
        (scopes.contains(&None), scopes.iter().flatten().map(String::as_str).collect::<BTreeSet<_>>());
    for_each(context, |key, shard| {
        if shards.contains(&shard) && (all || namespaces.contains(&*key.name.namespace)) {
            context.cluster.requeuer.requeue_later(&key);
        }
    });
}

/// Each object that is watched, and the shard that it belongs to.
fn for_each(context: &Context, mut what: impl FnMut(ObjectKey, u16)) {
    fn each<K: Reconciled>(context: &Context, what: &mut impl FnMut(ObjectKey, u16)) {
        for object in K::cache(&context.cluster.index).all() {
            let account = object.account(&context.cluster.index);
            what(K::key(Name::of(object.as_ref())), context.cluster.shard_of(account.as_deref()));
        }
    }
    each::<crate::api::Share>(context, &mut what);
    each::<crate::api::ShareRecipient>(context, &mut what);
    each::<crate::api::ShareResource>(context, &mut what);
}

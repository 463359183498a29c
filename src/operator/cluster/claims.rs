//! Which of several Shares may have a share at Cloudflare, or a name there: also those that the watch does not show.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;

use super::objects::{Objects, claim, observes, own_record};
use crate::api::{Kind, Name, ObjectKey, Share};

/// What of a Share says what it claims.
#[derive(Debug, Clone)]
struct Claimant {
    name: Name,
    created: Option<Timestamp>,
    account: String,
    /// Account and name that it wants.
    claim: (String, String),
    share_ids: Vec<String>,
    /// It has a share, or is just creating one.
    made: bool,
    /// It has the name that it wants, or is just creating a share of it.
    holds_name: bool,
    /// It wants a share by its id.
    by_id: bool,
    observes: bool,
    declares_rows: bool,
}

impl Claimant {
    fn of(share: &Share) -> Claimant {
        let record = own_record(share);
        let claim = claim(share);
        let recorded = record.and_then(|status| status.share_id.clone());
        let recipients = share.spec.organization.is_some() || share.spec.recipients.iter().flatten().next().is_some();
        Claimant {
            name: Name::of(share),
            created: share.creation_timestamp().map(|time| time.0),
            account: share.spec.account_id.clone(),
            made: record.is_some_and(|status| status.share_id.is_some() || status.intent.is_some()),
            holds_name: holds_name(share, &claim.1),
            share_ids: recorded.into_iter().chain(share.spec.share_id.clone()).collect(),
            by_id: share.spec.share_id.is_some(),
            observes: observes(share),
            declares_rows: recipients && !share.spec.resources.is_empty(),
            claim,
        }
    }

    /// Ages are told in whole seconds: of two in one, who has a share already is the older.
    fn age(&self) -> (Option<Timestamp>, bool, &Name) {
        (self.created, !self.made, &self.name)
    }

    fn rank(&self) -> (bool, Option<Timestamp>, &Name) {
        (!self.holds_name, self.created, &self.name)
    }
}

/// Claims that the watch does not bring.
#[derive(Default)]
pub struct Unwatched {
    claims: Mutex<Claims>,
    /// Namespaces whose Shares have not been listed since the start.
    unlisted: Mutex<BTreeSet<String>>,
}

#[derive(Default)]
struct Claims {
    by_scope: HashMap<Option<String>, Vec<Arc<Claimant>>>,
    by_share_id: HashMap<String, Vec<Arc<Claimant>>>,
    by_claim: HashMap<(String, String), Vec<Arc<Claimant>>>,
}

impl Unwatched {
    /// These namespaces will be listed.
    pub fn expect(&self, scopes: &[Option<String>]) {
        self.unlisted.lock().extend(scopes.iter().flatten().cloned());
    }

    /// The Shares of that namespace, or of all of them, are listed.
    pub fn listed(&self, scope: Option<&str>) {
        let mut unlisted = self.unlisted.lock();
        match scope {
            Some(scope) => drop(unlisted.remove(scope)),
            None => unlisted.clear(),
        }
    }

    /// A namespace whose Shares are not known, so that one of them may claim anything.
    pub fn unlisted(&self) -> Option<String> {
        self.unlisted.lock().first().cloned()
    }

    /// The Shares of a scope that are not in the watch, as a list without the selector shows them.
    pub fn found(&self, scope: Option<&str>, shares: &[Share]) {
        let found = shares.iter().map(|share| Arc::new(Claimant::of(share))).collect();
        let mut claims = self.claims.lock();
        claims.by_scope.insert(scope.map(str::to_owned), found);
        let all: Vec<Arc<Claimant>> = claims.by_scope.values().flatten().cloned().collect();
        claims.by_share_id.clear();
        claims.by_claim.clear();
        for claimant in all {
            for id in &claimant.share_ids {
                claims.by_share_id.entry(id.clone()).or_default().push(claimant.clone());
            }
            claims.by_claim.entry(claimant.claim.clone()).or_default().push(claimant);
        }
    }

    fn by_share_id(&self, id: &str) -> Vec<Arc<Claimant>> {
        self.claims.lock().by_share_id.get(id).cloned().unwrap_or_default()
    }

    fn by_claim(&self, claim: &(String, String)) -> Vec<Arc<Claimant>> {
        self.claims.lock().by_claim.get(claim).cloned().unwrap_or_default()
    }
}

impl Objects {
    /// All that name this remote share but the one of that name: in the watch, and out of it.
    fn rivals_for(&self, own: &Name, share_id: &str) -> Vec<Arc<Claimant>> {
        let names: HashSet<Name> = self.bound_to(share_id).into_iter().collect();
        self.with_unwatched(own, names, self.unwatched.by_share_id(share_id))
    }

    /// All that want a share of the same name in the same account but the one of that name.
    fn rivals_of(&self, share: &Share) -> Vec<Arc<Claimant>> {
        let (own, claim) = (Name::of(share), claim(share));
        let names: HashSet<Name> = self.claimants(&claim.0, &claim.1).into_iter().collect();
        let mut rivals = self.with_unwatched(&own, names, self.unwatched.by_claim(&claim));
        rivals.retain(|rival| !rival.observes && !rival.by_id);
        rivals
    }

    fn with_unwatched(&self, own: &Name, watched: HashSet<Name>, unwatched: Vec<Arc<Claimant>>) -> Vec<Arc<Claimant>> {
        let watched = watched.iter().filter_map(|name| self.shares.find(name));
        let watched = watched.map(|share| Arc::new(Claimant::of(&share)));
        // What is back in the watch is known better from there.
        let unwatched = unwatched.into_iter().filter(|claimant| self.shares.find(&claimant.name).is_none());
        watched.chain(unwatched).filter(|claimant| claimant.name != *own).collect()
    }

    /// Whether of all objects that name this remote share the given one is the oldest.
    pub fn owns(&self, share: &Share, share_id: &str) -> bool {
        let own = Claimant::of(share);
        self.rivals_for(&own.name, share_id)
            .into_iter()
            // Who only observes takes nothing from anybody.
            .filter(|rival| !rival.observes)
            // An id belongs to one account: who writes another account's cannot take it.
            .filter(|rival| rival.account == own.account)
            .all(|rival| own.age() < rival.age())
    }

    /// Whether another object is bound to this remote share, or wants it by id.
    pub fn is_spoken_for(&self, share: &Name, share_id: &str) -> bool {
        self.rivals_for(share, share_id).iter().any(|rival| !rival.observes)
    }

    /// Whether of all objects that want a share of that name in that account the given one may have it: the one that
    /// has it already, else the oldest. An object that declares no recipients or no resources cannot be created, so it
    /// neither stands in the way of another one nor is refused on account of one.
    pub fn claims(&self, share: &Share) -> bool {
        let own = Claimant::of(share);
        if !self.has_something(&own) {
            return true;
        }
        self.rivals_of(share).iter().filter(|rival| self.has_something(rival)).all(|rival| own.rank() < rival.rank())
    }

    /// Another object that wants the share's name and does not get it, for a message.
    pub fn refused_rival(&self, share: &Share) -> Option<Name> {
        let made = |rival: &Claimant| !rival.share_ids.is_empty();
        self.rivals_of(share).iter().filter(|rival| !made(rival)).map(|rival| rival.name.clone()).min()
    }

    /// Whether there is something to claim a name with: a share, an announced create, or rows to create one from.
    fn has_something(&self, claimant: &Claimant) -> bool {
        if claimant.made || claimant.declares_rows {
            return true;
        }
        let Some(share) = self.shares.find(&claimant.name) else { return false };
        let declares = |kind: Kind| {
            let lives = |key: &ObjectKey| match key.kind {
                Kind::Share => false,
                Kind::ShareRecipient => self.recipients.find(&key.name).is_some_and(|child| {
                    child.spec.suspend != Some(true) && child.metadata.deletion_timestamp.is_none()
                }),
                Kind::ShareResource => self.resources.find(&key.name).is_some_and(|child| {
                    child.spec.suspend != Some(true) && child.metadata.deletion_timestamp.is_none()
                }),
            };
            self.children(&claimant.name).iter().any(|key| key.kind == kind && lives(key))
        };
        let recipients = share.spec.organization.is_some() || share.spec.recipients.iter().flatten().next().is_some();
        (recipients || declares(Kind::ShareRecipient))
            && (!share.spec.resources.is_empty() || declares(Kind::ShareResource))
    }

    /// The older object that stands in the way, for a message.
    pub fn rival(&self, share: &Share, share_id: Option<&str>) -> Option<Name> {
        let own = Name::of(share);
        let (watched, unwatched) = match share_id {
            Some(id) => (self.bound_to(id), self.unwatched.by_share_id(id)),
            None => {
                let claim = claim(share);
                (self.claimants(&claim.0, &claim.1), self.unwatched.by_claim(&claim))
            }
        };
        let unwatched = unwatched.iter().map(|claimant| claimant.name.clone());
        watched.into_iter().chain(unwatched).filter(|name| *name != own).min()
    }
}

/// Whether the object has a share of that name, or is just creating it.
fn holds_name(share: &Share, name: &str) -> bool {
    own_record(share).is_some_and(|status| match (&status.share_id, &status.intent) {
        (Some(_), _) => status.share_name.as_deref().is_none_or(|held| held == name),
        (None, Some(intent)) => intent.name == name,
        (None, None) => false,
    })
}

//! Where a Share stands, as facts for the decision, and the reads that fill gaps in them.

use std::time::Duration;

use kube::ResourceExt;

use super::sight::Sight;
use super::work::Work;
use crate::api::share::AdoptionPolicy;
use crate::api::status::CreateIntent;
use crate::cloudflare::{Kind as ShareKind, ShareResource};
use crate::core::create::{
    self as creation, Adoption, Candidates, Facts, Found, Gathered, Mode, Named, Presence, Sighting, Situation,
};
use crate::core::id::ShareId;
use crate::core::row_key::RowKey;
use crate::core::time::At;
use crate::operator::remote::seen::{Seen, resource_key};
use crate::operator::remote::view::Picture;
use crate::operator::rows::declare::By;
use crate::operator::stop::Stop;

/// A look at the newest shares serves all creates for so long.
const LOOK: Duration = Duration::from_secs(15);
/// How far the API server's clock may be behind ours.
const SKEW: Duration = Duration::from_secs(5);
/// Children that come as objects are gathered until none came for so long, and at most so long in all.
const QUIET: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(15);
/// Creates of one object whose outcome was never learned, in an hour.
const MAX_LOST: usize = 3;
const HOUR: Duration = Duration::from_secs(3600);
/// Cloudflare's clock as its headers tell it has whole seconds, and ours of it is a guess.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

impl Work {
    pub(super) fn facts(&self) -> Facts {
        let objects = &self.pass.context.cluster.index;
        let status = &self.pass.status;
        let object = &self.pass.object;
        let (owner, situation) = match (&status.share_id, &status.intent) {
            (Some(id), _) => {
                let share = ShareId::parse(id).map_or(Presence::Gone, |id| self.presence(&id));
                (objects.owns(object, id), Situation::Bound { adopted: status.adopted, share })
            }
            (None, Some(intent)) => {
                let (candidates, settled) = self.candidates(intent);
                (objects.claims(object), Situation::Announced { candidates, settled })
            }
            (None, None) => {
                let owner = match &self.wanted.share_id {
                    Some(id) => objects.owns(object, id.as_str()),
                    None => objects.claims(object),
                };
                let situation = Situation::Unbound {
                    adoption: self.adoption(),
                    named: self.named(),
                    gathered: self.gathered(),
                    may_try: self.may_try(),
                };
                (owner, situation)
            }
        };
        let retain = self.wanted.retain.unwrap_or(status.adopted);
        Facts { mode: self.mode, doomed: self.pass.is_doomed(), retain, owner, situation }
    }

    fn sight<'a>(&'a self, picture: &'a Picture) -> Sight<'a> {
        Sight {
            name: &self.pass.key.name,
            wanted: &self.wanted,
            objects: &self.pass.context.cluster.index,
            picture,
            patience: self.pass.context.settings.patience(),
        }
    }

    fn presence(&self, id: &ShareId) -> Presence {
        let presence = self.sight(&self.access.account.picture()).presence(id, self.pass.is_doomed());
        match presence {
            Presence::Missing | Presence::Gone if self.is_hidden(id) => Presence::Hidden,
            other => other,
        }
    }

    /// Whether the credential has never shown the share, so that it may be another account's, and nobody said that the
    /// share is meant to be gone.
    fn is_hidden(&self, id: &ShareId) -> bool {
        let status = &self.pass.status;
        let leaves = self.pass.is_doomed() && status.remote_status.as_deref() == Some("deleting");
        let shown = self.access.account.picture().seen(id).is_some();
        let stranger = self.access.is_stranger(status.seen_with.as_deref());
        stranger && !shown && !leaves && !self.access.account.is_accepted(id.as_str())
    }

    /// Notes down which credential shows the share, or may be believed that it is gone.
    pub(super) fn note_witness(&mut self) {
        let Some(id) = &self.pass.status.share_id else { return };
        let shown = ShareId::parse(id).is_ok_and(|id| self.access.account.picture().seen(&id).is_some());
        if shown || self.access.account.is_accepted(id) {
            self.pass.status.seen_with = Some(self.access.account.fingerprint.to_string());
        }
    }

    fn adoption(&self) -> Adoption {
        let Some(id) = &self.wanted.share_id else {
            return match self.wanted.adoption {
                AdoptionPolicy::Never => Adoption::Never,
                AdoptionPolicy::SameName => Adoption::SameName,
            };
        };
        let found = self.sight(&self.access.account.picture()).found(id);
        // What is not there may come: ask again once a minute.
        let now = self.pass.now();
        let asked_lately =
            self.pass.notes(|n| n.asked_for_id.is_some_and(|at| now.since(at) < Duration::from_secs(55)));
        if found == Found::Missing && !asked_lately {
            Adoption::Exactly(id.clone(), Found::Unread)
        } else {
            Adoption::Exactly(id.clone(), found)
        }
    }

    /// How old a look at the newest shares may be: what a person made before the manifest must be known, however
    /// young both are.
    fn look_since(&self) -> At {
        let now = self.pass.now();
        let first = self.pass.notes(|notes| *notes.first_look.get_or_insert(now));
        let created = self.pass.object.creation_timestamp().map(|time| crate::operator::clock::from_time(&time));
        first.min(created.map_or(first, |created| created.plus(SKEW))).max(self.pass.since.minus(LOOK))
    }

    pub(super) fn named(&self) -> Named {
        let since = self.look_since();
        let picture = self.access.account.picture();
        let (Some(_), Some(looked)) = (picture.swept, picture.looked) else { return Named::Unread };
        // Who only observes has time.
        if self.mode != Mode::Observe && looked < since {
            return Named::Unread;
        }
        self.sight(&picture).named()
    }

    fn gathered(&self) -> Gathered {
        let now = self.pass.now();
        let arrivals = self.pass.context.cluster.index.arrivals(&self.pass.key.name);
        if arrivals.is_some_and(|came| now.since(came.last) < QUIET && now.since(came.first) < LONGEST) {
            return Gathered::Arriving;
        }
        let payload = self.payload();
        let has = |wanted: fn(&RowKey) -> bool| payload.iter().any(wanted);
        if self.wanted.organization.is_none() && !has(|key| matches!(key, RowKey::Recipient(_))) {
            return self.lacking(Gathered::NoRecipients, |key| matches!(key, RowKey::Recipient(_)));
        }
        if !has(|key| matches!(key, RowKey::Resource { .. })) {
            return self.lacking(Gathered::NoResources, |key| matches!(key, RowKey::Resource { .. }));
        }
        Gathered::Complete
    }

    /// Nothing to send of one kind: because none is declared, or because each was refused.
    fn lacking(&self, none: Gathered, wanted: fn(&RowKey) -> bool) -> Gathered {
        let now = self.pass.now();
        let refused = self.pass.notes(|notes| {
            self.wanted.all.keys().any(|key| wanted(key) && notes.refusal(&key.to_string(), now).is_some())
        });
        if refused { Gathered::Complete } else { none }
    }

    /// The rows that a create carries: all declared ones whose owner will look after them, but for refused ones.
    pub(super) fn payload(&self) -> Vec<RowKey> {
        let now = self.pass.now();
        self.pass.notes(|notes| {
            let ready = |by: &By| match by {
                By::Share => true,
                By::Child(key) => self.wanted.siblings.iter().any(|s| s.key == *key && s.settled_in && !s.suspended),
            };
            let rows = self.wanted.all.iter().filter(|(_, declaration)| ready(&declaration.by));
            // Every member of an organization receives its share: accounts are never named beside it.
            let named = |key: &&RowKey| self.wanted.organization.is_none() || !matches!(key, RowKey::Recipient(_));
            let hopeful = |key: &&RowKey| notes.refusal(&key.to_string(), now).is_none();
            rows.map(|(key, _)| key).filter(named).filter(hopeful).cloned().collect()
        })
    }

    /// When a create may be tried again, if not now.
    pub(super) fn held_until(&self) -> Option<At> {
        let now = self.pass.now();
        let lost = &self.pass.status.lost_attempts;
        let lately = lost.iter().map(crate::operator::clock::from_time).filter(|at| now.since(*at) < HOUR);
        let lately: Vec<At> = lately.collect();
        if lately.len() >= MAX_LOST {
            return lately.iter().min().map(|first| first.plus(HOUR));
        }
        let payload = self.payload();
        self.pass.notes(|notes| {
            if let Some(refused) = notes.refusal("create", now) {
                return Some(refused.until);
            }
            // Every declared recipient, or resource, was refused: wait for the first that may be tried again.
            let recipients =
                self.wanted.organization.is_some() || payload.iter().any(|k| matches!(k, RowKey::Recipient(_)));
            let resources = payload.iter().any(|k| matches!(k, RowKey::Resource { .. }));
            if recipients && resources {
                return None;
            }
            notes.refused.values().map(|r| r.until).filter(|until| *until > now).min()
        })
    }

    fn may_try(&self) -> bool {
        self.held_until().is_none()
    }

    /// Live shares that the announced create may have made, and whether no more can come.
    fn candidates(&self, intent: &CreateIntent) -> (Candidates, bool) {
        let now = self.pass.now();
        let settings = &self.pass.context.settings;
        // What another credential showed, or did not show, proves nothing.
        let with = self.access.account.fingerprint;
        let looks = self.pass.notes(|notes| {
            notes.empty_looks.iter().filter(|(by, _)| *by == with).map(|(_, at)| *at).collect::<Vec<At>>()
        });
        let started = started_at(intent);
        let end = started.plus(settings.settle_time).plus(CLOCK_SLACK);
        let remote: Vec<At> = looks.iter().map(|look| self.access.account.remote_time(*look)).collect();
        let announced = self.pass.notes(|notes| notes.announced_at);
        // Cloudflare's clock may jump: what this process announced settles by its own clock as well.
        let settled = creation::has_settled(end, &remote, settings.patience())
            && announced
                .is_none_or(|at| creation::has_settled(at.plus(settings.settle_time), &looks, settings.patience()));
        let picture = self.access.account.picture();
        let stranger = self.access.is_stranger(self.pass.status.seen_with.as_deref());
        if settled && stranger && picture.swept.is_some() && picture.live().next().is_none() {
            // The sweep will tell if that changes.
            return (Candidates::Hidden, true);
        }
        let fresh = (settings.settle_time / 16).max(Duration::from_millis(400));
        if looks.last().is_none_or(|last| now.since(*last) >= fresh) {
            return (Candidates::Unread, false);
        }
        let sightings = picture.live().map(|seen| {
            let sure = self.access.account.remote_time(seen.read_at) >= started.plus(settings.patience())
                && announced.is_none_or(|at| seen.read_at >= at.plus(settings.patience()));
            self.sighting(intent, seen, sure)
        });
        let times = (started.minus(CLOCK_SLACK), self.access.account.remote_time(now).plus(CLOCK_SLACK));
        let candidates = match (creation::candidates(times, sightings), &self.wanted.share_id) {
            // A person chose among those that could be meant.
            (Candidates::Many(ids), Some(chosen)) if ids.contains(chosen) => Candidates::One(chosen.clone()),
            (candidates, _) => candidates,
        };
        (candidates, settled)
    }

    fn sighting(&self, intent: &CreateIntent, seen: &Seen, sure: bool) -> Sighting {
        let share = &seen.share;
        let named = share.name == intent.name
            && share.account_id == self.wanted.owner
            && share.kind != Some(ShareKind::Received);
        let same = |rows: &[ShareResource]| {
            let keys: Vec<RowKey> = rows.iter().map(resource_key).collect();
            fingerprint(&intent.name, keys.iter()) == intent.fingerprint
        };
        Sighting {
            id: share.id.clone(),
            named,
            alike: named && seen.resources.as_deref().is_none_or(same),
            created: share.created.map(|created| At(created.as_millisecond())),
            sure,
            known: intent.known_shares.iter().any(|known| known == share.id.as_str()),
            taken: self.pass.context.cluster.index.is_spoken_for(&self.pass.key.name, share.id.as_str()),
        }
    }

    pub(super) async fn read_share(&mut self) -> Result<(), Stop> {
        let id = self.share_id().or_else(|| self.wanted.share_id.clone());
        self.access.await_first_sweep()?;
        let Some(id) = id else { return Ok(()) };
        self.access.read_share(&id).await?;
        let now = self.pass.now();
        self.pass.notes(|notes| notes.asked_for_id = Some(now));
        Ok(())
    }

    pub(super) async fn read_list(&mut self) -> Result<(), Stop> {
        self.access.await_first_sweep()?;
        let Some(intent) = self.pass.status.intent.clone() else {
            return self.access.look(self.look_since()).await;
        };
        let began = self.pass.now();
        let since = started_at(&intent).minus(creation::CLOCKS_DIFFER);
        self.access.look_back(since).await?;
        let with = self.access.account.fingerprint;
        self.pass.notes(|notes| notes.empty_looks.push((with, began)));
        Ok(())
    }
}

pub(super) fn started_at(intent: &CreateIntent) -> At {
    let parsed = intent.started_at.parse::<k8s_openapi::jiff::Timestamp>();
    At(parsed.map_or(0, |time| time.as_millisecond()))
}

/// Hash of what a create is recognized by: its name and its resources.
pub(super) fn fingerprint<'a>(name: &str, rows: impl Iterator<Item = &'a RowKey>) -> String {
    use sha2::{Digest, Sha256};
    let mut keys: Vec<String> = rows
        .filter_map(|key| match key {
            RowKey::Resource { kind, id, account } => Some(format!("{kind}\n{id}\n{account}")),
            RowKey::Recipient(_) | RowKey::Excluded(_) => None,
        })
        .collect();
    keys.sort();
    let digest = Sha256::digest(format!("{name}\n\n{}", keys.join("\n\n")));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

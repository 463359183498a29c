//! What the operator would call for a Share and its children, from objects and an account as they were read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::Event;
use serde_json::{Map, Value};

use crate::api::share::ManagementPolicy;
use crate::api::status::ShareStatus;
use crate::api::{Reason, Share, ShareRecipient, ShareResource};
use crate::cloudflare;
use crate::core::create::{
    self as creation, Adoption, Candidates, Facts, Gathered, Mode, Named, Situation, Step, Wait,
};
use crate::core::guard::REMOVAL_WINDOW;
use crate::core::id::{AccountId, ShareId};
use crate::core::meta;
use crate::core::row::{self, Declared, Recorded, Seen as RowSeen};
use crate::core::time::At;

use super::context::Settings;
use super::declare::{By, Child, Sibling};
use super::inventory;
use super::key::{Kind, Name, RowKey};
use super::objects::{Objects, Related};
use super::share::plan::Basis;
use super::share::sight::Sight;
use super::share::{Wanted, refused, removal_blocked, removal_limit, removals_confirmed, want};
use super::view::{Picture, Seen};
use super::{child, clock};

/// More steps than any Share needs.
const MAX_STEPS: usize = 8;

/// Objects beside each other.
pub struct Fleet {
    objects: Objects,
    shares: Vec<Arc<Share>>,
}

/// An account as it was read.
pub struct Account {
    picture: Picture,
    read_at: At,
}

/// What would be done for one Share and its children.
#[derive(Debug, Default)]
pub struct Preview {
    pub share_id: Option<String>,
    pub calls: Vec<Call>,
    /// What is worth knowing and no call.
    pub notes: Vec<String>,
    /// Why nothing can be done as it is written.
    pub problem: Option<String>,
    /// Why no call is made although something differs.
    pub held: Option<String>,
}

/// One call to Cloudflare.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    CreateShare { name: String, organization: Option<String>, rows: Vec<Row> },
    RenameShare { from: String, to: String },
    DeleteShare { id: String },
    Add { row: Row, restored: bool },
    Update { row: Row, from: Map<String, Value>, to: Map<String, Value> },
    Remove { row: Row },
}

/// A recipient, excluded account or resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub key: RowKey,
    pub label: Option<String>,
}

fn store<K: Related>(objects: &[Arc<K>]) -> Store<K> {
    let (store, mut writer) = reflector::store();
    writer.apply_watcher_event(&Event::Init);
    for object in objects {
        writer.apply_watcher_event(&Event::InitApply(object.as_ref().clone()));
    }
    writer.apply_watcher_event(&Event::InitDone);
    store
}

impl Fleet {
    pub fn new(shares: Vec<Share>, recipients: Vec<ShareRecipient>, resources: Vec<ShareResource>) -> Fleet {
        fn arcs<K>(objects: Vec<K>) -> Vec<Arc<K>> {
            objects.into_iter().map(Arc::new).collect()
        }
        let (shares, recipients, resources) = (arcs(shares), arcs(recipients), arcs(resources));
        let objects = Objects::new(vec![store(&shares)], vec![store(&recipients)], vec![store(&resources)]);
        let at = At::default();
        shares.iter().for_each(|object| drop(objects.came(object.as_ref(), at)));
        recipients.iter().for_each(|object| drop(objects.came(object.as_ref(), at)));
        resources.iter().for_each(|object| drop(objects.came(object.as_ref(), at)));
        Fleet { objects, shares }
    }

    pub fn shares(&self) -> &[Arc<Share>] {
        &self.shares
    }
}

impl Account {
    /// All live shares that the account sends, read then.
    pub fn new(shares: Vec<cloudflare::Share>, began: At) -> Account {
        let mut picture = Picture::default();
        for share in shares {
            picture.read(share, began, Duration::ZERO);
        }
        picture.swept(began);
        Account { picture, read_at: began }
    }

    pub fn knows(&self, id: &ShareId) -> bool {
        self.picture.seen(id).is_some()
    }

    /// Its recipients follow the membership: far too many to list.
    pub fn is_for_organization(&self, id: &ShareId) -> bool {
        self.picture.seen(id).is_some_and(|seen| seen.share.target_type == cloudflare::TargetType::Organization)
    }

    /// What a read of one share by its id showed.
    pub fn learn(&mut self, id: &ShareId, share: Option<cloudflare::Share>) {
        match share {
            Some(share) => drop(self.picture.read(share, self.read_at, Duration::ZERO)),
            None => self.picture.absent(id, self.read_at, Duration::ZERO),
        }
    }

    pub fn learn_recipients(&mut self, id: &ShareId, rows: Vec<cloudflare::Recipient>) {
        let read_at = self.read_at;
        if let Some(seen) = self.picture.seen_mut(id) {
            seen.read_recipients(rows, read_at, Duration::ZERO);
        }
    }

    pub fn learn_excluded(&mut self, id: &ShareId, rows: Vec<cloudflare::ExcludedRecipient>) {
        if let Some(seen) = self.picture.seen_mut(id) {
            seen.excluded = Some((self.read_at, rows));
        }
    }
}

/// One Share that is looked at.
struct Look<'a> {
    fleet: &'a Fleet,
    account: &'a Account,
    share: &'a Share,
    name: Name,
    wanted: Wanted,
    status: ShareStatus,
    settings: &'a Settings,
}

/// The share at Cloudflare that an object is about, whose rows its preview needs; it may have to be read by its id.
pub fn subject(fleet: &Fleet, account: &Account, share: &Share, settings: &Settings) -> Option<ShareId> {
    Look::at(fleet, account, share, settings).ok()?.subject()
}

pub fn preview(fleet: &Fleet, account: &Account, share: &Share, settings: &Settings) -> Preview {
    let mut preview = Preview::default();
    if share.spec.suspend == Some(true) {
        preview.notes.push("suspended: nothing is compared or changed until spec.suspend is false".into());
        return preview;
    }
    match Look::at(fleet, account, share, settings) {
        Ok(look) => look.preview(preview),
        Err(problem) => Preview { problem: Some(problem), ..preview },
    }
}

impl<'a> Look<'a> {
    fn at(
        fleet: &'a Fleet,
        account: &'a Account,
        share: &'a Share,
        settings: &'a Settings,
    ) -> Result<Look<'a>, String> {
        let wanted = want(share, &fleet.objects)?;
        // What is recorded is believed only where it was written for this very object.
        let recorded = share.status.clone().filter(|status| status.bound_uid.is_some());
        let status = recorded.filter(|status| status.bound_uid == share.uid()).unwrap_or_default();
        Ok(Look { fleet, account, share, name: Name::of(share), wanted, status, settings })
    }

    fn mode(&self) -> Mode {
        if self.share.spec.management_policy == Some(ManagementPolicy::Observe) { Mode::Observe } else { Mode::Manage }
    }

    fn sight(&self) -> Sight<'_> {
        Sight {
            name: &self.name,
            wanted: &self.wanted,
            objects: &self.fleet.objects,
            picture: &self.account.picture,
            patience: Duration::ZERO,
        }
    }

    fn subject(&self) -> Option<ShareId> {
        let recorded = self.status.share_id.as_deref().and_then(|id| ShareId::parse(id).ok());
        recorded.or_else(|| self.wanted.share_id.clone()).or_else(|| match self.sight().named() {
            Named::One { id, .. } => Some(id),
            Named::Unread | Named::Nobody | Named::Many(_) => None,
        })
    }

    fn preview(mut self, mut preview: Preview) -> Preview {
        for _ in 0..MAX_STEPS {
            match creation::step(&self.facts()) {
                Step::Bind { id, adopted } => {
                    preview.notes.push(format!("share {id} is taken over"));
                    self.status = ShareStatus { share_id: Some(id.to_string()), adopted, ..ShareStatus::default() };
                }
                Step::Forget => {
                    let id = self.status.share_id.take().unwrap_or_default();
                    preview.notes.push(format!("share {id} is gone from Cloudflare: it is made anew"));
                    self.status = ShareStatus::default();
                }
                Step::Create => {
                    preview.calls = self.creation();
                    break;
                }
                Step::Delete => {
                    let id = self.status.share_id.clone().unwrap_or_default();
                    preview.calls.push(Call::DeleteShare { id });
                    break;
                }
                Step::Tend => {
                    self.tend(&mut preview);
                    break;
                }
                Step::Release => {
                    preview.notes.push("being deleted: its share stays at Cloudflare".into());
                    break;
                }
                Step::Wait(wait) => {
                    preview.notes.push(waits(wait).into());
                    break;
                }
                Step::Refuse(refusal) => {
                    let id = self.status.share_id.as_deref().and_then(|id| ShareId::parse(id).ok());
                    let (objects, id) = (&self.fleet.objects, id.as_ref());
                    preview.problem = Some(refused(refusal, self.share, &self.wanted, objects, id).message);
                    break;
                }
                Step::Read(_) | Step::GiveUp => {
                    preview.notes.push("a create call was announced: the operator looks for what it made first".into());
                    break;
                }
            }
        }
        preview.share_id = self.status.share_id.clone();
        if self.mode() == Mode::Observe {
            preview.held = Some("observed only".into());
        }
        preview
    }

    fn facts(&self) -> Facts {
        let objects = &self.fleet.objects;
        let share = self.share;
        let (owner, situation) = match (&self.status.share_id, &self.status.intent) {
            (Some(id), _) => {
                let presence = ShareId::parse(id).map_or(creation::Presence::Gone, |id| self.sight().presence(&id));
                (objects.owns(share, id), Situation::Bound { adopted: self.status.adopted, share: presence })
            }
            (None, Some(_)) => (true, Situation::Announced { candidates: Candidates::Unread, settled: false }),
            (None, None) => {
                let owner = match &self.wanted.share_id {
                    Some(id) => objects.owns(share, id.as_str()),
                    None => objects.claims(share),
                };
                let adoption = match &self.wanted.share_id {
                    Some(id) => Adoption::Exactly(id.clone(), self.sight().found(id)),
                    None => match self.wanted.adoption {
                        crate::api::share::AdoptionPolicy::Never => Adoption::Never,
                        crate::api::share::AdoptionPolicy::SameName => Adoption::SameName,
                    },
                };
                let (named, gathered) = (self.sight().named(), self.gathered());
                (owner, Situation::Unbound { adoption, named, gathered, may_try: true })
            }
        };
        let retain = self.wanted.retain.unwrap_or(self.status.adopted);
        let doomed = share.metadata.deletion_timestamp.is_some();
        Facts { mode: self.mode(), doomed, retain, owner, situation }
    }

    /// The rows that are declared and not suspended.
    fn declared(&self) -> impl Iterator<Item = &RowKey> {
        let rests = |by: &By| match by {
            By::Share => false,
            By::Child(key) => self.wanted.siblings.iter().any(|sibling| sibling.key == *key && sibling.suspended),
        };
        self.wanted.all.iter().filter(move |(_, declaration)| !rests(&declaration.by)).map(|(key, _)| key)
    }

    fn gathered(&self) -> Gathered {
        let accounts = self.wanted.organization.is_none();
        if accounts && !self.declared().any(|key| matches!(key, RowKey::Recipient(_))) {
            Gathered::NoRecipients
        } else if !self.declared().any(|key| matches!(key, RowKey::Resource { .. })) {
            Gathered::NoResources
        } else {
            Gathered::Complete
        }
    }

    fn row(&self, key: &RowKey) -> Row {
        let label = self.wanted.all.get(key).and_then(|declaration| declaration.label.clone());
        let label = label.or_else(|| {
            let sibling = self.wanted.siblings.iter().find(|sibling| sibling.row == *key);
            sibling.and_then(|sibling| sibling.label.clone())
        });
        Row { key: key.clone(), label }
    }

    /// One call makes the share with its recipients and resources; excluded accounts follow.
    fn creation(&self) -> Vec<Call> {
        let organization = self.wanted.organization.as_ref().map(ToString::to_string);
        let (excluded, rows): (Vec<_>, Vec<_>) = self
            .declared()
            .filter(|key| organization.is_none() || !matches!(key, RowKey::Recipient(_)))
            .map(|key| self.row(key))
            .partition(|row| matches!(row.key, RowKey::Excluded(_)));
        let name = self.wanted.name.clone().unwrap_or_default();
        let create = Call::CreateShare { name, organization, rows };
        let excluded = excluded.into_iter().map(|row| Call::Add { row, restored: false });
        std::iter::once(create).chain(excluded).collect()
    }

    /// The share is there: what differs in its name and rows.
    fn tend(&self, preview: &mut Preview) {
        let Some(id) = self.subject() else { return };
        let Some(seen) = self.account.picture.seen(&id) else { return };
        let keeps_its_name = self.status.adopted && self.share.spec.name.is_none();
        if let Some(name) = self.wanted.name.clone().filter(|name| !keeps_its_name && *name != seen.share.name) {
            preview.calls.push(Call::RenameShare { from: seen.share.name.clone(), to: name });
        }
        let steps = self.steps(seen);
        let of = |wanted: fn(row::Step) -> bool| steps.iter().filter(move |(_, (step, _))| wanted(*step));
        for (key, (step, _)) in of(|step| matches!(step, row::Step::Add | row::Step::Restore)) {
            preview.calls.push(Call::Add { row: self.row(key), restored: *step == row::Step::Restore });
        }
        for (key, _) in of(|step| step == row::Step::Update) {
            let from = seen.resource(key).map(|row| row.meta.clone()).unwrap_or_default();
            let to = self.wanted.all.get(key).map(|declaration| declaration.meta.clone()).unwrap_or_default();
            preview.calls.push(Call::Update { row: self.row(key), from, to });
        }
        let removals: Vec<&RowKey> = of(|step| step == row::Step::Remove).map(|(key, _)| key).collect();
        preview.notes.extend(self.blocked(&removals, seen));
        preview.calls.extend(removals.into_iter().map(|key| Call::Remove { row: self.row(key) }));
        let waiting = of(|step| step == row::Step::Wait).count();
        if waiting > 0 {
            preview.notes.push(format!("{waiting} recipients or resources are on their way already"));
        }
        let foreign =
            steps.values().filter(|(step, row)| *step == row::Step::Ignore && matches!(row, RowSeen::Live { .. }));
        match foreign.count() {
            0 => {}
            n => preview
                .notes
                .push(format!("{n} recipients or resources that no manifest declares stay: prune is false")),
        }
    }

    /// The step of each row, by whoever looks after it, once all that needs no call is recorded.
    fn steps(&self, seen: &Seen) -> BTreeMap<RowKey, (row::Step, RowSeen)> {
        let observing = self.mode() == Mode::Observe;
        let mut entries = inventory::entries(&self.status.inventory);
        let mut steps = loop {
            let (wanted, share_id) = (&self.wanted, self.status.share_id.as_deref());
            let basis =
                Basis { wanted, share_id, entries: &entries, settings: self.settings, observing, lagging: false };
            let plan = basis.plan(seen);
            let plain = plan.of(|step| matches!(step, row::Step::Confirm | row::Step::Forget));
            if plain.is_empty() {
                break plan.steps;
            }
            for key in plain {
                match plan.steps.get(&key) {
                    Some((row::Step::Confirm, _)) => drop(entries.insert(key, inventory::Entry::default())),
                    _ => drop(entries.remove(&key)),
                }
            }
        };
        let children = self.wanted.siblings.iter().filter(|sibling| !sibling.suspended);
        for sibling in children {
            if let Some(step) = self.child_step(sibling, entries.get(&sibling.row), seen, observing) {
                steps.insert(sibling.row.clone(), step);
            }
        }
        steps
    }

    /// What a child object would do about its row; `None`: it is not the one that looks after it.
    fn child_step(
        &self,
        sibling: &Sibling,
        parents: Option<&inventory::Entry>,
        seen: &Seen,
        observing: bool,
    ) -> Option<(row::Step, RowSeen)> {
        let objects = &self.fleet.objects;
        let (record, retains) = match sibling.key.kind {
            Kind::Share => return None,
            Kind::ShareRecipient => {
                let object = objects.recipients.find(&sibling.key.name)?;
                (object.record().filter(|record| record.bound_uid == object.uid()).cloned(), object.retains())
            }
            Kind::ShareResource => {
                let object = objects.resources.find(&sibling.key.name)?;
                (object.record().filter(|record| record.bound_uid == object.uid()).cloned(), object.retains())
            }
        };
        if matches!(sibling.row, RowKey::Recipient(_)) && self.wanted.organization.is_some() {
            return None;
        }
        let winner = self.wanted.all.get(&sibling.row).map(|declaration| &declaration.by);
        let declared = match winner {
            Some(By::Child(key)) if *key == sibling.key => Declared::Here,
            None if sibling.doomed && !retains => Declared::Nowhere,
            Some(_) | None => return None,
        };
        let row_seen = seen.row(&sibling.row, |row| !meta::same_object(&sibling.meta, &row.meta));
        let read_at = seen.rows_read_at(&sibling.row);
        let own = record.filter(|record| record.share_id == self.status.share_id);
        let mut recorded = match (&own, observing) {
            (_, true) => Recorded::InPlace,
            (Some(record), false) => child::recorded(record, read_at, self.settings),
            (None, false) => inventory::recorded(parents, read_at, self.settings),
        };
        let facts = |recorded| row::Facts { declared, recorded, seen: row_seen, prune: false, lagging: false };
        if row::step(facts(recorded)) == row::Step::Confirm {
            recorded = Recorded::InPlace;
        }
        Some((row::step(facts(recorded)), row_seen))
    }

    /// What is told where more recipients would be removed than may be at once.
    fn blocked(&self, removals: &[&RowKey], seen: &Seen) -> Option<String> {
        let pending = removals.iter().filter(|key| matches!(key, RowKey::Recipient(_))).count();
        if pending == 0 || removals_confirmed(self.share) {
            return None;
        }
        let recent = self.status.recent_removals.as_ref();
        let recent = recent.filter(|r| self.account.read_at.since(clock::from_time(&r.since)) < REMOVAL_WINDOW);
        let lately = recent.map_or(0, |recent| usize::try_from(recent.count).unwrap_or(0));
        let live = seen.live_recipients();
        let allowed = removal_limit(self.share).ok()?.of(live + lately);
        (pending + lately > allowed).then(|| removal_blocked(self.share, pending, live, allowed).message)
    }
}

fn waits(wait: Wait) -> &'static str {
    match wait {
        Wait::Recipients => Reason::WaitingForRecipients.meaning(),
        Wait::Resources => Reason::WaitingForResources.meaning(),
        Wait::Children | Wait::Settle | Wait::Backoff | Wait::Thaw | Wait::Sight => {
            "the operator waits before it goes on"
        }
        Wait::Leaving => "the share is being deleted by Cloudflare",
        Wait::Confirmation => "the share is not there any more: the operator looks again before that is believed",
    }
}

/// Whose shares a manifest means.
pub fn owner(share: &Share) -> Result<AccountId, String> {
    super::declare::account(&share.spec.account_id, "spec.accountID")
}

//! What the operator would call for a Share and its children, from objects and an account as they were read.

mod inputs;
mod rows;

use std::collections::BTreeSet;
use std::time::Duration;

use super::share::desired::{Desired, desired};
use super::share::facts::{Snapshot, Timing, Viewer};
use super::share::{other_share, refused};
use crate::api::status::ShareStatus;
use crate::api::{Name, ObjectKey, Reason, Share, is_deleting, is_suspended, observes, own_record, secret_of};
use crate::cloudflare::Fingerprint;
use crate::core::id::{AccountId, ShareId};
use crate::core::interned::Interned;
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;
use crate::core::share_step::{self, Ending, Mode, Refusal, Step, Wait};
use crate::operator::kinds;
use crate::operator::pass::breaker;
use crate::operator::pass::memory::Memory;
use crate::operator::settings::Settings;
pub use inputs::{Fleet, ReadAccount, ReadWith};

/// More steps than any Share needs.
const MAX_STEPS: usize = 8;

/// What would be done for one Share and its children.
#[derive(Debug, Default)]
pub struct Preview {
    pub share_id: Option<Interned>,
    pub calls: Vec<Call>,
    /// What is worth knowing and no call.
    pub notes: Vec<String>,
    /// Why nothing can be done as it is written.
    pub problem: Option<String>,
    /// Why no call is made although something differs.
    pub held: Option<String>,
    /// Rows whose calls wait until a person confirms them.
    pub unconfirmed: BTreeSet<RowKey>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    CreateShare { name: String, organization: Option<String>, rows: Vec<Row> },
    RenameShare { from: String, to: String },
    DeleteShare { id: String },
    Add { row: Row, restored: bool },
    Update { row: Row, from: ResourceMeta, to: ResourceMeta },
    Remove { row: Row },
}

/// A recipient, excluded account or resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub key: RowKey,
    pub label: Option<Interned>,
}

struct Look<'a> {
    fleet: &'a Fleet,
    account: &'a ReadAccount,
    share: &'a Share,
    desired: Desired,
    status: ShareStatus,
    settings: &'a Settings,
}

/// The share at Cloudflare that an object is about, whose rows its preview needs; it may have to be read by its id.
pub fn subject(fleet: &Fleet, account: &ReadAccount, share: &Share, settings: &Settings) -> Option<ShareId> {
    Look::at(fleet, account, share, settings).ok()?.subject()
}

pub fn preview(fleet: &Fleet, account: &ReadAccount, share: &Share, settings: &Settings) -> Preview {
    let mut preview = Preview::default();
    if is_suspended(share) {
        preview
            .notes
            .push("suspended: cfshare neither compares nor changes anything for this object until spec.suspend is false. Its ShareRecipients and ShareResources have their own spec.suspend, and are not previewed here".into());
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
        account: &'a ReadAccount,
        share: &'a Share,
        settings: &'a Settings,
    ) -> Result<Look<'a>, String> {
        let desired = desired(share, &fleet.index)?;
        // What is recorded is believed only where it was written for this very object.
        let status = own_record(share).cloned().unwrap_or_default();
        Ok(Look { fleet, account, share, desired, status, settings })
    }

    fn mode(&self) -> Mode {
        if observes(self.share) { Mode::Observe } else { Mode::Manage }
    }

    /// Asks where the share stands, as of when the account was read.
    fn snapshot<T>(&self, ask: impl FnOnce(&Snapshot<'_>) -> T) -> T {
        let now = self.account.read_at;
        ask(&Snapshot {
            object: self.share,
            desired: &self.desired,
            status: &self.status,
            index: &self.fleet.index,
            cache: &self.account.cache,
            memory: &Memory::after_a_read(now),
            mode: self.mode(),
            viewer: Viewer { credential: self.reader(), confirmed_gone: false, children_claim: false },
            timing: Timing {
                now,
                fresh_since: now,
                serving_since: now,
                ahead: 0,
                settle_time: Duration::ZERO,
                read_lag: Duration::ZERO,
            },
        })
    }

    fn subject(&self) -> Option<ShareId> {
        let recorded = self.status.recorded_share();
        recorded.or_else(|| self.snapshot(|snapshot| snapshot.meant()))
    }

    fn preview(mut self, mut preview: Preview) -> Preview {
        if let (Some(message), Mode::Manage, false) =
            (other_share(&self.desired, &self.status), self.mode(), is_deleting(&self.share.metadata))
        {
            let (share_id, problem) = (self.status.share_id, Some(message));
            return Preview { share_id, problem, ..preview };
        }
        for _ in 0..MAX_STEPS {
            match share_step::step(&self.snapshot(|snapshot| snapshot.facts())) {
                Step::Bind { id, adopted } => {
                    preview.notes.push(format!("share {id} is adopted"));
                    self.status = ShareStatus { share_id: Some(id.as_str().into()), adopted, ..ShareStatus::default() };
                }
                Step::Forget => {
                    let id = self.status.share_id.clone().unwrap_or_default();
                    preview.notes.push(format!("share {id} no longer exists at Cloudflare and is recreated"));
                    self.status.unbind();
                }
                step => {
                    self.end(step, &mut preview);
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

    /// What the last step comes to.
    fn end(&self, step: Step, preview: &mut Preview) {
        match step {
            // Others follow.
            Step::Bind { .. } | Step::Forget => {}
            Step::Create => self.create(preview),
            Step::Delete => {
                let id = self.status.share_id.clone().unwrap_or_default();
                preview.calls.push(Call::DeleteShare { id: id.to_string() });
                if self.share.spec.deletion_protection == Some(true) {
                    preview.held = Some("spec.deletionProtection is true, so the share is kept".into());
                }
            }
            Step::Maintain => self.maintain(preview),
            Step::Release => self.release(preview),
            Step::Wait(Wait::Visibility) => self.object_to(self.not_visible(), preview),
            Step::Wait(wait) => preview.notes.push(waits(wait).into()),
            Step::Await(ending) => preview.notes.push(awaits(ending).into()),
            Step::Refuse(refusal) => self.refuse(refusal, preview),
            Step::Read(_) | Step::GiveUp | Step::Withdraw => preview.notes.push(
                "the outcome of an earlier create request is unknown: the operator first looks for the share".into(),
            ),
        }
    }

    /// One call makes the share with its recipients and resources; excluded accounts follow.
    fn create(&self, preview: &mut Preview) {
        if self.desired.organization.is_some() {
            let note = "the operator must allow shares with an organization in this namespace \
                        (chart value organization.namespaces, flag --organization-shares)";
            preview.notes.push(note.into());
        }
        let organization = self.desired.organization.as_ref().map(ToString::to_string);
        let (excluded, rows): (Vec<_>, Vec<_>) = self
            .snapshot(|snapshot| snapshot.payload())
            .iter()
            .map(|key| self.row(key))
            .partition(|row| row.key.is_excluded());
        preview.calls.push(Call::CreateShare {
            name: self.desired.name.clone().unwrap_or_default(),
            organization,
            rows,
        });
        preview.calls.extend(excluded.into_iter().map(|row| Call::Add { row, restored: false }));
    }

    fn refuse(&self, refusal: Refusal, preview: &mut Preview) {
        let id = self.status.recorded_share();
        let message = refused(refusal, self.share, &self.desired, &self.fleet.index, id.as_ref()).message;
        self.object_to(message, preview);
    }

    fn object_to(&self, message: String, preview: &mut Preview) {
        match self.mode() {
            Mode::Observe => preview.notes.push(message),
            Mode::Manage | Mode::Frozen => {
                let before = preview.problem.take().map_or_else(String::new, |before| format!("{before}; "));
                preview.problem = Some(before + &message);
            }
        }
    }

    /// The credential by which a share that is not shown counts as hidden. One of the environment that shows others of the account
    /// is as good as the operator's.
    fn reader(&self) -> Option<Fingerprint> {
        let read_with =
            self.account.read_with.filter(|with| with.is_of_secret || self.account.cache.live().next().is_none());
        read_with.map(|with| with.credential)
    }

    /// What to tell where the credential does not show the share, and never has.
    fn not_visible(&self) -> String {
        let what = self.status.share_id.as_ref().map_or_else(
            || "the share that a create request without a response may have created".to_owned(),
            |id| format!("share {id}"),
        );
        if self.account.read_with.is_none_or(|with| with.is_of_secret) {
            let object = ObjectKey::share(Name::of(self.share));
            return breaker::not_visible_with(&object, &what, &secret_of(self.share));
        }
        format!(
            "the credential in the environment shows no share of the account, and the operator saw {what} with another \
             one: it is not known whether the share is gone, and what the operator would do. Set \
             CLOUDFLARE_API_TOKEN to a token of account {}, or unset the credential in the environment, so that the Secret \
             is used",
            self.desired.owner
        )
    }

    fn row(&self, key: &RowKey) -> Row {
        let label = self.desired.all.get(key).and_then(|declaration| declaration.label.clone());
        let label = label.or_else(|| {
            let sibling = self.desired.siblings_of(key).first();
            sibling.and_then(|sibling| sibling.child.label())
        });
        Row { key: key.clone(), label }
    }
}

fn waits(wait: Wait) -> &'static str {
    match wait {
        Wait::Recipients => Reason::WaitingForRecipients.meaning(),
        Wait::Resources => Reason::WaitingForResources.meaning(),
        Wait::Children | Wait::Settle | Wait::Backoff | Wait::Thaw | Wait::Visibility => {
            "the operator waits before it continues"
        }
    }
}

fn awaits(ending: Ending) -> &'static str {
    match ending {
        Ending::Leaving => "the share is being deleted by Cloudflare",
        Ending::Confirmation => "the share was not found: the operator checks once more before treating it as deleted",
    }
}

/// Whose shares a manifest means.
pub fn owner(share: &Share) -> Result<AccountId, String> {
    kinds::account(&share.spec.account_id, "spec.accountID")
}

//! One pass over a ShareRecipient or ShareResource: one row of a share, looked after by an object of its own.

mod end;
mod parent;
mod tell;
mod work;

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::key::{Name, RowKey};
use super::pass::Pass;
use crate::api::{FINALIZER, Reason, Share};
use crate::core::pace::Class;
use crate::core::row::Declared;
use crate::operator::cluster::objects;
use crate::operator::cluster::objects::Related;
use crate::operator::kinds::{Child, ChildTelling};
use crate::operator::pass::context::Context;
use crate::operator::pass::verdict::Verdict;
use crate::operator::remote::access::Stop;
use crate::operator::rows::standing::label;
use crate::operator::share::outside::into_scope;
use crate::operator::waits;
use end::End;
use work::Work;

/// Runs one pass; returns when to run the next if nothing wakes it before.
pub async fn pass<C: Child>(context: Arc<Context>, object: Arc<C>) -> Result<Option<Duration>, Stop> {
    let name = object.share();
    let gate = context.gate(&name);
    let Ok(_alone) = gate.try_lock() else { return Err(Stop::Occupied) };
    let mut pass = Pass::begin(context.clone(), C::kept(&context.objects).newest(object));
    believe(&mut pass);
    if pass.is_doomed() && !pass.object.finalizers().iter().any(|f| f == FINALIZER) {
        return Ok(None);
    }
    if pass.object.is_suspended() {
        if pass.is_doomed() {
            return release(pass).await;
        }
        return pass.finish(Verdict::suspended()).await;
    }
    if context.objects.shares.is_unreadable(&name) {
        if pass.is_doomed() {
            return Ok(Some(waits::PERSON));
        }
        let message = format!("Share {} cannot be read: apply it again as the current CRD says", name.name);
        return pass.finish(Verdict::blind(Reason::WaitingForShare, message)).await;
    }
    // What it declares now decides whether the row of a child that goes is removed.
    let age = if pass.is_doomed() { Duration::ZERO } else { waits::FRESH };
    context.outside.look_for_share(&context.objects, &name, age).await?;
    if pass.is_doomed() {
        // Another object may declare the same row unseen.
        context.outside.look(&context.objects, &name.namespace, waits::FRESH).await?;
    }
    let parent = parent::parent(&mut pass);
    let Some(owner) = parent.owner.clone() else {
        return no_share(pass, &name, "does not exist").await;
    };
    let key = match pass.object.row(&owner) {
        Ok(key) => key,
        Err(_) if pass.is_doomed() => return release(pass).await,
        Err(problem) => return pass.finish(Verdict::stalled(Reason::Invalid, problem)).await,
    };
    if pass.is_doomed() {
        match end::end(&mut pass, &parent, &key) {
            End::Release => return release(pass).await,
            End::Wait(wait) => return Ok(Some(wait)),
            End::Row => {}
        }
    } else if !parent.observes() && !context.settings.read_only {
        claim(&mut pass).await?;
    }
    if let (RowKey::Recipient(_), Some(share)) = (&key, &parent.share)
        && share.spec.organization.is_some()
        && !pass.is_doomed()
    {
        let message = format!(
            "Share {} is shared with an organization, whose members all receive it: delete this object, or use \
             spec.organization.excluded there",
            name.name
        );
        return pass.finish(Verdict::stalled(Reason::Invalid, message)).await;
    }
    let declared = parent::declared(&pass, &parent, &owner, &key);
    if declared == Declared::Elsewhere {
        if pass.is_doomed() {
            if end::waits_for_heirs(&mut pass, &parent, &owner, &key) {
                return Ok(Some(waits::MOMENT));
            }
            return release(pass).await;
        }
        let message =
            format!("{} is declared by the Share itself or by an older object, which wins", label(&key, None));
        return pass.finish(Verdict::stalled(Reason::DuplicateDeclaration, message)).await;
    }
    let Some(id) = parent.id.clone() else {
        if !parent.outside {
            return no_share(pass, &name, "is not made at Cloudflare yet").await;
        }
        let command = into_scope(&context.outside, &Share::key(name.clone()));
        let what = format!(
            "has labels that --watch-label-selector excludes, so nothing is shared through it. Restore the labels: {command}"
        );
        return no_share(pass, &name, &what).await;
    };
    parent::note_down(&mut pass, &parent, &id, &owner, &key);
    if pass.is_doomed() && pass.object.retains() {
        // Once this is written the parent lets go of the row, and this object may go.
        pass.save().await?;
        return Ok(Some(waits::HANDSHAKE));
    }
    let secret = parent.secret.clone().unwrap_or_else(|| Name::new(name.namespace.clone(), objects::DEFAULT_SECRET));
    let known = match pass.credential(&secret).await {
        Ok(known) => known,
        Err(problem) => return pass.without_credential(problem, Some(label(&key, None))).await,
    };
    let class = if pass.is_doomed() || !pass.was_ready() { Class::Edit } else { Class::Poll };
    let access = context.access(&known, &owner, &pass.key, class);
    pass.account = Some(access.account.clone());
    let mut work = Work { pass, access, id, key, parent, declared };
    match work.run().await {
        Ok(Some(verdict)) => work.pass.finish(verdict).await,
        Ok(None) => Ok(None),
        Err(Stop::Cloudflare(error)) => work.pass.fail(error, &work.access, &secret).await,
        Err(stop) => Err(stop),
    }
}

/// A record is believed only where it was written for this very object.
fn believe<C: Child>(pass: &mut Pass<C>) {
    let uid = pass.object.uid();
    let child = pass.status.child();
    if child.bound_uid != uid {
        child.bound_uid = None;
        child.share_id = None;
        child.owner_account_id = None;
        child.credentials_name = None;
        child.seen_with = None;
        child.intended_at = None;
        child.confirmed = false;
    }
}

async fn release<C: Child>(mut pass: Pass<C>) -> Result<Option<Duration>, Stop> {
    pass.guard(false).await?;
    Ok(None)
}

async fn no_share<C: Child>(pass: Pass<C>, name: &Name, what: &str) -> Result<Option<Duration>, Stop> {
    if pass.is_doomed() {
        return release(pass).await;
    }
    let mut pass = pass;
    if !pass.context.settings.read_only {
        claim(&mut pass).await?;
    }
    pass.finish(Verdict::working(Reason::WaitingForShare, format!("Share {} {what}", name.name))).await
}

/// Finalizer and record before anything is made, so that a parent's create may carry this row.
async fn claim<C: Child>(pass: &mut Pass<C>) -> Result<(), Stop> {
    pass.guard(true).await?;
    let uid = pass.object.uid();
    if pass.status.child().bound_uid != uid {
        pass.status.child().bound_uid = uid;
        pass.save().await?;
    }
    Ok(())
}

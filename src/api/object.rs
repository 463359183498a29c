//! What is asked of an object wherever one is met: how it is named, and how it stands.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};

use super::policy::ManagementPolicy;
use super::status::ShareStatus;
use super::{recipient::ShareRecipient, resource::ShareResource, share::Share};
use crate::core::interned::Interned;

/// The finalizer that keeps an object until what it caused at Cloudflare is gone.
pub const FINALIZER: &str = "cfshare.dev/finalizer";

/// Name of the Secret where a manifest names none.
pub const DEFAULT_SECRET: &str = "cloudflare-credentials";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Share,
    ShareRecipient,
    ShareResource,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Share, Kind::ShareRecipient, Kind::ShareResource];

    pub fn plural(self) -> Cow<'static, str> {
        match self {
            Kind::Share => Share::plural(&()),
            Kind::ShareRecipient => ShareRecipient::plural(&()),
            Kind::ShareResource => ShareResource::plural(&()),
        }
    }

    /// What kubectl calls the kind, so that none of the same name in another API group is meant.
    pub fn kubectl_name(self) -> String {
        format!("{}.{}", self.plural(), Share::group(&()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Share => "Share",
            Kind::ShareRecipient => "ShareRecipient",
            Kind::ShareResource => "ShareResource",
        })
    }
}

/// Namespace and name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub namespace: Interned,
    pub name: Interned,
}

/// The UID, as the status of an object records whom it is of.
pub fn uid_of<K: Resource>(object: &K) -> Option<Interned> {
    object.meta().uid.as_deref().map(Interned::from)
}

pub fn has_finalizer(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

pub fn is_deleting(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some()
}

/// The Secret that a Share's calls are made with.
pub fn secret_of(share: &Share) -> Name {
    let name = share.spec.credentials_ref.as_ref().map_or(DEFAULT_SECRET, |r| r.name.as_str());
    Name::new(share.namespace().unwrap_or_default(), name)
}

/// What stands in the status of the object, if it was written for this very one.
pub fn own_record(share: &Share) -> Option<&ShareStatus> {
    share
        .status
        .as_ref()
        .filter(|status| status.bound_uid.is_some() && status.bound_uid.as_deref() == share.metadata.uid.as_deref())
}

/// Whether the Share is left alone for now.
pub fn is_suspended(share: &Share) -> bool {
    share.spec.suspend == Some(true)
}

/// Whether the manifest allows nothing but reads.
pub fn observes(share: &Share) -> bool {
    share.spec.management_policy == Some(ManagementPolicy::Observe)
}

/// What is recorded of this object, or was seen of a share that is, or was, only observed: nothing is recorded of that.
pub fn seen_record(share: &Share) -> Option<&ShareStatus> {
    let effective = |status: &&ShareStatus| status.effective.as_ref().map(|effective| effective.management_policy);
    let is_observed = |status: &&ShareStatus| observes(share) || effective(status) == Some(ManagementPolicy::Observe);
    own_record(share).or(share.status.as_ref().filter(is_observed))
}

impl Name {
    pub fn new(namespace: impl Into<Interned>, name: impl Into<Interned>) -> Name {
        Name { namespace: namespace.into(), name: name.into() }
    }

    pub fn of<K: Resource>(object: &K) -> Name {
        Name::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    pub kind: Kind,
    pub name: Name,
}

impl ObjectKey {
    pub fn share(name: Name) -> ObjectKey {
        ObjectKey { kind: Kind::Share, name }
    }

    /// The command that sets one of the object's annotations to the present time.
    pub fn annotate_now(&self, annotation: &str) -> String {
        let Name { namespace, name } = &self.name;
        let kind = self.kind.kubectl_name();
        format!("kubectl annotate --overwrite {kind} {name} -n {namespace} {annotation}=$(date -u +%FT%TZ)")
    }

    /// The command by which the object may be deleted and what it has at Cloudflare stays there.
    pub fn retain(&self) -> String {
        self.set_field("deletionPolicy", "\"Retain\"")
    }

    /// The command that sets a field of the object's spec to that JSON value.
    pub fn set_field(&self, field: &str, value: &str) -> String {
        let Name { namespace, name } = &self.name;
        let kind = self.kind.kubectl_name();
        format!(r#"kubectl patch {kind} {name} -n {namespace} --type merge -p '{{"spec":{{"{field}":{value}}}}}'"#)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

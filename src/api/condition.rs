//! Which conditions an object can have, and which reasons they give.
//!
//! The doc comments below are the one list: `cfshare explain` and the documentation print them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Makes an enum whose words and meanings can be listed.
macro_rules! vocabulary {
    ($(#[doc = $about:literal])+ $enum:ident { $($(#[doc = $doc:literal])+ $word:ident),+ $(,)? }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $enum { $($(#[doc = $doc])+ $word),+ }

        impl $enum {
            pub const ALL: &[Self] = &[$(Self::$word),+];

            /// The word as conditions carry it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$word => stringify!($word)),+ }
            }

            /// What it means and what to do.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$word => concat!($($doc),+).trim_ascii()),+ }
            }
        }

        impl From<$enum> for &'static str {
            fn from(word: $enum) -> &'static str {
                word.as_str()
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

vocabulary! {
    /// Types of conditions: three that kstatus knows, and one of our own.
    ConditionType {
        /// True: what this object declares is in place at Cloudflare, or a waiver accepts its failure. Once a Share has
        /// been Ready, what ShareRecipient and ShareResource objects add to it is reported in their own Ready. Unknown:
        /// it cannot be read. Always present once the operator has processed the object.
        Ready,
        /// Something is in progress and continues automatically. Present only while true.
        Reconciling,
        /// Someone has to act; the message says how. cfshare may retry meanwhile. Present only while true, and never
        /// together with Reconciling.
        Stalled,
        /// Something that was as declared was changed at Cloudflare; `status.drift` shows what. Present only while true.
        Drifted,
    }
}

vocabulary! {
    /// What Events tell besides the reasons of `Ready`.
    EventReason {
        /// A share was created at Cloudflare; the message has its id. Nothing to do.
        Created,
        /// An existing share was adopted; the message has its id. Nothing to do.
        Adopted,
        /// A Share was deleted, and its share stays at Cloudflare, because of `deletionPolicy: Retain` or `suspend`;
        /// the message has the id. Delete it at Cloudflare if nobody needs it. If Cloudflare was asked to delete it
        /// before, the message says so: it then goes all the same, as soon as Cloudflare has deleted it.
        /// ShareRecipients and ShareResources have no such Event. As a warning, of any kind: the status of the deleted object was
        /// lost, so cfshare does not know what it made; the message says what may have stayed at Cloudflare.
        Retained,
        /// Cloudflare refused twice to create a share for an organization without resources, so the excluded accounts receive the
        /// share until cfshare has excluded them, immediately after it is created. If they still do, the reason of Ready is
        /// `ExclusionsNotInForce`.
        ExclusionsFollow,
        /// The share was deleted at Cloudflare by somebody else, and cfshare creates it again. Find out who deletes it.
        ShareGone,
        /// Something was changed at Cloudflare by somebody else, and cfshare corrects it; the message says what. Find out who
        /// changes it.
        Drifted,
        /// The waiver of a failed recipient ends within 7 days: fix the cause, or write a later end into the manifest.
        WaiverEnds,
        /// The deletion of the object cannot finish, because the API server refuses a request by cfshare: grant the permission
        /// in the message, for example by upgrading the chart, or change the admission policy that it names.
        DeletionForbidden,
        /// The API server refuses a request by cfshare, or has not carried it out for more than a minute, so the status of the
        /// object may be out of date, and changes may not reach Cloudflare: grant the permission in the message, change the
        /// admission policy or webhook that it names, or repair what fails.
        RequestRefused,
    }
}

vocabulary! {
    /// What happened, in one word.
    Reason {
        /// Cloudflare reports everything in this generation as active and associated. Nothing to do.
        Associated,
        /// A recipient failed, and a waiver in the manifest accepts that until a date. The message names the account, the date
        /// and the reason; all else is in place. Ready becomes False again when the waiver ends: correct the cause before, or
        /// take the account out of the manifest.
        Waived,
        /// Cloudflare is still associating recipients, or removing them, which takes up to about two minutes. Nothing to
        /// do. If members of an organization do not arrive within ten minutes, the message names them, or says how many they
        /// are.
        Associating,
        /// The share is being created. If the response to the create request was lost, cfshare looks for the share before it
        /// sends another request.
        Creating,
        /// Requests to Cloudflare are in progress or queued. Usually nothing to do; if the message names a namespace
        /// that cannot be listed, see CfshareNamespaceNotServed in the runbook.
        Progressing,
        /// No recipient and no organization is declared yet, so nothing is created: add an entry to `recipients`, or a
        /// ShareRecipient.
        WaitingForRecipients,
        /// No resource is declared yet, so nothing is created: add an entry to `resources`, or a ShareResource.
        WaitingForResources,
        /// The Share in `shareRef` does not exist, or has no share at Cloudflare yet. cfshare continues automatically once it
        /// has. If the Share has not appeared within two minutes, the object is stalled: check the name and namespace.
        WaitingForShare,
        /// A live share with that name already exists, so no share is created with that name or renamed to it. If this
        /// object has no share yet, it can adopt the existing one: set `shareID` or `adoptionPolicy: SameName`.
        /// Otherwise give one of the two another `name`.
        NameTaken,
        /// Another object manages the same share, or has or claims the same name in the same account: delete this
        /// object, which changes nothing at Cloudflare, or, unless it claims the share by `shareID`, set another `name`
        /// for it. Deleting the other object deletes the share, unless its `status.effective.deletionPolicy` is
        /// `Retain`.
        Claimed,
        /// The share that this object adopted, by id or by name, does not exist in the account, and none is created in its
        /// place: delete this object and apply it again with the right `shareID` and `accountID`, or without `shareID`. Also:
        /// a share that cfshare created was not found, and is not recreated while the Share, or the operator as a whole, only
        /// observes: set `managementPolicy: Manage`, or have the administrator of cfshare set `readOnly: false`.
        ShareNotFound,
        /// The share at Cloudflare is for an organization and the manifest for single accounts or another organization, or vice
        /// versa. Neither can be changed: delete this object and apply it again with the target of the share, or with another `name`.
        TargetMismatch,
        /// The Secret with the credentials is missing, or does not have either `apiToken` or `email` and `apiKey`, or a value
        /// in it cannot be a credential, or its name is not in the chart's `secretNames`: the message says which. Create
        /// or fix it in this namespace, or set `credentialsRef`. If the Secret has never existed, cfshare waits two minutes
        /// before the object is stalled.
        CredentialsNotFound,
        /// Cloudflare refuses the credentials, or they lack a permission: update the Secret, or add the permission to the
        /// token. cfshare retries automatically.
        Denied,
        /// Cloudflare's rate limit is reached, or cfshare waits so that it is not. cfshare goes on automatically. All requests of
        /// the token's user count towards the limit, whatever program or token makes them.
        Throttled,
        /// Cloudflare cannot be reached or fails. cfshare retries automatically.
        Unavailable,
        /// Cloudflare refuses what the manifest declares; the message contains Cloudflare's error. Fix the manifest or the
        /// account at Cloudflare. cfshare retries at growing intervals, and immediately after an edit or on request.
        Rejected,
        /// At least one recipient failed at Cloudflare; `status.exceptions` shows which and why, such as a missing
        /// entitlement. Once the cause is fixed, request another attempt with the annotation `cfshare.dev/requestedAt`, which
        /// removes the failed recipients and adds them again; exclude members of an organization, and include them again.
        RecipientFailed,
        /// More recipients or resources would be removed within 10 minutes than `maxRemovals` allows, so none of them is.
        /// Declare them again, or confirm with the command in the message, which sets the annotation
        /// `cfshare.dev/confirm-removals` on the Share.
        RemovalBlocked,
        /// More shares of the account would be deleted within 10 minutes than `--max-deletions` allows (chart value
        /// `maxDeletions`), so this one stays, and its accounts continue to receive it. To delete it, set the annotation
        /// `cfshare.dev/confirm-deletion: <time>`; to keep it, set `deletionPolicy: Retain` and apply the manifest again
        /// with `adoptionPolicy: SameName`.
        DeletionBlocked,
        /// Accounts in `organization.excluded` receive the share, because their exclusions are not made yet or Cloudflare
        /// refuses them; `status.exceptions` lists them and says why. Cloudflare excludes accounts only once a share exists,
        /// so this is normal for a moment after a create. If it persists, fix the cause in the message; exclusions usually
        /// need a user's email and key. To stop the sharing in the meantime, set `deletionPolicy: Delete`, because an adopted
        /// share stays otherwise, and delete the Share.
        ExclusionsNotInForce,
        /// The object is deleted while `deletionProtection` is true, so the share stays at Cloudflare, and its
        /// accounts continue to receive it. To delete it, set `deletionProtection: false`; to keep it, set `deletionPolicy: Retain`.
        DeletionProtected,
        /// The last resource of a share stays until another one is in place: declare one, or delete the Share.
        LastResource,
        /// Two or more shares at Cloudflare match, so none of them is adopted or changed: set `shareID` to one of those in
        /// the message. Also: the outcome of three create requests within one hour is unknown; cfshare retries later.
        Ambiguous,
        /// A value was written twice, but Cloudflare still returns a different one, so cfshare no longer writes it: use the
        /// value that Cloudflare returns, or find out who changes it back. cfshare continues when either value changes.
        NotConverging,
        /// Many shares of the account were deleted or disappeared at once, or a share cannot be seen with a credential
        /// that has never shown it, which usually means that the token was replaced by one of another account: nothing
        /// is written, recreated or released. Restore the right token; or set the annotation
        /// `cfshare.dev/close-breaker: <time>` to have the missing shares recreated that cfshare created (adopted ones
        /// become `ShareNotFound`); or delete the objects of the missing shares to give these up. The message names some of
        /// them; of a share that is still there it says so: keep its object. If the credential has never shown the share,
        /// the annotation counts for its own object only, and a deleted object waits until that or
        /// `deletionPolicy: Retain` is set on it.
        BreakerOpen,
        /// ShareRecipients or ShareResources of this Share do not match `--watch-label-selector`, so the operator does not
        /// reconcile them. Their recipients and resources stay at Cloudflare unchanged; restore the labels, or see "Labels
        /// and scopes" in docs/operating.md.
        OutOfScope,
        /// Another declaration of the same recipient or resource wins: an entry in the Share before an object, an older object
        /// before a younger one. Delete one of them; this one takes effect when the other is deleted.
        DuplicateDeclaration,
        /// `suspend: true` is set, so nothing is read or written for this object: set it to false to continue.
        Suspended,
        /// Only observed, and Cloudflare matches the manifest. Nothing is written.
        Observed,
        /// Only observed, and Cloudflare differs from the manifest, or still has the share of a deleted object; the message
        /// and `status` show where. To have it corrected, set `managementPolicy: Manage`, or, where the operator is read-only,
        /// have its administrator set `readOnly: false`.
        Differs,
        /// A share for a whole organization, in a namespace that is not allowed to have one: ask the administrator to add the
        /// namespace to the chart value `organization.namespaces` (flag `--organization-shares`), or list `recipients` in
        /// another Share.
        OrganizationNotAllowed,
        /// The object is being deleted, and remains until Cloudflare reports that what it created is gone. To remove
        /// the object without waiting, set `deletionPolicy: Retain`; what Cloudflare was already asked to delete goes
        /// all the same.
        Deleting,
        /// The manifest cannot be applied as written; the message says what to change.
        Invalid,
        /// Internal error in the operator. cfshare retries automatically; please report it, with the log.
        InternalError,
    }
}

/// The Ready condition.
pub fn ready(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str())
}

/// Whether the Ready condition has this reason.
pub fn says(conditions: &[Condition], reason: Reason) -> bool {
    ready(conditions).is_some_and(|ready| ready.reason == reason.as_str())
}

pub fn is_stalled(conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| condition.type_ == ConditionType::Stalled.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_a_meaning_in_sentences() {
        let meanings = Reason::ALL.iter().map(|reason| (reason.as_str(), reason.meaning()));
        let of_events = EventReason::ALL.iter().map(|reason| (reason.as_str(), reason.meaning()));
        let of_conditions = ConditionType::ALL.iter().map(|kind| (kind.as_str(), kind.meaning()));
        for (word, meaning) in meanings.chain(of_events).chain(of_conditions) {
            assert!(meaning.len() > 20 && meaning.ends_with('.') && !meaning.contains("  "), "{word}: {meaning}");
        }
    }
}

//! Which conditions an object can have, and which reasons they give.
//!
//! The doc comments below are the one list: `cfshare explain` and the documentation print them.

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
        /// True: Cloudflare has all that this generation says, without an error. Unknown: it cannot be read. Always
        /// there once the operator has seen the object.
        Ready,
        /// Something is under way and goes on by itself. There only while true.
        Reconciling,
        /// Nothing goes on until a person acts; the message says how. There only while true, and never with Reconciling.
        Stalled,
        /// Somebody changed at Cloudflare what was right; `status.drift` shows what. There only while true.
        Drifted,
    }
}

vocabulary! {
    /// What happened, in one word.
    Reason {
        /// Cloudflare says active and associated for this generation. Nothing to do.
        Associated,
        /// Cloudflare is still bringing the share to its recipients, or taking it away, which takes up to about two
        /// minutes. Nothing to do.
        Associating,
        /// The share is being created. If the answer of that call was lost, it is looked up before anything is repeated.
        Creating,
        /// Calls to Cloudflare are under way or wait for their turn. Nothing to do.
        Progressing,
        /// No recipient and no organization is declared yet, so nothing is created: add an entry to `recipients`, or a
        /// ShareRecipient.
        WaitingForRecipients,
        /// No resource is declared yet, so nothing is created: add an entry to `resources`, or a ShareResource.
        WaitingForResources,
        /// The Share that `shareRef` names does not exist, or has no share at Cloudflare yet. It continues automatically
        /// once it has. A Share that has not appeared within two minutes stalls the object: check the name and namespace.
        WaitingForShare,
        /// A live share of that name exists already, so none is created under that name, nor renamed to it: set `shareID` to
        /// take that one over, or `adoptionPolicy: SameName`, or another `name`.
        NameTaken,
        /// An older object has the same share or the same name in the same account, and one share has one owner: delete one
        /// of the two objects, or give this one another `name` or `shareID`.
        Claimed,
        /// The share with the given id does not exist in the account, and nothing is created in its place: check `shareID`
        /// and `accountID`, or delete this object and create one without `shareID`.
        ShareNotFound,
        /// The share at Cloudflare is for an organization and the manifest for single accounts, or the other way round.
        /// Cloudflare fixes that when a share is created: change the manifest, or name another share.
        TargetMismatch,
        /// The Secret with the credentials is missing, or does not have either `apiToken` or `email` and `apiKey`, or a value
        /// in it cannot be a credential, or its name is not in the chart's `secretNames`: the message says which. Create
        /// or correct it in this namespace, or set `credentialsRef`. A Secret that never existed is awaited for two minutes
        /// before the object is stalled.
        CredentialsNotFound,
        /// Cloudflare refuses the credentials, or they lack a permission: renew the Secret or extend the token. Tried again
        /// by itself.
        Denied,
        /// Cloudflare's rate limit is reached. cfshare retries automatically; other users of the same token spend from it too.
        Throttled,
        /// Cloudflare cannot be reached or fails. cfshare retries automatically.
        Unavailable,
        /// Cloudflare refuses what the manifest asks for; the message has its words. Mend the manifest or the account at
        /// Cloudflare; tried again at growing intervals, and at once on an edit or on request.
        Rejected,
        /// At least one recipient failed at Cloudflare; `status.exceptions` says which and why, such as a missing
        /// entitlement. Once that is mended, ask for another try with the annotation `cfshare.dev/requestedAt`.
        RecipientFailed,
        /// More recipients or resources would be removed within 10 minutes than `maxRemovals` allows, so none of them is.
        /// Declare them again, or confirm with the command in the message, which sets the annotation
        /// `cfshare.dev/confirm-removals: <generation>` on the Share.
        RemovalBlocked,
        /// More shares of the account would be deleted within 10 minutes than `--max-deletions` allows (chart value
        /// `maxDeletions`), so this one stays, and its accounts go on receiving it. To delete it, set the annotation
        /// `cfshare.dev/confirm-deletion: <time>`; to keep it, set `deletionPolicy: Retain` and apply the manifest again
        /// with `adoptionPolicy: SameName`.
        DeletionBlocked,
        /// Accounts in `organization.excluded` receive the share, because their exclusions are not made yet or Cloudflare
        /// refuses them; `status.exceptions` names them and says why. Cloudflare excludes accounts only once a share exists,
        /// so this is usual for a moment after a create. Where it lasts, correct the cause in the message; exclusions mostly
        /// need a user's email and key. To stop the sharing meanwhile, delete the Share.
        ExclusionsNotInForce,
        /// The object is deleted while `deletionProtection` is true, so the share stays at Cloudflare, and its accounts go
        /// on receiving it. To delete it, set `deletionProtection: false`; to keep it, set `deletionPolicy: Retain`.
        DeletionProtected,
        /// Cloudflare does not remove the last resource of a share: add another one first, or delete the Share.
        LastResource,
        /// Two or more shares at Cloudflare could be meant, so none is touched: set `shareID` to one of those in the
        /// message.
        Ambiguous,
        /// Two successful writes of one value read back different, so it is written no more: use the value that Cloudflare
        /// shows, or find who changes it back. Goes on when either side changes.
        NotConverging,
        /// Many shares of the account were deleted or disappeared at once, or a share cannot be seen with a credential that
        /// has never shown it, which usually means that the token was replaced by one of another account: nothing is
        /// written, created again or released. Put the right token back; or set the annotation
        /// `cfshare.dev/close-breaker: <time>` to have the shares created again; or delete the Share objects to give the
        /// shares up.
        BreakerOpen,
        /// ShareRecipients or ShareResources of this Share lack the labels of `--watch-label-selector`, so the operator does
        /// not see them. Their recipients and resources stay at Cloudflare as they are; put the labels back, or see
        /// "Labels and scopes" in docs/operating.md.
        OutOfScope,
        /// Another declaration of the same recipient or resource wins: an inline entry before an object, the older object
        /// before the younger. Delete one; this one takes over when the winner goes.
        DuplicateDeclaration,
        /// `suspend: true` is set, so nothing is read or written: set it to false to go on.
        Suspended,
        /// Observed only, and Cloudflare has what the manifest says. Nothing is written.
        Observed,
        /// Observed only, and Cloudflare differs from the manifest; the message and `status` say where. To have it put
        /// right, set `managementPolicy: Manage`.
        Differs,
        /// A share for a whole organization, in a namespace for which the installer did not allow it: ask for the namespace
        /// to be added to the chart's `organization.namespaces` (the flag `--organization-shares`), or list `recipients`
        /// in another Share.
        OrganizationNotAllowed,
        /// The object is deleted, and stays until Cloudflare says that what it caused is gone. To leave it there and go at
        /// once, set `deletionPolicy: Retain`.
        Deleting,
        /// The manifest cannot be carried out as it is; the message says what to change.
        Invalid,
        /// The operator failed inside. Tried again by itself; please report it as a defect, with the log.
        InternalError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_a_meaning_in_sentences() {
        let meanings = Reason::ALL.iter().map(|reason| (reason.as_str(), reason.meaning()));
        for (word, meaning) in meanings.chain(ConditionType::ALL.iter().map(|kind| (kind.as_str(), kind.meaning()))) {
            assert!(meaning.len() > 20 && meaning.ends_with('.') && !meaning.contains("  "), "{word}: {meaning}");
        }
    }

    /// The API server takes reasons that match `^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$` only.
    #[test]
    fn every_word_is_camel_case() {
        for reason in Reason::ALL {
            assert!(
                reason.as_str().chars().all(|c| c.is_ascii_alphanumeric())
                    && reason.as_str().starts_with(|c: char| c.is_ascii_uppercase())
            );
        }
    }
}

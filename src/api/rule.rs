//! Which rules the API server checks, and what it says when one is broken.
//!
//! Each rule is CEL. Its message says what to write instead, since it is all that a user sees at `kubectl apply`.

use kube::core::{Reason, Rule};

/// Longest text that a name of an object in Kubernetes can be.
pub const MAX_OBJECT_NAME: u32 = 253;
/// Longest id; the same as the client accepts.
pub const MAX_ID: u32 = crate::core::id::MAX_ID as u32;
/// Longest name of a share, and longest label.
pub const MAX_NAME: u32 = 100;
/// Longest reason of a waiver.
pub const MAX_WAIVER_REASON: u32 = 200;
/// Longest date and time.
pub const MAX_TIME: u32 = 35;
/// Longest resource type.
pub const MAX_TYPE: u32 = 63;
/// Most entries of a list. Every list that CEL walks needs a bound, and 1,000 is cheap.
pub const MAX_ENTRIES: u32 = 1000;

/// An id is one safe path segment of a URL, exactly as the client parses it.
pub fn id() -> Rule {
    Rule::new("self.matches('^[A-Za-z0-9][A-Za-z0-9._~:=@+-]*$') && !self.contains('..')").message(
        "copy the id from Cloudflare, such as 023e105f4ecef8ad9ca31a8372d0c353: 1 to 128 letters, digits \
         and . _ ~ : = @ + -, starting with a letter or digit, without '..'",
    )
}

/// A name is shown in tables and logs, so it must not move the cursor or turn the text round.
pub fn name() -> Rule {
    Rule::new(r"!self.matches(r'^$|^\s|\s$|[\p{Cc}\x{2028}-\x{202e}\x{2066}-\x{2069}]')").message(
        "write a name of 1 to 100 characters without line breaks, other control characters and blanks at its ends",
    )
}

/// A reason is shown where names are.
pub fn waiver_reason() -> Rule {
    Rule::new(r"!self.matches(r'^$|^\s|\s$|[\p{Cc}\x{2028}-\x{202e}\x{2066}-\x{2069}]')").message(
        "say why the failure is accepted, in 1 to 200 characters without line breaks, other control characters and \
         blanks at its ends",
    )
}

/// A moment. CEL's own reading of it refuses days that no month has.
pub fn time() -> Rule {
    Rule::new(
        r"self.matches('^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$') && timestamp(self) > timestamp('2000-01-01T00:00:00Z')",
    )
    .message("write a date and time with its offset as in RFC 3339, such as 2027-03-31T00:00:00Z")
}

/// A name of an object in the same namespace.
pub fn object_name() -> Rule {
    Rule::new(r"self.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message(
        "write the metadata.name of an object in this namespace: lower-case letters, digits, '-' and '.', \
         starting and ending with a letter or digit",
    )
}

/// A resource type is an open word: Cloudflare adds and removes them.
pub fn resource_type() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message(
        "write the type as Cloudflare names it, such as custom-ruleset or gateway-policy: lower-case letters, \
         digits and '-', starting and ending with a letter or digit",
    )
}

/// A number of rows or a percentage.
pub fn max_removals() -> Rule {
    Rule::new("type(self) == int ? self >= 0 && self <= 1000000 : self.matches('^(100|[0-9]{1,2})%$')")
        .message("write a number from 0, such as 20, or a percentage from 0% to 100%, such as 10%")
}

/// A new Share says who receives it, so that a forgotten key is noticed. Asked at the creation only: server-side apply,
/// and with it Flux and Helm, drops a list whose last entry is taken away, also where the manifest says `recipients: []`.
pub fn has_target() -> Rule {
    Rule::new("oldSelf.hasValue() || has(self.recipients) || has(self.organization)")
        .message(
            "specify who receives the share: list accounts under recipients, or set organization, or set \
             `recipients: []` if only ShareRecipient objects declare accounts",
        )
        .reason(Reason::FieldValueRequired)
        .field_path(".recipients")
        .optional_old_self(true)
}

/// An organization share takes no recipients, and a share with accounts no organization.
pub fn one_target() -> Rule {
    Rule::new("!(has(self.recipients) && has(self.organization))")
        .message(
            "organization already includes every account of the organization: remove recipients, or remove \
             organization and list the accounts under recipients",
        )
        .reason(Reason::FieldValueForbidden)
        .field_path(".organization")
}

pub fn target_kept() -> Rule {
    Rule::new("has(self.organization) == has(oldSelf.organization)")
        .message(
            "organization can be neither added nor removed, because Cloudflare fixes the target when a share is \
             created: create another Share with the other target, then delete this one",
        )
        .reason(Reason::FieldValueForbidden)
        .field_path(".organization")
}

pub fn share_id_kept() -> Rule {
    Rule::new("!has(oldSelf.shareID) || (has(self.shareID) && self.shareID == oldSelf.shareID)")
        .message(
            "shareID cannot be changed or removed once set: delete this object with deletionPolicy: Retain and \
             create another Share with the other shareID",
        )
        .reason(Reason::FieldValueForbidden)
        .field_path(".shareID")
}

/// An object's name can be longer than a share's.
pub fn object_name_fits() -> Rule {
    Rule::new("has(self.spec.name) || has(self.spec.shareID) || self.metadata.name.size() <= 100")
        .message(
            "set spec.name to at most 100 characters: without it the share would be named after this object, \
             whose name is longer",
        )
        .reason(Reason::FieldValueRequired)
        .field_path(".spec.name")
}

/// The value stays; `instead` says how to reach what a change would have meant.
pub fn immutable(instead: &str) -> Rule {
    Rule::new("self == oldSelf")
        .message(format!("cannot be changed: {instead}").as_str())
        .reason(Reason::FieldValueForbidden)
}

/// The same for a field that may be absent, reported at the object that holds it.
pub fn immutable_option(field: &str, instead: &str) -> Rule {
    let rule =
        format!("has(oldSelf.{field}) ? has(self.{field}) && self.{field} == oldSelf.{field} : !has(self.{field})");
    Rule::new(rule)
        .message(format!("cannot be changed, added or removed: {instead}").as_str())
        .reason(Reason::FieldValueForbidden)
        .field_path(format!(".{field}"))
}

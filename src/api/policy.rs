//! Which choices a manifest leaves to its author, and what each word means.

// A doc comment on an enum would replace, in the schema, that of the field that uses it. So they have none.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

// Whether a share that is already there may be taken over.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AdoptionPolicy {
    /// Never.
    #[default]
    Never,
    /// The one live, unclaimed share of that name with the same target.
    SameName,
}

// Whether Cloudflare is written to.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ManagementPolicy {
    /// Read, compare and correct.
    #[default]
    Manage,
    /// Read, compare and report.
    Observe,
}

impl fmt::Display for ManagementPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

// What becomes of the remote side when the object is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeletionPolicy {
    /// It is deleted too.
    #[default]
    Delete,
    /// It stays as it is.
    Retain,
}

impl fmt::Display for DeletionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

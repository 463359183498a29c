//! Which choices a manifest leaves to its author, and what each word means.

// A doc comment on an enum would replace, in the schema, that of the field that uses it. So they have none.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
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

// What becomes of the remote side when the object is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeletionPolicy {
    /// It is deleted too.
    #[default]
    Delete,
    /// It stays as it is.
    Retain,
}

/// A number of rows, or a percentage such as `10%`.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Hash)]
#[serde(untagged)]
pub enum MaxRemovals {
    Count(i32),
    Percent(String),
}

impl JsonSchema for MaxRemovals {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MaxRemovals".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true })
    }
}

//! How the operator names objects and rows.

pub use crate::api::object::{Kind, Name, ObjectKey};
pub use crate::core::row_key::RowKey;

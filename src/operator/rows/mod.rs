//! What is one recipient, exclusion or resource: declared, recorded, observed, changed?

pub mod declare;
pub mod facts;
pub mod inventory;
pub mod known;
pub mod row;
pub mod row_state;
pub mod waiver;

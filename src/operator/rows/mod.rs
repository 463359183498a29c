//! What is one recipient, exclusion or resource: declared, recorded, observed, changed?

pub mod declare;
pub mod facts;
pub mod inventory;
pub mod row;
pub mod row_state;
pub mod take_over;
pub mod waiver;

//! What does: watches objects, runs passes, reads and writes Cloudflare, within one budget.

mod access;
mod account;
mod apply;
mod budget;
mod child;
mod clock;
mod context;
mod credentials;
mod declare;
mod events;
mod gauges;
mod inventory;
mod key;
mod leader;
mod notes;
mod objects;
mod pass;
pub mod preview;
mod record;
mod run;
mod share;
mod sweep;
mod verdict;
mod view;
mod wakes;
mod watch;

pub use access::{FULL_PAGE, live, read_pages};
pub use clock::Clock;
pub use context::Settings;
pub use credentials::{Credentials, Known, NoCredential};
pub use gauges::Standings;
pub use key::{Kind, Name, RowKey};
pub use objects::secret_of;
pub use run::{Lead, Options, run};
pub use share::report::label;

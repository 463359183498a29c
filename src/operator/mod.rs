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
mod inventory;
mod key;
mod leader;
mod notes;
mod objects;
mod pass;
mod record;
mod run;
mod share;
mod sweep;
mod verdict;
mod view;
mod wakes;
mod watch;

pub use context::Settings;
pub use key::Kind;
pub use run::{Lead, Options, run};

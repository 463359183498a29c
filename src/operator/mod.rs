//! What does: watches objects, runs passes, reads and writes Cloudflare, within one rate limit.
//!
//! Imports go down only, from floor to floor: `run`, `shards` · `controller`, `gauges`, `prepare`, `preview` · `child` ·
//! `share` · `rows` · `pass` · `kinds` · `remote` · `cluster` · what all of them stand on (`settings`, `stop`, `clock`,
//! `conditions`, `delays`, `vital`). `docs/architecture.md` has the question of each.

mod child;
mod clock;
mod cluster;
mod conditions;
mod controller;
mod delays;
#[cfg(test)]
mod footprint;
mod gauges;
mod kinds;
mod pass;
mod prepare;
pub mod preview;
mod remote;
mod rows;
mod run;
mod settings;
mod shards;
mod share;
mod stop;
mod vital;

pub use clock::Clock;
pub use cluster::leader::Lead;
pub use cluster::partition::REPLICAS;
pub use cluster::selector::LabelSelector;
pub use cluster::sweeps::{self, SWEEPS, Sweep, Sweeps};
pub use cluster::trouble::with_cause;
pub use cluster::watches::{WATCHES, Watches};
pub use remote::credentials::{Credentials, NoCredential, ResolvedCredential};
pub use remote::pages::read_pages;
pub use remote::session::live;
pub use rows::inventory::is_settled_long_ago;
pub use rows::row_state::{EXCLUSION_BLOCKED, NOT_CONVERGING, REFUSED, is_about_exclusion, label};
pub use run::{Options, run};
pub use settings::Settings;
pub use share::next_confirmation;
pub use vital::Vital;

//! What does: watches objects, runs passes, reads and writes Cloudflare, within one budget.

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
mod waiting_edits;

pub use clock::Clock;
pub use cluster::index::{DEFAULT_SECRET, secret_of};
pub use cluster::leader::Lead;
pub use cluster::partition::REPLICAS;
pub use cluster::sweeps::{self, SWEEPS, Sweep, Sweeps};
pub use remote::credentials::{Credentials, NoCredential, ResolvedCredential};
pub use remote::pages::{FULL_PAGE, read_pages};
pub use remote::session::live;
pub use rows::row_state::label;
pub use run::{Options, run};
pub use settings::Settings;
pub use share::next_confirmation;
pub use vital::Vital;

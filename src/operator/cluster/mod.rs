//! What does Kubernetes have: watched, indexed, written, requeued?

pub mod asked;
pub mod events;
pub mod kept;
pub mod leader;
mod listwatch;
pub mod objects;
pub mod outside;
pub mod record;
pub mod revoked;
pub mod sweeps;
pub mod trouble;
pub mod wakes;
pub mod watch;

//! What decides: pure functions from facts to steps, without IO, clock or Kubernetes.
//!
//! A pass gathers facts, asks here what to do next, does that one thing, and asks again. Because nothing in
//! here can wait or fail, every combination of facts can be enumerated, and the model explores this very code.

pub mod breaker;
pub mod calls_left;
pub mod child_step;
pub mod deletions;
pub mod failure;
pub mod guard;
pub mod health;
pub mod id;
pub mod interned;
pub mod json;
pub mod lease;
pub mod limiter;
pub mod meta;
pub mod missing;
pub mod preflight;
pub mod relist;
pub mod row_key;
pub mod row_step;
pub mod shard;
pub mod share_step;
pub mod sorted;
pub mod sweep_interval;
pub mod time;

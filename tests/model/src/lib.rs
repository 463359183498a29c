//! Explores what the operator decides, in all small worlds that its surroundings may make of it.
//!
//! The decision functions are the operator's own files. What is modelled around them is told in README.md.

#[path = "../../../src/core/mod.rs"]
pub mod core;
pub mod deletions;
pub mod design;
pub mod explore;
pub mod guarded;
pub mod laws;
pub mod life;
pub mod model;
pub mod operator;
pub mod remote;
pub mod scenario;
pub mod search;
pub mod world;

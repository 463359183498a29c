//! A share's whole life, over and over, and at every request of it everything that can go wrong.
//!
//! A life follows the script and is lived by an operator process of its own, whose requests to the API server and to
//! Cloudflare pass a proxy. The ledger names each request, so that it means the same in every life, notes what was
//! asked and what came of it, and checks at each what must hold. The matrix learns the points from lives without
//! faults and then has a life for each point and action. The storm kills at random instead.

mod canary;
mod cast;
mod checks;
mod kube;
mod ledger;
mod life;
mod matrix;
mod operator;
mod point;
mod proxy;
mod script;
mod storm;

pub use kube::{GROUP, Kube};
pub use life::{Outcome, Stage, live};
pub use matrix::{Choice, Matrix, Summary};
pub use point::{Action, Fault, Phase, Place, Point, Side};
pub use storm::Storm;

/// Objects of these tests have it, so that other operators leave them alone.
pub const LABEL: &str = "cfshare-test-own";

//! cfshare keeps Cloudflare Resource Sharing in step with Kubernetes manifests.
//!
//! A watch event starts one pass over one object. The pass reads what the manifest and its child objects want,
//! looks up in the account's cache what Cloudflare has, turns both into small facts, asks the pure functions in
//! `core` for the one step that these call for, takes that step, and asks again until there is nothing left but to
//! report: the status is written if it differs, and the next look is planned. Sweeps keep the cache of an account
//! fresh, one limiter for each credential paces all calls, and whatever is about to be caused at Cloudflare is written
//! down in the object's status first.

pub mod api;
pub mod cli;
pub mod cloudflare;
pub mod core;
#[cfg(test)]
mod log_text;
pub mod operator;
pub mod serve;

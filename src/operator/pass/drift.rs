//! How a difference at Cloudflare is described.

use crate::api::status::DriftEntry;
use crate::cloudflare::clean;

/// Longest value that is shown.
const MAX_VALUE: usize = 200;

pub fn entry(path: String, desired: &str, observed: &str) -> DriftEntry {
    DriftEntry { path, desired: clean(desired, MAX_VALUE), observed: clean(observed, MAX_VALUE) }
}

/// What a condition says of drift.
pub fn message(drift: &[DriftEntry]) -> Option<String> {
    let first = describe(drift.first()?);
    Some(match drift.len() {
        1 => first,
        n => format!("{first}, and {} more", n - 1),
    })
}

pub fn describe(entry: &DriftEntry) -> String {
    format!("{}: {} instead of {}", entry.path, entry.observed, entry.desired)
}

//! How long is waited for what, where nothing wakes a pass or only a lost wake is feared.

use std::time::Duration;

/// For another object to write something down, or to come: that wakes us too.
pub const PEER_WRITE: Duration = Duration::from_millis(500);
/// For what another object does next, or the next read shows.
pub const RECHECK: Duration = Duration::from_secs(1);
/// For what most likely passes: a call that failed without more to tell, or a pass that took too many steps.
pub const TRANSIENT: Duration = Duration::from_secs(5);
/// For a Secret that is missing: watching it would need more rights.
pub const SECRET: Duration = Duration::from_secs(10);
/// For a Secret or a Share that comes with the same installation: an external secret store or the next step of a rollout
/// brings it within seconds, and retries within a minute or two. Until then nobody has to act, and `helm --wait` and Flux
/// go on waiting.
pub const ARRIVAL: Duration = Duration::from_secs(120);
/// For a person to say whether what cannot be seen is meant to be gone.
pub const BREAKER: Duration = Duration::from_secs(15);
/// For removals that are too many at once: they are fewer once others were long ago.
pub const BLOCKED: Duration = Duration::from_secs(30);
/// For a person to fix something at Cloudflare, which sends no notice.
pub const HUMAN: Duration = Duration::from_secs(60);

/// What was read so shortly before a pass is new enough to add or remove something on its word.
pub const FRESH: Duration = Duration::from_secs(5);

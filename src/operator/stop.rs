//! Why a pass cannot go on now.

use crate::cloudflare::Error;

/// Why a pass cannot go on now.
#[derive(Debug)]
pub enum Stop {
    /// No permit yet, or a sweep is awaited: the pass is woken.
    Queued,
    /// Another object of the same share is being worked on.
    Occupied,
    /// Another writer was there first, or the cache is behind.
    Conflict,
    /// The process ends, or does not lead any more.
    Stopping,
    /// A call that was announced did not leave in time: it is announced again.
    Late,
    Cloudflare(Error),
    Kubernetes(kube::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Cloudflare(error)
    }
}

impl From<kube::Error> for Stop {
    fn from(error: kube::Error) -> Stop {
        match &error {
            kube::Error::Api(status) if status.code == 409 => Stop::Conflict,
            _ => Stop::Kubernetes(error),
        }
    }
}

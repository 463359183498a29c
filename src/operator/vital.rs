//! Tasks without which the process would look healthy and do nothing: if one of them panics, the process ends, and is
//! started again.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

const PANICKED: &str = "an internal task failed, as the panic in the log says; exiting in order to be restarted";

/// Whether the process must end, and why.
#[derive(Clone, Default)]
pub struct Vital {
    ended: CancellationToken,
    why: Arc<OnceLock<&'static str>>,
}

impl Vital {
    /// The work, whose panic is noticed.
    pub fn watch<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let vital = self.clone();
        async move {
            AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
                vital.end(PANICKED);
                resume_unwind(panic)
            })
        }
    }

    /// The process must end; the first reason counts.
    pub fn end(&self, why: &'static str) {
        let _ = self.why.set(why);
        self.ended.cancel();
    }

    /// Why the process must end, once it must.
    pub async fn ended(&self) -> &'static str {
        self.ended.cancelled().await;
        self.why.get().copied().unwrap_or(PANICKED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_noticed_and_an_end_is_not() {
        let vital = Vital::default();
        tokio::spawn(vital.watch(async {})).await.expect("it ends");
        let aborted = tokio::spawn(vital.watch(std::future::pending::<()>()));
        tokio::task::yield_now().await;
        aborted.abort();
        assert!(aborted.await.is_err_and(|end| end.is_cancelled()));
        assert!(!vital.ended.is_cancelled());

        let panics = tokio::spawn(vital.watch(async { panic!("on purpose") }));
        assert_eq!(vital.ended().await, PANICKED);
        assert!(panics.await.is_err_and(|end| end.is_panic()));
        vital.end("another reason");
        assert_eq!(vital.ended().await, PANICKED, "the first reason counts");
    }
}

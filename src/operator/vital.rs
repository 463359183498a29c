//! Tasks without which the process would look healthy and do nothing: if one of them panics, the process ends, and is
//! started again.

use tokio_util::sync::CancellationToken;

/// Whether such a task panicked.
#[derive(Clone, Default)]
pub struct Vital {
    panicked: CancellationToken,
}

impl Vital {
    /// The work, whose panic is noticed.
    pub fn watch<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let noticed = OnPanic(self.panicked.clone());
        async move {
            let _noticed = noticed;
            work.await
        }
    }

    /// Until such a task panics.
    pub async fn panicked(&self) {
        self.panicked.cancelled().await;
    }
}

struct OnPanic(CancellationToken);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
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
        assert!(!vital.panicked.is_cancelled());

        let panics = tokio::spawn(vital.watch(async { panic!("on purpose") }));
        vital.panicked().await;
        assert!(panics.await.is_err_and(|end| end.is_panic()));
    }
}

//! What code under test logs.

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;

/// Takes the lines of a subscriber: `with_writer(move || text.clone())`.
#[derive(Debug, Clone, Default)]
pub struct LogText(Arc<Mutex<Vec<u8>>>);

impl LogText {
    pub fn read(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

impl Write for LogText {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

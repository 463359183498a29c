//! What the process shows of itself: health, metrics, logs, traces.

pub mod admin;
mod health;
pub mod logs;
pub mod metrics;
pub mod otlp;
mod process;
pub mod sampled;
pub mod traces;

pub use health::Health;

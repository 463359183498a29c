//! What the process shows of itself: health, metrics, logs.

pub mod admin;
mod health;
pub mod logs;
pub mod metrics;
mod process;

pub use health::Health;

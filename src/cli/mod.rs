//! The commands of the program.

mod cluster;
pub mod crds;
pub mod doctor;
pub mod environment;
pub mod explain;
pub mod import;
pub mod matrix;
pub mod output;
pub mod plan;
mod proxy;
mod remote;
pub mod run;
pub mod status;

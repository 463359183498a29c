//! The commands of the program.

pub mod crds;
pub mod explain;
pub mod run;

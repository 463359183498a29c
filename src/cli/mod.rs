//! The commands of the program.

mod accounts;
mod ca_bundle;
mod cluster;
pub mod crds;
mod credentials;
pub mod doctor;
pub mod environment;
pub mod explain;
mod given_file;
pub mod import;
mod kube_client;
mod lease;
pub mod matrix;
mod otlp;
pub mod output;
pub mod plan;
mod progress;
mod proxy;
mod reach;
pub mod received;
mod remote;
pub mod run;
pub mod shell;
mod signs;
pub mod status;
mod survey;

//! What a test needs of Kubernetes: a real control plane on loopback that ends with the test.
//!
//! [`Programs::find`] says where etcd, kube-apiserver, kube-controller-manager, kubectl and helm
//! are, and builds them once if they are nowhere. [`Cluster::start`] runs a control plane of them
//! in a folder of its own. [`process`] runs any program so that it cannot outlive this one.

mod audit;
mod cluster;
mod components;
mod error;
mod folder;
mod kubeconfig;
mod operator;
pub mod process;
mod programs;
pub mod wait;
mod world;

pub use cluster::{Cluster, Options};
pub use components::Component;
pub use error::Error;
pub use folder::Folder;
pub use operator::{build_operator, build_released_operator};
pub use process::Process;
pub use programs::Programs;

//! What Cloudflare's Resource Sharing API is to the rest of the program.
//!
//! One [`Client`] makes the calls, one `send` inside it is the only place that touches the network. An
//! [`Error`] knows what it means: [`Error::write_outcome`] tells whether a change may have happened,
//! [`Error::class`] what to do next.

mod calls;
mod client;
mod credential;
mod envelope;
mod error;
#[cfg(fuzzing)]
pub mod fuzz;
mod options;
mod request;
mod response_head;
mod text;
mod wire;
mod words;

pub use crate::core::failure::ErrorClass;
pub use calls::Api;
pub use client::{Client, Ended, Reply, head, innermost};
pub use credential::{Credential, CredentialError, Fingerprint, Names};
pub use envelope::Page;
pub use error::{ApiError, Error, WriteOutcome};
pub use options::{Options, SetupError};
pub use request::{FULL_PAGE, NewResource, NewShare, Order, ShareQuery, Target, WHOLE};
pub use response_head::ResponseHead;
pub use text::{clean, clean_ends};
pub use wire::{
    Counts, ExcludedRecipient, NamedAccount, Object, Recipient, RecipientError, Share, ShareResource, TokenState,
};
pub use words::{AssociationStatus, Kind, ResourceStatus, ShareStatus, TargetType};

//! What does Cloudflare have: read, kept, written, within one limit?

pub mod access;
pub mod account;
pub mod apply;
pub mod budget;
pub mod credentials;
pub mod pages;
pub mod seen;
pub mod sweep;
pub mod view;

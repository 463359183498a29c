//! Does the simulator behave as Cloudflare's API is known to, over HTTP as its callers see it?

mod caller;
mod calls;
mod control;
mod faults;
mod people;
mod rows;

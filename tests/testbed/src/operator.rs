//! How is the operator's program built by those that run it?

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Context, Error};

/// Builds the operator in a profile of Cargo's, or for development, and returns where it is.
pub fn build_operator(profile: Option<&str>) -> Result<PathBuf, Error> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml")]);
    command.args(["--package", "cfshare", "--bin", "cfshare"]).args(["--profile", profile.unwrap_or("dev")]);
    let status = command.status().context(|| "cannot run cargo".to_owned())?;
    if !status.success() {
        return Err(Error::new("the operator does not build"));
    }
    let own = env::current_exe().context(|| "cannot find this program".to_owned())?;
    // The folder of each profile is next to the one that this program was built in.
    Ok(own.with_file_name("..").join(profile.unwrap_or("debug")).join("cfshare"))
}

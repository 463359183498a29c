//! How is the operator's program built by those that run it?

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Context, Error};

/// Builds the operator for development, and returns where it is.
pub fn build_operator() -> Result<PathBuf, Error> {
    build(&["--profile", "dev"], None)?;
    Ok(target()?.join("debug").join("cfshare"))
}

/// Builds the operator as `deploy/release` does, small and on Linux static, and returns where it is.
pub fn build_released_operator() -> Result<PathBuf, Error> {
    let said = Command::new("rustc").args(["--print", "host-tuple"]).output();
    let said = said.context(|| "cannot run rustc".to_owned())?;
    let host = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    let flags = if host.contains("linux") { "-C target-feature=+crt-static" } else { "" };
    build(&["--profile", "dist", "--target", &host], Some(flags))?;
    Ok(target()?.join(host).join("dist").join("cfshare"))
}

fn build(arguments: &[&str], flags: Option<&str>) -> Result<(), Error> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml")]);
    command.args(["--package", "cfshare", "--bin", "cfshare"]).args(arguments);
    if let Some(flags) = flags {
        command.env("RUSTFLAGS", flags);
    }
    let status = command.status().context(|| "cannot run cargo".to_owned())?;
    if status.success() { Ok(()) } else { Err(Error::new("the operator does not build")) }
}

/// The folder of Cargo's that this program was built in: each profile has one in it.
fn target() -> Result<PathBuf, Error> {
    let own = env::current_exe().context(|| "cannot find this program".to_owned())?;
    Ok(own.with_file_name(".."))
}

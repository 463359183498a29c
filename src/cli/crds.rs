//! How the CRDs leave the binary: as one stream of YAML, or as a file for each.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;

use crate::api::crd;

/// Print the CRDs as YAML, ready for `kubectl apply --server-side -f -`
#[derive(Args, Debug, Clone)]
pub struct Crds {
    /// Write one file per CRD into this directory instead
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl Crds {
    pub fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        match &self.dir {
            Some(dir) => write(dir).with_context(|| format!("--dir: {} cannot be written to", dir.display()))?,
            None => print(out)?,
        }
        Ok(())
    }
}

/// Prints all CRDs as one stream.
pub fn print(out: &mut impl Write) -> io::Result<()> {
    for crd in crd::definitions() {
        write!(out, "---\n{}", crd::yaml(&crd))?;
    }
    Ok(())
}

/// Writes `<plural>.cfshare.dev.yaml` for each CRD.
pub fn write(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for crd in crd::definitions() {
        fs::write(dir.join(crd::file_name(&crd)), crd::yaml(&crd))?;
    }
    Ok(())
}

//! Which certificate authorities are trusted when the file of --ca-bundle changes while the operator runs?

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::given_file;
use crate::cloudflare::Client;

/// How often the file is read. Kubernetes replaces the files of a mounted Secret or ConfigMap by swapping a symbolic link
/// of their folder, which a watch on the file itself would not see.
const PERIOD: Duration = Duration::from_secs(5);

pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    given_file::bytes("--ca-bundle", path)
}

/// Lets the client trust what the file holds, whenever that changes. A file that cannot be used changes nothing: what was
/// read last stays trusted, and the log says so once.
pub async fn follow(path: PathBuf, first: Vec<u8>, client: Client) {
    let mut last = Ok(first);
    loop {
        tokio::time::sleep(PERIOD).await;
        let file = path.clone();
        let now = match tokio::task::spawn_blocking(move || std::fs::read(file)).await {
            Ok(read) => read.map_err(|error| error.to_string()),
            Err(_) => continue,
        };
        if now == last {
            continue;
        }
        let used = now.clone().and_then(|pem| client.trust(pem).map_err(|error| error.to_string()));
        let file = path.display();
        match used {
            Ok(()) => tracing::info!(%file, "--ca-bundle changed: its certificate authorities are now trusted"),
            Err(error) => tracing::error!(
                %file,
                error,
                "--ca-bundle changed and cannot be used, so the certificate authorities read before stay trusted: \
                 correct the file"
            ),
        }
        last = now;
    }
}

//! What the API server was asked, as its audit log tells it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;

/// Bodies only where a test looks at them: writes of our own kinds. The API server's and the
/// controllers' own traffic and the health checks are left out.
pub const POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: RequestResponse
  verbs: [create, update, patch, delete, deletecollection]
  resources: [{group: cfshare.dev}]
- level: None
  users: ["system:apiserver", "system:kube-controller-manager"]
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*"]
- level: Metadata
"#;

/// The entries from byte `start` on, and where the next call goes on. A line that is still being
/// written is left for that call.
pub fn read(path: &Path, start: u64) -> io::Result<(Vec<Value>, u64)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), start)),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    // A server that is killed may leave half a line in the middle.
    let entries =
        bytes[..complete].split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    Ok((entries, start + complete as u64))
}

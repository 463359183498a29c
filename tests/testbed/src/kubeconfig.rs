//! How a client is told where the API server is and who it is.

use std::fs;
use std::io;
use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Writes a kubeconfig that trusts exactly the API server's own certificate authority.
pub fn write(path: &Path, server: &str, authority: &Path, namespace: &str, token: &str) -> io::Result<()> {
    let authority = STANDARD.encode(fs::read(authority)?);
    let text = format!(
        "apiVersion: v1
kind: Config
clusters:
- name: testbed
  cluster:
    server: {server}
    certificate-authority-data: {authority}
users:
- name: testbed
  user:
    token: {token}
contexts:
- name: testbed
  context:
    cluster: testbed
    user: testbed
    namespace: {namespace}
current-context: testbed
"
    );
    fs::write(path, text)
}

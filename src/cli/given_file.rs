//! How a file is read that somebody named on the command line, and what to do if it cannot be.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The text of a file; `by`: what names it, such as a flag.
pub fn text(by: &str, path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).map_err(|error| unreadable(by, path, &error))
}

/// The bytes of a file.
pub fn bytes(by: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).map_err(|error| unreadable(by, path, &error))
}

/// Why a file or folder cannot be used, and what to do.
pub fn unreadable(by: &str, path: &Path, error: &io::Error) -> anyhow::Error {
    let shown = path.display().to_string();
    if shown.starts_with("https://") || shown.starts_with("http://") {
        return anyhow::anyhow!("{by}: {shown} is not a file: download it first, and write the name of the file");
    }
    match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("{by}: {shown} does not exist: check the path"),
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!("{by}: you are not allowed to read {shown}: check its owner and permissions")
        }
        ErrorKind::InvalidData => anyhow::anyhow!("{by}: {shown} is not text in UTF-8: save it with that encoding"),
        ErrorKind::IsADirectory => anyhow::anyhow!("{by}: {shown} is a directory: write the name of a file"),
        _ => anyhow::anyhow!("{by}: {shown} cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_says_what_to_do() {
        let folder = std::env::temp_dir().join(format!("cfshare-given-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let utf16 = folder.join("utf16.yaml");
        fs::write(&utf16, [0xff, 0xfe, 0x61, 0x00]).expect("a file");
        let said = |path: &Path| text("-f", path).expect_err("it is unreadable").to_string();
        let shown = folder.display();
        assert_eq!(said(&folder.join("no.yaml")), format!("-f: {shown}/no.yaml does not exist: check the path"));
        assert_eq!(said(&utf16), format!("-f: {shown}/utf16.yaml is not text in UTF-8: save it with that encoding"));
        assert!(said(&folder).ends_with(" is a directory: write the name of a file"));
        assert!(said(Path::new("https://example.com/a.yaml")).contains("download it first"));
        fs::remove_dir_all(&folder).expect("the folder goes");
    }
}

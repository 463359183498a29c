//! Whether the README and the documentation are true: their manifests are accepted, their links lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Test;
use crate::scene::World;

pub const TESTS: &[Test] =
    &[("docs: the API server accepts every manifest", manifests), ("docs: every link to a file leads to one", links)];

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn pages() -> Vec<PathBuf> {
    let folder = |name| fs::read_dir(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let docs = folder("docs").chain(folder("docs/runbook")).map(|entry| entry.expect("an entry").path());
    let mut pages: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    // It names pages that exist in the site only; docs/build checks them.
    pages.retain(|page| !page.ends_with("SUMMARY.md"));
    for page in ["CHANGELOG.md", "SECURITY.md", "deploy/chart/README.md"] {
        pages.push(Path::new(ROOT).join(page));
    }
    pages.push(Path::new(ROOT).join("README.md"));
    pages
}

fn read(page: &Path) -> String {
    fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// The blocks of a page that are whole manifests of ours.
fn blocks(text: &str) -> Vec<&str> {
    let yaml = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    yaml.filter(|block| block.starts_with("apiVersion: cfshare.dev/")).collect()
}

fn manifests(world: &World) {
    let scene = world.scene();
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        for block in blocks(&text) {
            // They may name any namespace: this one is there.
            let block = block.replace("namespace: security-baseline", &format!("namespace: {}", scene.namespace));
            let apply = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
            let outcome = scene.try_kubectl(&apply, Some(&block));
            assert!(outcome.is_ok(), "{}: {}\n{block}", page.display(), outcome.unwrap_err());
            count += 1;
        }
    }
    assert!(count >= 2, "only {count} manifests were found");
}

fn links(_: &World) {
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        let folder = page.parent().expect("a folder");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(folder.join(file).exists(), "{} links to {file}, which is not there", page.display());
            count += 1;
        }
    }
    assert!(count > 5, "only {count} links were found");
}

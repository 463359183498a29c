//! Which manifests in a folder declare a share that exists, and how they get its id.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::given_file;
use crate::cli::plan::{documents, manifest_files};
use crate::cloudflare::{ResourceStatus, Share};
use crate::core::id::{AnyId, same};

/// A resource: its type, its id and its account.
type Key = (String, AnyId, AnyId);

fn key(kind: &str, id: &str, account: &str) -> Key {
    (kind.to_owned(), AnyId::new(id), AnyId::new(account))
}

/// One Share manifest without a `shareID`.
struct Open {
    file: PathBuf,
    /// Which document of the file it is.
    at: usize,
    object: String,
    name: String,
    resources: BTreeSet<Key>,
}

/// What became of the folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// What was written, a line each.
    pub done: Vec<String>,
    /// What was not, and why.
    pub left: Vec<String>,
}

/// Writes the id of each share into the one manifest that has its name and resources.
pub fn fill(folder: &Path, account: &str, shares: &[Share]) -> anyhow::Result<Filled> {
    let mut texts: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    let mut open = Vec::new();
    if !folder.is_dir() && !folder.is_file() {
        anyhow::bail!("--into: {} is not a directory: check the path", folder.display());
    }
    for file in manifest_files(folder).context("--into")? {
        let text = given_file::text("--into", &file)?;
        let parts = split(&text);
        for (at, part) in parts.iter().enumerate() {
            let found = documents(part).with_context(|| format!("--into: {}", file.display()))?;
            for document in &found {
                let listed = document["items"].as_array().into_iter().flatten();
                open.extend(std::iter::once(document).chain(listed).filter_map(|d| unfilled(d, account, &file, at)));
            }
        }
        texts.insert(file, parts);
    }
    let mut filled = Filled::default();
    for manifest in &open {
        let fits = |share: &&Share| share.name == manifest.name && keys(share) == manifest.resources;
        let found: Vec<&Share> = shares.iter().filter(fits).collect();
        let rivals = open.iter().filter(|o| o.name == manifest.name && o.resources == manifest.resources).count();
        let Open { object, file, .. } = manifest;
        match (found.as_slice(), rivals) {
            ([share], 1) => {
                let Some(parts) = texts.get_mut(file) else { continue };
                match insert(&parts[manifest.at], share.id.as_str()) {
                    Some(text) => {
                        parts[manifest.at] = text;
                        filled.done.push(format!("{}: Share {object} now has shareID {}", file.display(), share.id));
                    }
                    None => filled.left.push(format!(
                        "{}: Share {object}: write shareID: {:?} under spec; its spec is not in block style",
                        file.display(),
                        share.id.as_str()
                    )),
                }
            }
            ([], _) => filled.left.push(format!(
                "{}: Share {object}: the account owns no share with this name and these resources",
                file.display()
            )),
            (_, _) => {
                let ids: Vec<&str> = found.iter().map(|share| share.id.as_str()).collect();
                filled.left.push(format!(
                    "{}: Share {object}: several shares match; write the shareID yourself ({})",
                    file.display(),
                    ids.join(", ")
                ));
            }
        }
    }
    for (file, parts) in texts {
        let text = parts.concat();
        if fs::read_to_string(&file).is_ok_and(|before| before != text) {
            fs::write(&file, text).with_context(|| format!("--into: {} cannot be written", file.display()))?;
        }
    }
    Ok(filled)
}

fn keys(share: &Share) -> BTreeSet<Key> {
    let live = share.resources.iter().flatten().filter(|row| row.status == ResourceStatus::Active);
    live.map(|row| key(&row.resource_type, row.resource_id.as_str(), row.resource_account_id.as_str())).collect()
}

fn unfilled(document: &Value, account: &str, file: &Path, at: usize) -> Option<Open> {
    let spec = &document["spec"];
    let ours = document["apiVersion"].as_str()?.starts_with("cfshare.dev/") && document["kind"] == "Share";
    let owned = spec["accountID"].as_str().is_some_and(|owner| same(owner, account));
    if !ours || !owned || spec.get("shareID").is_some() {
        return None;
    }
    let object = document["metadata"]["name"].as_str()?.to_owned();
    let resources = spec["resources"].as_array().into_iter().flatten().filter_map(|entry| {
        let of = entry["accountID"].as_str().unwrap_or(account);
        Some(key(entry["type"].as_str()?, entry["id"].as_str()?, of))
    });
    let resources = resources.collect();
    let name = spec["name"].as_str().map_or_else(|| object.clone(), str::to_owned);
    Some(Open { file: file.to_path_buf(), at, object, name, resources })
}

/// The documents of a file as they stand there, with what separates them.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if line.starts_with("---") && parts.last().is_some_and(|part| !part.trim().is_empty()) {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(line);
        }
    }
    parts
}

/// The document with the id as the first field of its spec; the rest stays as it is.
fn insert(document: &str, id: &str) -> Option<String> {
    let is_spec = |line: &str| line.strip_prefix("spec:").is_some_and(is_blank);
    let at = document.lines().position(is_spec)?;
    let first = document.lines().skip(at + 1).find(|line| !is_blank(line))?;
    let indent = &first[..first.len() - first.trim_start().len()];
    let end = document.split_inclusive('\n').take(at + 1).map(str::len).sum::<usize>();
    (!indent.is_empty()).then(|| {
        let (head, tail) = document.split_at(end);
        format!("{head}{indent}shareID: \"{id}\"\n{tail}")
    })
}

/// Nothing, or a comment.
fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_id_becomes_the_first_field_and_all_else_stays() {
        let text = "# a\nkind: Share\nspec: # why\n  # what\n\n    accountID: a # b\n    name: n\n";
        let expected = text.replace("spec: # why\n", "spec: # why\n    shareID: \"s1\"\n");
        assert_eq!(insert(text, "s1"), Some(expected));
        assert_eq!(insert("spec: {accountID: a}\n", "s1"), None);
        assert_eq!(split("a\n---\n# x\nb\n--- # y\nc"), ["a\n", "---\n# x\nb\n", "--- # y\nc"]);
        assert_eq!(split("---\na\n---\nb\n").concat(), "---\na\n---\nb\n");
    }

    #[test]
    fn a_manifest_with_ids_in_upper_case_is_of_the_same_account_and_share() {
        let manifest = json!({"apiVersion": "cfshare.dev/v1alpha1", "kind": "Share", "metadata": {"name": "waf"},
                              "spec": {"accountID": "ACC0", "resources": [{"type": "t", "id": "AB1", "accountID": "ACC0"}]}});
        let open = unfilled(&manifest, "acc0", Path::new("a.yaml"), 0).expect("a manifest of the account");
        let row = json!({"id": "r", "resource_account_id": "acc0", "resource_id": "ab1", "resource_type": "t", "status": "active"});
        let share = json!({"id": "5e1f", "account_id": "acc0", "name": "waf", "status": "active", "resources": [row]});
        assert_eq!(open.resources, keys(&serde_json::from_value(share).expect("a share")));
        assert!(unfilled(&manifest, "acc1", Path::new("a.yaml"), 0).is_none());
    }

    #[test]
    fn only_the_one_manifest_with_that_name_and_these_resources_is_filled() {
        let folder = std::env::temp_dir().join(format!("cfshare-into-{}", std::process::id()));
        fs::create_dir_all(folder.join("more")).expect("a folder");
        let share = |object: &str, name: &str, id: &str| {
            format!(
                "apiVersion: cfshare.dev/v1alpha1\nkind: Share\nmetadata: {{name: {object}}}\nspec:\n  accountID: acc\n  \
                 name: {name}\n  resources: [{{type: t, id: {id}}}]\n"
            )
        };
        let two = format!("{}---\n{}", share("waf", "WAF", "x"), share("other", "WAF", "y"));
        fs::write(folder.join("a.yaml"), &two).expect("a file");
        fs::write(folder.join("more/b.yml"), share("twice", "Twice", "x")).expect("a file");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [{
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share", "metadata": {"name": "listed"},
            "spec": {"accountID": "acc", "resources": [{"type": "t", "id": "z"}]},
        }]});
        fs::write(folder.join("more/list.json"), list.to_string()).expect("a file");
        let remote = |id: &str, name: &str, resource: &str| {
            let row = json!({"id": "r", "resource_account_id": "acc", "resource_id": resource, "resource_type": "t",
                             "status": "active"});
            let share = json!({"id": id, "account_id": "acc", "name": name, "status": "active", "resources": [row]});
            serde_json::from_value::<Share>(share).expect("a share")
        };
        let twice = ["s2", "s3"].map(|id| remote(id, "Twice", "x"));
        let shares = [vec![remote("s1", "WAF", "x"), remote("s4", "listed", "z")], twice.to_vec()].concat();
        let filled = fill(&folder, "acc", &shares).expect("it can be done");
        assert_eq!((filled.done.len(), filled.left.len()), (1, 3), "{filled:?}");
        assert!(filled.left.iter().any(|line| line.contains("Share listed: write shareID: \"s4\"")), "{filled:?}");
        assert!(filled.left.iter().any(|line| line.contains("(s2, s3)")), "{filled:?}");
        let now = fs::read_to_string(folder.join("a.yaml")).expect("a file");
        assert_eq!(now, two.replacen("spec:\n", "spec:\n  shareID: \"s1\"\n", 1));
        fs::remove_dir_all(&folder).expect("it goes");
    }
}

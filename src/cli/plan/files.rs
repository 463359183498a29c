//! Which objects are in manifest files.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use kube::ResourceExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::yaml::documents;
use crate::cli::cluster::Objects;
use crate::cli::given_file;

impl Objects {
    /// Reads files, folders of files, and the standard input where a path is `-`. Objects of other kinds are passed
    /// over.
    pub fn read(paths: &[PathBuf], namespace: &str) -> anyhow::Result<Objects> {
        let mut manifests = Objects::default();
        for path in paths {
            if path.as_os_str() == "-" {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
                manifests.take(&text, namespace).context("standard input")?;
                continue;
            }
            for file in files(path)? {
                let text = given_file::text("-f", &file)?;
                manifests.take(&text, namespace).with_context(|| file.display().to_string())?;
            }
        }
        manifests.check()?;
        Ok(manifests)
    }

    /// Builds a kustomization with the kubectl that is there.
    pub fn build(folder: &Path, namespace: &str) -> anyhow::Result<Objects> {
        let shown = folder.display();
        let output = Command::new("kubectl")
            .arg("kustomize")
            .arg(folder)
            .output()
            .with_context(|| format!("-k {shown}: kubectl cannot be run; it must be in PATH"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            anyhow::bail!("-k {shown}: kubectl kustomize failed: {}", said.trim());
        }
        let text = String::from_utf8(output.stdout).with_context(|| format!("-k {shown}: its output is not text"))?;
        let mut manifests = Objects::default();
        manifests.take(&text, namespace).with_context(|| format!("-k {shown}"))?;
        manifests.check()?;
        Ok(manifests)
    }

    fn take(&mut self, text: &str, namespace: &str) -> anyhow::Result<()> {
        for document in documents(text)? {
            let items = match document.get("items").and_then(Value::as_array) {
                Some(items) if document["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => items.clone(),
                _ => vec![document],
            };
            for item in items {
                self.sort(item, namespace)?;
            }
        }
        Ok(())
    }

    fn sort(&mut self, manifest: Value, namespace: &str) -> anyhow::Result<()> {
        let version = manifest["apiVersion"].as_str().unwrap_or_default();
        let kind = manifest["kind"].as_str().unwrap_or_default().to_owned();
        if version.is_empty() && ["Share", "ShareRecipient", "ShareResource"].contains(&kind.as_str()) {
            anyhow::bail!("a {kind} has no apiVersion: write cfshare.dev/v1alpha1");
        }
        if !version.starts_with("cfshare.dev/") {
            return Ok(());
        }
        if version != "cfshare.dev/v1alpha1" {
            anyhow::bail!("{kind}: apiVersion {version} is not supported: write cfshare.dev/v1alpha1");
        }
        match kind.as_str() {
            "Share" => self.shares.push(object(manifest, namespace)?),
            "ShareRecipient" => self.recipients.push(object(manifest, namespace)?),
            "ShareResource" => self.resources.push(object(manifest, namespace)?),
            other => anyhow::bail!("cfshare.dev has no kind {other:?}: write Share, ShareRecipient or ShareResource"),
        }
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        let mut names = HashSet::new();
        let shares = self.shares.iter().map(|object| ("Share", object.namespace(), object.name_any()));
        let recipients = self.recipients.iter().map(|object| ("ShareRecipient", object.namespace(), object.name_any()));
        let resources = self.resources.iter().map(|object| ("ShareResource", object.namespace(), object.name_any()));
        for (kind, namespace, name) in shares.chain(recipients).chain(resources) {
            if !names.insert((kind, namespace, name.clone())) {
                anyhow::bail!("{kind} {name} is defined twice: rename one of them");
            }
        }
        Ok(())
    }
}

fn object<K>(mut manifest: Value, namespace: &str) -> anyhow::Result<K>
where
    K: kube::Resource<DynamicType = ()> + DeserializeOwned + Serialize,
{
    let kind = K::kind(&()).into_owned();
    let name = manifest["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() {
        anyhow::bail!("a {kind} has no metadata.name: give it one");
    }
    if let Some(manifest) = manifest.as_object_mut() {
        // What a server once wrote into a file is no record of this object.
        manifest.remove("status");
    }
    let mut object: K = serde_json::from_value(manifest.clone()).map_err(|error| {
        let hint = if is_number_for_text(&error) { "; note that ids must be quoted strings" } else { "" };
        anyhow::Error::new(error).context(format!("{kind} {name} does not match the CRD{hint}"))
    })?;
    let kept = serde_json::to_value(&object)?;
    if let Some(path) = unknown(&manifest["spec"], &kept["spec"], "spec") {
        anyhow::bail!("{kind} {name}: there is no field {path}: check its spelling with `kubectl explain`");
    }
    let meta = object.meta_mut();
    meta.namespace.get_or_insert_with(|| namespace.to_owned());
    meta.uid = None;
    Ok(object)
}

/// Whether YAML took an id for a number.
fn is_number_for_text(error: &serde_json::Error) -> bool {
    let said = error.to_string();
    let is_number = ["invalid type: integer", "invalid type: floating point", "invalid type: number"];
    is_number.iter().any(|number| said.contains(number)) && said.contains("string")
}

/// The first field that the type did not take.
fn unknown(given: &Value, kept: &Value, path: &str) -> Option<String> {
    match (given, kept) {
        // Any object at all.
        _ if path.ends_with(".meta") => None,
        (Value::Object(given), Value::Object(kept)) => given.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match kept.get(key) {
                Some(kept) => unknown(value, kept, &path),
                None if is_empty(value) => None,
                None => Some(path),
            }
        }),
        (Value::Array(given), Value::Array(kept)) => {
            let pairs = given.iter().zip(kept).enumerate();
            pairs.into_iter().find_map(|(at, (given, kept))| unknown(given, kept, &format!("{path}[{at}]")))
        }
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// The manifests of a folder and of the folders in it, as `kubectl apply -R` takes them.
pub fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |error| given_file::unreadable("manifests", path, &error);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let file = entry.path();
        // A link to a folder may lead round in a circle.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(self::files(&file)?);
            continue;
        }
        let manifest = file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml" || ending == "json");
        if manifest && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Result<Objects, String> {
        let mut manifests = Objects::default();
        let taken = manifests.take(text, "here").and_then(|()| manifests.check());
        taken.map(|()| manifests).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_examples_are_read_whole() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
        let manifests = Objects::read(&[folder], "here").expect("the examples are right");
        assert!(manifests.shares.len() > 4 && manifests.recipients.len() == 2 && manifests.resources.len() == 2);
        assert!(manifests.shares.iter().all(|share| share.namespace().as_deref() == Some("security-baseline")));
    }

    #[test]
    fn a_misspelt_field_is_an_error_that_names_it() {
        let share = |spec: &str| {
            taken(&format!("apiVersion: cfshare.dev/v1alpha1\nkind: Share\nmetadata: {{name: a}}\nspec: {spec}\n"))
        };
        let read = share(r#"{accountID: "1", recipients: [], resources: [{type: a, id: b, meta: {any: {thing: 1}}}]}"#);
        assert_eq!(read.expect("it is right").shares[0].namespace().as_deref(), Some("here"));
        let error = share(r#"{accountID: "1", recipient: [{accountID: "2"}]}"#).unwrap_err();
        assert!(error.contains("no field spec.recipient:"), "{error}");
        let error = share(r#"{accountID: "1", recipients: [{accountID: "2", nme: x}]}"#).unwrap_err();
        assert!(error.contains("no field spec.recipients[0].nme"), "{error}");
        let error = share("{accountID: 1}").unwrap_err();
        assert!(error.contains("Share a does not match the CRD; note that ids must be quoted strings"), "{error}");
        let error = share(r#"{accountID: "1", recipients: [{accountID: 372}]}"#).unwrap_err();
        assert!(error.contains("note that ids must be quoted strings"), "{error}");
        let error = share(r#"{accountID: "1", managementPolicy: observe}"#).unwrap_err();
        assert!(error.contains("Share a does not match the CRD: unknown variant `observe`"), "{error}");
    }

    #[test]
    fn other_kinds_are_passed_over_lists_are_opened_and_doubles_refused() {
        let one = r#"{"apiVersion": "cfshare.dev/v1alpha1", "kind": "Share", "metadata": {"name": "a"},
                      "spec": {"accountID": "1"}, "status": {"observedGeneration": 1, "boundUID": "x"}}"#;
        let text = format!("apiVersion: v1\nkind: Secret\n---\n{{kind: List, items: [{one}]}}\n---\n");
        let read = taken(&text).expect("it is right");
        assert_eq!((read.shares.len(), read.shares[0].status.is_none()), (1, true));
        assert!(taken(&format!("{one}\n---\n{one}\n")).unwrap_err().contains("twice"));
        let error = taken("apiVersion: cfshare.dev/v1\nkind: Share\nmetadata: {name: a}\n").unwrap_err();
        assert!(error.contains("v1alpha1"), "{error}");
        let error = taken("kind: Share\nmetadata: {name: a}\n").unwrap_err();
        assert!(error.contains("no apiVersion: write cfshare.dev/v1alpha1"), "{error}");
    }
}

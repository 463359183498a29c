//! What the CRDs look like.

use std::borrow::Cow;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{Share, ShareRecipient, ShareResource};
use crate::core::interned::Interned;

/// The three kinds.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    [Share::crd(), ShareRecipient::crd(), ShareResource::crd()].into_iter().map(tidy).collect()
}

/// One CRD as a document of YAML, with a trailing line break.
pub fn yaml(crd: &CustomResourceDefinition) -> String {
    serde_yaml::to_string(crd).expect("a CRD is plain data")
}

/// Name of the file in `crds/` that holds it.
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}.yaml", crd.metadata.name.as_deref().expect("a CRD has a name"))
}

/// To users, a string.
impl JsonSchema for Interned {
    fn inline_schema() -> bool {
        String::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

/// Takes out what schemars adds for Rust's sake and the API server would act upon: `nullable` lets an explicit null
/// through, `format` of integers and null in enums say nothing, defaults in list items make Argo CD see a difference
/// for ever. The one default is the status': kstatus waits for an object whose `observedGeneration` is behind.
fn tidy(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut crd = serde_json::to_value(crd).expect("a CRD is plain data");
    let root = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    tidy_schema(root.as_object_mut().expect("a CRD has a schema"));
    root["properties"]["status"]["default"] = json!({ "observedGeneration": super::status::UNOBSERVED });
    // With a CRD go all its objects: tools that delete what a repository no longer has leave it alone.
    crd["metadata"]["annotations"] = json!({
        "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
        "kustomize.toolkit.fluxcd.io/prune": "disabled",
    });
    serde_json::from_value(crd).expect("a tidied CRD is still a CRD")
}

fn tidy_schema(schema: &mut Map<String, Value>) {
    for key in ["nullable", "default", "title"] {
        schema.remove(key);
    }
    if matches!(schema.get("type"), Some(Value::String(kind)) if kind == "integer" || kind == "number") {
        schema.remove("format");
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = unwrapped(text);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(Value::Object(inner)) = schema.get_mut(key) {
            tidy_schema(inner);
        }
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().filter_map(Value::as_object_mut).for_each(tidy_schema);
    }
}

/// Joins the lines of a paragraph: `kubectl explain` wraps them itself.
fn unwrapped(text: &str) -> String {
    text.split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n\n")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_files_are_what_the_types_say() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
        for crd in definitions() {
            let file = dir.join(file_name(&crd));
            let stored = fs::read_to_string(&file).unwrap_or_default();
            assert!(
                stored == yaml(&crd),
                "{} is stale: run `cargo run --bin cfshare -- crds --dir crds`",
                file.display()
            );
        }
        assert_eq!(fs::read_dir(dir).unwrap().count(), definitions().len(), "crds/ holds a file of no kind");
    }

    /// Calls `visit` with every schema below this one and its path.
    fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
        visit(path, schema);
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), inner, visit);
        }
        if schema["items"].is_object() {
            walk(&format!("{path}[]"), &schema["items"], visit);
        }
    }

    fn each_schema(mut visit: impl FnMut(&str, &Value)) {
        for crd in definitions() {
            let crd = serde_json::to_value(crd).unwrap();
            let root = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            walk(crd["spec"]["names"]["kind"].as_str().unwrap(), root, &mut visit);
        }
    }

    #[test]
    fn the_status_has_the_only_default() {
        each_schema(|path, schema| match path.split_once('.') {
            Some((_, "status")) => assert_eq!(schema["default"], json!({ "observedGeneration": -1 }), "{path}"),
            _ => assert_eq!(schema["default"], Value::Null, "{path}"),
        });
    }

    #[test]
    fn every_field_speaks() {
        each_schema(|path, schema| {
            let is_field = path.contains('.') && !path.ends_with("[]") && !path.ends_with(".metadata");
            assert!(
                !is_field || schema["description"].as_str().is_some_and(|text| text.len() > 10),
                "{path} has no description"
            );
        });
    }

    #[test]
    fn every_list_of_a_spec_is_bounded_and_has_keys() {
        each_schema(|path, schema| {
            if path.contains(".spec") && schema["type"] == "array" {
                assert_eq!(schema["maxItems"], 1000, "{path}");
                assert_eq!(schema["x-kubernetes-list-type"], "map", "{path}");
            }
        });
    }

    #[test]
    fn no_field_takes_null() {
        each_schema(|path, schema| {
            assert_eq!(schema["nullable"], Value::Null, "{path}");
            assert!(schema["enum"].as_array().is_none_or(|words| !words.contains(&Value::Null)), "{path}");
        });
    }

    #[test]
    fn an_unseen_status_is_its_own_default() {
        use super::super::status::{RecipientStatus, ResourceStatus, ShareStatus};
        let unseen = json!({ "observedGeneration": -1 });
        assert_eq!(serde_json::to_value(ShareStatus::default()).unwrap(), unseen);
        assert_eq!(serde_json::to_value(RecipientStatus::default()).unwrap(), unseen);
        assert_eq!(serde_json::to_value(ResourceStatus::default()).unwrap(), unseen);
        assert_eq!(serde_json::from_value::<ShareStatus>(json!({})).unwrap(), ShareStatus::default());
    }
}

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
/// through, null in enums says nothing, defaults in list items make Argo CD see a difference for ever. The one default
/// is the status': kstatus waits for an object whose `observedGeneration` is behind.
fn tidy(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut crd = serde_json::to_value(crd).expect("a CRD is plain data");
    let root = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    tidy_schema(root.as_object_mut().expect("a CRD has a schema"));
    let status = &mut root["properties"]["status"];
    status["default"] = json!({ "observedGeneration": super::status::UNOBSERVED });
    let conditions = status["properties"]["conditions"]["items"]["properties"].as_object_mut();
    restrict_conditions(conditions.expect("a status has conditions"));
    // With a CRD go all its objects: tools that delete what a repository no longer has leave it alone. Helm looks at the
    // object in the cluster, which somebody may have applied without Helm.
    crd["metadata"]["annotations"] = json!({
        "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
        "helm.sh/resource-policy": "keep",
        "kustomize.toolkit.fluxcd.io/prune": "disabled",
    });
    serde_json::from_value(crd).expect("a tidied CRD is still a CRD")
}

fn tidy_schema(schema: &mut Map<String, Value>) {
    for key in ["nullable", "default", "title"] {
        schema.remove(key);
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => {
            let format = schema.get("format").and_then(Value::as_str).map(integer_format);
            schema.extend(format.map(|format| ("format".to_owned(), json!(format))));
        }
        Some("number") => drop(schema.remove("format")),
        // What Kubernetes takes for granted, and generators of clients do not.
        Some("array") => drop(schema.entry("x-kubernetes-list-type").or_insert(json!("atomic"))),
        _ => {}
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

/// Kubernetes knows two formats, which also bound the number.
fn integer_format(of_rust: &str) -> &'static str {
    match of_rust {
        "int8" | "uint8" | "int16" | "uint16" | "int32" => "int32",
        _ => "int64",
    }
}

/// What Kubernetes' own Condition promises, as the markers of `metav1.Condition` say it.
fn restrict_conditions(properties: &mut Map<String, Value>) {
    let promises = [
        ("type", json!({ "maxLength": 316, "pattern": CONDITION_TYPE })),
        ("status", json!({ "enum": ["True", "False", "Unknown"] })),
        ("observedGeneration", json!({ "minimum": 0 })),
        ("reason", json!({ "minLength": 1, "maxLength": 1024, "pattern": CONDITION_REASON })),
        ("message", json!({ "maxLength": 32768 })),
    ];
    for (name, promise) in promises {
        let field = properties.get_mut(name).and_then(Value::as_object_mut).expect("a field of a condition");
        field.extend(promise.as_object().cloned().expect("an object"));
    }
}

const CONDITION_TYPE: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
    (([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$";
const CONDITION_REASON: &str = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$";

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

    #[test]
    fn no_tool_deletes_a_crd_that_was_applied_without_it() {
        for crd in definitions() {
            let annotations = crd.metadata.annotations.expect("annotations");
            assert_eq!(annotations["helm.sh/resource-policy"], "keep");
            assert_eq!(annotations["argocd.argoproj.io/sync-options"], "Prune=false,Delete=false");
            assert_eq!(annotations["kustomize.toolkit.fluxcd.io/prune"], "disabled");
        }
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
    fn every_list_says_how_it_merges() {
        each_schema(|path, schema| {
            let list_type = &schema["x-kubernetes-list-type"];
            assert!(schema["type"] != "array" || list_type == "map" || list_type == "atomic", "{path}: {list_type}");
        });
    }

    #[test]
    fn every_integer_has_a_format_that_kubernetes_knows() {
        each_schema(|path, schema| {
            if schema["type"] == "integer" {
                let narrow = !path.ends_with("eneration") && !path.ends_with(".version");
                assert_eq!(schema["format"], if narrow { "int32" } else { "int64" }, "{path}");
            }
        });
        let formats = ["uint8", "uint16", "int32", "uint32", "int64", "uint64"].map(integer_format);
        assert_eq!(formats, ["int32", "int32", "int32", "int64", "int64", "int64"]);
    }

    #[test]
    fn a_condition_is_one_of_kubernetes() {
        each_schema(|path, schema| {
            if path.ends_with(".status.conditions[]") {
                let fields = &schema["properties"];
                assert_eq!(fields["status"]["enum"], json!(["True", "False", "Unknown"]), "{path}");
                assert_eq!(fields["reason"]["minLength"], 1, "{path}");
                assert_eq!(fields["message"]["maxLength"], 32768, "{path}");
                assert_eq!(fields["observedGeneration"]["minimum"], 0.0, "{path}");
                let pattern = fields["type"]["pattern"].as_str().unwrap();
                assert!(pattern.ends_with("?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"), "{path}: {pattern}");
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

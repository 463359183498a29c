//! Are objects that earlier versions stored still taken, by the CRDs and by the program?

use std::fs;

use cfshare::api::{Share, ShareRecipient, ShareResource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::scene::{OWN_LABEL, Scene, World};

pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/golden");

pub fn taken(world: &World) {
    let mut count = 0;
    for file in fs::read_dir(FOLDER).expect("golden files") {
        let path = file.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let scene = world.own_scene();
        for document in serde_yaml::Deserializer::from_str(&fs::read_to_string(&path).expect("text")) {
            let object = Value::deserialize(document).expect("YAML");
            let what = format!("{}: {} {}", path.display(), object["kind"], object["metadata"]["name"]);
            stored(&scene, &what, &object);
            read(&what, &object);
            count += 1;
        }
    }
    assert!(count >= 11);
}

/// The API server takes spec and status, strictly, and loses nothing of them.
fn stored(scene: &Scene<'_>, what: &str, object: &Value) {
    let mut whole = object.clone();
    whole["metadata"]["labels"] = json!({ OWN_LABEL: "true" });
    for subresource in ["", "status"] {
        let subresource = format!("--subresource={subresource}");
        let mut args = vec!["apply", "--server-side", "--validate=strict", "-f", "-"];
        if !subresource.ends_with('=') {
            args.push(&subresource);
        }
        scene.try_kubectl(&args, Some(&whole.to_string())).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let kind = object["kind"].as_str().expect("a kind").to_lowercase();
    let live = scene.get(&kind, object["metadata"]["name"].as_str().expect("a name")).expect("it was stored");
    assert_eq!(live["spec"], object["spec"], "{what}");
    assert_eq!(live["status"], object["status"], "{what}");
}

/// The program reads it, and would write the same.
fn read(what: &str, object: &Value) {
    match object["kind"].as_str() {
        Some("Share") => same::<Share>(what, object),
        Some("ShareRecipient") => same::<ShareRecipient>(what, object),
        Some("ShareResource") => same::<ShareResource>(what, object),
        other => panic!("{what}: {other:?}"),
    }
}

fn same<K: Serialize + DeserializeOwned>(what: &str, object: &Value) {
    let read: K = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let written = serde_json::to_value(read).expect("JSON");
    assert_eq!(written["spec"], object["spec"], "{what}");
    assert_eq!(written["status"], object["status"], "{what}");
}

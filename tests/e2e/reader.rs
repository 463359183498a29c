//! How tests look at objects, and change them, again and again: over one connection, since a kubectl process costs more
//! than a test. What is said of kubectl is tried with kubectl.

use std::path::Path;

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use reqwest::header::{HeaderValue, USER_AGENT};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// As which the tests themselves write.
pub const AGENT: &str = "kubectl-of-the-tests";

pub struct Reader {
    client: kube::Client,
    runtime: Runtime,
}

impl Reader {
    pub fn new(kubeconfig: &Path) -> Result<Reader, String> {
        // Somebody else may have set it already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let read = async {
            let kubeconfig = Kubeconfig::read_from(kubeconfig).map_err(|error| error.to_string())?;
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
            let mut config = config.map_err(|error| error.to_string())?;
            config.proxy_url = None;
            config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
            kube::Client::try_from(config).map_err(|error| error.to_string())
        };
        let client = runtime.block_on(read)?;
        Ok(Reader { client, runtime })
    }

    /// Asks Cloudflare as somebody else would, with a token.
    pub fn call(&self, method: &str, url: &str, token: &str, body: &Value) -> Result<(), String> {
        let method = method.parse::<reqwest::Method>().map_err(|error| error.to_string())?;
        let http = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
        let request = http.request(method, url).bearer_auth(token).json(body);
        let answer = self.runtime.block_on(request.send()).map_err(|error| error.to_string())?;
        answer.error_for_status().map(drop).map_err(|error| error.to_string())
    }

    /// One of our own objects, if it is there; `Err`: not one of our kinds, or the API server cannot be asked.
    pub fn get(&self, namespace: &str, kind: &str, name: &str) -> Result<Option<Value>, String> {
        let api = self.ours(namespace, kind).ok_or_else(|| format!("{kind} is read with kubectl"))?;
        let object = self.runtime.block_on(api.get_opt(name)).map_err(|error| error.to_string())?;
        Ok(object.map(|object| serde_json::to_value(object).expect("an object is JSON")))
    }

    /// Applies manifests of ours and Secrets, server-side; `None`: there is another kind among them.
    pub fn apply(&self, namespace: &str, yaml: &str) -> Option<Result<(), String>> {
        let documents = documents(yaml)?;
        let objects: Vec<(Api<DynamicObject>, String, Value)> =
            documents.into_iter().map(|object| self.applied(namespace, object)).collect::<Option<_>>()?;
        let how = PatchParams { field_manager: Some("kubectl".into()), ..PatchParams::default() };
        let how = how.force().validation_strict();
        Some(objects.into_iter().try_for_each(|(api, name, object)| {
            let patched = self.runtime.block_on(api.patch(&name, &how, &Patch::Apply(object)));
            patched.map(drop).map_err(|error| error.to_string())
        }))
    }

    fn applied(&self, namespace: &str, object: Value) -> Option<(Api<DynamicObject>, String, Value)> {
        if object["metadata"]["namespace"].is_string() {
            return None;
        }
        let name = object["metadata"]["name"].as_str()?.to_owned();
        let api = match (object["apiVersion"].as_str()?, object["kind"].as_str()?) {
            ("v1", "Secret") => {
                let secret = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Secret"));
                Api::namespaced_with(self.client.clone(), namespace, &secret)
            }
            ("cfshare.dev/v1alpha1", kind) => self.ours(namespace, &kind.to_lowercase())?,
            _ => return None,
        };
        Some((api, name, object))
    }

    /// Deletes one of our own objects, and does not wait; `None`: it is none of ours.
    pub fn delete(&self, namespace: &str, kind: &str, name: &str) -> Option<Result<(), String>> {
        let api = self.ours(namespace, kind)?;
        let deleted = self.runtime.block_on(api.delete(name, &DeleteParams::background()));
        Some(deleted.map(drop).map_err(|error| error.to_string()))
    }

    /// Annotates one of our own objects; `None`: it is none of ours.
    pub fn annotate(
        &self,
        namespace: &str,
        kind: &str,
        name: &str,
        key: &str,
        value: &str,
    ) -> Option<Result<(), String>> {
        let api = self.ours(namespace, kind)?;
        let how = PatchParams { field_manager: Some("kubectl-annotate".into()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({"metadata": {"annotations": {key: value}}}));
        Some(self.runtime.block_on(api.patch(name, &how, &patch)).map(drop).map_err(|error| error.to_string()))
    }

    pub fn create_namespace(&self, name: &str) -> Result<(), String> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Namespace"));
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
        let namespace = DynamicObject::new(name, &kind);
        let created = self.runtime.block_on(api.create(&PostParams::default(), &namespace));
        created.map(drop).map_err(|error| error.to_string())
    }

    /// The Events of a namespace.
    pub fn events(&self, namespace: &str) -> Result<Vec<Value>, String> {
        self.all(namespace, &GroupVersionKind::gvk("events.k8s.io", "v1", "Event"))
    }

    /// All objects of a kind that tests wait for; `None`: another kind, or the API server cannot be asked.
    pub fn list(&self, namespace: &str, kind: &str) -> Option<Vec<Value>> {
        let kind = match kind {
            "shares" => GroupVersionKind::gvk("cfshare.dev", "v1alpha1", "Share"),
            "pods" => GroupVersionKind::gvk("", "v1", "Pod"),
            "deployments" => GroupVersionKind::gvk("apps", "v1", "Deployment"),
            "leases" => GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease"),
            _ => return None,
        };
        self.all(namespace, &kind).ok()
    }

    fn all(&self, namespace: &str, kind: &GroupVersionKind) -> Result<Vec<Value>, String> {
        let kind = ApiResource::from_gvk(kind);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let list = self.runtime.block_on(api.list(&ListParams::default())).map_err(|error| error.to_string())?;
        let value = |object: DynamicObject| serde_json::to_value(object).expect("an object is JSON");
        Ok(list.items.into_iter().map(value).collect())
    }

    fn ours(&self, namespace: &str, kind: &str) -> Option<Api<DynamicObject>> {
        let kind = match kind {
            "share" => "Share",
            "sharerecipient" => "ShareRecipient",
            "shareresource" => "ShareResource",
            _ => return None,
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("cfshare.dev", "v1alpha1", kind));
        Some(Api::namespaced_with(self.client.clone(), namespace, &resource))
    }
}

fn documents(yaml: &str) -> Option<Vec<Value>> {
    let documents = serde_yaml::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).ok());
    documents.filter(|document| *document != Some(Value::Null)).collect()
}

//! How tests look at objects again and again: over one connection, since a kubectl process costs more than a test.

use std::path::Path;

use kube::api::{Api, DynamicObject};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;
use tokio::runtime::Runtime;

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
            let config = config.map_err(|error| error.to_string())?;
            kube::Client::try_from(config).map_err(|error| error.to_string())
        };
        let client = runtime.block_on(read)?;
        Ok(Reader { client, runtime })
    }

    /// Asks Cloudflare as somebody else would, with a token.
    pub fn call(&self, method: &str, url: &str, token: &str, body: &Value) -> Result<(), String> {
        let method = method.parse::<reqwest::Method>().map_err(|error| error.to_string())?;
        let request = reqwest::Client::new().request(method, url).bearer_auth(token).json(body);
        let answer = self.runtime.block_on(request.send()).map_err(|error| error.to_string())?;
        answer.error_for_status().map(drop).map_err(|error| error.to_string())
    }

    /// One of our own objects, if it is there; `Err`: not one of our kinds, or the API server cannot be asked.
    pub fn get(&self, namespace: &str, kind: &str, name: &str) -> Result<Option<Value>, String> {
        let kind = match kind {
            "share" => "Share",
            "sharerecipient" => "ShareRecipient",
            "shareresource" => "ShareResource",
            other => return Err(format!("{other} is read with kubectl")),
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("cfshare.dev", "v1alpha1", kind));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let object = self.runtime.block_on(api.get_opt(name)).map_err(|error| error.to_string())?;
        Ok(object.map(|object| serde_json::to_value(object).expect("an object is JSON")))
    }
}

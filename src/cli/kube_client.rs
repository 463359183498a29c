//! The connections to the API server.

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

/// So many connections are kept that nobody uses. Each has its buffers, and a burst of requests opens dozens.
const IDLE: usize = 8;

/// A client for this cluster that does not retry.
///
/// Kube's own client leaves Nagle's algorithm on, so that about one request in ten waits 40 ms until the server has
/// acknowledged the data before it. Behind a proxy, kube's client is used nevertheless.
pub fn client(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(
            legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE).build::<_, Body>(connector),
        );
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

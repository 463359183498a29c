//! How do connections become requests?

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::arrival::Arrival;
use crate::control;
use crate::core::Core;
use crate::exchange::{Delivery, exchange};
use crate::wire::{Fate, Link, Outgoing};

const MAX_BODY: usize = 64 << 20;
pub const API_ROOT: &str = "/client/v4";

#[derive(Clone, Copy)]
pub enum Port {
    Api,
    Control,
}

/// Serves connections until the runtime ends.
pub async fn serve(listener: TcpListener, core: Arc<Core>, port: Port) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: others will be given back.
            tokio::task::yield_now().await;
            continue;
        };
        // Small answers must not wait for more to come.
        let _ = stream.set_nodelay(true);
        let fate = Arc::new(Fate::default());
        let link = TokioIo::new(Link::new(stream, fate.clone()));
        let core = core.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, core.clone(), fate.clone(), port));
            // An error here is a connection that a fault or the client closed.
            let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(link, service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    core: Arc<Core>,
    fate: Arc<Fate>,
    port: Port,
) -> io::Result<Response<Outgoing>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes().to_vec();
    let query = head.uri.query().unwrap_or_default();
    let method = head.method.as_str();
    match port {
        Port::Control => {
            let (status, body) = control::answer(&core, method, head.uri.path(), query, &body).await;
            Response::builder()
                .status(status)
                .header("content-type", "application/json")
                .body(Outgoing::whole(body))
                .map_err(io::Error::other)
        }
        Port::Api => {
            let path = head.uri.path();
            let path = path.strip_prefix(API_ROOT).unwrap_or(path);
            let arrival = Arrival::new(method, path, query, &head.headers, body);
            // A task of its own: what is held goes on when the client dies.
            let delivery = tokio::spawn(exchange(core, arrival, fate)).await;
            match delivery.map_err(io::Error::other)? {
                Delivery::Answer(response) => Ok(*response),
                Delivery::Close => Err(io::ErrorKind::ConnectionAborted.into()),
                Delivery::Stall => std::future::pending().await,
            }
        }
    }
}

//! Whether the client speaks only to whom it can trust.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use cfshare::cloudflare::{Client, ErrorClass, Options, ShareQuery, WriteOutcome};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::peer::{account, block_on, response, token};

// Made for these tests, valid for a hundred years; the authority's own key was thrown away.
const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");
const SERVER: &[u8] = include_bytes!("tls/server.pem");
const KEY: &[u8] = include_bytes!("tls/server.key");

pub const TESTS: [(&str, fn()); 2] =
    [("an_extra_authority_is_trusted", trusted), ("an_unknown_authority_gets_nothing", unknown)];

/// Serves one TLS connection and tells what it could decrypt.
fn serve() -> (String, thread::JoinHandle<String>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_slice_iter(SERVER).map(Result::unwrap);
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.collect(), PrivateKeyDer::from_pem_slice(KEY).unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("https://{}/client/v4", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).unwrap_or(0);
        let answer = response("200 OK", "", r#"{"success":true,"result":[]}"#);
        if read > 0 {
            stream.write_all(answer.as_bytes()).unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    (base_url, server)
}

fn trusted() {
    let (base_url, server) = serve();
    let client = Client::new(Options { base_url, ca_bundle: Some(AUTHORITY.to_vec()), ..Options::default() }).unwrap();
    let (credential, account) = (token(), account());
    let list = client.api(&credential, &account).list_shares(ShareQuery::default());
    assert!(block_on(list).unwrap().body.rows.is_empty());
    assert!(server.join().unwrap().starts_with("GET /client/v4/accounts/"));
}

fn unknown() {
    let (base_url, server) = serve();
    let client = Client::new(Options { base_url, ..Options::default() }).unwrap();
    let (credential, account) = (token(), account());
    let error = block_on(client.api(&credential, &account).list_shares(ShareQuery::default())).unwrap_err();
    assert_eq!(error.write_outcome(), WriteOutcome::NotSent, "{error}");
    assert_eq!(error.class(), ErrorClass::Retry);
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(server.join().unwrap(), "");
}

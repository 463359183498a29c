//! What a test puts in Cloudflare's place to answer as no Cloudflare would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cfshare::cloudflare::{Client, Credential, Error, ErrorClass, Options, WriteOutcome};
use cfshare::core::id::{AccountId, ShareId};

pub const CANARY: &str = "canary-7f3a9c1e5b2d4f60";
pub const SHORT: Duration = Duration::from_millis(250);
pub const LONG: Duration = Duration::from_secs(20);

/// Takes one connection, reads one request, and lets `serve` do its worst.
pub struct Peer {
    address: SocketAddr,
    thread: JoinHandle<(TcpListener, String)>,
}

impl Peer {
    pub fn start(serve: impl FnOnce(&mut TcpStream) + Send + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&mut stream);
            serve(&mut stream);
            drop(stream);
            (listener, request)
        });
        Peer { address, thread }
    }

    pub fn answering(answer: impl Into<String>) -> Peer {
        let answer = answer.into();
        Peer::start(move |stream| stream.write_all(answer.as_bytes()).unwrap())
    }

    pub fn options(&self) -> Options {
        options(&format!("http://{}/client/v4", self.address))
    }

    /// The only request that came: nothing else may wait at the door.
    pub fn request(self) -> String {
        let (listener, request) = self.thread.join().unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "a second connection was made");
        request
    }
}

pub fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length =
        head.split("content-length: ").nth(1).map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    request.extend(body);
    String::from_utf8(request).unwrap()
}

/// Until the client gives up.
pub fn hold(stream: &mut TcpStream) {
    while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
}

pub fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

pub fn options(base_url: &str) -> Options {
    Options {
        base_url: base_url.into(),
        connect_timeout: LONG,
        answer_timeout: LONG,
        total_timeout: LONG,
        ..Options::default()
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub fn account() -> AccountId {
    AccountId::parse("023e105f4ecef8ad9ca31a8372d0c353").unwrap()
}

pub fn token() -> Credential {
    Credential::Token(CANARY.into())
}

/// A POST, since it is what must not be misjudged.
pub fn post(options: Options) -> Error {
    let client = Client::new(options).unwrap();
    let share = ShareId::parse("s1").unwrap();
    let recipient = AccountId::parse("a1").unwrap();
    let error = block_on(client.api(&token(), &account()).add_recipient(&share, &recipient)).unwrap_err();
    let shown = format!("{error} {error:?} {:?}", error.head());
    assert!(!shown.contains("canary"), "{shown}");
    assert!(!shown.contains("client/v4"), "{shown}");
    error
}

pub fn garbled(error: &Error) -> (u16, &str) {
    match error {
        Error::Garbled { status, what, .. } => (*status, what),
        other => panic!("not garbled: {other:?}"),
    }
}

pub fn judged(error: &Error) -> (WriteOutcome, ErrorClass) {
    (error.write_outcome(), error.class())
}

pub const AMBIGUOUS: (WriteOutcome, ErrorClass) = (WriteOutcome::Ambiguous, ErrorClass::Retry);

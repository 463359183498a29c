//! Whether the client stands what a network may do to a call.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Instant;

use cfshare::cloudflare::{Error, ErrorClass, Options, WriteOutcome};

use super::peer::{AMBIGUOUS, LONG, Peer, SHORT, garbled, hold, judged, options, post, response};

pub const TESTS: [(&str, fn()); 10] = [
    ("a_refused_connection_sent_nothing", refused),
    ("a_stalled_handshake_sent_nothing", stalled_handshake),
    ("a_server_without_tls_gets_nothing", no_tls),
    ("a_connection_closed_unanswered_is_a_lost_answer", closed),
    ("a_stalled_answer_is_a_lost_answer", stalled),
    ("noise_is_a_lost_answer", noise),
    ("a_body_that_stalls_ends_with_the_total_timeout", stalled_body),
    ("a_body_that_breaks_off_is_ambiguous", broken_body),
    ("an_endless_body_is_read_to_the_cap", endless_body),
    ("a_long_body_is_not_read", long_body),
];

fn refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = post(options(&format!("http://{address}")));
    assert_eq!(judged(&error), (WriteOutcome::NotSent, ErrorClass::Retry));
    assert!(error.to_string().to_lowercase().contains("connection refused"), "{error}");
}

fn stalled_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let error = post(Options { connect_timeout: SHORT, ..options(&format!("https://{address}")) });
    assert_eq!(judged(&error), (WriteOutcome::NotSent, ErrorClass::Retry));
    assert!(error.to_string().contains("timed out"), "{error}");
}

fn no_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(response("200 OK", "", "plain").as_bytes()).unwrap();
        let mut seen = Vec::new();
        let _ = stream.read_to_end(&mut seen);
        seen
    });
    let error = post(options(&format!("https://{address}")));
    assert_eq!(judged(&error), (WriteOutcome::NotSent, ErrorClass::Retry));
    let seen = peer.join().unwrap();
    assert!(!String::from_utf8_lossy(&seen).contains("canary"));
}

fn closed() {
    let peer = Peer::start(|_| {});
    let error = post(peer.options());
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    assert_eq!(judged(&error), AMBIGUOUS);
    peer.request();
}

fn stalled() {
    let peer = Peer::start(hold);
    let started = Instant::now();
    let error = post(Options { connect_timeout: SHORT, answer_timeout: SHORT, ..peer.options() });
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    assert_eq!(judged(&error), AMBIGUOUS);
    assert!(started.elapsed() < LONG / 2);
    peer.request();
}

fn noise() {
    for answer in ["\0\0\0\0", "SSH-2.0-OpenSSH_9.9\r\n\r\n", "HTTP/1.1 200\r\nbad header\r\n\r\n"] {
        let peer = Peer::answering(answer);
        let error = post(peer.options());
        assert!(matches!(error, Error::Lost { .. }), "{error:?}");
        assert_eq!(judged(&error), AMBIGUOUS);
        peer.request();
    }
}

fn stalled_body() {
    let peer = Peer::start(|stream| {
        let answer = "HTTP/1.1 201 Created\r\ncf-ray: 8f1b-FRA\r\ncontent-length: 100\r\n\r\n{\"succ";
        stream.write_all(answer.as_bytes()).unwrap();
        hold(stream);
    });
    let error = post(Options { total_timeout: SHORT, ..peer.options() });
    let (status, what) = garbled(&error);
    assert_eq!(status, 201);
    assert!(what.starts_with("it did not end within"), "{what}");
    assert_eq!(judged(&error), AMBIGUOUS);
    assert_eq!(error.head().unwrap().ray.as_deref(), Some("8f1b-FRA"));
    peer.request();
}

fn broken_body() {
    let peer = Peer::answering("HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\n{\"succ");
    let error = post(peer.options());
    assert!(garbled(&error).1.starts_with("it broke off"), "{error}");
    assert_eq!(judged(&error), AMBIGUOUS);
    peer.request();
    let peer = Peer::answering(response("201 Created", "", "{\"success\":true,\"result\":{\"id\":"));
    let error = post(peer.options());
    assert_eq!(garbled(&error), (201, "its JSON ends early"));
    assert_eq!(judged(&error), AMBIGUOUS);
    peer.request();
}

fn endless_body() {
    let peer = Peer::start(|stream| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
        while stream.write_all(chunk.as_bytes()).is_ok() {}
    });
    let error = post(Options { max_answer: 100_000, ..peer.options() });
    assert_eq!(garbled(&error), (200, "it is longer than 100000 bytes"));
    assert_eq!(judged(&error), AMBIGUOUS);
    peer.request();
}

fn long_body() {
    let peer = Peer::start(|stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        hold(stream);
    });
    let error = post(Options { max_answer: 100_000, ..peer.options() });
    assert_eq!(garbled(&error), (200, "it is longer than 100000 bytes"));
    peer.request();
}

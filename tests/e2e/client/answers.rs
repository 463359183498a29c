//! Whether the client sends what it should, and believes only what it may.

use std::net::TcpListener;
use std::time::Duration;

use cfshare::cloudflare::{Client, Credential, ErrorClass, ShareQuery, WriteOutcome};
use cfshare::core::id::{AccountId, ShareId};

use super::peer::{AMBIGUOUS, CANARY, Peer, account, block_on, garbled, judged, post, response, token};

pub const TESTS: [(&str, fn()); 6] = [
    ("a_redirect_is_not_followed", redirect),
    ("html_is_no_answer", html),
    ("a_limiter_refuses_in_any_format", limiter),
    ("success_by_status_alone_is_ambiguous", half_success),
    ("an_echoed_credential_is_hidden", echo),
    ("a_request_is_one_path_one_credential_one_target", request),
];

fn redirect() {
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let location = format!("location: http://{}/\r\n", elsewhere.local_addr().unwrap());
        let peer = Peer::answering(response(status, &location, ""));
        let error = post(peer.options());
        assert_eq!(garbled(&error).1, "it is a redirect");
        assert_eq!(judged(&error), AMBIGUOUS);
        peer.request();
        elsewhere.set_nonblocking(true).unwrap();
        assert!(elsewhere.accept().is_err(), "{status} was followed");
    }
}

fn html() {
    let page = "<!DOCTYPE html><html>\u{1b}[31mBad gateway</html>";
    for (status, class) in [
        ("200 OK", ErrorClass::Retry),
        ("403 Forbidden", ErrorClass::Denied),
        ("404 Not Found", ErrorClass::Retry),
        ("502 Bad Gateway", ErrorClass::Retry),
        ("522 Origin Timeout", ErrorClass::Retry),
    ] {
        let peer = Peer::answering(response(status, "content-type: text/html\r\n", page));
        let error = post(peer.options());
        assert_eq!(garbled(&error).1, "it is HTML");
        assert_eq!(judged(&error), (WriteOutcome::Ambiguous, class));
        peer.request();
    }
}

fn limiter() {
    let json = r#"{"success":false,"errors":[{"code":10100,"message":"slow down"}],"result":null}"#;
    for body in [json, "<html>slow down</html>", ""] {
        let headers = "retry-after: 7\r\nratelimit: \"default\";r=0;t=42\r\n";
        let peer = Peer::answering(response("429 Too Many Requests", headers, body));
        let error = post(peer.options());
        assert_eq!(judged(&error), (WriteOutcome::Rejected, ErrorClass::Throttled));
        let limits = error.head().unwrap().limits;
        assert_eq!(limits.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(limits.remaining, Some(0));
        assert_eq!(limits.reset, Some(Duration::from_secs(42)));
        peer.request();
    }
}

fn half_success() {
    for body in [
        r#"{"success":false,"errors":[{"code":1,"message":"no"}],"result":null}"#,
        r#"{"success":true,"errors":[],"result":{"id":"r","account_id":"somebody-else"}}"#,
        r#"{}"#,
    ] {
        let peer = Peer::answering(response("201 Created", "", body));
        let error = post(peer.options());
        assert_eq!(garbled(&error).0, 201);
        assert_eq!(judged(&error), AMBIGUOUS);
        peer.request();
    }
    // An added row that the answer does not show is taken on, and in place once it is read.
    let peer = Peer::answering(response("201 Created", "", r#"{"success":true,"errors":[],"result":null}"#));
    let client = Client::new(peer.options()).unwrap();
    let (share, recipient) = (ShareId::parse("s1").unwrap(), AccountId::parse("a1").unwrap());
    let done = block_on(client.api(&token(), &account()).add_recipient(&share, &recipient)).unwrap();
    assert!(done.body.is_none());
    peer.request();
}

fn echo() {
    let body = format!(
        r#"{{"success":false,"errors":[{{"code":10000,"message":"bad token {CANARY}{}"}}],"result":null}}"#,
        "x".repeat(1000)
    );
    for status in ["403 Forbidden", "200 OK"] {
        let peer = Peer::answering(response(status, "", &body));
        let error = post(peer.options());
        assert!(error.to_string().contains("bad token [credential]"), "{error}");
        peer.request();
    }
}

fn request() {
    let peer = Peer::answering(response("204 No Content", "", ""));
    let client = Client::new(peer.options()).unwrap();
    let share = ShareId::parse("s:1@x").unwrap();
    let accounts = [AccountId::parse("a1").unwrap()];
    let done = block_on(client.api(&token(), &account()).replace_recipients(&share, &accounts));
    assert_eq!(done.unwrap().head.status, 204);
    let request = peer.request();
    let first = "PUT /client/v4/accounts/023e105f4ecef8ad9ca31a8372d0c353/shares/s:1@x/recipients HTTP/1.1\r\n";
    assert!(request.starts_with(first), "{request}");
    assert!(request.contains(&format!("authorization: Bearer {CANARY}\r\n")));
    assert!(request.ends_with("\r\n\r\n[{\"recipient_account_id\":\"a1\"}]"), "{request}");

    let peer = Peer::answering(response("200 OK", "", r#"{"success":true,"result":[]}"#));
    let client = Client::new(peer.options()).unwrap();
    let query = ShareQuery { include: true, ..ShareQuery::default() };
    let pair = Credential::Key { email: "me@example.com".into(), key: CANARY.into() };
    block_on(client.api(&pair, &account()).list_shares(query)).unwrap();
    let request = peer.request();
    let first = "GET /client/v4/accounts/023e105f4ecef8ad9ca31a8372d0c353/shares?page=1&per_page=100&include_resources=true&include_recipient_counts=true HTTP/1.1\r\n";
    assert!(request.starts_with(first), "{request}");
    assert!(request.contains("x-auth-email: me@example.com\r\n"));
    assert!(request.contains(&format!("x-auth-key: {CANARY}\r\n")));
    assert!(!request.contains("authorization:"));
}

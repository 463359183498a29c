//! What a fuzzer feeds: answers of any kind, and anything as an id. See tests/fuzz.

use http::HeaderMap;
use reqwest::Url;

use super::{Recipient, ResponseHead, Share, ShareResource, clean, client, envelope};
use crate::core::id::ShareId;

/// Headers and body of an answer. Nothing panics, and what is shown of it is short and printable.
pub fn answer(status: u16, header: &[u8], body: &[u8]) {
    let mut headers = HeaderMap::new();
    for name in ["ratelimit", "retry-after", "date", "cf-ray"] {
        if let Ok(value) = header.try_into() {
            headers.insert(name, value);
        }
    }
    let head = ResponseHead::read(status, &headers);
    show(envelope::one::<Share>(&head, body, |share| share.id.as_str() == "s1").map(drop));
    show(envelope::maybe::<ShareResource>(&head, body, |_| true).map(drop));
    show(envelope::page::<Recipient>(&head, body, 1).map(drop));
    show(envelope::nothing(&head, body));
}

fn show(outcome: Result<(), super::Error>) {
    let Err(error) = outcome else { return };
    let (_, _) = (error.class(), error.write_outcome());
    let text = error.to_string();
    assert!(text.len() < 10_000 && !text.chars().any(char::is_control), "{text:?}");
    let cut = clean(&text, 100);
    assert!(cut.chars().count() <= 101, "{cut:?}");
}

/// Anything as an id, in a manifest or from Cloudflare: refused, or exactly one segment of the path.
pub fn id(text: &str) {
    let base = Url::parse("https://api.cloudflare.com/client/v4").expect("a URL");
    let Some(id) = ShareId::read(text).ok().filter(|id| client::is_segment(id.as_str())) else { return };
    let url = client::locate(&base, &["accounts", "a", "shares", id.as_str(), "recipients"]);
    let segments: Vec<&str> = url.path_segments().expect("a path").collect();
    assert_eq!(segments.len(), 7, "{url}");
    assert_eq!((segments[4], segments[6]), ("shares", "recipients"), "{url}");
    assert!(url.query().is_none() && url.fragment().is_none() && url.host_str() == base.host_str(), "{url}");
}

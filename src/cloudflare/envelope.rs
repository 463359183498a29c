//! How the body of an answer becomes values, or an error that says what is wrong with it.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_json::error::Category;

use super::error::MAX_TEXT;
use super::request::FULL_PAGE;
use super::wire::number;
use super::{ApiError, Error, ResponseHead, clean};
use crate::core::json;

const NO_CONTENT: u16 = 204;
const MAX_ERRORS: usize = 100;
const MAX_CHAIN: usize = 10;

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// In place of the rows came null, and nothing says that there are none: they may not have been read.
    pub null: bool,
    /// The page that Cloudflare says this is, or the one that was asked for.
    pub page: u32,
    /// How many rows a page has, if Cloudflare says so.
    pub per_page: Option<u32>,
    pub total_pages: Option<u32>,
    pub total_count: Option<u64>,
}

impl<T> Page<T> {
    /// The same page of other rows.
    pub fn map<R>(self, row: impl FnMut(T) -> R) -> Page<R> {
        let Page { rows, null, page, per_page, total_pages, total_count } = self;
        Page { rows: rows.into_iter().map(row).collect(), null, page, per_page, total_pages, total_count }
    }
}

/// The object that an answer carries. `fits` tells whether it is the one that was asked for.
pub(super) fn one<T: DeserializeOwned>(
    head: &ResponseHead,
    body: &[u8],
    fits: impl Fn(&T) -> bool,
) -> Result<T, Error> {
    let missing = if is_empty(head, body) { "it is empty" } else { "the result is null" };
    maybe(head, body, fits)?.ok_or_else(|| Error::garbled(head, missing))
}

/// An answer that should say something and does not.
fn is_empty(head: &ResponseHead, body: &[u8]) -> bool {
    head.status != NO_CONTENT && body.trim_ascii().is_empty()
}

/// The object, where an answer may do without.
pub(super) fn maybe<T: DeserializeOwned>(
    head: &ResponseHead,
    body: &[u8],
    fits: impl Fn(&T) -> bool,
) -> Result<Option<T>, Error> {
    if head.status == NO_CONTENT || head.succeeded() && is_empty(head, body) {
        return Ok(None);
    }
    match open(head, body)?.result {
        Some(object) if !fits(&object) => Err(Error::garbled(head, "it is about another object")),
        object => Ok(object),
    }
}

/// Nothing but the success.
pub(super) fn nothing(head: &ResponseHead, body: &[u8]) -> Result<(), Error> {
    maybe::<IgnoredAny>(head, body, |_| true).map(drop)
}

/// A list's rows. A page without rows may come as null: it is empty if its count or the total says so, in doubt if they leave
/// that open, and an error if its count says that it has rows. The total is of the whole list, and the pages before may have it all.
pub(super) fn page<T: DeserializeOwned>(head: &ResponseHead, body: &[u8], asked: u32) -> Result<Page<T>, Error> {
    let envelope = open::<Vec<T>>(head, body)?;
    let info = |key| envelope.result_info.get(key).and_then(number::<u64>);
    let small = |key| info(key).and_then(|number| u32::try_from(number).ok());
    let total_count = info("total_count");
    let (page, per_page) = (small("page").unwrap_or(asked), small("per_page").filter(|rows| *rows > 0));
    let total_pages = small("total_pages");
    let before = u64::from(page.saturating_sub(1)) * u64::from(per_page.unwrap_or(FULL_PAGE));
    let (rows, null) = match (envelope.result, info("count"), total_count) {
        (Some(rows), _, _) => (rows, false),
        (None, Some(1..), _) => return Err(Error::garbled(head, "the result is null")),
        (None, _, Some(total)) => (Vec::new(), total > before),
        (None, count, None) => (Vec::new(), count.is_none()),
    };
    Ok(Page { rows, null, page, per_page, total_pages, total_count })
}

#[derive(Deserialize)]
struct Envelope<T> {
    success: bool,
    #[serde(default, deserialize_with = "json::shallow")]
    errors: Value,
    // Without the path serde would ask `T` to have a default.
    #[serde(default = "Option::default")]
    result: Option<T>,
    #[serde(default, deserialize_with = "json::shallow")]
    result_info: Value,
}

fn open<T: DeserializeOwned>(head: &ResponseHead, body: &[u8]) -> Result<Envelope<T>, Error> {
    if head.succeeded() {
        let envelope: Envelope<T> = match serde_json::from_slice(body) {
            Ok(envelope) => envelope,
            // A refusal may have a result of another shape; what it says is worth more than that.
            Err(unfit) => match serde_json::from_slice::<Envelope<IgnoredAny>>(body) {
                Ok(refusal) if !refusal.success => return Err(unsuccessful(head, &refusal.errors)),
                Ok(_) | Err(_) => return Err(Error::garbled(head, unreadable(body, &unfit))),
            },
        };
        return match envelope.success {
            true => Ok(envelope),
            false => Err(unsuccessful(head, &envelope.errors)),
        };
    }
    if (300..400).contains(&head.status) {
        return Err(Error::garbled(head, "it is a redirect"));
    }
    Err(match serde_json::from_slice::<Envelope<IgnoredAny>>(body) {
        Ok(envelope) if envelope.success => Error::garbled(head, "it claims success"),
        Ok(envelope) => {
            Error::Answered { status: head.status, errors: errors(&envelope.errors), head: Box::new(head.clone()) }
        }
        Err(error) => Error::garbled(head, unreadable(body, &error)),
    })
}

/// Success by status, none by content: nobody knows what happened.
fn unsuccessful(head: &ResponseHead, said: &Value) -> Error {
    let said: Vec<String> = errors(said).iter().map(ApiError::to_string).collect();
    Error::garbled(head, format!("it is no success by its content: {}", said.join("; ")))
}

fn unreadable(body: &[u8], error: &serde_json::Error) -> String {
    let start = body.trim_ascii_start();
    if start.is_empty() {
        return "it is empty".into();
    }
    if start.starts_with(b"<") {
        return "it is HTML".into();
    }
    match error.classify() {
        Category::Eof => "its JSON ends early".into(),
        Category::Syntax | Category::Io => "it is no JSON".into(),
        Category::Data => clean(&format!("its JSON is unfit: {error}"), MAX_TEXT),
    }
}

fn errors(said: &Value) -> Vec<ApiError> {
    let entries = said.as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().take(MAX_ERRORS).map(api_error).collect()
}

fn api_error(entry: &Value) -> ApiError {
    let text = |value: &Value| value.as_str().map(|text| clean(text, MAX_TEXT));
    let links = entry["error_chain"].as_array().map(Vec::as_slice).unwrap_or_default();
    let link = |link: &Value| (code(link), text(&link["message"]).or_else(|| text(link)).unwrap_or_default());
    ApiError {
        code: code(entry),
        message: text(&entry["message"]).or_else(|| text(entry)).unwrap_or_default(),
        pointer: text(&entry["source"]["pointer"]),
        chain: links.iter().take(MAX_CHAIN).map(link).collect(),
    }
}

fn code(entry: &Value) -> i64 {
    let code = &entry["code"];
    number(code).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudflare::{Share, WriteOutcome};
    use proptest::prelude::*;

    fn head(status: u16) -> ResponseHead {
        ResponseHead { status, date: None, ray: None, limits: Default::default() }
    }

    fn share(status: u16, body: &str) -> Result<Share, Error> {
        one(&head(status), body.as_bytes(), |share: &Share| share.id.as_str() == "s1")
    }

    fn shares(body: &str) -> Result<Page<Share>, Error> {
        page(&head(200), body.as_bytes(), 3)
    }

    const FINE: &str =
        r#"{"success":true,"errors":[],"messages":[],"result":{"id":"s1","account_id":"a","name":"waf"}}"#;

    #[test]
    fn any_success_status_with_a_fitting_result_is_success() {
        for status in [200, 201, 202] {
            assert!(share(status, FINE).is_ok());
        }
        assert!(share(200, &FINE.replace("\"errors\":[],\"messages\":[],", "")).is_ok());
    }

    #[test]
    fn an_unusable_answer_says_why() {
        let null = r#"{"success":true,"result":null}"#;
        let cases = [
            (200, "", "it is empty"),
            (200, " <!doctype html><p>hi", "it is HTML"),
            (522, "<html>", "it is HTML"),
            (403, "Access denied", "it is no JSON"),
            (200, &FINE[..40], "its JSON ends early"),
            (201, null, "the result is null"),
            (200, r#"{"success":true}"#, "the result is null"),
            (204, "", "the result is null"),
            (302, FINE, "it is a redirect"),
            (304, "", "it is a redirect"),
            (404, FINE, "it claims success"),
            (200, &FINE.replace("s1", "s2"), "it is about another object"),
            (
                200,
                r#"{"success":false,"errors":[{"code":9,"message":"no"}],"result":[]}"#,
                "it is no success by its content: code 9 no",
            ),
            (
                200,
                r#"{"success":false,"errors":[{"code":9,"message":"no"}],"result":null}"#,
                "it is no success by its content: code 9 no",
            ),
        ];
        for (status, body, expected) in cases {
            let error = share(status, body).unwrap_err();
            assert!(matches!(&error, Error::Garbled { what, .. } if what == expected), "{body}: {error:?}");
            assert_eq!(error.write_outcome(), WriteOutcome::Ambiguous);
        }
        for unfit in [
            "{}",
            "[]",
            "null",
            "\"x\"",
            r#"{"success":"yes"}"#,
            r#"{"success":true,"result":{"id":"a/b","account_id":"a"}}"#,
            r#"{"error":"not an envelope"}"#,
        ] {
            let error = share(200, unfit).unwrap_err().to_string();
            assert!(error.contains("its JSON is unfit"), "{unfit}: {error}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_codes_and_pointers() {
        let body = r#"{"success":false,"result":null,"errors":[
            {"code":"1001","message":"bad \u001b[31maccount","source":{"pointer":"/recipients/3"},"documentation_url":"https://x"},
            "plain text", {"code":9223372036854775807}, null, {"code":1.5,"message":["x"]}]}"#;
        let error = share(400, body).unwrap_err();
        let found = error.errors();
        assert_eq!((found.len(), found[0].code), (5, 1001));
        assert_eq!(found[0].message, "bad account");
        assert_eq!(found[0].pointer.as_deref(), Some("/recipients/3"));
        assert_eq!(found[1].message, "plain text");
        assert_eq!(found[2].code, i64::MAX);
        assert_eq!((found[3].code, found[4].code), (0, 0));
        for odd in ["null", "{}", "7", "\"x\""] {
            let body = format!(r#"{{"success":false,"errors":{odd}}}"#);
            assert!(share(400, &body).unwrap_err().errors().is_empty());
        }
    }

    #[test]
    fn what_lies_behind_a_refusal_is_kept_in_whatever_form_it_comes() {
        let refusal = |chain: &str| {
            let body = format!(
                r#"{{"success":false,"errors":[{{"code":6003,"message":"Invalid request headers","error_chain":{chain}}}]}}"#
            );
            share(400, &body).unwrap_err()
        };
        let error = refusal(r#"[{"code":"6111","message":"Invalid format\u001b[1m for Authorization header"}]"#);
        assert_eq!(error.errors()[0].chain, [(6111, "Invalid format for Authorization header".to_owned())]);
        for odd in ["null", "{}", "7", "\"x\"", "[]"] {
            assert!(refusal(odd).errors()[0].chain.is_empty(), "{odd}");
        }
        let odd = refusal(r#"["text", null, {"message":7}, {"code":1e99}]"#);
        assert_eq!(odd.errors()[0].chain[0], (0, "text".to_owned()));
        assert_eq!(odd.errors()[0].chain[1..], vec![(0, String::new()); 3]);
        let long = refusal(&format!("[{}]", vec![format!("{{\"message\":\"{}\"}}", "x".repeat(5000)); 500].join(",")));
        assert!(long.to_string().chars().count() < 1500, "{long}");
    }

    #[test]
    fn a_page_tells_its_place() {
        let row = r#"{"id":"s1","account_id":"a","name":"waf"}"#;
        let page = shares(&format!(
            r#"{{"success":true,"result":[{row}],"result_info":{{"page":2,"per_page":100,"total_pages":9,"total_count":812}}}}"#
        ))
        .unwrap();
        assert_eq!((page.rows.len(), page.page), (1, 2));
        assert_eq!((page.total_pages, page.total_count), (Some(9), Some(812)));
        let bare = shares(r#"{"success":true,"result":[],"result_info":null}"#).unwrap();
        assert_eq!((bare.page, bare.total_pages, bare.total_count), (3, None, None));
        let odd =
            shares(r#"{"success":true,"result":[],"result_info":{"page":-1,"total_pages":1e99,"total_count":"x"}}"#)
                .unwrap();
        assert_eq!(odd, bare);
        let strings = r#"{"page":"2","per_page":"100","total_pages":"9","total_count":"812"}"#;
        let text = shares(&format!(r#"{{"success":true,"result":[{row}],"result_info":{strings}}}"#)).unwrap();
        assert_eq!((text.page, text.per_page), (2, Some(100)));
        assert_eq!((text.total_pages, text.total_count), (Some(9), Some(812)));
    }

    #[test]
    fn a_page_that_is_null_is_empty_if_its_count_or_the_total_says_so_and_in_doubt_if_they_leave_it_open() {
        let null = |info: &str, asked: u32| {
            let parsed = [
                format!(r#"{{"success":true,"result":null,"result_info":{info}}}"#),
                format!(r#"{{"success":true,"result_info":{info}}}"#),
            ]
            .map(|body| page::<Share>(&head(200), body.as_bytes(), asked));
            assert_eq!(parsed[0], parsed[1], "null or absent: {info}");
            parsed[0].clone()
        };
        let (empty, in_doubt) = (false, true);
        for (info, asked, expected) in [
            (r#"{"total_count":0}"#, 1, empty),
            (r#"{"count":0}"#, 1, empty),
            (r#"{"count":0}"#, 3, empty),
            ("null", 1, in_doubt),
            ("null", 3, in_doubt),
            ("{}", 3, in_doubt),
            // The total is of the whole list.
            (r#"{"total_count":5}"#, 1, in_doubt),
            (r#"{"count":0,"total_count":5}"#, 1, in_doubt),
            (r#"{"count":0,"page":1,"total_count":5}"#, 3, in_doubt),
            (r#"{"count":0,"page":2,"per_page":100,"total_count":100}"#, 2, empty),
            (r#"{"total_count":100}"#, 2, empty),
            (r#"{"total_count":101}"#, 2, in_doubt),
            (r#"{"count":0,"total_count":101}"#, 2, in_doubt),
            (r#"{"per_page":50,"total_count":100}"#, 3, empty),
            (r#"{"per_page":50,"total_count":100}"#, 2, in_doubt),
            (r#"{"total_count":5}"#, 0, in_doubt),
        ] {
            let page = null(info, asked).unwrap_or_else(|error| panic!("{info}: {error}"));
            assert!(page.rows.is_empty() && page.null == expected, "page {asked}: {info}");
        }
        for (info, asked) in [(r#"{"count":5}"#, 1), (r#"{"count":5}"#, 3), (r#"{"count":5,"total_count":5}"#, 2)] {
            assert!(null(info, asked).is_err(), "page {asked}: {info}");
        }
        assert!(!shares(r#"{"success":true,"result":[]}"#).unwrap().null);
    }

    #[test]
    fn where_no_result_is_needed_none_is_missed() {
        assert_eq!(nothing(&head(204), b""), Ok(()));
        assert_eq!(nothing(&head(200), FINE.as_bytes()), Ok(()));
        assert!(nothing(&head(200), b"<html>").is_err());
        for status in [200, 204] {
            assert_eq!(nothing(&head(status), b" "), Ok(()));
        }
        assert!(nothing(&head(502), b"").is_err());
        let null = br#"{"success":true,"result":null}"#;
        assert_eq!(maybe::<Share>(&head(200), null, |_| false), Ok(None));
        assert_eq!(maybe::<Share>(&head(204), b"", |_| false), Ok(None));
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        assert!(share(200, &"[".repeat(1_000_000)).is_err());
        assert!(share(200, &format!(r#"{{"success":{}"#, "{\"a\":".repeat(100_000))).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_panics(status in 0u16..1000, body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = one::<Share>(&head(status), &body, |_| true).map_err(|error| (error.class(), error.to_string()));
        }

        #[test]
        fn no_cut_or_spoilt_answer_panics_or_passes_for_another(cut in 0usize..82, at in 0usize..82, byte in proptest::num::u8::ANY) {
            let mut body = FINE.as_bytes().to_vec();
            let last = body.len() - 1;
            prop_assert!(share(200, &FINE[..cut.min(last)]).is_err());
            body[at.min(last)] = byte;
            let read = one(&head(200), &body, |share: &Share| share.id.as_str() == "s1");
            prop_assert!(read.is_err() || read.is_ok_and(|share| share.id.as_str() == "s1"));
        }
    }
}

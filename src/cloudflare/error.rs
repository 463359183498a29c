//! What it means that a call failed.

use std::fmt;

use super::{ResponseHead, clean};
use crate::core::failure::ErrorClass;

/// Longest text of Cloudflare's that is shown or kept.
pub(super) const MAX_TEXT: usize = 300;
const MAX_SHOWN: usize = 3;

/// Why there is no usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No connection was made, so no byte left.
    NotSent { cause: String },
    /// The limit leaves no call for it, so it was not even tried.
    Withheld,
    /// Cloudflare's own refusal: its envelope says why.
    Answered { status: u16, errors: Vec<ApiError>, head: Box<ResponseHead> },
    /// Something answered, and `what` says why it cannot be used.
    Garbled { status: u16, what: String, head: Box<ResponseHead> },
    /// The call may have arrived, and no answer came back.
    Lost { cause: String },
}

/// One entry of an envelope's `errors`, its texts cleaned and capped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub code: i64,
    pub message: String,
    /// Which part of the request is meant, as a JSON pointer.
    pub pointer: Option<String>,
    /// What lies behind it, by code and text.
    pub chain: Vec<(i64, String)>,
}

/// Whether a changing call that failed may have changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteOutcome {
    /// It never left.
    NotSent,
    /// It was refused, so nothing changed.
    Rejected,
    /// Nobody knows: look before trying again.
    Ambiguous,
}

const NOT_FOUND: i64 = 1004;
const NO_ROUTE: [i64; 2] = [7000, 7003];
/// With status 400: no credential, one of a form that cannot be one, or one that nobody knows. Of all headers that we
/// send only the credential's come from elsewhere, so "invalid request headers" (6003) is about it.
const BAD_CREDENTIAL: [i64; 5] = [9106, 9109, 10000, 6003, 6111];
const LIMITERS: [i64; 2] = [10100, 971];

impl Error {
    pub(super) fn garbled(head: &ResponseHead, what: impl Into<String>) -> Error {
        Error::Garbled { status: head.status, what: what.into(), head: Box::new(head.clone()) }
    }

    pub fn head(&self) -> Option<&ResponseHead> {
        match self {
            Error::Answered { head, .. } | Error::Garbled { head, .. } => Some(head),
            Error::NotSent { .. } | Error::Withheld | Error::Lost { .. } => None,
        }
    }

    /// What Cloudflare's envelope said; empty if there was none.
    pub fn errors(&self) -> &[ApiError] {
        match self {
            Error::Answered { errors, .. } => errors,
            Error::NotSent { .. } | Error::Withheld | Error::Garbled { .. } | Error::Lost { .. } => &[],
        }
    }

    fn says(&self, codes: &[i64]) -> bool {
        let chained = |error: &ApiError| error.chain.iter().any(|(code, _)| codes.contains(code));
        self.errors().iter().any(|error| codes.contains(&error.code) || chained(error))
    }

    pub fn write_outcome(&self) -> WriteOutcome {
        match self {
            Error::NotSent { .. } | Error::Withheld => WriteOutcome::NotSent,
            // A limiter refuses before anything else looks at the call, whatever page it shows.
            Error::Answered { status: 429, .. } | Error::Garbled { status: 429, .. } => WriteOutcome::Rejected,
            Error::Answered { status: 408, .. } => WriteOutcome::Ambiguous,
            Error::Answered { status: 400..=499, errors, .. } if !errors.is_empty() => WriteOutcome::Rejected,
            Error::Answered { .. } | Error::Garbled { .. } | Error::Lost { .. } => WriteOutcome::Ambiguous,
        }
    }

    /// The same of a call that may be made twice: its refusal is believed also if it gives no reason.
    pub(super) fn of_repeatable(mut self) -> Error {
        if let Error::Answered { status, errors, .. } = &mut self
            && errors.is_empty()
            && (400..500).contains(status)
            && ![408, 409, 425, 429].contains(status)
        {
            errors.push(ApiError { code: 0, message: "(no reason given)".into(), pointer: None, chain: Vec::new() });
        }
        self
    }

    /// What a message on refused credentials adds where it was not Cloudflare's API that refused them.
    pub fn blocked(&self) -> &'static str {
        match self {
            Error::Garbled { .. } => {
                ". Cloudflare's API does not respond like this: first check whether a proxy, a firewall, or Cloudflare's \
                 protection blocks the address that the requests come from"
            }
            Error::NotSent { .. } | Error::Withheld | Error::Answered { .. } | Error::Lost { .. } => "",
        }
    }

    /// Whether anything answered: what failed may be a matter of this one request.
    pub fn is_response(&self) -> bool {
        matches!(self, Error::Garbled { .. } | Error::Answered { .. })
    }

    /// The status decides first, the code second.
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::NotSent { .. } | Error::Lost { .. } => ErrorClass::Retry,
            Error::Withheld | Error::Garbled { status: 429, .. } => ErrorClass::Throttled,
            Error::Garbled { status: 401 | 403, .. } => ErrorClass::Denied,
            // Not Cloudflare's word on the request: a proxy's page, a cut answer, an outage.
            Error::Garbled { .. } => ErrorClass::Retry,
            Error::Answered { status, .. } => match status {
                429 => ErrorClass::Throttled,
                _ if self.says(&LIMITERS) => ErrorClass::Throttled,
                401 | 403 => ErrorClass::Denied,
                400 if self.says(&BAD_CREDENTIAL) => ErrorClass::Denied,
                404 | 410 if self.says(&[NOT_FOUND]) => ErrorClass::Gone,
                404 | 410 if self.says(&NO_ROUTE) => ErrorClass::Rejected,
                404 | 410 if self.says(&BAD_CREDENTIAL) => ErrorClass::Retry,
                // Another code, or none, means the same: a list confirms it before anything is believed to be gone.
                404 | 410 => ErrorClass::Gone,
                408 => ErrorClass::Retry,
                409 => ErrorClass::Conflict,
                400..=499 => ErrorClass::Rejected,
                _ => ErrorClass::Retry,
            },
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotSent { cause } => {
                write!(f, "could not reach Cloudflare: {}", clean(cause, MAX_TEXT))
            }
            Error::Withheld => write!(f, "Cloudflare's rate limit leaves no call for this"),
            Error::Lost { cause } => write!(f, "no usable response from Cloudflare: {}", clean(cause, MAX_TEXT)),
            Error::Garbled { status, what, .. } => {
                write!(f, "unusable response from Cloudflare with status {status}: {}", clean(what, MAX_TEXT))
            }
            Error::Answered { status, errors, .. } => {
                write!(f, "Cloudflare responded with {status}")?;
                for (at, error) in errors.iter().take(MAX_SHOWN).enumerate() {
                    write!(f, "{} {error}", if at == 0 { ":" } else { ";" })?;
                }
                match errors.len().saturating_sub(MAX_SHOWN) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
        }?;
        match self.head().and_then(|head| head.ray.as_ref()) {
            Some(ray) => write!(f, " (ray {ray})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {} {}", self.code, clean(&self.message, MAX_TEXT))?;
        for (code, message) in self.chain.iter().take(MAX_SHOWN) {
            write!(f, ", because of code {code} {}", clean(message, MAX_TEXT))?;
        }
        match &self.pointer {
            Some(pointer) => write!(f, " at {}", clean(pointer, MAX_TEXT)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorClass::*;
    use WriteOutcome::{Ambiguous, NotSent, Rejected as Refused};

    fn head(status: u16) -> Box<ResponseHead> {
        Box::new(ResponseHead { status, date: None, ray: Some("8f1b-FRA".into()), limits: Default::default() })
    }

    fn answered(status: u16, codes: &[i64]) -> Error {
        let errors =
            codes.iter().map(|code| ApiError { code: *code, message: "no".into(), pointer: None, chain: Vec::new() });
        Error::Answered { status, errors: errors.collect(), head: head(status) }
    }

    fn chained(status: u16, code: i64, behind: i64) -> Error {
        let error = ApiError {
            code,
            message: "no".into(),
            pointer: None,
            chain: vec![(behind, "bad\u{1b}[31m header\n".into())],
        };
        Error::Answered { status, errors: vec![error], head: head(status) }
    }

    fn garbled(status: u16) -> Error {
        Error::garbled(&head(status), "html")
    }

    #[test]
    fn every_failure_has_an_outcome_and_a_class() {
        let cause = || "connection refused".to_owned();
        let cases = [
            (Error::NotSent { cause: cause() }, NotSent, Retry),
            (Error::Withheld, NotSent, Throttled),
            (Error::Lost { cause: cause() }, Ambiguous, Retry),
            (answered(400, &[1001]), Refused, Rejected),
            (answered(400, &[]), Ambiguous, Rejected),
            (answered(400, &[7003]), Refused, Rejected),
            (answered(400, &[7000]), Refused, Rejected),
            (answered(400, &[9106]), Refused, Denied),
            (answered(400, &[6003]), Refused, Denied),
            (answered(400, &[6111]), Refused, Denied),
            (answered(400, &[10000]), Refused, Denied),
            (answered(400, &[9109]), Refused, Denied),
            (chained(400, 1, 6111), Refused, Denied),
            (chained(422, 1, 6111), Refused, Rejected),
            (answered(401, &[]), Ambiguous, Denied),
            (answered(401, &[10000]), Refused, Denied),
            (answered(403, &[10000]), Refused, Denied),
            (answered(403, &[9109]), Refused, Denied),
            (answered(403, &[971]), Refused, Throttled),
            (answered(404, &[1004]), Refused, Gone),
            (answered(404, &[1000, 1004]), Refused, Gone),
            (answered(404, &[10013]), Refused, Gone),
            (answered(404, &[0]), Refused, Gone),
            (answered(404, &[10000]), Refused, Retry),
            (answered(404, &[7003]), Refused, Rejected),
            (answered(404, &[]), Ambiguous, Gone),
            (answered(408, &[1]), Ambiguous, Retry),
            (answered(409, &[1]), Refused, Conflict),
            (answered(410, &[1004]), Refused, Gone),
            (answered(410, &[1]), Refused, Gone),
            (answered(410, &[7003]), Refused, Rejected),
            (answered(410, &[]), Ambiguous, Gone),
            (answered(422, &[1]), Refused, Rejected),
            (answered(429, &[10100]), Refused, Throttled),
            (answered(429, &[]), Refused, Throttled),
            (answered(500, &[10013]), Ambiguous, Retry),
            (answered(503, &[971]), Ambiguous, Throttled),
            (answered(530, &[1]), Ambiguous, Retry),
            (answered(304, &[1]), Ambiguous, Retry),
            (garbled(200), Ambiguous, Retry),
            (garbled(302), Ambiguous, Retry),
            (garbled(400), Ambiguous, Retry),
            (garbled(401), Ambiguous, Denied),
            (garbled(403), Ambiguous, Denied),
            (garbled(404), Ambiguous, Retry),
            (garbled(409), Ambiguous, Retry),
            (garbled(429), Refused, Throttled),
            (garbled(521), Ambiguous, Retry),
        ];
        for (error, outcome, class) in cases {
            assert_eq!((error.write_outcome(), error.class()), (outcome, class), "{error}");
        }
    }

    #[test]
    fn a_refusal_without_a_reason_is_believed_of_a_call_that_may_be_made_twice() {
        for status in 0..=999 {
            for codes in [&[][..], &[1]] {
                let error = answered(status, codes);
                let (outcome, class) = (error.write_outcome(), error.class());
                let is_refusal = (400..500).contains(&status) && ![408, 409, 425, 429].contains(&status);
                let expected = if is_refusal { Refused } else { outcome };
                let repeatable = error.of_repeatable();
                assert_eq!((repeatable.write_outcome(), repeatable.class()), (expected, class), "{status} {codes:?}");
            }
        }
        assert_eq!(garbled(400).of_repeatable().write_outcome(), Ambiguous);
    }

    #[test]
    fn only_an_envelope_with_404_or_410_is_gone() {
        for status in 0..=999 {
            for codes in [&[][..], &[1004], &[10000], &[7003], &[1], &[i64::MAX, i64::MIN]] {
                let gone = answered(status, codes).class() == Gone;
                assert_eq!(
                    gone,
                    matches!(status, 404 | 410) && ![&[10000][..], &[7003]].contains(&codes),
                    "{status} {codes:?}"
                );
            }
            assert_ne!(garbled(status).class(), Gone);
        }
    }

    #[test]
    fn an_error_reads_as_one_sentence() {
        assert_eq!(answered(403, &[10000]).to_string(), "Cloudflare responded with 403: code 10000 no (ray 8f1b-FRA)");
        assert_eq!(
            answered(400, &[1, 2, 3, 4, 5]).to_string(),
            "Cloudflare responded with 400: code 1 no; code 2 no; code 3 no; and 2 more (ray 8f1b-FRA)"
        );
        assert_eq!(
            chained(400, 6003, 6111).to_string(),
            "Cloudflare responded with 400: code 6003 no, because of code 6111 bad header  (ray 8f1b-FRA)"
        );
        assert_eq!(garbled(502).to_string(), "unusable response from Cloudflare with status 502: html (ray 8f1b-FRA)");
        let error = Error::NotSent { cause: "dns\n\u{202e}error".into() };
        assert_eq!(error.to_string(), "could not reach Cloudflare: dns error");
    }
}

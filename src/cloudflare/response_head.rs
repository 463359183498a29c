//! What the headers of an answer say.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use k8s_openapi::jiff::fmt::rfc2822::DateTimeParser;

use super::clean;
use crate::core::calls_left::Limits;

/// No wait is believed to be longer. Cloudflare's own is 300 s; a slip of a gateway must not silence us for days.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What an answer says in addition to its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    pub status: u16,
    /// Cloudflare's clock, in whole seconds.
    pub date: Option<SystemTime>,
    /// What Cloudflare's support asks for.
    pub ray: Option<String>,
    pub limits: Limits,
}

impl ResponseHead {
    pub(super) fn read(status: u16, headers: &HeaderMap) -> ResponseHead {
        ResponseHead {
            status,
            date: text(headers, "date").and_then(date),
            ray: text(headers, "cf-ray").map(|ray| clean(ray, 64)),
            limits: limits(headers),
        }
    }

    pub(super) fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

fn limits(headers: &HeaderMap) -> Limits {
    let tightest = headers
        .get_all("ratelimit")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| outside_quotes(value, ','))
        .filter_map(|item| {
            let params = || outside_quotes(item, ';').skip(1);
            let remaining = params().find_map(|param| number(param, "r"))?;
            Some((remaining, params().find_map(|param| number(param, "t"))))
        })
        .min_by_key(|(remaining, _)| *remaining);
    Limits {
        remaining: tightest.map(|(remaining, _)| remaining),
        reset: tightest.and_then(|(_, reset)| reset).map(wait),
        retry_after: text(headers, "retry-after").and_then(seconds).map(wait),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn date(text: &str) -> Option<SystemTime> {
    let zoned = DateTimeParser::new().parse_zoned(text).ok()?;
    Some(SystemTime::from(zoned.timestamp()))
}

fn wait(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(LONGEST_WAIT)
}

/// Digits only: `parse` alone takes `+5`.
fn seconds(text: &str) -> Option<u64> {
    let digits = text.trim();
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn number(param: &str, key: &str) -> Option<u64> {
    let (name, value) = param.split_once('=')?;
    (name.trim() == key).then(|| seconds(value))?
}

fn outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn read(pairs: &[(&'static str, &str)]) -> ResponseHead {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        ResponseHead::read(200, &headers)
    }

    fn left(value: &str) -> (Option<u64>, Option<u64>) {
        let limits = read(&[("ratelimit", value)]).limits;
        (limits.remaining, limits.reset.map(|reset| reset.as_secs()))
    }

    #[test]
    fn the_tightest_limit_counts() {
        assert_eq!(left(r#""default";r=50;t=30"#), (Some(50), Some(30)));
        assert_eq!(left(r#""default";r=50;t=30, "burst";r=7;t=2"#), (Some(7), Some(2)));
        assert_eq!(left(r#""odd, name;r=0";r=5;pk=:abc:;t=1"#), (Some(5), Some(1)));
        assert_eq!(left(r#"unquoted; r=3 ; t=4"#), (Some(3), Some(4)));
        let two = read(&[("ratelimit", r#""a";r=9;t=1"#), ("ratelimit", r#""b";r=8;t=2"#)]);
        assert_eq!(two.limits.remaining, Some(8));
    }

    #[test]
    fn limits_that_make_no_sense_are_none() {
        for value in ["", "r=5", "\"", ";;;,,,", "\"a\";r=-1;t=x", "\"a\";r=99999999999999999999", "\"a\";t=5"] {
            assert_eq!(left(value), (None, None), "{value}");
        }
        assert_eq!(left(r#""a";r=1;t=soon"#), (Some(1), None));
    }

    #[test]
    fn retry_after_is_whole_seconds_and_never_for_ever() {
        let after = |value| read(&[("retry-after", value)]).limits.retry_after;
        assert_eq!(after("0"), Some(Duration::ZERO));
        assert_eq!(after("300"), Some(Duration::from_secs(300)));
        assert_eq!(after("999999999"), Some(LONGEST_WAIT));
        for garbage in ["", "soon", "-1", "+1", "1.5", "Tue, 24 Nov 2026 10:04:38 GMT", "é"] {
            assert_eq!(after(garbage), None, "{garbage}");
        }
        assert_eq!(read(&[]).limits, Limits::default());
    }

    #[test]
    fn date_and_ray_are_read() {
        let head = read(&[("date", "Tue, 24 Nov 2026 10:04:38 GMT"), ("cf-ray", "8f1b2c\u{9b}-FRA")]);
        let since = head.date.unwrap().duration_since(SystemTime::UNIX_EPOCH);
        assert_eq!(since.unwrap().as_secs(), 1_795_514_678);
        assert_eq!(head.ray, None);
        assert_eq!(read(&[("cf-ray", "8f1b2c-FRA")]).ray.as_deref(), Some("8f1b2c-FRA"));
        assert_eq!(read(&[("date", "yesterday")]).date, None);
    }

    proptest! {
        #[test]
        fn no_header_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                for name in ["ratelimit", "retry-after", "date", "cf-ray"] {
                    headers.append(name, value.clone());
                }
                ResponseHead::read(429, &headers);
            }
        }
    }
}

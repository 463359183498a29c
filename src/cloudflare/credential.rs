//! What proves to Cloudflare who calls.

use std::collections::BTreeMap;
use std::fmt;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

const TOKEN: &str = "apiToken";
const EMAIL: &str = "email";
const KEY: &str = "apiKey";

/// What is shorter is no secret, and removing it would tear other words apart.
const SHORTEST_SECRET: usize = 8;

/// An API token, or the older pair of e-mail address and global key that organization-level calls mostly need.
#[derive(Clone)]
pub enum Credential {
    Token(SecretString),
    Key { email: String, key: SecretString },
}

/// What is wrong with a Secret, without a word of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("it holds neither {TOKEN} nor {EMAIL} and {KEY}: write one of the two into it")]
    Missing,
    #[error("it holds both {TOKEN} and {EMAIL} or {KEY}: keep one kind")]
    Both,
    #[error("it holds {0} without {1}: add that, or have {TOKEN} alone")]
    Half(&'static str, &'static str),
    #[error("{0} in it is empty: write the credential there")]
    Empty(&'static str),
    #[error("{0} in it is not UTF-8 text: write it anew")]
    NotText(&'static str),
    #[error("{0} in it holds a control character, such as a line break in the middle: write it anew")]
    Control(&'static str),
}

impl Credential {
    pub fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Credential, CredentialError> {
        let value = |key: &'static str| data.get(key).map(|bytes| text(key, bytes)).transpose();
        let held = |key| data.contains_key(key);
        match (held(TOKEN), held(EMAIL), held(KEY)) {
            (true, false, false) => {}
            (false, true, true) => {}
            (true, _, _) => return Err(CredentialError::Both),
            (false, true, false) => return Err(CredentialError::Half(EMAIL, KEY)),
            (false, false, true) => return Err(CredentialError::Half(KEY, EMAIL)),
            (false, false, false) => return Err(CredentialError::Missing),
        }
        match (value(TOKEN)?, value(EMAIL)?, value(KEY)?) {
            (Some(token), _, _) => Ok(Credential::Token(token.into())),
            (None, Some(email), Some(key)) => Ok(Credential::Key { email: email.to_owned(), key: key.into() }),
            (None, _, _) => Err(CredentialError::Missing),
        }
    }

    /// Tells credentials apart where the credential itself must not be.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update(b"cfshare credential\0");
        match self {
            Credential::Token(token) => {
                hash.update(b"token\0");
                hash.update(token.expose_secret());
            }
            Credential::Key { email, key } => {
                hash.update(b"key\0");
                hash.update(email);
                hash.update(b"\0");
                hash.update(key.expose_secret());
            }
        }
        let digest = hash.finalize();
        Fingerprint(std::array::from_fn(|at| digest[at]))
    }

    pub(super) fn headers(&self) -> Result<HeaderMap, InvalidHeaderValue> {
        let sensitive = |text: &str| {
            let mut value = HeaderValue::from_bytes(text.as_bytes())?;
            value.set_sensitive(true);
            Ok(value)
        };
        let mut headers = HeaderMap::new();
        match self {
            Credential::Token(token) => {
                let bearer = format!("Bearer {}", token.expose_secret());
                headers.insert(AUTHORIZATION, sensitive(&bearer)?);
            }
            Credential::Key { email, key } => {
                headers.insert(HeaderName::from_static("x-auth-email"), sensitive(email)?);
                headers.insert(HeaderName::from_static("x-auth-key"), sensitive(key.expose_secret())?);
            }
        }
        Ok(headers)
    }

    /// The answer without the credential, where it echoes one.
    pub(super) fn redact(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let parts = match self {
            Credential::Token(token) => [token.expose_secret(), ""],
            Credential::Key { email, key } => [key.expose_secret(), email],
        };
        let text = String::from_utf8_lossy(answer);
        let hidden = parts
            .into_iter()
            .filter(|part| part.len() >= SHORTEST_SECRET)
            .fold(text.to_string(), |text, part| text.replace(part, "[credential]"));
        (hidden != text).then(|| hidden.into_bytes())
    }
}

fn text<'a>(key: &'static str, bytes: &'a [u8]) -> Result<&'a str, CredentialError> {
    let text = std::str::from_utf8(bytes).map_err(|_| CredentialError::NotText(key))?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.trim().is_empty() {
        Err(CredentialError::Empty(key))
    } else if text.chars().any(char::is_control) {
        Err(CredentialError::Control(key))
    } else {
        Ok(text)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Credential::Token(_) => "Token",
            Credential::Key { .. } => "Key",
        };
        write!(f, "{kind}({})", self.fingerprint())
    }
}

/// A short hash of a credential.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 8]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canary-7f3a9c1e5b2d4f60";

    fn read(pairs: &[(&str, &[u8])]) -> Result<Credential, CredentialError> {
        let data = pairs.iter().map(|(key, value)| (key.to_string(), value.to_vec()));
        Credential::from_secret(&data.collect())
    }

    fn header(credential: &Credential, name: &str) -> String {
        let headers = credential.headers().unwrap();
        assert!(headers[name].is_sensitive());
        headers[name].to_str().unwrap().to_owned()
    }

    #[test]
    fn both_kinds_are_read_and_a_trailing_newline_is_forgiven() {
        let token = read(&[("apiToken", b"abc\r\n"), ("unrelated", b"\xff")]).unwrap();
        assert_eq!(header(&token, "authorization"), "Bearer abc");
        let pair = read(&[("email", b"me@example.com\n"), ("apiKey", b"k\n\n")]).unwrap();
        assert_eq!(header(&pair, "x-auth-email"), "me@example.com");
        assert_eq!(header(&pair, "x-auth-key"), "k");
    }

    #[test]
    fn an_unusable_secret_is_explained_by_key() {
        use CredentialError::*;
        type Data = &'static [(&'static str, &'static [u8])];
        let cases: [(Data, CredentialError); 9] = [
            (&[], Missing),
            (&[("token", b"x")], Missing),
            (&[("apiToken", b"x"), ("email", b"y"), ("apiKey", b"z")], Both),
            (&[("apiToken", b"x"), ("email", b"y")], Both),
            (&[("email", b"y")], Half(EMAIL, KEY)),
            (&[("apiKey", b"z")], Half(KEY, EMAIL)),
            (&[("apiToken", b" \n")], Empty(TOKEN)),
            (&[("apiToken", b"\xff\xfe")], NotText(TOKEN)),
            (&[("apiToken", b"a\r\nX-Evil: 1")], Control(TOKEN)),
        ];
        for (data, error) in cases {
            assert_eq!(read(data).unwrap_err(), error);
        }
        assert_eq!(Half(EMAIL, KEY).to_string(), "it holds email without apiKey: add that, or have apiToken alone");
    }

    #[test]
    fn a_credential_shows_in_no_output() {
        for credential in
            [Credential::Token(CANARY.into()), Credential::Key { email: CANARY.into(), key: CANARY.into() }]
        {
            let shown = format!(
                "{credential:?} {credential:#?} {} {:?} {:?}",
                credential.fingerprint(),
                credential.fingerprint(),
                credential.headers().unwrap()
            );
            assert!(!shown.contains("canary"), "{shown}");
            let echo = format!(r#"{{"message":"bad {CANARY}, {CANARY}"}}"#);
            let hidden = credential.redact(echo.as_bytes()).unwrap();
            assert!(!String::from_utf8(hidden).unwrap().contains("canary"));
            assert_eq!(credential.redact(b"nothing of it"), None);
        }
        let error = read(&[("apiToken", b"canary\0")]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }

    #[test]
    fn a_fingerprint_tells_credentials_apart() {
        let token = |text: &str| Credential::Token(text.into()).fingerprint();
        let pair = |email: &str, key: &str| Credential::Key { email: email.into(), key: key.into() }.fingerprint();
        assert_eq!(token("a"), token("a"));
        assert_eq!(token("a").to_string().len(), 16);
        let all = [token("a"), token("b"), pair("a", "b"), pair("b", "a"), pair("ab", "")];
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
    }
}

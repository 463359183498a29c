//! What proves to Cloudflare who calls.

use std::collections::BTreeMap;
use std::fmt;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// What the parts of a credential are called where they are kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    pub token: &'static str,
    pub email: &'static str,
    pub key: &'static str,
}

/// Their names in a Secret.
pub const SECRET: Names = Names { token: "apiToken", email: "email", key: "apiKey" };

/// What is shorter is no secret, and removing it would tear other words apart.
const SHORTEST_SECRET: usize = 8;

/// An API token, or the older pair of e-mail address and global key that organization-level calls mostly need.
#[derive(Clone)]
pub enum Credential {
    Token(SecretString),
    Key { email: String, key: SecretString },
}

/// What is wrong with a credential, without a word of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("it holds neither {0} nor {1} and {2}, or they are empty: add {0}, or both {1} and {2}")]
    Missing(&'static str, &'static str, &'static str),
    #[error("it holds {0} without {1}: add that, or use {2} alone")]
    Half(&'static str, &'static str, &'static str),
    #[error("{0} is not UTF-8 text: copy it from Cloudflare again")]
    NotText(&'static str),
    #[error("{0} contains a control character, such as a line break in the middle: copy it from Cloudflare again")]
    Control(&'static str),
    #[error("{0} begins with `Bearer `: store the token alone, cfshare adds that word")]
    Bearer(&'static str),
    #[error("{0} contains quotation marks: store the value without them")]
    Quoted(&'static str),
    #[error("{0} contains blanks: store the value without any before, in or after it")]
    Blank(&'static str),
    #[error("{0} contains characters outside ASCII, which Cloudflare never uses: copy it from Cloudflare again")]
    NotAscii(&'static str),
}

impl Credential {
    pub fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Credential, CredentialError> {
        Credential::read(&SECRET, |name| data.get(name).cloned())
    }

    /// The credential whose parts have these names. An empty part is absent, and a token wins over the pair.
    pub fn read(names: &Names, part: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Credential, CredentialError> {
        let held = |name| part(name).filter(|bytes| !bytes.trim_ascii().is_empty());
        if let Some(token) = held(names.token) {
            return Ok(Credential::Token(text(names.token, &token)?.into()));
        }
        match (held(names.email), held(names.key)) {
            (Some(email), Some(key)) => {
                Ok(Credential::Key { email: text(names.email, &email)?.to_owned(), key: text(names.key, &key)?.into() })
            }
            (Some(_), None) => Err(CredentialError::Half(names.email, names.key, names.token)),
            (None, Some(_)) => Err(CredentialError::Half(names.key, names.email, names.token)),
            (None, None) => Err(CredentialError::Missing(names.token, names.email, names.key)),
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

/// The value without line breaks at its end, which editors and `echo` add. Whatever else Cloudflare would not
/// recognize is an error: it would answer with a refusal that names another cause.
fn text<'a>(name: &'static str, bytes: &'a [u8]) -> Result<&'a str, CredentialError> {
    let text = std::str::from_utf8(bytes).map_err(|_| CredentialError::NotText(name))?;
    let text = text.trim_end_matches(['\n', '\r']);
    let bare = text.trim_start_matches(['"', '\'', ' ', '\t']);
    let is_blank = |c: char| c == ' ' || c == '\t' || (c.is_whitespace() && !c.is_control());
    if bare.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer ")) {
        Err(CredentialError::Bearer(name))
    } else if text.contains(['"', '\'', '`', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
        Err(CredentialError::Quoted(name))
    } else if text.contains(is_blank) {
        Err(CredentialError::Blank(name))
    } else if text.chars().any(char::is_control) {
        Err(CredentialError::Control(name))
    } else if !text.is_ascii() {
        Err(CredentialError::NotAscii(name))
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
    fn an_unusable_secret_is_explained_by_key_and_kind() {
        use CredentialError::*;
        let missing = || Missing("apiToken", "email", "apiKey");
        type Data<'a> = &'a [(&'a str, &'a [u8])];
        let cases: [(Data<'_>, CredentialError); 27] = [
            (&[], missing()),
            (&[("token", b"x")], missing()),
            (&[("apiToken", b" \n")], missing()),
            (&[("apiToken", b""), ("email", b""), ("apiKey", b"\r\n")], missing()),
            (&[("email", b"y")], Half("email", "apiKey", "apiToken")),
            (&[("email", b"y"), ("apiKey", b"")], Half("email", "apiKey", "apiToken")),
            (&[("apiKey", b"z")], Half("apiKey", "email", "apiToken")),
            (&[("apiToken", b" tok")], Blank("apiToken")),
            (&[("apiToken", b"tok ")], Blank("apiToken")),
            (&[("apiToken", b"tok \n")], Blank("apiToken")),
            (&[("apiToken", b"\ttok")], Blank("apiToken")),
            (&[("apiToken", b"to k")], Blank("apiToken")),
            (&[("apiToken", "tok\u{a0}".as_bytes())], Blank("apiToken")),
            (&[("apiToken", b"\"tok\"")], Quoted("apiToken")),
            (&[("apiToken", b"'tok'\n")], Quoted("apiToken")),
            (&[("apiToken", b"tok\"")], Quoted("apiToken")),
            (&[("apiToken", "\u{201c}tok\u{201d}".as_bytes())], Quoted("apiToken")),
            (&[("apiToken", b"Bearer tok")], Bearer("apiToken")),
            (&[("apiToken", b" bearer tok\n")], Bearer("apiToken")),
            (&[("apiToken", b"\"Bearer tok\"")], Bearer("apiToken")),
            (&[("apiToken", b"\xff\xfe")], NotText("apiToken")),
            (&[("apiToken", "t\u{f6}k".as_bytes())], NotAscii("apiToken")),
            (&[("apiToken", "\u{feff}tok".as_bytes())], NotAscii("apiToken")),
            (&[("apiToken", b"a\r\nX-Evil:1")], Control("apiToken")),
            (&[("apiToken", b"\r\ntok")], Control("apiToken")),
            (&[("email", b"me@example.com"), ("apiKey", b" k")], Blank("apiKey")),
            (&[("email", b"<me@example.com>\""), ("apiKey", b"k")], Quoted("email")),
        ];
        for (data, error) in cases {
            assert_eq!(read(data).unwrap_err(), error, "{data:?}");
        }
        let half = Half("email", "apiKey", "apiToken").to_string();
        assert_eq!(half, "it holds email without apiKey: add that, or use apiToken alone");
    }

    #[test]
    fn an_empty_part_is_absent_and_a_token_wins_over_the_pair() {
        let token = |pairs: &[(&str, &[u8])]| header(&read(pairs).unwrap(), "authorization");
        assert_eq!(token(&[("apiToken", b"x"), ("email", b"y"), ("apiKey", b"z")]), "Bearer x");
        assert_eq!(token(&[("apiToken", b"x"), ("email", b""), ("apiKey", b"")]), "Bearer x");
        assert_eq!(token(&[("apiToken", b"x\r\n"), ("email", b"not used")]), "Bearer x");
        let pair = read(&[("apiToken", b"\n"), ("email", b"y"), ("apiKey", b"z")]).unwrap();
        assert_eq!(header(&pair, "x-auth-key"), "z");
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

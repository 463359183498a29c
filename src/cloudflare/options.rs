//! How Cloudflare is reached, and which settings for it are refused.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::{Certificate, Url};

/// How to reach Cloudflare.
#[derive(Debug, Clone)]
pub struct Options {
    pub base_url: String,
    /// From looking up the name to the end of the TLS handshake.
    pub connect_timeout: Duration,
    /// From the connection to the first byte of the answer.
    pub answer_timeout: Duration,
    /// The whole call, answer included.
    pub total_timeout: Duration,
    /// Longest body that is read, in bytes.
    pub max_answer: usize,
    pub user_agent: String,
    /// Authorities to trust in addition to the system's, as PEM.
    pub ca_bundle: Option<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            base_url: "https://api.cloudflare.com/client/v4".into(),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(60),
            max_answer: 64 << 20,
            user_agent: concat!("cfshare/", env!("CARGO_PKG_VERSION")).into(),
            ca_bundle: None,
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the base URL of the Cloudflare API {0}")]
    BaseUrl(&'static str),
    #[error("the CA bundle holds no usable PEM certificates")]
    CaBundle,
    #[error("the HTTP client cannot be set up")]
    Http(#[source] reqwest::Error),
}

impl Options {
    pub(super) fn base(&self) -> Result<Url, SetupError> {
        let bad = |why| Err(SetupError::BaseUrl(why));
        let Ok(url) = Url::parse(&self.base_url) else {
            return bad("is not a URL");
        };
        let loopback = url.host_str().is_some_and(|host| {
            let address = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        });
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => {
                return bad("must begin with https://, since http shows the credential to the network");
            }
            _ => return bad("must begin with https://"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return bad("must not hold a user name or password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return bad("must end with its path, without ? and #");
        }
        Ok(url)
    }

    /// Proxy variables of the environment hold. Redirects and retries are off: a redirect would carry the
    /// credential elsewhere, and a call that is repeated below us is a second share.
    pub(super) fn http(&self) -> Result<reqwest::Client, SetupError> {
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(self.connect_timeout)
            .tcp_keepalive(Duration::from_secs(30))
            // Shorter than Cloudflare's own: a call on a connection that just closed is an answer lost.
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(&self.user_agent);
        if let Some(pem) = &self.ca_bundle {
            let found = Certificate::from_pem_bundle(pem).map_err(|_| SetupError::CaBundle)?;
            if found.is_empty() {
                return Err(SetupError::CaBundle);
            }
            http = http.tls_certs_merge(found);
        }
        http.build().map_err(SetupError::Http)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudflare::Client;

    fn at(base_url: &str) -> Result<Url, SetupError> {
        Options { base_url: base_url.into(), ..Options::default() }.base()
    }

    #[test]
    fn an_unusable_base_url_is_refused_with_a_sentence() {
        for bad in [
            "",
            "api.cloudflare.com",
            "/client/v4",
            "ftp://example.com",
            "https://",
            "http://api.cloudflare.com/client/v4",
            "http://127.0.0.1.example.com",
            "https://me:secret@example.com",
            "https://example.com/?a=b",
            "https://example.com/#a",
            "data:text/plain,x",
        ] {
            let error = at(bad).unwrap_err().to_string();
            assert!(error.starts_with("the base URL of the Cloudflare API "), "{error}");
            assert!(!error.contains("secret"));
        }
        for good in
            ["https://api.cloudflare.com/client/v4", "http://127.0.0.1:8080/x", "http://[::1]:1", "http://localhost"]
        {
            assert!(at(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_client_is_made_only_of_usable_options() {
        assert!(Client::new(Options::default()).is_ok());
        for pem in [&b""[..], b"no pem", b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
            let options = Options { ca_bundle: Some(pem.to_vec()), ..Options::default() };
            assert!(matches!(Client::new(options), Err(SetupError::CaBundle | SetupError::Http(_))));
        }
        let options = Options { user_agent: "a\nb".into(), ..Options::default() };
        assert!(matches!(Client::new(options), Err(SetupError::Http(_))));
    }
}

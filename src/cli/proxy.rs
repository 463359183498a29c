//! Through which proxy is the API server reached?
//!
//! As kubectl decides it: the kubeconfig's `proxy-url` holds without exception; else `HTTPS_PROXY` for an https server
//! and `HTTP_PROXY` for an http one, unless `NO_PROXY` names the server or it is this very machine.

use std::net::IpAddr;

use http::Uri;

/// Variables that are read in both spellings; the first that is not empty counts.
fn variable(read: &impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    let found = |name: &str| read(name).filter(|value| !value.trim().is_empty());
    found(name).or_else(|| found(&name.to_lowercase()))
}

/// The proxy on the way to `server`, given the kubeconfig's own and a way to read variables.
pub fn choose(own: Option<&str>, server: &Uri, read: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Uri>> {
    if let Some(own) = own.filter(|own| !own.trim().is_empty()) {
        return parse("proxy-url in the kubeconfig", own).map(Some);
    }
    let name = if server.scheme_str() == Some("http") { "HTTP_PROXY" } else { "HTTPS_PROXY" };
    let Some(proxy) = variable(&read, name) else { return Ok(None) };
    let excepted = variable(&read, "NO_PROXY").unwrap_or_default();
    if is_excepted(server, &excepted) {
        return Ok(None);
    }
    parse(name, &proxy).map(Some)
}

/// An error does not repeat the value, which may hold a password.
fn parse(what: &str, text: &str) -> anyhow::Result<Uri> {
    let text = text.trim();
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Option<Uri> = text.parse().ok().filter(|uri: &Uri| uri.host().is_some_and(|host| !host.is_empty()));
    let Some(uri) = uri else { anyhow::bail!("{what} is not a URL of a proxy: write for example http://proxy:3128") };
    match uri.scheme_str() {
        Some("http" | "https" | "socks5") => Ok(uri),
        // Names are resolved by the proxy either way.
        Some("socks5h") => Ok(text.replacen("socks5h", "socks5", 1).parse()?),
        _ => anyhow::bail!("{what}: only http, https, socks5 and socks5h proxies are supported"),
    }
}

/// Whether the server is reached without a proxy, by an exception in NO_PROXY or because it is this machine.
fn is_excepted(server: &Uri, exceptions: &str) -> bool {
    let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_lowercase();
    let host = host.trim_end_matches('.');
    let address: Option<IpAddr> = host.parse().ok();
    let port = server.port_u16().unwrap_or(if server.scheme_str() == Some("http") { 80 } else { 443 });
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let exceptions = exceptions.split([',', ' ']).map(str::trim).filter(|exception| !exception.is_empty());
    exceptions.map(str::to_lowercase).any(|exception| {
        if exception == "*" {
            return true;
        }
        if let (Some(network), Some(address)) = (exception.split_once('/'), address) {
            return is_within(address, network);
        }
        let (name, only) = split_port(&exception);
        if only.is_some_and(|only| only != port) {
            return false;
        }
        match (name.parse::<IpAddr>(), address) {
            (Ok(excepted), Some(address)) => excepted == address,
            (Ok(_), None) | (Err(_), Some(_)) => false,
            (Err(_), None) => is_under(host, name),
        }
    })
}

/// A host or address, and the port that follows it.
fn split_port(exception: &str) -> (&str, Option<u16>) {
    let bare = |name: &'_ str| -> usize { usize::from(name.starts_with('[')) };
    if exception.parse::<IpAddr>().is_ok() {
        return (exception, None);
    }
    if let Some((name, port)) = exception.rsplit_once(':')
        && let Ok(port) = port.parse()
    {
        return (name[bare(name)..].trim_end_matches(']'), Some(port));
    }
    (exception[bare(exception)..].trim_end_matches(']'), None)
}

/// `example.com` is the host and all below it, `.example.com` and `*.example.com` only what is below.
fn is_under(host: &str, exception: &str) -> bool {
    let domain = exception.strip_prefix("*.").or_else(|| exception.strip_prefix('.'));
    let below = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
    match domain {
        Some(domain) => below(domain),
        None => host == exception || below(exception),
    }
}

fn is_within(address: IpAddr, (network, bits): (&str, &str)) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let same = |a: u128, b: u128, width: u32| bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(own: Option<&str>, server: &str, set: &[(&str, &str)]) -> Result<Option<String>, String> {
        let read = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        let server = server.parse().unwrap();
        choose(own, &server, read).map(|uri| uri.map(|uri| uri.to_string())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_proxy_is_chosen_as_kubectl_chooses_it() {
        const API: &str = "https://api.example.com:6443";
        type Set = &'static [(&'static str, &'static str)];
        let cases: [(Option<&str>, &str, Set, Option<&str>); 12] = [
            (None, API, &[], None),
            (Some("http://own:1"), API, &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "*")], Some("http://own:1/")),
            (Some("socks5h://own:1"), API, &[], Some("socks5://own:1/")),
            (Some("http://own:1"), "https://127.0.0.1:6443", &[], Some("http://own:1/")),
            (Some(""), API, &[("HTTPS_PROXY", "http://p:1")], Some("http://p:1/")),
            (None, API, &[("HTTPS_PROXY", ""), ("https_proxy", "p:3128")], Some("http://p:3128/")),
            (None, API, &[("HTTP_PROXY", "http://p:1"), ("ALL_PROXY", "http://p:1")], None),
            (None, "http://api.example.com", &[("HTTP_PROXY", "http://p:1")], Some("http://p:1/")),
            (None, API, &[("HTTPS_PROXY", "socks5://u:p@p:1")], Some("socks5://u:p@p:1/")),
            (None, API, &[("HTTPS_PROXY", "http://p:1"), ("no_proxy", "other, api.example.com")], None),
            (None, API, &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "other")], Some("http://p:1/")),
            (None, "https://localhost:6443", &[("HTTPS_PROXY", "http://p:1")], None),
        ];
        for (own, server, set, expected) in cases {
            assert_eq!(chosen(own, server, set), Ok(expected.map(str::to_owned)), "{own:?} {server} {set:?}");
        }
        for bad in ["ftp://secret@p:1", "http://", "://secret", "http://sec ret"] {
            let error = chosen(Some(bad), API, &[]).unwrap_err();
            assert!(error.starts_with("proxy-url in the kubeconfig") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn no_proxy_names_hosts_domains_addresses_and_networks() {
        let cases = [
            ("api.example.com", "example.com", true),
            ("example.com", "example.com", true),
            ("badexample.com", "example.com", false),
            ("example.com", ".example.com", false),
            ("api.example.com", ".example.com", true),
            ("api.example.com", "*.example.com", true),
            ("API.example.com.", "Example.COM", true),
            ("api.example.com", "a,,b, ,example.com,", true),
            ("api.example.com", "example.com:6443", true),
            ("api.example.com", "example.com:443", false),
            ("10.96.0.1", "10.96.0.1", true),
            ("10.96.0.1", "10.96.0.1:6443", true),
            ("10.96.0.1", "10.96.0.0/12", true),
            ("10.96.0.1", "10.112.0.0/12", false),
            ("10.96.0.1", "0.0.0.0/0", true),
            ("10.96.0.1", "10.96.0.0/33", false),
            ("10.96.0.1", "0.1", false),
            ("[fd00::1]", "fd00::1", true),
            ("[fd00::1]", "fd00::/8", true),
            ("[fd00::1]", "[fd00::1]:6443", true),
            ("[fd00::1]", "fe80::/10", false),
            ("api.example.com", "*", true),
            ("api.example.com", "", false),
            ("[::1]", "", true),
        ];
        for (host, exceptions, expected) in cases {
            let server = format!("https://{host}:6443").parse().unwrap();
            assert_eq!(is_excepted(&server, exceptions), expected, "{host} {exceptions}");
        }
    }
}

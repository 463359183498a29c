//! Where do traces go, as the flag and OpenTelemetry's standard variables say?

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use reqwest::Url;

use super::environment::variable;
use crate::cloudflare::clean;
use crate::serve::otlp::{Destination, Exporter};

#[derive(Args, Debug, Clone)]
pub struct Otlp {
    /// Base URL of an OpenTelemetry collector, such as http://collector:4318, to which traces are sent over OTLP/HTTP;
    /// default: there are no traces. The other OTEL_ variables are respected
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
}

impl Otlp {
    /// What sends traces, if that is wanted and possible; `ca_bundle`: what is trusted unless a variable names another file.
    /// A setting that cannot be used ends the traces, never the operator.
    pub fn exporter(&self, instance: &str, ca_bundle: Option<&Path>) -> Exporter {
        let base = self.otlp_endpoint.as_deref();
        let started = destination(base, variable)
            .and_then(|endpoint| endpoint.map(|url| Ok((start(&url, instance, ca_bundle)?, url))).transpose());
        match started {
            Ok(None) => Exporter::default(),
            Ok(Some((exporter, endpoint))) => {
                // Its path may hold a key.
                tracing::info!(host = endpoint.host_str(), "traces are sent over OTLP");
                ignored(variable).iter().for_each(|what| tracing::warn!("{what}"));
                exporter
            }
            Err(problem) => {
                tracing::error!("no traces are sent: {problem}");
                Exporter::default()
            }
        }
    }
}

fn start(endpoint: &Url, instance: &str, ca_bundle: Option<&Path>) -> Result<Exporter, String> {
    let given = of_traces("CERTIFICATE", variable).map(|(name, file)| (name, PathBuf::from(file)));
    let file = given.or_else(|| ca_bundle.map(|file| ("--ca-bundle".to_owned(), file.to_owned())));
    let read = |(name, file): (String, PathBuf)| {
        std::fs::read(&file).map_err(|error| format!("{name}: {} cannot be read: {error}", file.display()))
    };
    let certificate = file.map(read).transpose()?;
    let timeout = of_traces("TIMEOUT", variable).and_then(|(_, ms)| ms.parse().ok()).map(Duration::from_millis);
    let to = Destination { endpoint: endpoint.to_string(), certificate, timeout, instance: instance.to_owned() };
    Exporter::start(to).map_err(|error| format!("{error:#}"))
}

/// A setting of the exporter, by its own variable for traces or else by the one for everything, and which one that was.
fn of_traces(what: &str, variable: impl Fn(&str) -> Option<String>) -> Option<(String, String)> {
    let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
    names.into_iter().find_map(|name| variable(&name).map(|value| (name, value)))
}

/// What the exporter cannot do as the variables ask.
fn ignored(variable: impl Fn(&str) -> Option<String> + Copy) -> Vec<String> {
    let done = [("COMPRESSION", "none", "without compression"), ("PROTOCOL", "http/protobuf", "as protobuf over HTTP")];
    let told = done.into_iter().filter_map(|(what, only, how)| {
        let (name, value) = of_traces(what, variable)?;
        let is_other = !value.eq_ignore_ascii_case(only);
        is_other.then(|| format!("{name} is {}, and cfshare sends traces {how}: set it to {only}", clean(&value, 40)))
    });
    told.collect()
}

/// The URL that traces are sent to; `None`: there are none. The standard's variable for traces alone is the whole URL.
fn destination(base: Option<&str>, variable: impl Fn(&str) -> Option<String> + Copy) -> Result<Option<Url>, String> {
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let whole = variable(TRACES).map(|url| (TRACES, url));
    let below = |base: &str| match Url::parse(base) {
        Ok(_) => format!("{}/v1/traces", base.trim().trim_end_matches('/')),
        Err(_) => base.to_owned(),
    };
    let Some((name, text)) = whole.or_else(|| base.map(|base| ("--otlp-endpoint", below(base)))) else {
        return Ok(None);
    };
    let is_disabled = variable("OTEL_SDK_DISABLED").is_some_and(|word| word.eq_ignore_ascii_case("true"));
    let goes_elsewhere = variable("OTEL_TRACES_EXPORTER")
        .is_some_and(|exporters| exporters.split(',').all(|exporter| exporter.trim() != "otlp"));
    if is_disabled || goes_elsewhere {
        return Ok(None);
    }
    if let Some((name, _)) = of_traces("PROTOCOL", variable).filter(|(_, protocol)| protocol == "grpc") {
        return Err(format!(
            "{name} is grpc, and cfshare sends over HTTP only: set it to http/protobuf, and the endpoint to the HTTP port of \
             the collector, usually 4318"
        ));
    }
    let url = Url::parse(&text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    let url = url.ok_or_else(|| format!("{name} must be a URL that begins with http:// or https://"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{name} must not hold a user name or password: use OTEL_EXPORTER_OTLP_HEADERS"));
    }
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(base: Option<&str>, set: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        destination(base, variable).map(|url| url.map(String::from))
    }

    #[test]
    fn the_standard_variables_say_where_traces_go() {
        let to = |url: &str| Ok(Some(url.to_owned()));
        let base = Some("http://collector:4318");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://a.example.com/x");
        assert_eq!(sent(None, &[]), Ok(None));
        assert_eq!(sent(base, &[]), to("http://collector:4318/v1/traces"));
        assert_eq!(sent(Some("https://example.com/otlp/"), &[]), to("https://example.com/otlp/v1/traces"));
        assert_eq!(sent(None, &[own]), to("https://a.example.com/x"));
        assert_eq!(sent(base, &[own]), to("https://a.example.com/x"));
        assert_eq!(sent(base, &[("OTEL_SDK_DISABLED", "True")]), Ok(None));
        assert_eq!(sent(base, &[("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        assert_eq!(sent(base, &[("OTEL_TRACES_EXPORTER", "console, otlp")]), to("http://collector:4318/v1/traces"));
    }

    #[test]
    fn what_is_not_as_the_variables_ask_is_said_and_stops_nothing() {
        let told = |set: &[(&str, &str)]| {
            assert!(sent(Some("http://collector:4318"), set).is_ok());
            ignored(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())).join("; ")
        };
        assert_eq!(told(&[]), "");
        assert_eq!(told(&[("OTEL_EXPORTER_OTLP_COMPRESSION", "none")]), "");
        let gzip = ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
        assert!(told(&[gzip]).contains("OTEL_EXPORTER_OTLP_COMPRESSION is gzip"));
        assert_eq!(told(&[gzip, ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none")]), "");
        assert!(told(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]).contains("set it to http/protobuf"));
    }

    #[test]
    fn what_cannot_be_done_is_said_and_shows_no_password() {
        let base = Some("http://collector:4318");
        let grpc = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        assert!(sent(base, &grpc).unwrap_err().contains("OTEL_EXPORTER_OTLP_PROTOCOL is grpc"));
        assert_eq!(sent(None, &grpc), Ok(None));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
        assert!(sent(base, &[grpc[0], own]).is_ok());
        for bad in ["collector:4318", "ftp://collector", "http://", "http://me:canary@collector:4318"] {
            let error = sent(Some(bad), &[]).unwrap_err();
            assert!(error.starts_with("--otlp-endpoint must ") && !error.contains("canary"), "{error}");
        }
    }
}

//! Whether an alert's expression is true of what an operator serves at /metrics, whatever its `for`.

use std::collections::BTreeMap;

use serde_json::Value;

type Labels = BTreeMap<String, String>;

/// An alert whose expression is true, with its labels, and what it says.
pub struct Firing {
    pub labels: Labels,
    pub said: String,
}

fn rule(alert: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/chart/files/alerts.yaml");
    let alerts: Value = serde_yaml::from_str(&std::fs::read_to_string(path).expect("alerts")).expect("YAML");
    let rules = alerts["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
    rules.into_iter().find(|rule| rule["alert"] == alert).unwrap_or_else(|| panic!("no alert {alert}"))
}

fn labels(text: &str) -> Labels {
    let pairs = text.split("\",").filter_map(|pair| pair.split_once("=\""));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim_end_matches('"').to_owned())).collect()
}

/// The samples of a metric that a selector picks.
fn picked(served: &str, selector: &str) -> Vec<(Labels, f64)> {
    let (name, matchers) = selector.split_once('{').expect("matchers");
    let matchers: Vec<&str> = matchers.trim_end_matches('}').split("\",").map(str::trim).collect();
    let fits = |labels: &Labels| {
        matchers.iter().all(|matcher| {
            let (label, rest) = matcher.split_once(['=', '!']).expect("a matcher");
            let (kind, wanted) = rest.trim_end_matches('"').split_once('"').expect("a value");
            let is = labels.get(label).map_or("", String::as_str);
            let negative = matcher[label.len()..].starts_with('!');
            let equal = if kind.ends_with('~') { wanted.split('|').any(|word| word == is) } else { wanted == is };
            // The scraper adds it.
            label == "job" || equal != negative
        })
    };
    let lines = served.lines().filter(|line| line.starts_with(name));
    let samples = lines.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, text) = series.split_once('{').unwrap_or((series, ""));
        (found == name).then(|| Some((labels(text.trim_end_matches('}')), value.parse().ok()?)))?
    });
    samples.filter(|(labels, _)| fits(labels)).collect()
}

/// The alert with each set of labels for which its expression is true. The expressions have few forms; another one is an
/// error here. What asks for a rate gets what was counted since the operator started.
pub fn firing(alert: &str, served: &str) -> Vec<Firing> {
    let rule = rule(alert);
    let expression = rule["expr"].as_str().expect("an expression").split_whitespace().collect::<Vec<_>>().join(" ");
    let selector = || {
        let start = expression.find("cfshare_").expect("a metric");
        let end = start + expression[start..].find('}').expect("an end") + 1;
        (&expression[start..end], &expression[end..])
    };
    let (selector, rest) = selector();
    let all = picked(served, selector);
    let tell = |labels: Labels, value: f64| {
        let mut said = rule["annotations"]["summary"].as_str().expect("a summary").to_owned();
        said.push_str(". ");
        said.push_str(rule["annotations"]["description"].as_str().expect("a description"));
        for (name, value) in &labels {
            said = said.replace(&format!("{{{{ $labels.{name} }}}}"), value);
        }
        Firing { labels, said: said.replace("{{ $value }}", &value.to_string()) }
    };
    if expression.starts_with("absent(") {
        assert_eq!(rest, " == 1)", "{expression}");
        return if all.iter().any(|(_, value)| *value == 1.0) { vec![] } else { vec![tell(Labels::new(), 0.0)] };
    }
    let limit: f64 = rest.rsplit_once("> ").and_then(|(_, limit)| limit.parse().ok()).expect("a limit");
    let by = expression.strip_prefix("max by (").and_then(|text| text.split_once(')')).map(|(by, _)| by);
    let known =
        by.is_some() || ["max(cf", "sum(rate(cf", "sum(increase(cf"].iter().any(|form| expression.starts_with(form));
    assert!(known && rest.matches('>').count() == 1, "{expression}");
    let mut groups: BTreeMap<Labels, f64> = BTreeMap::new();
    for (labels, value) in all {
        let kept = by.into_iter().flat_map(|by| by.split(", "));
        let kept = kept.map(|name| (name.to_owned(), labels.get(name).cloned().unwrap_or_default()));
        let group = groups.entry(kept.collect()).or_insert(f64::MIN);
        *group = if expression.starts_with("max") { group.max(value) } else { group.max(0.0) + value };
    }
    groups.into_iter().filter(|(_, value)| *value > limit).map(|(labels, value)| tell(labels, value)).collect()
}

/// The reader can tell series apart.
pub fn self_test() {
    let served = "cfshare_share_unready{share_namespace=\"a\",share=\"waf\",account=\"1\",secret=\"s\",reason=\"Denied\"} 1\n\
         cfshare_share_unready{share_namespace=\"a\",share=\"dns\",account=\"1\",secret=\"s\",reason=\"NameTaken\"} 1\n\
         cfshare_leads 0\ncfshare_breakers_open 0\n\
         cfshare_cloudflare_calls_total{outcome=\"throttled\"} 2\n";
    let of = |alert: &str| firing(alert, served);
    assert_eq!(of("CfshareShareNotReady")[0].labels["share"], "dns");
    assert_eq!(of("CfshareShareNotReady").len(), 1);
    let credentials = of("CfshareCredentialsFail");
    assert_eq!((credentials.len(), credentials[0].labels["secret"].as_str()), (1, "s"));
    assert!(credentials[0].said.contains("Secret a/s. "), "{}", credentials[0].said);
    assert_eq!((of("CfshareNoLeader").len(), of("CfshareBreakerOpen").len(), of("CfshareThrottled").len()), (1, 0, 1));
    assert!(firing("CfshareNoLeader", "cfshare_leads 1\n").is_empty());
    assert!(firing("CfshareThrottled", "cfshare_cloudflare_calls_total{outcome=\"ok\"} 2\n").is_empty());
}

//! Which labels must an object have to be in scope?
//!
//! All objects are watched, and those that do not match are left alone. So what leaves the scope, or never was in it, is
//! there like any other, and never looks like one that was deleted.

use std::str::FromStr;

use kube::api::ObjectMeta;
use kube::core::{Expression, SelectorExt};

/// A label selector, as Kubernetes understands it; without expressions every object matches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelSelector {
    text: String,
    expressions: Vec<Expression>,
}

impl LabelSelector {
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn matches(&self, meta: &ObjectMeta) -> bool {
        let none = Default::default();
        let labels = meta.labels.as_ref().unwrap_or(&none);
        self.expressions.iter().all(|expression| expression.matches(labels))
    }

    /// The labels that it asks for, where it only asks for values, as `kubectl label` takes them.
    pub fn labels(&self) -> Option<String> {
        let label = |expression: &Expression| match expression {
            Expression::Equal(key, value) => Some(format!("{key}={value}")),
            Expression::In(..) | Expression::NotIn(..) | Expression::NotEqual(..) => None,
            Expression::Exists(_) | Expression::DoesNotExist(_) => None,
        };
        let labels = self.expressions.iter().map(label).collect::<Option<Vec<String>>>()?;
        Some(labels.join(" ")).filter(|labels| !labels.is_empty())
    }
}

impl FromStr for LabelSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<LabelSelector, String> {
        let mut is_in_list = false;
        let parts = text.split(|c| {
            is_in_list = c == '(' || is_in_list && c != ')';
            c == ',' && !is_in_list
        });
        let parsed = |part: &str| {
            let problem = || {
                format!(
                    "{part:?} is no part of a label selector: write key=value, key!=value, key in (a,b), key notin (a,b), key \
                     or !key, separated by commas"
                )
            };
            expression(part.trim()).ok_or_else(problem)
        };
        let is_empty = text.trim().is_empty();
        let expressions = parts.filter(|_| !is_empty).map(parsed).collect::<Result<_, _>>()?;
        Ok(LabelSelector { text: text.trim().to_owned(), expressions })
    }
}

fn expression(text: &str) -> Option<Expression> {
    if let Some(absent) = text.strip_prefix('!') {
        return Some(Expression::DoesNotExist(key(absent)?));
    }
    if let Some((head, values)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let (name, operator) = head.trim_end().rsplit_once(char::is_whitespace)?;
        let (name, values) = (key(name)?, values.split(',').map(value).collect::<Option<_>>()?);
        return match operator {
            "in" => Some(Expression::In(name, values)),
            "notin" => Some(Expression::NotIn(name, values)),
            _ => None,
        };
    }
    if let Some((name, other)) = text.split_once("!=") {
        return Some(Expression::NotEqual(key(name)?, value(other)?));
    }
    match text.split_once("==").or_else(|| text.split_once('=')) {
        Some((name, wanted)) => Some(Expression::Equal(key(name)?, value(wanted)?)),
        None => Some(Expression::Exists(key(text)?)),
    }
}

/// The key of a label, which may have a domain in front.
fn key(text: &str) -> Option<String> {
    let text = text.trim();
    let (domain, name) = text.split_once('/').map_or((None, text), |(domain, name)| (Some(domain), name));
    let is_key = is_word(name)
        && domain
            .is_none_or(|domain| is_word(domain) && !domain.contains(|c: char| c == '_' || c.is_ascii_uppercase()));
    is_key.then(|| text.to_owned())
}

/// The value of a label, which may be empty.
fn value(text: &str) -> Option<String> {
    let text = text.trim();
    (text.is_empty() || is_word(text)).then(|| text.to_owned())
}

fn is_word(text: &str) -> bool {
    let ends =
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    ends && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> LabelSelector {
        text.parse().expect("a selector")
    }

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        parsed(selector).matches(&ObjectMeta { labels: Some(labels), ..ObjectMeta::default() })
    }

    #[test]
    fn an_object_is_in_scope_as_kubernetes_would_list_it() {
        let (waf, dns) = ([("team", "waf"), ("a.b/tier", "one")], [("team", "dns")]);
        for (selector, has_waf, has_dns, has_none) in [
            ("", true, true, true),
            ("  ", true, true, true),
            ("team=waf", true, false, false),
            ("team == waf , a.b/tier=one", true, false, false),
            ("team!=waf", false, true, true),
            ("team in (waf, dns)", true, true, false),
            ("team in(waf),a.b/tier", true, false, false),
            ("team notin (waf,x)", false, true, true),
            ("team", true, true, false),
            ("!team", false, false, true),
            ("! a.b/tier,team", false, true, false),
            ("team=", false, false, false),
            ("team in (,waf)", true, false, false),
        ] {
            let found = [matches(selector, &waf), matches(selector, &dns), matches(selector, &[])];
            assert_eq!(found, [has_waf, has_dns, has_none], "{selector}");
        }
        assert!(parsed("!team").matches(&ObjectMeta::default()) && !parsed("team").matches(&ObjectMeta::default()));
    }

    #[test]
    fn what_kubernetes_would_refuse_is_refused() {
        for text in [
            "team>1",
            "team<1",
            "team=waf,",
            ",team",
            "=waf",
            "!",
            "!=waf",
            "team=waf=x",
            "team in waf",
            "team in (waf",
            "team within (waf)",
            "in (waf)",
            "te am",
            "team=-waf",
            "team=wäf",
            "a_b/team",
            "/team",
            "team/",
            "team=waf dns",
            "team in ((waf))",
            "!team=waf",
        ] {
            let refused = text.parse::<LabelSelector>();
            assert!(refused.as_ref().is_err_and(|problem| problem.contains("key notin (a,b)")), "{text}: {refused:?}");
        }
    }

    #[test]
    fn only_a_selector_of_values_makes_a_command_that_sets_labels() {
        assert_eq!(parsed("team=waf").labels().as_deref(), Some("team=waf"));
        assert_eq!(parsed("team == waf, a.b/c=d").labels().as_deref(), Some("team=waf a.b/c=d"));
        for other in ["team", "!team", "team!=waf", "team in (a,b)", "team=waf,!old", ""] {
            assert_eq!(parsed(other).labels(), None, "{other}");
        }
    }
}

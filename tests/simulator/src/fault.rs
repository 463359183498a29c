//! Which requests go wrong, how, and how often did they?

use serde::{Deserialize, Serialize};

use crate::action::Action;

/// A rule: requests that match it, from the n-th on and so many times, suffer its action.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default)]
    pub name: String,
    /// `GET`, `POST`, `PUT`, `DELETE`, or `*`.
    #[serde(default = "any")]
    pub method: String,
    /// As `/accounts/*/shares/*/recipients`; `*` is one segment. A lone `*` is every path.
    #[serde(default = "any")]
    pub path: String,
    /// Only requests about this account.
    #[serde(default)]
    pub account: Option<String>,
    /// Only requests whose query contains this text.
    #[serde(default)]
    pub query: Option<String>,
    /// Only requests whose body contains this text.
    #[serde(default)]
    pub body: Option<String>,
    /// The first matching request that suffers, counted from 1.
    #[serde(default = "one")]
    pub from: u64,
    /// How many suffer; `null` is all that follow.
    #[serde(default = "once")]
    pub count: Option<u64>,
    pub action: Action,
}

fn any() -> String {
    "*".to_owned()
}

fn one() -> u64 {
    1
}

fn once() -> Option<u64> {
    Some(1)
}

impl Rule {
    /// A rule for the next request with this method and path.
    pub fn once(method: &str, path: &str, action: Action) -> Rule {
        Rule {
            name: String::new(),
            method: method.to_owned(),
            path: path.to_owned(),
            account: None,
            query: None,
            body: None,
            from: 1,
            count: Some(1),
            action,
        }
    }

    pub fn always(method: &str, path: &str, action: Action) -> Rule {
        Rule { count: None, ..Rule::once(method, path, action) }
    }

    pub fn account(self, account: &str) -> Rule {
        Rule { account: Some(account.to_owned()), ..self }
    }

    pub fn from(self, nth: u64) -> Rule {
        Rule { from: nth, ..self }
    }

    pub fn times(self, count: u64) -> Rule {
        Rule { count: Some(count), ..self }
    }

    /// Only requests whose query contains this text.
    pub fn querying(self, text: &str) -> Rule {
        Rule { query: Some(text.to_owned()), ..self }
    }

    /// Only requests whose body contains this text.
    pub fn saying(self, text: &str) -> Rule {
        Rule { body: Some(text.to_owned()), ..self }
    }

    pub fn named(self, name: &str) -> Rule {
        Rule { name: name.to_owned(), ..self }
    }

    fn matches(&self, target: &Target<'_>) -> bool {
        let within = |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|wanted| text.contains(wanted));
        (self.method == "*" || self.method == target.method)
            && fits(&self.path, target.path)
            && self.account.as_deref().is_none_or(|a| Some(a) == target.account)
            && within(&self.query, target.query)
            && within(&self.body, target.body)
    }
}

/// What a rule looks at.
pub struct Target<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub body: &'a str,
    pub account: Option<&'a str>,
}

fn fits(template: &str, path: &str) -> bool {
    if template == "*" {
        return true;
    }
    let (mut wanted, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(w), Some(f)) if w == "*" || w == f => {}
            _ => return false,
        }
    }
}

#[derive(Default)]
pub struct Faults {
    rules: Vec<Counted>,
    next: u64,
}

struct Counted {
    id: u64,
    rule: Rule,
    seen: u64,
    fired: u64,
}

/// How often a rule matched and acted.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    pub id: u64,
    pub seen: u64,
    pub fired: u64,
    pub rule: Rule,
}

impl Faults {
    pub fn add(&mut self, rule: Rule) -> u64 {
        self.next += 1;
        self.rules.push(Counted { id: self.next, rule, seen: 0, fired: 0 });
        self.next
    }

    pub fn remove(&mut self, id: u64) -> bool {
        let before = self.rules.len();
        self.rules.retain(|counted| counted.id != id);
        self.rules.len() < before
    }

    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The rule that this request suffers: the first that is not used up. All that match count.
    pub fn strike(&mut self, target: &Target<'_>) -> Option<Rule> {
        let mut struck = None;
        for counted in &mut self.rules {
            if !counted.rule.matches(target) {
                continue;
            }
            counted.seen += 1;
            let due = counted.seen >= counted.rule.from && counted.rule.count.is_none_or(|count| counted.fired < count);
            if due && struck.is_none() {
                counted.fired += 1;
                struck = Some(counted.rule.clone());
            }
        }
        struck
    }

    pub fn reports(&self) -> Vec<Report> {
        let report = |counted: &Counted| Report {
            id: counted.id,
            seen: counted.seen,
            fired: counted.fired,
            rule: counted.rule.clone(),
        };
        self.rules.iter().map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_fits_one_segment_per_star() {
        assert!(fits("/accounts/*/shares", "/accounts/1/shares"));
        assert!(!fits("/accounts/*/shares", "/accounts/1/shares/2"));
        assert!(!fits("/accounts/*", "/accounts/1/shares"));
        assert!(fits("*", "/anything/at/all"));
    }
}

//! What does the query of a list or a read ask for?

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::answer::{PageInfo, Refusal};
use crate::route;
use crate::rules::{self, QueryArrays, Switches};
use crate::share::{Life, TargetType};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Sent,
    Received,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    Name,
    Created,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Include {
    pub resources: bool,
    pub counts: bool,
}

/// With neither field the answer is the whole list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paging {
    page: Option<usize>,
    per_page: Option<usize>,
    shuffled: bool,
}

/// Pages that were cut from lists without an order.
static SHUFFLED: AtomicUsize = AtomicUsize::new(0);

pub struct Query {
    pairs: Vec<(String, String)>,
    arrays: QueryArrays,
    paging: rules::Paging,
}

pub struct ShareFilter {
    pub status: Option<Life>,
    pub kind: Option<Kind>,
    pub target_type: Option<TargetType>,
    pub resource_types: Vec<String>,
    /// Key and value; without a value any will do.
    pub tags: Vec<(String, Option<String>)>,
    pub order: Order,
    pub descending: bool,
}

impl Query {
    pub fn parse(text: &str, switches: &Switches) -> Query {
        Query { pairs: route::query(text), arrays: switches.query_arrays, paging: switches.paging }
    }

    /// The last value of a key, as usual; an empty one counts as absent.
    pub fn value(&self, key: &str) -> Option<&str> {
        let mut found = self.pairs.iter().rev().filter(|(k, _)| k == key);
        found.next().map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    fn values(&self, key: &str) -> Vec<String> {
        let found = self.pairs.iter().filter(|(k, v)| k == key && !v.is_empty());
        match self.arrays {
            QueryArrays::Repeated => found.map(|(_, v)| v.clone()).collect(),
            QueryArrays::Comma => found.flat_map(|(_, v)| v.split(',').map(str::to_owned)).collect(),
        }
    }

    fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, Refusal> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match words.iter().find(|(word, _)| *word == value) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let words = words.join(", ");
                Err(Refusal::bad(format!("{key}: expected one of {words}")))
            }
        }
    }

    fn flag(&self, key: &str) -> Result<bool, Refusal> {
        let words = [("true", true), ("1", true), ("false", false), ("0", false)];
        Ok(self.word(key, &words)?.unwrap_or(false))
    }

    fn number(&self, key: &str, max: usize) -> Result<Option<usize>, Refusal> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(number) if (1..=max).contains(&number) => Ok(Some(number)),
            _ => Err(Refusal::bad(format!("{key}: expected 1 to {max}"))),
        }
    }

    pub fn paging(&self) -> Result<Paging, Refusal> {
        let page = self.number("page", usize::MAX)?;
        let page = match self.paging {
            rules::Paging::Served | rules::Paging::Shuffled => page,
            rules::Paging::FirstPage => page.map(|_| 1),
        };
        let shuffled = self.paging == rules::Paging::Shuffled;
        Ok(Paging { page, per_page: self.number("per_page", 100)?, shuffled })
    }

    pub fn include(&self) -> Result<Include, Refusal> {
        Ok(Include { resources: self.flag("include_resources")?, counts: self.flag("include_recipient_counts")? })
    }

    pub fn life(&self) -> Result<Option<Life>, Refusal> {
        let words = [("active", Life::Active), ("deleting", Life::Deleting), ("deleted", Life::Deleted)];
        self.word("status", &words)
    }

    pub fn shares(&self) -> Result<ShareFilter, Refusal> {
        let kinds = [("sent", Kind::Sent), ("received", Kind::Received)];
        let targets = [("account", TargetType::Account), ("organization", TargetType::Organization)];
        let orders = [("name", Order::Name), ("created", Order::Created)];
        let directions = [("asc", false), ("desc", true)];
        // A tag's value may hold a comma, so tags are always repeated.
        let tags: Vec<_> = self
            .pairs
            .iter()
            .filter(|(key, tag)| key == "tag" && !tag.is_empty())
            .map(|(_, tag)| match tag.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (tag.clone(), None),
            })
            .collect();
        if tags.len() > 20 {
            return Err(Refusal::bad("tag: at most 20"));
        }
        Ok(ShareFilter {
            status: self.life()?,
            kind: self.word("kind", &kinds)?,
            target_type: self.word("target_type", &targets)?,
            resource_types: self.values("resource_types"),
            tags,
            order: self.word("order", &orders)?.unwrap_or(Order::Created),
            descending: self.word("direction", &directions)?.unwrap_or(false),
        })
    }
}

impl Paging {
    /// The rows of the page, and what `result_info` says about it.
    pub fn cut<'a, T>(&self, rows: &'a [T]) -> (Vec<&'a T>, PageInfo) {
        let total = rows.len();
        let mut rows: Vec<&T> = rows.iter().collect();
        if self.shuffled && total > 0 {
            rows.rotate_left(SHUFFLED.fetch_add(37, Ordering::Relaxed) % total);
        }
        let (page, per_page) = match (self.page, self.per_page) {
            (None, None) => {
                let info = PageInfo { count: total, page: 1, per_page: total, total_count: total, total_pages: 1 };
                return (rows, info);
            }
            (page, per_page) => (page.unwrap_or(1), per_page.unwrap_or(20)),
        };
        let start = (page - 1).saturating_mul(per_page).min(total);
        let end = start.saturating_add(per_page).min(total);
        let info =
            PageInfo { count: end - start, page, per_page, total_count: total, total_pages: total.div_ceil(per_page) };
        (rows[start..end].to_vec(), info)
    }
}

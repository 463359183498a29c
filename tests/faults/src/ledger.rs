//! What did the operator of one life ask for, what came of it, and which request is to go wrong?

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cfshare_simulator::{ShareState, Simulator};
use serde_json::Value;
use tokio::sync::watch;

use crate::cast::{self, Wanted};
use crate::checks;
use crate::point::{Action, Fault, Phase, Place, Point, Side};

/// A request as it reaches the proxy.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub side: Side,
    pub verb: String,
    pub path: String,
    pub query: String,
    pub body: Value,
}

pub struct Ledger {
    pub simulator: Arc<Simulator>,
    pub account: String,
    /// Id of the share that was there before, and is nobody's here.
    pub foreign: String,
    book: Mutex<Book>,
    moved: watch::Sender<u64>,
}

/// An object by kind and name.
pub type Name = (String, String);

pub struct Book {
    pub phase: Phase,
    started: Instant,
    counts: HashMap<Place, u32>,
    /// In the order in which they came.
    pub points: Vec<Point>,
    fault: Option<Fault>,
    pub fired: bool,
    /// As the API server has them, if they are there.
    pub objects: BTreeMap<Name, Value>,
    /// What the Share declared, by generation; the last is what it declares now.
    pub manifests: BTreeMap<i64, Wanted>,
    /// What the test deletes.
    pub doomed: BTreeSet<Name>,
    /// Announced creates that were sent.
    pub attempts: BTreeSet<String>,
    pub violations: Vec<String>,
    /// Everything that was written to the API server, for what must not be in it.
    pub written: Vec<String>,
    /// How many requests wanted to change something.
    pub changes: u64,
    number: u64,
    sweeping: HashMap<u64, Instant>,
    /// When the last complete sweep began.
    pub swept: Option<Instant>,
    story: Vec<String>,
}

impl Ledger {
    pub fn new(simulator: Arc<Simulator>, account: &str, foreign: &str, fault: Option<Fault>) -> Ledger {
        let book = Book {
            phase: Phase::Create,
            started: Instant::now(),
            counts: HashMap::new(),
            points: Vec::new(),
            fault,
            fired: false,
            objects: BTreeMap::new(),
            manifests: BTreeMap::new(),
            doomed: BTreeSet::new(),
            attempts: BTreeSet::new(),
            violations: Vec::new(),
            written: Vec::new(),
            changes: 0,
            number: 0,
            sweeping: HashMap::new(),
            swept: None,
            story: Vec::new(),
        };
        Ledger {
            simulator,
            account: account.to_owned(),
            foreign: foreign.to_owned(),
            book: Mutex::new(book),
            moved: watch::Sender::new(0),
        }
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shares of the account but for the one that was there before.
    pub fn shares(&self) -> Vec<ShareState> {
        let mut shares = self.simulator.state(&self.account);
        shares.retain(|share| share.id != self.foreign);
        shares
    }

    pub fn begin(&self, phase: Phase) {
        let mut book = self.book();
        book.phase = phase;
        book.tell(format!("--- {phase:?}"));
    }

    pub fn violate(&self, what: impl Into<String>) {
        self.book().violate(what);
    }

    /// What happened, line by line.
    pub fn story(&self) -> Vec<String> {
        self.book().story.clone()
    }

    /// Asks again whenever something happens, and now and then.
    pub async fn until<T>(&self, patience: Duration, mut ask: impl FnMut(&Ledger) -> Option<T>) -> Option<T> {
        let end = Instant::now() + patience;
        let mut moved = self.moved.subscribe();
        loop {
            if let Some(found) = ask(self) {
                return Some(found);
            }
            if Instant::now() > end {
                return None;
            }
            // What happens at Cloudflare by itself moves nothing here.
            let _ = tokio::time::timeout(Duration::from_millis(50), moved.changed()).await;
        }
    }

    /// A number for the request, and what is to go wrong with it. `None`: it is of no interest.
    pub fn arrived(&self, arrival: &Arrival) -> Option<(u64, Option<Action>)> {
        let (path, role) = match self.locate(arrival) {
            Some(place) => place,
            None => {
                self.pass_by(arrival);
                return None;
            }
        };
        let shares = self.shares();
        let mut book = self.book();
        let place = Place { phase: book.phase, side: arrival.side, verb: arrival.verb.clone(), path, role };
        let nth = book.counts.entry(place.clone()).or_default();
        *nth += 1;
        let point = Point { nth: *nth, place };
        book.points.push(point.clone());
        book.number += 1;
        let number = book.number;
        if point.place.role == "sweep" {
            book.sweeping.insert(number, Instant::now());
        }
        if arrival.verb != "GET" {
            book.changes += 1;
        }
        if arrival.side == Side::Kubernetes {
            book.written.push(arrival.body.to_string());
        }
        let action = match &book.fault {
            Some(fault) if fault.point == point => Some(fault.action),
            _ => None,
        };
        book.fired |= action.is_some();
        let struck = action.map_or(String::new(), |action| format!("  <<< {}", action.word()));
        let body = if arrival.verb == "GET" { String::new() } else { format!(" {}", arrival.body) };
        book.tell(format!("{number} {point}{body}{struck}"));
        checks::arrived(&mut book, arrival, &point.place, &shares);
        drop(book);
        self.moved.send_modify(|n| *n += 1);
        Some((number, action))
    }

    /// The upstream has carried a request out, or refused it.
    pub fn carried_out(&self, number: u64, arrival: &Arrival, status: u16, body: &Value) {
        let shares = self.shares();
        let mut book = self.book();
        book.tell(format!("{number} -> {status}"));
        if arrival.side == Side::Kubernetes && status == 200 {
            checks::written(&mut book, body, &shares);
            book.note(body);
        }
        drop(book);
        self.moved.send_modify(|n| *n += 1);
    }

    /// The answer is on its way to the operator.
    pub fn replied(&self, number: u64, status: u16) {
        let mut book = self.book();
        if let Some(began) = book.sweeping.remove(&number).filter(|_| status == 200) {
            book.swept = book.swept.max(Some(began));
        }
    }

    /// What the test is about to declare: the operator may know it before the test has its answer.
    pub fn declare(&self, wanted: Wanted) {
        self.book().manifests.insert(i64::MAX, wanted);
    }

    /// The test is about to delete an object.
    pub fn doom(&self, kind: &str, name: &str) {
        self.book().doomed.insert((kind.to_owned(), name.to_owned()));
    }

    /// What the test itself made of an object.
    pub fn edited(&self, object: &Value) {
        self.book().note(object);
        self.moved.send_modify(|n| *n += 1);
    }

    pub fn went(&self, kind: &str, name: &str) {
        self.book().objects.remove(&(kind.to_owned(), name.to_owned()));
        self.moved.send_modify(|n| *n += 1);
    }

    /// Requests that no fault is about.
    fn pass_by(&self, arrival: &Arrival) {
        if arrival.side == Side::Cloudflare {
            self.violate(format!("an unknown call: {} {}", arrival.verb, arrival.path));
        } else if arrival.verb != "GET" {
            let mut book = self.book();
            book.written.push(arrival.body.to_string());
            if !arrival.path.contains("/events") {
                book.violate(format!("an unknown write: {} {}", arrival.verb, arrival.path));
            }
        }
    }

    /// Path with a star for each id, and role.
    fn locate(&self, arrival: &Arrival) -> Option<(String, String)> {
        let parts: Vec<&str> = arrival.path.split('/').filter(|part| !part.is_empty()).collect();
        match (arrival.side, parts.as_slice()) {
            (Side::Kubernetes, ["apis", "cfshare.dev", _, "namespaces", _, plural, name, rest @ ..]) => {
                let verb = arrival.verb.as_str();
                let path = [&[plural.trim_end_matches('s')], rest].concat().join("/");
                (verb != "GET").then(|| (path, (*name).to_owned()))
            }
            (Side::Kubernetes, _) => None,
            (Side::Cloudflare, ["client", "v4", "accounts", _, rest @ ..]) => Some(self.remote_place(arrival, rest)),
            (Side::Cloudflare, _) => None,
        }
    }

    fn remote_place(&self, arrival: &Arrival, parts: &[&str]) -> (String, String) {
        let word = |id: &str| cast::name(id).unwrap_or("?").to_owned();
        let row = |share: &str, row: &str| {
            let share = self.simulator.share(share)?;
            let recipient = share.recipients.iter().find(|r| r.id == row).map(|r| word(&r.account_id));
            recipient.or_else(|| share.resources.iter().find(|r| r.id == row).map(|r| word(&r.resource_id)))
        };
        let role = match (arrival.verb.as_str(), parts) {
            ("GET", ["shares"]) if arrival.query.contains("status=deleting") => "leaving".to_owned(),
            ("GET", ["shares"]) if arrival.query.contains("direction=desc") => "look".to_owned(),
            ("GET", ["shares"]) => "sweep".to_owned(),
            ("POST", ["shares", _, "recipients"]) => word(text(&arrival.body["recipient_account_id"])),
            ("POST", ["shares", _, "resources"]) => word(text(&arrival.body["resource_id"])),
            (_, ["shares", share, _, id]) => row(share, id).unwrap_or("?".to_owned()),
            (_, ["shares", share, ..]) if *share == self.foreign => "foreign".to_owned(),
            _ => String::new(),
        };
        let stars = parts.iter().enumerate().map(|(at, part)| if at % 2 == 1 { "*" } else { part });
        (stars.collect::<Vec<_>>().join("/"), role)
    }
}

impl Book {
    pub fn tell(&mut self, line: String) {
        let at = self.started.elapsed().as_millis();
        self.story.push(format!("{at:>6} {line}"));
    }

    pub fn violate(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.tell(format!("!!! {what}"));
        self.violations.push(what);
    }

    pub fn object(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(kind.to_owned(), name.to_owned()))
    }

    /// Not there, or being deleted.
    pub fn is_doomed(&self, kind: &str, name: &str) -> bool {
        self.object(kind, name).is_none() || self.doomed.contains(&(kind.to_owned(), name.to_owned()))
    }

    /// Takes an object as the API server returned it, unless a newer one is known.
    fn note(&mut self, object: &Value) {
        let name = name_of(object);
        if cast::is_doomed(object) && object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            self.objects.remove(&name);
            return;
        }
        let version = |object: &Value| text(&object["metadata"]["resourceVersion"]).parse::<u64>().unwrap_or(0);
        let known = self.objects.get(&name);
        let gone = known.is_none() && object["metadata"]["generation"].as_i64() > Some(1) && cast::is_doomed(object);
        if gone || known.is_some_and(|known| version(known) > version(object)) {
            return;
        }
        if object["kind"] == "Share" && !cast::is_doomed(object) {
            self.manifests.insert(object["metadata"]["generation"].as_i64().unwrap_or(0), Wanted::of(object));
        }
        self.objects.insert(name, object.clone());
    }
}

pub fn name_of(object: &Value) -> Name {
    (text(&object["kind"]).to_owned(), text(&object["metadata"]["name"]).to_owned())
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

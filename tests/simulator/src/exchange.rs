//! What happens to one request, from its arrival to its answer?

use std::sync::Arc;

use hyper::Response;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::answer::Answer;
use crate::apply;
use crate::arrival::Arrival;
use crate::clock::http_date;
use crate::core::{Core, Held, Holding, Point, Release};
use crate::course::{Applied, Course, End, Pause};
use crate::spoil;
use crate::wire::{Fate, Outgoing, Way};

const JSON: &str = "application/json";

/// What the connection is to do.
pub enum Delivery {
    Answer(Box<Response<Outgoing>>),
    Close,
    Stall,
}

/// One request under way.
struct Exchange {
    core: Arc<Core>,
    arrival: Arrival,
    seq: u64,
    rule: String,
}

pub async fn exchange(core: Arc<Core>, arrival: Arrival, fate: Arc<Fate>) -> Delivery {
    let (seq, rule) = core.update(|state| arrival.open(state));
    let (rule, course) = match rule {
        Some(rule) => (rule.name, Course::under(rule.action)),
        None => (String::new(), Course::plain()),
    };
    let exchange = Exchange { core, arrival, seq, rule };
    if let Applied::Later(after) = course.applied {
        tokio::spawn(async move {
            sleep(after).await;
            exchange.apply();
            exchange.close();
        });
        return Delivery::Close;
    }
    let delivery = exchange.run(course, &fate).await;
    exchange.close();
    delivery
}

impl Exchange {
    async fn run(&self, course: Course, fate: &Fate) -> Delivery {
        match self.pause(course.before, Point::Before).await {
            Release::Go => {}
            Release::ApplyDrop => {
                self.apply();
                return Delivery::Close;
            }
            Release::Drop => return Delivery::Close,
        }
        // What the previous answer was is only true before this one is made.
        let another = match course.end {
            End::Another => self.core.lock().answers.get(&self.answer_key()).cloned(),
            _ => None,
        };
        let answer = match course.applied {
            Applied::Never | Applied::Later(_) => Answer::nothing(),
            Applied::Once => self.apply(),
            Applied::Twice => {
                self.apply();
                self.apply()
            }
        };
        match self.pause(course.after, Point::After).await {
            Release::Go => self.end(course.end, answer, another, fate),
            Release::ApplyDrop | Release::Drop => Delivery::Close,
        }
    }

    fn end(&self, end: End, answer: Answer, another: Option<Vec<u8>>, fate: &Fate) -> Delivery {
        let with = |body: Vec<u8>| Answer { body, ..answer.clone() };
        match end {
            End::Answer(way) => {
                if way == Way::ClosedOnReuse {
                    fate.close_on_reuse();
                }
                self.send(answer, JSON, way)
            }
            End::Spoilt(how) => {
                let body = serde_json::from_slice::<Value>(&answer.body);
                let body = body.map(|body| spoil::spoilt(body, &how).to_string().into_bytes());
                self.send(with(body.unwrap_or_default()), JSON, Way::Whole)
            }
            End::Text { body, content_type } => {
                let content_type = content_type.as_deref().unwrap_or(JSON);
                self.send(with(body.into_bytes()), content_type, Way::Whole)
            }
            End::Another => match another {
                Some(body) => self.send(with(body), JSON, Way::Whole),
                None => self.send(answer, JSON, Way::Whole),
            },
            End::Instead { answer, content_type } => self.send(answer, content_type, Way::Whole),
            End::Close => Delivery::Close,
            End::Reset => {
                fate.reset();
                Delivery::Close
            }
            End::Stall => Delivery::Stall,
        }
    }

    async fn pause(&self, pause: Pause, point: Point) -> Release {
        match pause {
            Pause::None => Release::Go,
            Pause::For(time) => {
                sleep(time).await;
                Release::Go
            }
            Pause::Held => self.held(point).await,
        }
    }

    async fn held(&self, point: Point) -> Release {
        let (release, released) = oneshot::channel();
        let shown = Held {
            id: self.seq,
            rule: self.rule.clone(),
            point,
            method: self.arrival.method.clone(),
            path: self.arrival.path.clone(),
            account: self.arrival.account().map(str::to_owned),
        };
        self.core.update(|state| {
            let holding = Holding { shown, release };
            state.held.insert(self.seq, holding);
        });
        // A reset of the simulator lets go of everything.
        released.await.unwrap_or(Release::Drop)
    }

    /// Carries the request out.
    fn apply(&self) -> Answer {
        self.core.update(|state| {
            let answer = apply::apply(state, &self.arrival);
            if let Some(entry) = state.journal.entry(self.seq) {
                entry.applied += 1;
                entry.outcome = Some(answer.status);
                entry.subject = answer.subject.clone();
            }
            let body = answer.body.clone();
            state.answers.insert(self.answer_key(), body);
            answer
        })
    }

    fn send(&self, answer: Answer, content_type: &str, way: Way) -> Delivery {
        let (date, limits, ray) = self.core.update(|state| {
            let ray = format!("{:016x}-SIM", state.world.ids.word());
            if let Some(entry) = state.journal.entry(self.seq) {
                entry.status = Some(answer.status);
                entry.ray = Some(ray.clone());
            }
            let now = state.world.clock.now();
            let limits = state.gate.headers(now, &self.arrival.credential);
            let account = self.arrival.account().unwrap_or_default();
            let ahead = state.world.switches.of(account).date_ahead_ms * 1000;
            (now + ahead, limits, ray)
        });
        let mut response = Response::builder()
            .status(answer.status)
            .header("date", http_date(date))
            .header("cf-ray", ray)
            .header("server", "cloudflare");
        if answer.status != 204 {
            response = response.header("content-type", content_type);
        }
        if way == Way::Closing {
            response = response.header("connection", "close");
        }
        for (name, value) in limits.into_iter().chain(answer.headers) {
            response = response.header(name, value);
        }
        match response.body(Outgoing::new(answer.body, way)) {
            Ok(response) => Delivery::Answer(Box::new(response)),
            // Only a header that a rule made up can be invalid.
            Err(_) => Delivery::Close,
        }
    }

    fn close(&self) {
        self.core.update(|state| {
            let now = state.world.clock.now();
            if let Some(entry) = state.journal.entry(self.seq) {
                entry.done = true;
                entry.latency_us = Some(now - entry.at);
            }
        });
    }

    fn answer_key(&self) -> (String, String) {
        let account = self.arrival.account().unwrap_or_default();
        (account.to_owned(), self.arrival.method.clone())
    }
}

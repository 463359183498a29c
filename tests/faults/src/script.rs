//! What happens in each phase of a life, and what must be true when it is over?

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cfshare_simulator::{Edit, Life, Policy};
use serde_json::{Value, json};

use crate::cast::{self, SHARE, STRANGER, Wanted};
use crate::ledger::{Ledger, Name, text};
use crate::life::Stage;
use crate::point::Phase;

/// A person and her cluster.
pub struct Script<'a> {
    pub stage: &'a Stage,
    pub namespace: &'a str,
    pub ledger: &'a Ledger,
    /// The second one takes the place of the first.
    pub tokens: &'a [String; 2],
}

/// What is to be when a phase is over.
struct Goal {
    /// Rows of the whole share; none: there is no share.
    share: Option<Wanted>,
    objects: BTreeSet<Name>,
}

impl Goal {
    fn new(share: Wanted, objects: &[(&str, &str)]) -> Goal {
        let objects = objects.iter().map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned())).collect();
        Goal { share: Some(share), objects }
    }
}

impl Script<'_> {
    /// Does what the phase is about, and waits until everything is at rest.
    pub async fn play(&self, phase: Phase) -> Result<(), String> {
        let old = json!({"mode": "log"});
        let new = json!({"mode": "block", "list": [1, 2]});
        let goal = match phase {
            Phase::Create => {
                self.share("waf", &["a", "b"], &[("1", &old)], json!({})).await?;
                self.apply(&cast::recipient("d")).await?;
                self.apply(&cast::resource("3", &old)).await?;
                let share = Wanted::new("waf", &["a", "b", "d"], &[("1", old.clone()), ("3", old)]);
                Goal::new(share, &[("Share", SHARE), ("ShareRecipient", "d"), ("ShareResource", "3")])
            }
            Phase::Edit => {
                self.add_stranger()?;
                self.share("renamed", &["b", "c"], &[("1", &new), ("2", &old)], json!({})).await?;
                self.apply(&cast::recipient("e")).await?;
                self.apply(&cast::resource("3", &new)).await?;
                let resources = [("1", new.clone()), ("2", old), ("3", new)];
                let share = Wanted::new("renamed", &["b", "c", "d", "e", STRANGER], &resources);
                let objects =
                    [("Share", SHARE), ("ShareRecipient", "d"), ("ShareRecipient", "e"), ("ShareResource", "3")];
                Goal::new(share, &objects)
            }
            Phase::Children => {
                self.delete("ShareRecipient", "d").await?;
                self.delete("ShareResource", "3").await?;
                self.share("renamed", &["b", "c"], &[("1", &new)], json!({})).await?;
                let share = Wanted::new("renamed", &["b", "c", "e", STRANGER], &[("1", new)]);
                Goal::new(share, &[("Share", SHARE), ("ShareRecipient", "e")])
            }
            Phase::Rotate => {
                self.stage.kube.put_token(self.namespace, &self.tokens[1]).await?;
                self.stage.simulator.token(&self.tokens[0], Policy { revoked: true, ..Policy::default() });
                let asked = json!({"cfshare.dev/requestedAt": "now"});
                self.share("again", &["b", "c"], &[("1", &new)], asked).await?;
                let share = Wanted::new("again", &["b", "c", "e", STRANGER], &[("1", new)]);
                Goal::new(share, &[("Share", SHARE), ("ShareRecipient", "e")])
            }
            Phase::Delete => {
                self.delete("Share", SHARE).await?;
                self.delete("ShareRecipient", "e").await?;
                Goal { share: None, objects: BTreeSet::new() }
            }
        };
        self.rest(phase, &goal).await
    }

    async fn share(
        &self,
        name: &str,
        recipients: &[&str],
        resources: &[(&str, &Value)],
        notes: Value,
    ) -> Result<(), String> {
        let resources: Vec<(&str, Value)> = resources.iter().map(|(r, meta)| (*r, (*meta).clone())).collect();
        let wanted = Wanted::new(name, recipients, &resources);
        self.ledger.declare(wanted.clone());
        self.apply(&wanted.manifest(&self.ledger.account, notes)).await
    }

    async fn apply(&self, object: &Value) -> Result<(), String> {
        let path = cast::path(self.namespace, text(&object["kind"]), text(&object["metadata"]["name"]));
        let applied = self.stage.kube.apply(&path, object).await?;
        self.ledger.edited(&applied);
        Ok(())
    }

    async fn delete(&self, kind: &str, name: &str) -> Result<(), String> {
        self.ledger.doom(kind, name);
        let left = self.stage.kube.delete(&cast::path(self.namespace, kind, name)).await?;
        if left["kind"] == "Status" {
            self.ledger.went(kind, name);
        } else {
            self.ledger.edited(&left);
        }
        Ok(())
    }

    /// Somebody else adds a recipient to our share: it must stay.
    fn add_stranger(&self) -> Result<(), String> {
        let share = self.ledger.shares().into_iter().find(|share| share.live()).ok_or("there is no share")?;
        let edit = Edit::AddRecipient { share: share.id, account: cast::id(STRANGER) };
        self.stage.simulator.edit(edit).map(drop)
    }

    /// Waits until the goal is reached and a whole sweep later nothing more was written.
    async fn rest(&self, phase: Phase, goal: &Goal) -> Result<(), String> {
        let end = Instant::now() + self.stage.patience;
        let mut last = String::new();
        while Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            let reached = self.ledger.until(left, |ledger| match distance(ledger, goal) {
                None => Some(ledger.book().changes),
                Some(gap) => {
                    last = gap;
                    None
                }
            });
            let Some(changes) = reached.await else { break };
            let mark = Instant::now();
            // Without objects nobody sweeps: what would still be written comes at once.
            let calm = if goal.share.is_none() { Duration::from_millis(600) } else { Duration::from_millis(250) };
            let swept = |ledger: &Ledger| ledger.book().swept.filter(|at| *at >= mark || goal.share.is_none());
            if self.ledger.until(Duration::from_secs(5), swept).await.is_none() && goal.share.is_some() {
                last = "nobody swept".to_owned();
                continue;
            }
            tokio::time::sleep(calm).await;
            if self.ledger.book().changes == changes && distance(self.ledger, goal).is_none() {
                return self.verify(goal).await.map_err(|gap| format!("{phase:?}: {gap}"));
            }
            last = "something is still written".to_owned();
        }
        Err(format!("{phase:?} did not come to rest within {:?}: {last}", self.stage.patience))
    }

    /// The API server says the same as the answers that passed by.
    async fn verify(&self, goal: &Goal) -> Result<(), String> {
        let mut there = BTreeSet::new();
        for kind in ["Share", "ShareRecipient", "ShareResource"] {
            for object in self.stage.kube.list(self.namespace, &cast::plural(kind)).await? {
                let name = text(&object["metadata"]["name"]).to_owned();
                if !cast::is_ready(&object) {
                    return Err(format!("{kind} {name} is not ready: {}", object["status"]));
                }
                there.insert((kind.to_owned(), name));
            }
        }
        if there == goal.objects { Ok(()) } else { Err(format!("objects {there:?} instead of {:?}", goal.objects)) }
    }
}

/// What is missing to the goal.
fn distance(ledger: &Ledger, goal: &Goal) -> Option<String> {
    if !ledger.simulator.quiet(&ledger.account) {
        return Some("Cloudflare is at work".to_owned());
    }
    let live: Vec<_> = ledger.shares().into_iter().filter(|share| share.status != Life::Deleted).collect();
    match (&goal.share, live.as_slice()) {
        (None, []) => {}
        (Some(wanted), [share]) => {
            if let Err(gap) = wanted.stands(share) {
                return Some(gap);
            }
            let rows = cast::live_rows(share);
            let expected: (Vec<String>, Vec<String>) =
                (wanted.recipients.iter().cloned().collect(), wanted.resources.keys().cloned().collect());
            if rows != expected {
                return Some(format!("rows {rows:?} instead of {expected:?}"));
            }
        }
        (_, live) => return Some(format!("{} shares", live.len())),
    }
    let book = ledger.book();
    if book.objects.keys().ne(goal.objects.iter()) {
        return Some(format!("objects {:?}", book.objects.keys().collect::<Vec<_>>()));
    }
    let unready = book.objects.iter().find(|(_, object)| !cast::is_ready(object));
    unready.map(|((kind, name), object)| format!("{kind} {name} is not ready: {}", object["status"]["conditions"]))
}

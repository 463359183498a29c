//! What must hold at every single request?

use cfshare_simulator::{Association, Life, ShareState};
use serde_json::Value;

use crate::cast::{self, STRANGER};
use crate::ledger::{Arrival, Book, name_of, text};
use crate::point::{Place, Side};

/// Checks a request before anything is done with it.
pub fn arrived(book: &mut Book, arrival: &Arrival, place: &Place, shares: &[ShareState]) {
    match (arrival.side, arrival.verb.as_str()) {
        (_, "GET") => {}
        (Side::Cloudflare, "POST") => posted(book, arrival, place, shares),
        (Side::Cloudflare, _) => changed(book, arrival, place, shares),
        (Side::Kubernetes, "PATCH") if place.path.ends_with("/status") => told(book, arrival, place, shares),
        (Side::Kubernetes, "PATCH") => guarded(book, arrival, place, shares),
        (Side::Kubernetes, verb) => book.violate(format!("{verb} {} is no write of ours", arrival.path)),
    }
}

fn live(shares: &[ShareState]) -> impl Iterator<Item = &ShareState> {
    shares.iter().filter(|share| share.status == Life::Active)
}

/// Finalizer before announcement before POST; one POST for each announcement; nobody without exactly one target.
fn posted(book: &mut Book, arrival: &Arrival, place: &Place, shares: &[ShareState]) {
    match place.path.as_str() {
        "shares" => {
            let share = book.object("Share", cast::SHARE).cloned().unwrap_or_default();
            if !cast::is_guarded(&share) {
                book.violate("a share is created before the finalizer is on the object");
            }
            let intent = share["status"]["intent"].clone();
            if !intent.is_object() {
                book.violate("a share is created that was not announced");
            } else if !book.attempts.insert(intent.to_string()) {
                book.violate(format!("the create announced as {intent} is sent twice"));
            }
            if share["status"]["shareID"].is_string() || live(shares).next().is_some() {
                book.violate("a share is created though there is one");
            }
            let recipients = arrival.body["recipients"].as_array().cloned().unwrap_or_default();
            if recipients.is_empty() || !recipients.iter().all(has_one_target) {
                book.violate(format!("a create with recipients {recipients:?}"));
            }
        }
        "shares/*/recipients" => {
            if !has_one_target(&arrival.body) {
                book.violate(format!("a recipient is posted as {}", arrival.body));
            }
            if !is_announced(book, "recipients", "ShareRecipient", &place.role) {
                book.violate(format!("recipient {} is added before that was written down", place.role));
            }
        }
        "shares/*/resources" => {
            if !is_announced(book, "resources", "ShareResource", &place.role) {
                book.violate(format!("resource {} is added before that was written down", place.role));
            }
        }
        other => book.violate(format!("nobody needs POST {other}")),
    }
}

fn has_one_target(recipient: &Value) -> bool {
    let names = ["recipient_account_id", "organization_id"];
    let targets = names.iter().filter(|name| recipient[*name].as_str().is_some_and(|id| !id.is_empty()));
    targets.count() == 1 && recipient.as_object().is_some_and(|all| all.len() == 1)
}

/// Whether an object with a finalizer has written down that it adds the row.
fn is_announced(book: &Book, list: &str, kind: &str, row: &str) -> bool {
    let share = book.object("Share", cast::SHARE);
    let inline = share.is_some_and(|share| {
        cast::is_guarded(share) && recorded(share, list).any(|(name, at)| name == row && at.is_string())
    });
    inline
        || book.object(kind, row).is_some_and(|child| {
            cast::is_guarded(child)
                && child["status"]["intendedAt"].is_string()
                && child["status"]["shareID"].is_string()
        })
}

/// Rows in the inventory of a Share, and when they were announced.
fn recorded<'v>(share: &'v Value, list: &str) -> impl Iterator<Item = (&'v str, &'v Value)> {
    let (rows, id) = (&share["status"]["inventory"][list], if list == "recipients" { "accountID" } else { "id" });
    let rows = rows.as_array().into_iter().flatten();
    rows.map(move |row| (cast::name(text(&row[id])).unwrap_or("?"), &row["intendedAt"]))
}

/// Only what is ours and not wanted is removed, and nothing foreign is changed.
fn changed(book: &mut Book, arrival: &Arrival, place: &Place, shares: &[ShareState]) {
    let share = arrival.path.split('/').nth(6).unwrap_or_default();
    if !shares.iter().any(|ours| ours.id == share) {
        book.violate(format!("{} {} is about a share that is not ours", arrival.verb, arrival.path));
    }
    if arrival.verb != "DELETE" {
        return;
    }
    if place.path == "shares/*" {
        if !book.is_doomed("Share", cast::SHARE) {
            book.violate("the share is deleted though its object is not");
        }
        return;
    }
    let row = place.role.as_str();
    if row == STRANGER || row == "?" {
        book.violate(format!("{} is removed, which nobody here declared", arrival.path));
    }
    let inline = book.manifests.last_key_value().is_some_and(|(_, wanted)| {
        if place.path.contains("recipients") {
            wanted.recipients.contains(row)
        } else {
            wanted.resources.contains_key(row)
        }
    });
    if inline || !book.is_doomed("ShareRecipient", row) || !book.is_doomed("ShareResource", row) {
        book.violate(format!("{row} is removed though it is declared"));
    }
}

/// Only the status is written, and Ready is true.
fn told(book: &mut Book, arrival: &Arrival, place: &Place, shares: &[ShareState]) {
    let body = arrival.body.as_object().cloned().unwrap_or_default();
    if body.keys().any(|key| key != "metadata" && key != "status") || !body.contains_key("status") {
        book.violate(format!("a status write of {:?}", body.keys().collect::<Vec<_>>()));
    }
    only_identity(book, &arrival.body, &[]);
    let ready = cast::condition(&arrival.body, "Ready");
    let Some(ready) = ready.filter(|ready| ready["status"] == "True").cloned() else { return };
    let generation = ready["observedGeneration"].as_i64().unwrap_or(0);
    let kind = place.path.split('/').next().unwrap_or_default();
    let object =
        |kind| book.object(kind, &place.role).filter(|o| o["metadata"]["generation"].as_i64() == Some(generation));
    let wanted = match kind {
        "share" => book.manifests.get(&generation).cloned(),
        "sharerecipient" => object("ShareRecipient").map(|_| {
            let mut wanted = cast::Wanted::default();
            wanted.recipients.insert(place.role.clone());
            wanted
        }),
        "shareresource" => object("ShareResource").map(|object| {
            let mut wanted = cast::Wanted::default();
            wanted.resources.insert(place.role.clone(), object["spec"]["meta"].clone());
            wanted
        }),
        _ => None,
    };
    let Some(mut wanted) = wanted else { return };
    let Some(share) = live(shares).next() else {
        book.violate(format!("{kind} {} says Ready and there is no share", place.role));
        return;
    };
    if kind != "share" {
        wanted.name = share.name.clone();
    }
    if let Err(problem) = wanted.stands(share) {
        book.violate(format!("{kind} {} says Ready at generation {generation}, and {problem}", place.role));
    }
}

/// Of metadata nothing is written but what guards the write, and our finalizer.
fn only_identity(book: &mut Book, body: &Value, more: &[&str]) {
    let keys = body["metadata"].as_object().into_iter().flat_map(|m| m.keys());
    let unknown: Vec<String> = keys
        .filter(|key| !["resourceVersion", "uid"].contains(&key.as_str()) && !more.contains(&key.as_str()))
        .cloned()
        .collect();
    if !unknown.is_empty() {
        book.violate(format!("a write of metadata {unknown:?}"));
    }
    if !body["metadata"]["resourceVersion"].is_string() {
        book.violate("a write that no resourceVersion guards");
    }
}

/// A finalizer goes only when what it guards is definitely gone.
fn guarded(book: &mut Book, arrival: &Arrival, place: &Place, shares: &[ShareState]) {
    only_identity(book, &arrival.body, &["finalizers"]);
    if arrival.body.as_object().is_some_and(|body| body.keys().any(|key| key != "metadata")) {
        book.violate(format!("a write of {}", arrival.body));
    }
    if cast::is_guarded(&arrival.body) {
        return;
    }
    let parent_goes = book.is_doomed("Share", cast::SHARE);
    let row = |names: &ShareState| {
        let recipients = names.recipients.iter().filter(|r| cast::name(&r.account_id) == Some(&place.role));
        let resources = names.resources.iter().filter(|r| cast::name(&r.resource_id) == Some(&place.role));
        recipients.filter(|r| r.status != Association::Disassociated).count()
            + resources.filter(|r| r.status != Life::Deleted).count()
            > 0
    };
    let there = match place.path.as_str() {
        "share" => shares.iter().any(|share| share.status != Life::Deleted),
        _ => !parent_goes && live(shares).any(row),
    };
    if there {
        book.violate(format!("the finalizer of {} {} goes though what it guards is there", place.path, place.role));
    }
}

/// Checks an object after a write of the operator's.
pub fn written(book: &mut Book, object: &Value, shares: &[ShareState]) {
    let (kind, name) = name_of(object);
    let before = book.object(&kind, &name).cloned().unwrap_or_default();
    if before["metadata"]["uid"].is_string() && before["metadata"]["uid"] != object["metadata"]["uid"] {
        return;
    }
    if before["spec"].is_object()
        && before["metadata"]["generation"] == object["metadata"]["generation"]
        && before["spec"] != object["spec"]
    {
        book.violate(format!("the spec of {kind} {name} was written"));
    }
    conditions(book, object, &before);
    let status = |key: &str| (before["status"][key].clone(), object["status"][key].clone());
    let (old_id, id) = status("shareID");
    if old_id.is_string() && id != old_id {
        book.violate(format!("{kind} {name} forgot its share {old_id}: {id}"));
    }
    if kind == "Share" {
        let (old, new) = status("intent");
        if old.is_object() && new != old && !id.is_string() && live(shares).next().is_some() {
            book.violate(format!("the announced create {old} was dropped, and there is what it made"));
        }
        for list in ["recipients", "resources"] {
            let now: Vec<&str> = recorded(object, list).map(|(row, _)| row).collect();
            for (row, _) in recorded(&before, list).filter(|(row, _)| !now.contains(row)) {
                forgotten(book, list, row, shares);
            }
        }
    } else {
        let (was, is) = status("confirmed");
        // Who takes over a call that may still take effect waits for that, and then finds the row in place again.
        let announced = object["status"]["intendedAt"].is_string();
        let list = if kind == "ShareRecipient" { "recipients" } else { "resources" };
        if was == Value::Bool(true) && is != was && !announced && is_live(list, &name, shares) {
            book.violate(format!("{kind} {name} forgot that its row is in place"));
        }
    }
}

fn is_live(list: &str, row: &str, shares: &[ShareState]) -> bool {
    live(shares).any(|share| {
        let (recipients, resources) = cast::live_rows(share);
        if list == "recipients" { recipients.iter().any(|r| r == row) } else { resources.iter().any(|r| r == row) }
    })
}

/// A row leaves the inventory when it is gone, or when a child object has it on record.
fn forgotten(book: &mut Book, list: &str, row: &str, shares: &[ShareState]) {
    let kind = if list == "recipients" { "ShareRecipient" } else { "ShareResource" };
    let taken_over = book.object(kind, row).is_some_and(|child| child["status"]["shareID"].is_string());
    if is_live(list, row, shares) && !taken_over {
        book.violate(format!("the Share forgot {row}, which is there"));
    }
}

/// Ready always, Reconciling and Stalled only while true and never both, generations that fit and never go back.
fn conditions(book: &mut Book, object: &Value, before: &Value) {
    let (kind, name) = name_of(object);
    let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
    let observed = object["status"]["observedGeneration"].as_i64().unwrap_or(-1);
    let had = before["status"]["observedGeneration"].as_i64().unwrap_or(-1);
    if observed > generation || observed < had {
        book.violate(format!("{kind} {name}: observedGeneration {observed} after {had}, generation {generation}"));
    }
    if observed < 0 {
        return;
    }
    if cast::condition(object, "Ready").is_none() {
        book.violate(format!("{kind} {name}: no Ready condition"));
    }
    let course: Vec<&Value> =
        ["Reconciling", "Stalled"].iter().filter_map(|kind| cast::condition(object, kind)).collect();
    if course.len() > 1 || course.iter().any(|c| c["status"] != "True") {
        book.violate(format!("{kind} {name}: Reconciling and Stalled stand as {course:?}"));
    }
    let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    if all.iter().any(|c| c["observedGeneration"].as_i64().is_none_or(|g| g > generation)) {
        book.violate(format!("{kind} {name}: a condition of a generation that is not there"));
    }
}

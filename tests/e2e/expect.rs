//! What must hold of an account's shares after every test.

use std::collections::BTreeMap;

use cfshare_simulator::{Entry, Life, ShareState};

use crate::scene::Scene;

/// One live share of each name, and in it one live row for each recipient and resource.
pub fn nothing_doubled(shares: &[ShareState]) {
    let mut names = BTreeMap::new();
    for share in shares.iter().filter(|share| share.live()) {
        *names.entry(share.name.as_str()).or_insert(0) += 1;
        let mut rows = BTreeMap::new();
        for row in share.live_recipients() {
            *rows.entry(row.account_id.clone()).or_insert(0) += 1;
        }
        for row in share.live_resources() {
            *rows.entry(format!("{}/{}", row.resource_type, row.resource_id)).or_insert(0) += 1;
        }
        assert!(rows.values().all(|count| *count == 1), "rows of {}: {rows:?}", share.name);
    }
    assert!(names.values().all(|count| *count == 1), "{names:?}");
}

/// The only live share, with exactly these recipients and resources.
pub fn only_share<'s>(shares: &'s [ShareState], recipients: &[&str], resources: &[&str]) -> &'s ShareState {
    nothing_doubled(shares);
    let live: Vec<&ShareState> = shares.iter().filter(|share| share.live()).collect();
    let [share] = live.as_slice() else { panic!("not one live share: {shares:#?}") };
    assert!(has(share, recipients, resources), "{share:#?}");
    share
}

/// Whether exactly these recipients and resources are live.
pub fn has(share: &ShareState, recipients: &[&str], resources: &[&str]) -> bool {
    let mut live: Vec<&str> = share.live_recipients().into_iter().map(|row| row.account_id.as_str()).collect();
    let mut active: Vec<&str> = share.live_resources().into_iter().map(|row| row.resource_id.as_str()).collect();
    let (mut recipients, mut resources) = (recipients.to_vec(), resources.to_vec());
    for list in [&mut live, &mut active, &mut recipients, &mut resources] {
        list.sort_unstable();
    }
    live == recipients && active == resources
}

/// Changing calls by method and path without ids, those that were carried out or answered.
pub fn tally(entries: &[Entry]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.changing) {
        *tally.entry(format!("{} {}", entry.method, entry.template)).or_insert(0) += 1;
    }
    tally
}

/// How often a create of a share was sent.
pub fn creates(scene: &Scene<'_>) -> usize {
    tally(&scene.journal()).get("POST /accounts/*/shares").copied().unwrap_or(0)
}

pub fn gone(shares: &[ShareState]) -> bool {
    shares.iter().all(|share| share.status != Life::Active)
}

/// Lets so many sweeps of the account begin and end: what was to happen by itself has happened then.
pub fn sweeps(scene: &Scene<'_>, count: usize) {
    let swept = || {
        let journal = scene.journal();
        let lists = journal.iter().filter(|e| e.method == "GET" && e.path.ends_with("/shares") && e.done);
        let first = |e: &&Entry| e.query.contains("direction=asc") && e.query.split('&').any(|part| part == "page=1");
        lists.filter(first).count()
    };
    let before = swept();
    scene.wait(&format!("{count} sweeps"), || swept() >= before + count);
}

//! Which share did an announced create make?

use std::time::Duration;

use kube::ResourceExt;

use super::facts::{Snapshot, Timing};
use crate::api::Name;
use crate::api::status::CreateIntent;
use crate::cloudflare::{Fingerprint, ShareResource};
use crate::core::id::folded;
use crate::core::row_key::RowKey;
use crate::core::share_step::{self, Candidates, Sighting};
use crate::core::time::At;
use crate::operator::clock;
use crate::operator::remote::observed_rows::resource_key;
use crate::operator::remote::observed_share::ObservedShare;

/// Cloudflare's clock as its headers tell it has whole seconds, and ours of it is a guess.
pub const CLOCK_SLACK: Duration = Duration::from_secs(2);

impl Snapshot<'_> {
    /// Live shares that the announced create may have made, and whether no more can come.
    pub(super) fn candidates(&self, intent: &CreateIntent) -> (Candidates, bool) {
        let Timing { now, settle_time, read_lag, .. } = self.timing;
        // What another credential showed, or did not show, proves nothing.
        let own = |(by, _): &&(Fingerprint, At)| Some(*by) == self.viewer.credential;
        let looks: Vec<At> = self.memory.empty_looks.iter().filter(own).map(|(_, at)| *at).collect();
        let (since, announced) = (self.announced_since(intent), self.memory.announced_at);
        let known_since = self.timing.remote(announced.unwrap_or(self.timing.serving_since));
        let started = started_at(intent).unless_ahead(self.timing.remote(now), known_since);
        let end = started.plus(settle_time).plus(CLOCK_SLACK);
        let remote: Vec<At> = looks.iter().map(|look| self.timing.remote(*look)).collect();
        // Cloudflare's clock may jump: what this process announced settles by its own clock as well, and what was announced at
        // a time that is still to come, by that clock alone.
        let settled = share_step::has_settled(end, &remote, read_lag)
            && announced.is_none_or(|at| share_step::has_settled(at.plus(settle_time), &looks, read_lag));
        if settled && self.is_other_credential() && self.cache.swept.is_some() && self.cache.live().next().is_none() {
            // The sweep will tell if that changes.
            return (Candidates::Hidden, true);
        }
        let fresh = (settle_time / 16).max(Duration::from_millis(400));
        if looks.last().is_none_or(|last| now.since(*last) >= fresh) {
            return (Candidates::Unread, false);
        }
        let bears = |seen: &ObservedShare| seen.share.name == intent.name && seen.share.is_sent_by(&self.desired.owner);
        let is_borne = self.cache.live().any(bears);
        let sightings = self.cache.live().map(|seen| {
            let sure = self.timing.remote(seen.read_at) >= started.plus(read_lag)
                && announced.is_none_or(|at| seen.read_at >= at.plus(read_lag));
            let named = bears(seen) || !is_borne && self.is_respelled(intent, seen);
            self.sighting(intent, seen, named, sure)
        });
        let times = (since.minus(CLOCK_SLACK), self.timing.remote(now).plus(CLOCK_SLACK));
        let candidates = match (share_step::candidates(times, sightings), &self.desired.share_id) {
            // A person chose among those that could be meant.
            (Candidates::Many(ids), Some(chosen)) if ids.contains(chosen) => Candidates::One(chosen.clone()),
            (candidates, _) => candidates,
        };
        (candidates, settled)
    }

    /// Since when a share may have come of the announcement, by Cloudflare's clock. A time that is still to come is that of a clock
    /// that was wrong: then it is when this process announced it, or else when the object was created.
    pub(super) fn announced_since(&self, intent: &CreateIntent) -> At {
        let created = self.object.creation_timestamp().map_or(At::default(), |time| clock::from_time(&time));
        let since = self.memory.announced_at.unwrap_or(created);
        started_at(intent).unless_ahead(self.timing.remote(self.timing.now), self.timing.remote(since))
    }

    /// Whether the share has the announced name as Cloudflare may write it, where no share has it as it was sent. So little
    /// is enough only of one that has come since, with resources that can be compared, and that no other Share asked for.
    fn is_respelled(&self, intent: &CreateIntent, seen: &ObservedShare) -> bool {
        let (share, owner) = (&seen.share, &self.desired.owner);
        let oldest = self.announced_since(intent).minus(CLOCK_SLACK);
        let is_new = share.created.is_some_and(|created| At(created.as_millisecond()) >= oldest);
        let announces = |name: &Name| {
            let other = self.index.shares.find(name);
            other.is_some_and(|other| other.status.as_ref().is_some_and(|status| status.intent.is_some()))
        };
        is_new
            && seen.resources.is_some()
            && share.is_sent_by(owner)
            && spelling(&share.name) == spelling(&intent.name)
            && !self.index.claimants(owner.as_str(), &share.name).iter().any(announces)
    }

    fn sighting(&self, intent: &CreateIntent, seen: &ObservedShare, named: bool, sure: bool) -> Sighting {
        let share = &seen.share;
        let same = |rows: &[ShareResource]| {
            let keys: Vec<RowKey> = rows.iter().map(resource_key).collect();
            fingerprint(&intent.name, keys.iter()) == intent.fingerprint
        };
        Sighting {
            id: share.id.clone(),
            named,
            alike: named && seen.resources.as_deref().is_none_or(same),
            created: share.created.map(|created| At(created.as_millisecond())),
            sure,
            known: intent.known_shares.iter().any(|known| known == share.id.as_str()),
            taken: self.index.is_spoken_for(self.object, share.id.as_str()),
        }
    }
}

pub fn started_at(intent: &CreateIntent) -> At {
    let parsed = intent.started_at.parse::<k8s_openapi::jiff::Timestamp>();
    At(parsed.map_or(0, |time| time.as_millisecond()))
}

/// The name without what Cloudflare may change of it: blanks, case, and characters that are written otherwise in HTML.
fn spelling(name: &str) -> String {
    let escaped = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    escaped.into_iter().fold(name, |name, (escaped, plain)| name.replace(escaped, plain))
}

/// Hash of what a create is recognized by: its name and its resources.
pub fn fingerprint<'a>(name: &str, rows: impl Iterator<Item = &'a RowKey>) -> String {
    use sha2::{Digest, Sha256};
    let mut keys: Vec<String> = rows
        .filter_map(|key| match key {
            RowKey::Resource { kind, id, account } => {
                Some(format!("{kind}\n{}\n{}", folded(id.as_str()), folded(account.as_str())))
            }
            RowKey::Recipient(_) | RowKey::Excluded(_) => None,
        })
        .collect();
    keys.sort();
    let digest = Sha256::digest(format!("{name}\n\n{}", keys.join("\n\n")));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::core::id::{AccountId, ShareId, SourceId};
    use crate::core::share_step::{Step, Wait, Want};
    use crate::operator::share::samples::{self, ID, NOW, credential, id, world};

    /// When the create of the share `waf` was announced, and the status that tells.
    fn announced() -> (At, Value) {
        let announced_at = NOW.minus(Duration::from_secs(600));
        let rows = [RowKey::Resource {
            kind: "custom-ruleset".into(),
            id: SourceId::parse(samples::RULESET).expect("an id"),
            account: AccountId::parse(samples::OWNER).expect("an id"),
        }];
        let status = json!({
            "seenWith": credential("one").to_string(),
            "intent": {
                "attempt": 1, "name": "waf", "startedAt": clock::timestamp(announced_at).to_string(),
                "fingerprint": fingerprint("waf", rows.iter()), "knownShares": [],
            },
        });
        (announced_at, status)
    }

    #[test]
    fn a_share_under_another_spelling_of_the_announced_name_is_ours_only_if_all_else_fits() {
        let (announced_at, status) = announced();
        let other = "5a5e0000000000000000000000000002";
        let step = |shares: Vec<(&str, Value)>| {
            let remote = shares.into_iter().map(|(id, mut fields)| {
                let created = clock::timestamp(announced_at.plus(Duration::from_secs(1))).to_string();
                fields.as_object_mut().expect("fields").entry("created").or_insert(created.into());
                samples::remote(id, fields)
            });
            let world = world(status.clone(), remote.collect());
            let at = |seconds| (credential("one"), NOW.minus(Duration::from_secs(seconds)));
            world.with(|world| world.memory.empty_looks = vec![at(200), at(100), at(1)]).step()
        };
        let bind = |id: &str| Step::Bind { id: ShareId::parse(id).expect("an id"), adopted: false };
        let before = clock::timestamp(announced_at.minus(Duration::from_secs(3))).to_string();
        let respelled = || (ID, json!({"name": " WAF"}));
        let table = [
            ("respelled", vec![respelled()], bind(ID)),
            ("another name", vec![(ID, json!({"name": "rules"}))], Step::GiveUp),
            ("made before", vec![(ID, json!({"name": "WAF", "created": before}))], Step::GiveUp),
            ("made nobody knows when", vec![(ID, json!({"name": "WAF", "created": null}))], Step::GiveUp),
            ("with other resources", vec![(ID, json!({"name": "WAF", "resources": []}))], Step::GiveUp),
            ("with unknown resources", vec![(ID, json!({"name": "WAF", "resources": null}))], Step::GiveUp),
            ("another one has the very name", vec![respelled(), (other, json!({}))], bind(other)),
            ("somebody else's has the very name", vec![respelled(), (other, json!({"resources": []}))], Step::GiveUp),
        ];
        for (what, shares, expected) in table {
            assert_eq!(step(shares), expected, "{what}");
        }
        assert_eq!(spelling("R&D  <Rules>"), spelling("r&amp;d &lt;rules&gt; "));
    }

    #[test]
    fn a_create_that_was_announced_at_a_time_still_to_come_settles_by_our_own_clock() {
        let (_, mut status) = announced();
        status["intent"]["startedAt"] = clock::timestamp(NOW.plus(Duration::from_secs(7200))).to_string().into();
        let ago = |seconds| NOW.minus(Duration::from_secs(seconds));
        let table = [
            ("announced long ago", Some(ago(600)), ago(900), Step::GiveUp),
            ("announced a while ago", Some(ago(200)), ago(900), Step::Wait(Wait::Settle)),
            ("announced before a restart", None, ago(600), Step::GiveUp),
            ("shortly after a restart", None, ago(200), Step::Wait(Wait::Settle)),
        ];
        let made = || samples::remote(ID, json!({"created": clock::timestamp(ago(199)).to_string()}));
        let bound = Step::Bind { id: id(), adopted: false };
        let settled =
            table.iter().map(|(what, at, since, expected)| (*what, *at, *since, Vec::new(), expected.clone()));
        let with_one = table.iter().map(|(what, at, since, _)| (*what, *at, *since, vec![made()], bound.clone()));
        for (what, announced_at, serving_since, remote, expected) in settled.chain(with_one) {
            let world = world(status.clone(), remote).with(|world| {
                world.memory.empty_looks = [190, 100, 1].map(|seconds| (credential("one"), ago(seconds))).into();
                world.memory.announced_at = announced_at;
                world.serving_since = serving_since;
            });
            assert_eq!(world.step(), expected, "{what}");
        }
    }

    #[test]
    fn an_announced_create_is_resolved_only_by_looks_of_the_credential_that_sent_it() {
        let (announced_at, status) = announced();
        let looks = |by: &str| {
            let at = |seconds| (credential(by), NOW.minus(Duration::from_secs(seconds)));
            vec![at(200), at(100), at(1)]
        };
        let made = || {
            let created = clock::timestamp(announced_at.plus(Duration::from_secs(1))).to_string();
            samples::remote(ID, json!({"created": created}))
        };
        let announced =
            |remote, by: &str| world(status.clone(), remote).with(|world| world.memory.empty_looks = looks(by));
        let table = [
            ("no look yet", world(status.clone(), vec![made()]), Step::Read(Want::List)),
            ("made", announced(vec![made()], "one"), Step::Bind { id: id(), adopted: false }),
            ("not made", announced(Vec::new(), "one"), Step::GiveUp),
            ("looked at with another credential", announced(Vec::new(), "two"), Step::Read(Want::List)),
            (
                "made by somebody with other resources",
                announced(vec![samples::remote(ID, json!({"resources": []}))], "one"),
                Step::GiveUp,
            ),
        ];
        for (what, world, expected) in table {
            assert_eq!(world.step(), expected, "{what}");
        }
    }
}

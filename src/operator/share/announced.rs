//! Which share did an announced create make?

use std::borrow::Cow;
use std::time::Duration;

use icu_normalizer::ComposingNormalizerBorrowed;
use kube::ResourceExt;

use super::facts::{Snapshot, Timing};
use crate::api::Name;
use crate::api::status::CreateIntent;
use crate::cloudflare::{Fingerprint, ShareResource};
use crate::core::id::{folded, same};
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
        let Timing { now, fresh_since, settle_time, read_lag, .. } = self.timing;
        // What another credential showed, or did not show, proves nothing.
        let own = |(by, _): &&(Fingerprint, At)| Some(*by) == self.viewer.credential;
        let looks: Vec<At> = self.memory.looks_back.iter().filter(own).map(|(_, at)| *at).collect();
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
        // However long a look of this pass took, it is not repeated. What it proves is as of its beginning.
        let is_fresh = |last: &At| now.since(*last) < fresh || *last >= fresh_since;
        if !looks.last().is_some_and(is_fresh) {
            return (Candidates::Unread, false);
        }
        let bears = |seen: &ObservedShare| seen.share.name == intent.name && seen.share.is_sent_by(&self.desired.owner);
        let is_borne = self.cache.live().any(bears);
        let is_sure = |seen: &ObservedShare| {
            self.timing.remote(seen.read_at) >= started.plus(read_lag)
                && announced.is_none_or(|at| seen.read_at >= at.plus(read_lag))
        };
        let by_name = self.cache.live().map(|seen| {
            let named = bears(seen) || !is_borne && self.is_respelled(intent, seen);
            self.sighting(intent, seen, named, is_sure(seen))
        });
        let times = (since.minus(CLOCK_SLACK), self.timing.remote(now).plus(CLOCK_SLACK));
        let mut found = share_step::candidates(times, by_name);
        if found == Candidates::None {
            // Only where the read must show what is: then it would show one that has the announced name.
            let by_id = self.cache.live().filter(|seen| is_sure(seen) && self.is_in_response(intent, seen));
            found = share_step::candidates(times, by_id.map(|seen| self.sighting(intent, seen, true, true)));
        }
        let candidates = match (found, &self.desired.share_id) {
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
        let share = &seen.share;
        self.has_come_since(intent, seen)
            && seen.resources.is_some()
            && share.is_sent_by(&self.desired.owner)
            && spelling(&share.name) == spelling(&intent.name)
            && !self.may_be_another_ones(seen)
    }

    /// Whether the response to the create was about this share, though with another name: Cloudflare may rewrite names in a way
    /// that nobody knows. It was not there before the create; here it must be as declared in all else. Where its resources
    /// cannot be compared, it must have come since.
    fn is_in_response(&self, intent: &CreateIntent, seen: &ObservedShare) -> bool {
        let share = &seen.share;
        intent.response_share_id.as_deref().is_some_and(|id| same(id, share.id.as_str()))
            && share.is_sent_by(&self.desired.owner)
            && self.fits(share)
            && (seen.resources.is_some() || self.has_come_since(intent, seen))
            && !self.may_be_another_ones(seen)
    }

    /// Whether the share has come since the announcement, by what it says itself.
    fn has_come_since(&self, intent: &CreateIntent, seen: &ObservedShare) -> bool {
        let oldest = self.announced_since(intent).minus(CLOCK_SLACK);
        seen.share.created.is_some_and(|created| At(created.as_millisecond()) >= oldest)
    }

    /// Whether another Share has announced a create of that very name.
    fn may_be_another_ones(&self, seen: &ObservedShare) -> bool {
        let announces = |name: &Name| {
            let other = self.index.shares.find(name);
            other.is_some_and(|other| other.status.as_ref().is_some_and(|status| status.intent.is_some()))
        };
        self.index.claimants(self.desired.owner.as_str(), &seen.share.name).iter().any(announces)
    }

    fn sighting(&self, intent: &CreateIntent, seen: &ObservedShare, named: bool, sure: bool) -> Sighting {
        let share = &seen.share;
        let same = |rows: &[ShareResource]| {
            let keys: Vec<RowKey> = rows.iter().map(resource_key).collect();
            is_fingerprint(&intent.fingerprint, &intent.name, &keys)
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

/// The name without what Cloudflare may change of it: blanks, case, characters that are written otherwise in HTML, and letters
/// that Unicode writes in two ways.
fn spelling(name: &str) -> String {
    let escaped = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let name = escaped.into_iter().fold(name, |name, (escaped, plain)| name.replace(escaped, plain));
    ComposingNormalizerBorrowed::new_nfc().normalize(&name).into_owned()
}

/// Hash of what a create is recognized by: its name and its resources.
pub fn fingerprint<'a>(name: &str, rows: impl Iterator<Item = &'a RowKey>) -> String {
    hash(name, rows, folded)
}

/// Whether the recorded fingerprint is that of this name and these rows. Version 0.1.0 took UUIDs with their dashes.
fn is_fingerprint(recorded: &str, name: &str, rows: &[RowKey]) -> bool {
    [folded, with_dashes].into_iter().any(|form| hash(name, rows.iter(), form) == recorded)
}

fn with_dashes(id: &str) -> Cow<'_, str> {
    id.to_ascii_lowercase().into()
}

fn hash<'a>(name: &str, rows: impl Iterator<Item = &'a RowKey>, form: fn(&str) -> Cow<'_, str>) -> String {
    use sha2::{Digest, Sha256};
    let mut keys: Vec<String> = rows
        .filter_map(|key| match key {
            RowKey::Resource { kind, id, account } => {
                Some(format!("{kind}\n{}\n{}", form(id.as_str()), form(account.as_str())))
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
    use crate::operator::pass::memory::Announcement;
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
    fn a_look_that_took_long_is_not_repeated_in_the_pass_that_made_it() {
        let (_, status) = announced();
        let ago = |seconds| NOW.minus(Duration::from_secs(seconds));
        let step = |pass_began| {
            let world = world(status.clone(), Vec::new()).with(|world| {
                world.memory.looks_back = [200, 100, 40].map(|seconds| (credential("one"), ago(seconds))).into();
                world.fresh_since = pass_began;
            });
            world.step()
        };
        assert_eq!(step(ago(41)), Step::GiveUp);
        assert_eq!(step(ago(39)), Step::Read(Want::List), "it was another pass");
    }

    #[test]
    fn a_create_that_version_0_1_0_announced_is_recognized() {
        let uuid = "F174E90A-FAFE-4643-BBBC-4A0ED4FC8415";
        let row = |id: &str| RowKey::Resource {
            kind: "gateway-policy".into(),
            id: SourceId::parse(id).expect("an id"),
            account: AccountId::parse(samples::OWNER).expect("an id"),
        };
        let hex = uuid.replace('-', "");
        // sha256 of the text "gateway\n\ngateway-policy\n<the id in lower case>\n<the account>", its first half.
        let recorded = "db7d652debb7993facd9e97a5718d834";
        assert!(is_fingerprint(recorded, "gateway", &[row(uuid)]));
        assert!(!is_fingerprint(recorded, "gateway", &[row(&hex)]), "its dashes counted");
        let now = fingerprint("gateway", [row(&hex)].iter());
        assert!(is_fingerprint(&now, "gateway", &[row(uuid)]) && is_fingerprint(&now, "gateway", &[row(&hex)]));
        assert!(!is_fingerprint(&now, "other", &[row(uuid)]));
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
            world.with(|world| world.memory.looks_back = vec![at(200), at(100), at(1)]).step()
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
        assert_eq!(spelling("Cafe\u{301} x"), spelling("caf\u{e9} x"));
        assert_ne!(spelling("cafe x"), spelling("caf\u{e9} x"));
    }

    #[test]
    fn the_share_in_the_response_is_ours_under_any_name_but_only_if_all_else_fits() {
        let (announced_at, mut status) = announced();
        status["intent"]["responseShareID"] = ID.into();
        let other = "5a5e0000000000000000000000000002";
        let ago = |seconds| NOW.minus(Duration::from_secs(seconds));
        let looked = |shares: Vec<(&str, Value)>| {
            let remote = shares.into_iter().map(|(id, fields)| {
                let created = clock::timestamp(announced_at.plus(Duration::from_secs(1))).to_string();
                let mut all = json!({"name": "wa", "created": created});
                all.as_object_mut().expect("fields").extend(fields.as_object().cloned().unwrap_or_default());
                samples::remote(id, all)
            });
            world(status.clone(), remote.collect()).with(|world| {
                world.memory.looks_back = [200, 100, 1].map(|seconds| (credential("one"), ago(seconds))).into();
            })
        };
        let bind = |id: &str| Step::Bind { id: ShareId::parse(id).expect("an id"), adopted: false };
        let before = clock::timestamp(announced_at.minus(Duration::from_secs(3))).to_string();
        let table = [
            ("it", vec![(ID, json!({}))], bind(ID)),
            ("made nobody knows when", vec![(ID, json!({"created": null}))], bind(ID)),
            ("another one", vec![(other, json!({}))], Step::GiveUp),
            ("deleted since", vec![(ID, json!({"status": "deleting"}))], Step::GiveUp),
            ("of another account", vec![(ID, json!({"account_id": samples::ALPHA}))], Step::GiveUp),
            ("received", vec![(ID, json!({"kind": "received"}))], Step::GiveUp),
            ("with another target", vec![(ID, json!({"target_type": "organization"}))], Step::GiveUp),
            ("with other resources", vec![(ID, json!({"resources": []}))], Step::GiveUp),
            ("with unknown resources", vec![(ID, json!({"resources": null}))], bind(ID)),
            ("with unknown resources, before", vec![(ID, json!({"resources": null, "created": before}))], Step::GiveUp),
            ("another one has the very name", vec![(ID, json!({})), (other, json!({"name": "waf"}))], bind(other)),
            (
                "somebody else's has the very name",
                vec![(ID, json!({})), (other, json!({"name": "waf", "resources": []}))],
                bind(ID),
            ),
        ];
        for (what, shares, expected) in table {
            assert_eq!(looked(shares).step(), expected, "{what}");
        }
        let young = looked(vec![(ID, json!({}))]).with(|world| world.memory.announced_at = Some(ago(30)));
        assert_eq!(young.step(), Step::Wait(Wait::Settle), "the share with the announced name may not be shown yet");
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
                world.memory.looks_back = [190, 100, 1].map(|seconds| (credential("one"), ago(seconds))).into();
                world.memory.announced_at = announced_at;
                world.serving_since = serving_since;
            });
            assert_eq!(world.step(), expected, "{what}");
        }
    }

    #[test]
    fn only_the_very_announcement_that_this_process_did_not_send_is_withdrawn() {
        let (announced_at, status) = announced();
        let intent: CreateIntent = serde_json::from_value(status["intent"].clone()).expect("an announcement");
        let wait = Step::Read(Want::List);
        let table: [(&str, Option<CreateIntent>, At, Step); 6] = [
            ("this one", Some(intent.clone()), announced_at, Step::Withdraw),
            ("none, as after a restart", None, announced_at, wait.clone()),
            (
                "one of another time",
                Some(CreateIntent { started_at: "1970-01-01T00:00:01Z".into(), ..intent.clone() }),
                announced_at,
                wait.clone(),
            ),
            ("another attempt", Some(CreateIntent { attempt: 2, ..intent.clone() }), announced_at, wait.clone()),
            (
                "one of other rows",
                Some(CreateIntent { fingerprint: "f".into(), ..intent.clone() }),
                announced_at,
                wait.clone(),
            ),
            (
                "this one, and another process served meanwhile",
                Some(intent),
                announced_at.minus(Duration::from_secs(1)),
                wait,
            ),
        ];
        for (what, unsent, at, expected) in table {
            let world = world(status.clone(), vec![samples::remote(ID, json!({}))]).with(|world| {
                world.serving_since = announced_at;
                if let Some(unsent) = unsent {
                    world.memory.note_unsent(&Announcement::Create(Box::new(unsent)), Some(at));
                }
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
            |remote, by: &str| world(status.clone(), remote).with(|world| world.memory.looks_back = looks(by));
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

//! Which of several Shares may have a share at Cloudflare, or a name there: also those that are out of scope.

use std::sync::Arc;

use super::claimant::{Claim, Claimant, declares_recipients, folded_id};
use super::index::Index;
use crate::api::{Kind, Name, Share, is_deleting, observes};

impl Index {
    /// All that name this remote share: in scope, and out of it.
    fn claimants_naming(&self, share_id: &str) -> Vec<Claimant> {
        let names = self.relations.lock().by_share_id.get(&folded_id(share_id)).cloned();
        self.claimants_among(names)
    }

    /// Those of them that are not the one of that name.
    fn rivals_for(&self, own: &Name, share_id: &str) -> Vec<Claimant> {
        let mut rivals = self.claimants_naming(share_id);
        rivals.retain(|rival| rival.name != *own);
        rivals
    }

    /// All that want a share of the same name in the same account but the one of that name.
    fn claimants_wanting(&self, share: &Share) -> Vec<Claimant> {
        let names = self.relations.lock().by_claim.get(&Claim::of(share)).cloned();
        let (mut rivals, own) = (self.claimants_among(names), Name::of(share));
        rivals.retain(|rival| rival.name != own && !rival.observes && !rival.by_id);
        rivals
    }

    fn claimants_among(&self, names: Option<Vec<Name>>) -> Vec<Claimant> {
        let shares = names.iter().flatten().filter_map(|name| self.shares.known(name));
        shares.map(|share| Claimant::of(&share)).collect()
    }

    /// Whether of all objects that name this remote share the given one manages it: the oldest of those that have it, else the
    /// oldest.
    pub fn owns(&self, share: &Share, share_id: &str) -> bool {
        let own = Claimant::of(share);
        self.claimants_of_share(&own, share_id).iter().all(|rival| own.rank_for_share() < rival.rank_for_share())
    }

    /// Whether that Share has this remote share, and does not merely want it.
    pub fn manages(&self, name: &Name, share_id: &str) -> bool {
        let claimant = self.shares.known(name).map(|share| Claimant::of(&share));
        claimant.is_some_and(|claimant| claimant.bound && claimant.share_ids.contains(&folded_id(share_id)))
    }

    /// The others that may manage this remote share.
    fn claimants_of_share(&self, own: &Claimant, share_id: &str) -> Vec<Claimant> {
        let mut rivals = self.rivals_for(&own.name, share_id);
        rivals.retain(|rival| rival.may_manage(&own.claim.account, share_id));
        rivals
    }

    /// Whether an object manages this remote share of the account.
    pub fn is_managed(&self, account: &str, share_id: &str) -> bool {
        let manages = |claimant: &Claimant| claimant.bound && claimant.may_manage(&folded_id(account), share_id);
        self.claimants_naming(share_id).iter().any(manages)
    }

    /// Other Shares in scope that manage this remote share of the account, or may take it over: none while the Share of that
    /// name has it and stays.
    pub fn successors_of(&self, own: &Name, account: &str, share_id: &str) -> Vec<Arc<Share>> {
        let stays = |share: &Arc<Share>| !is_deleting(&share.metadata) && !observes(share);
        let has_it = self.shares.known(own).filter(stays).is_some_and(|share| self.owns(&share, share_id));
        if has_it && self.manages(own, share_id) {
            return Vec::new();
        }
        let mut others = self.rivals_for(own, share_id);
        others.retain(|other| other.may_manage(&folded_id(account), share_id));
        others.iter().filter_map(|other| self.shares.find(&other.name)).filter(stays).collect()
    }

    /// Whether another object of the account is bound to this remote share, or wants it by id.
    pub fn is_spoken_for(&self, share: &Share, share_id: &str) -> bool {
        !self.claimants_of_share(&Claimant::of(share), share_id).is_empty()
    }

    /// Whether another object of the account names this remote share, if only to observe it.
    pub fn is_named(&self, share: &Share, share_id: &str) -> bool {
        let own = Claimant::of(share);
        self.rivals_for(&own.name, share_id).iter().any(|other| other.claim.account == own.claim.account)
    }

    /// Whether of all objects that want a share of that name in that account the given one may have it: the one that
    /// has it already, else the oldest of those that can act. An object that declares no recipients or no resources cannot be
    /// created, so it neither stands in the way of another one nor is refused on account of one. Of several that cannot act
    /// each may try, in turn: none takes a name by a refusal.
    pub fn claims(&self, share: &Share) -> bool {
        let own = Claimant::of(share);
        let yields = |rival: &Claimant| own.idle && rival.idle || own.rank() < rival.rank();
        !self.has_something(&own) || self.claimants_of_name(share).iter().all(yields)
    }

    /// The others that may have the name.
    fn claimants_of_name(&self, share: &Share) -> Vec<Claimant> {
        let mut rivals = self.claimants_wanting(share);
        rivals.retain(|rival| self.has_something(rival));
        rivals
    }

    /// Another object that wants the share's name and does not get it, for a message.
    pub fn refused_rival(&self, share: &Share) -> Option<Name> {
        let made = |rival: &Claimant| !rival.share_ids.is_empty();
        self.claimants_wanting(share).iter().filter(|rival| !made(rival)).map(|rival| rival.name.clone()).min()
    }

    /// Whether there is something to claim a name with: a share, an announced create, or rows to create one from.
    fn has_something(&self, claimant: &Claimant) -> bool {
        if claimant.made || claimant.declares_rows {
            return true;
        }
        let Some(share) = self.shares.find(&claimant.name) else { return false };
        let declares = |kind: Kind| {
            let lives = |key| self.child(key).is_some_and(|child| !child.is_suspended() && !child.is_deleting());
            self.children(&claimant.name).iter().any(|key| key.kind == kind && lives(key))
        };
        (declares_recipients(&share) || declares(Kind::ShareRecipient))
            && (!share.spec.resources.is_empty() || declares(Kind::ShareResource))
    }

    /// The object that stands in the way, for a message: the one that manages this remote share, or has the name.
    pub fn rival(&self, share: &Share, share_id: Option<&str>) -> Option<Name> {
        let first = match share_id {
            Some(id) => {
                let rivals = self.claimants_of_share(&Claimant::of(share), id);
                rivals.into_iter().min_by(|a, b| a.rank_for_share().cmp(&b.rank_for_share()))
            }
            None => self.claimants_of_name(share).into_iter().min_by(|a, b| a.rank().cmp(&b.rank())),
        };
        first.map(|rival| rival.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::reconciled::{Reconciled, store};
    use super::*;
    use crate::api::{FINALIZER, ShareRecipient};
    use crate::core::time::At;

    const OWNER: &str = "023e105f4ecef8ad9ca31a8372d0c353";
    const ID: &str = "5a5e0000000000000000000000000001";

    /// A Share named waf, created in that second.
    fn share(namespace: &str, second: u8, spec: Value, status: Value) -> Share {
        let mut all = json!({
            "accountID": OWNER,
            "name": "waf",
            "recipients": [{"accountID": "372e67954025e0ba6aaa6d586b9e0b59"}],
            "resources": [{"type": "custom-ruleset", "id": "2f2feab2026849078ba485f918791bdc"}],
        });
        all.as_object_mut().expect("an object").extend(spec.as_object().expect("fields").clone());
        let mut recorded = json!({"boundUID": namespace});
        recorded.as_object_mut().expect("an object").extend(status.as_object().expect("fields").clone());
        let object = json!({
            "apiVersion": "cfshare.dev/v1alpha1",
            "kind": "Share",
            "metadata": {
                "name": "waf", "namespace": namespace, "uid": namespace,
                "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
            },
            "spec": all,
            "status": recorded,
        });
        serde_json::from_value(object).expect("a Share")
    }

    fn plain(namespace: &str, second: u8) -> Share {
        share(namespace, second, json!({}), json!({}))
    }

    /// Those with the label `left` are out of scope.
    fn objects(shares: &[Share]) -> Index {
        let index = Index::new(vec![store(shares)], vec![store(&[])], vec![store(&[])]);
        let index = index.within(&"!left".parse().expect("a selector"));
        shares.iter().for_each(|share| drop(index.applied(share, At(0))));
        index
    }

    /// The same Share once it is out of scope.
    fn left(share: &Share, has_finalizer: bool) -> Share {
        let mut left = share.clone();
        left.metadata.labels = Some([("left".to_owned(), String::new())].into());
        left.metadata.finalizers = has_finalizer.then(|| vec![FINALIZER.to_owned()]);
        left
    }

    /// Which of these Shares may have the name.
    fn winners(index: &Index, shares: &[Share]) -> Vec<String> {
        let winners = shares.iter().filter(|share| index.claims(share));
        winners.map(|share: &Share| Name::of(share).namespace.to_string()).collect()
    }

    #[test]
    fn the_oldest_has_the_name_and_of_two_in_one_second_the_first_by_name() {
        let shares = [plain("c", 1), plain("b", 1), plain("a", 2)];
        assert_eq!(winners(&objects(&shares), &shares), ["b"]);
        for loser in [0, 2] {
            assert_eq!(objects(&shares).rival(&shares[loser], None), Some(Name::new("b", "waf")));
        }
    }

    #[test]
    fn who_has_a_share_of_the_name_or_is_creating_one_keeps_it() {
        let intent =
            json!({"intent": {"attempt": 1, "fingerprint": "", "name": "waf", "startedAt": "2026-01-01T00:00:30Z"}});
        for record in [json!({"shareID": ID, "shareName": "waf"}), intent] {
            let shares = [plain("a", 1), share("b", 2, json!({}), record), plain("c", 3)];
            assert_eq!(winners(&objects(&shares), &shares), ["b"]);
            assert_eq!(objects(&shares).rival(&shares[2], None), Some(Name::new("b", "waf")));
        }
    }

    #[test]
    fn who_only_saw_a_share_while_the_operator_changed_nothing_has_no_claim_to_it() {
        let effective = json!({"deletionPolicy": "Delete", "managementPolicy": "Observe", "maxRemovals": 5});
        let saw = share("a", 1, json!({}), json!({"boundUID": null, "shareID": ID, "effective": effective}));
        let shares = [saw, plain("b", 2)];
        let index = objects(&shares);
        assert_eq!(index.naming(ID), [Name::new("a", "waf")], "it hears of what becomes of the share");
        assert!(index.is_named(&shares[1], ID) && !index.is_spoken_for(&shares[1], ID));
        assert!(index.owns(&shares[1], ID));
    }

    #[test]
    fn who_has_nothing_to_share_does_not_stand_in_the_way_until_an_object_brings_it() {
        let empty = share("a", 1, json!({"recipients": []}), json!({}));
        let shares = [empty, plain("b", 2)];
        let index = objects(&shares);
        assert!(index.claims(&shares[1]));
        let child = json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "ShareRecipient", "metadata": {"name": "one", "namespace": "a"},
            "spec": {"shareRef": {"name": "waf"}, "accountID": "372e67954025e0ba6aaa6d586b9e0b59"},
        });
        let child: ShareRecipient = serde_json::from_value(child).expect("a ShareRecipient");
        let index = Index::of(&shares, &[child], &[], At(0));
        assert_eq!(winners(&index, &shares), ["a"]);
    }

    #[test]
    fn who_only_observes_a_share_names_it_and_keeps_nobody_from_it() {
        let observes = json!({"managementPolicy": "Observe"});
        let by_id = share("a", 1, json!({"managementPolicy": "Observe", "shareID": ID}), json!({}));
        let bound = share("a", 1, observes, json!({"shareID": ID, "shareName": "waf"}));
        for observing in [by_id, bound] {
            let shares = [observing, plain("b", 2)];
            let index = objects(&shares);
            assert!(index.is_named(&shares[1], ID) && !index.is_spoken_for(&shares[1], ID));
            assert!(!index.is_named(&shares[0], ID), "the others are meant");
        }
    }

    #[test]
    fn who_only_observes_or_wants_a_share_by_its_id_takes_no_name() {
        let observes = share("a", 1, json!({"managementPolicy": "Observe"}), json!({}));
        let by_id = share("b", 1, json!({"shareID": ID}), json!({}));
        let shares = [observes, by_id, plain("c", 2)];
        assert!(objects(&shares).claims(&shares[2]));
    }

    #[test]
    fn a_share_of_an_account_belongs_to_the_oldest_object_of_that_account() {
        let record = json!({"shareID": ID, "shareName": "waf"});
        let other = json!({"accountID": "372e67954025e0ba6aaa6d586b9e0b59"});
        let shares = [
            share("a", 1, other, record.clone()),
            share("b", 2, json!({"managementPolicy": "Observe"}), record.clone()),
            share("c", 3, json!({}), record.clone()),
            share("d", 4, json!({}), record),
        ];
        let index = objects(&shares);
        assert!(index.owns(&shares[2], ID));
        assert!(!index.owns(&shares[3], ID));
        assert_eq!(index.rival(&shares[3], Some(ID)), Some(Name::new("c", "waf")));
        assert!(index.is_spoken_for(&shares[2], ID));
        assert!(index.is_named(&shares[2], ID));
    }

    #[test]
    fn an_id_written_into_an_older_manifest_takes_a_share_from_nobody() {
        let shares = [
            share("a", 1, json!({"shareID": ID}), json!({})),
            share("b", 2, json!({}), json!({"shareID": ID, "shareName": "waf"})),
            share("c", 3, json!({"shareID": ID}), json!({})),
        ];
        let index = objects(&shares);
        assert!(index.owns(&shares[1], ID) && !index.owns(&shares[0], ID) && !index.owns(&shares[2], ID));
        assert_eq!(index.rival(&shares[0], Some(ID)), Some(Name::new("b", "waf")));
        assert!(index.manages(&Name::new("b", "waf"), ID) && !index.manages(&Name::new("a", "waf"), ID));
        let index = objects(&[left(&shares[0], true), shares[1].clone()]);
        assert!(index.owns(&shares[1], ID), "nor out of scope");
        let unbound = [shares[0].clone(), shares[2].clone()];
        assert!(objects(&unbound).owns(&shares[0], ID), "where nobody has it, the oldest adopts it");
    }

    #[test]
    fn who_made_nothing_and_cannot_leaves_the_name_to_others_until_a_pass_says_otherwise() {
        let said = |kind: &str, status: &str, reason: &str| {
            json!({
                "type": kind, "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:01:00Z",
            })
        };
        let says =
            |reason: &str| json!({"conditions": [said("Ready", "False", reason), said("Stalled", "True", reason)]});
        let waiting = |reason: &str| share("a", 1, json!({}), says(reason));
        let suspended = share("a", 1, json!({"suspend": true}), json!({}));
        let hindered = ["CredentialsNotFound", "Denied", "OrganizationNotAllowed"].map(waiting);
        for idle in hindered.into_iter().chain([suspended]) {
            let shares = [idle.clone(), plain("b", 2)];
            assert_eq!(winners(&objects(&shares), &shares), ["b"]);
            let alone = std::slice::from_ref(&idle);
            assert_eq!(winners(&objects(alone), alone), ["a"]);
            let both = [idle, share("b", 2, json!({}), says("Denied"))];
            assert_eq!(winners(&objects(&both), &both), ["a", "b"], "either may be the one that can first");
        }
        let passing = json!({"conditions": [said("Ready", "Unknown", "Denied")]});
        let shares = [share("a", 1, json!({}), passing), plain("b", 2)];
        assert_eq!(winners(&objects(&shares), &shares), ["a"], "it may pass");
        let shares = [waiting("Claimed"), plain("b", 2)];
        assert_eq!(winners(&objects(&shares), &shares), ["a"]);
        let mut has_one = says("Denied");
        has_one["shareID"] = ID.into();
        let shares = [share("a", 1, json!({}), has_one), plain("b", 2)];
        assert_eq!(winners(&objects(&shares), &shares), ["a"], "it made one");
    }

    #[test]
    fn one_at_a_time_creates_a_share_of_a_name() {
        let shares = [plain("a", 1), plain("b", 2), share("c", 3, json!({"name": "other"}), json!({}))];
        let index = objects(&shares);
        let turn = index.turns.take(&shares[0]).expect("nobody creates it");
        assert!(index.turns.take(&shares[1]).is_none());
        assert!(index.turns.take(&shares[2]).is_some());
        drop(turn);
        assert!(index.turns.take(&shares[1]).is_some());
    }

    #[test]
    fn who_has_a_share_claims_no_other_one_by_a_mistaken_id() {
        let other = "5a5e0000000000000000000000000002";
        let shares = [
            share("a", 1, json!({"shareID": ID}), json!({"shareID": other, "shareName": "old"})),
            share("b", 2, json!({}), json!({"shareID": ID, "shareName": "waf"})),
        ];
        let index = objects(&shares);
        assert!(index.owns(&shares[0], other));
        assert!(index.owns(&shares[1], ID) && !index.is_spoken_for(&shares[1], ID));
        let index = objects(&[left(&shares[0], true), shares[1].clone()]);
        assert!(index.owns(&shares[1], ID), "nor out of scope");
    }

    #[test]
    fn what_is_out_of_scope_claims_as_if_it_were_not_as_long_as_it_has_our_finalizer() {
        let (older, own) = (plain("a", 1), plain("b", 2));
        for (has_finalizer, is_claimed) in [(true, true), (false, false)] {
            let index = objects(&[left(&older, has_finalizer), own.clone()]);
            assert_eq!(index.claims(&own), !is_claimed);
            assert_eq!(index.rival(&own, None), is_claimed.then(|| Name::new("a", "waf")));
            assert_eq!(index.claimants(OWNER, "waf"), [Name::new("b", "waf")], "nobody looks after it");
            let touched = index.deleted(&left(&older, has_finalizer), At(1));
            assert_eq!(touched.contains(&Share::key(Name::new("b", "waf"))), is_claimed, "{touched:?}");
            assert!(index.claims(&own));
        }
        let renamed = share("a", 1, json!({"name": "other"}), json!({}));
        assert!(objects(&[left(&renamed, true), own.clone()]).claims(&own));
        let index = objects(&[older, own.clone()]);
        assert!(!index.claims(&own));
    }
}

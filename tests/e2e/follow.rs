//! What Cloudflare does slowly, or does not do: told step by step, and never called Ready too early.

use cfshare_simulator::{Action, Association, Edit, IncludedResources, Life, RowError, Rule};
use serde_json::Value;

use crate::Test;
use crate::own;
use crate::scene::{Scene, World, condition, ids, is_ready, message};

pub const TESTS: &[Test] = &[
    ("follow: a share is Ready only once everybody is associated", slow),
    ("follow: a recipient without entitlement is named, and tried again on request", entitlement),
    ("follow: an object without entitlement is named, and tried again on request", entitlement_of_object),
    ("follow: a recipient that is Cloudflare's to try again is waited for", failing),
    ("follow: a status that nobody documents is shown, and is neither live nor gone", unknown_words),
    ("follow: rows on their way out are waited for", leaving),
    ("follow: a recipient that is wanted again while it leaves is added once it has left", wanted_again),
    ("follow: a request to look now is carried out and echoed, whichever annotation carries it", requested),
    ("follow: what fails later is noticed where the resource got a new version", fails_later),
    ("follow: many shares are followed to their end where lists leave their resources out", many_without_resources),
    ("follow: many shares that lists do not show are followed to their end", many_unlisted),
];

fn exception<'v>(share: &'v Value, account: &str) -> Option<&'v Value> {
    share["status"]["exceptions"].as_array()?.iter().find(|entry| entry["accountID"] == account)
}

fn slow(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = None);
    let labelled = format!(
        "{}spec:\n  accountID: {}\n  recipients: [{{accountID: {one}}}, {{accountID: {two}, name: payments-prod}}]\n  \
         resources: [{{type: custom-ruleset, id: {first}}}]\n",
        scene.head("Share", "waf"),
        scene.account,
    );
    scene.apply(&labelled);
    let share = scene
        .wait_for("share", "waf", "told who is pending", |share| share["status"]["recipients"]["summary"] == "0/2");
    let text = message(&share);
    assert!(text.contains("payments-prod") && text.contains("0/2 recipients associated"), "{text}");
    assert_eq!(condition(&share, "Ready").expect("Ready")["status"], "False");
    assert!(condition(&share, "Reconciling").is_some() && condition(&share, "Stalled").is_none());
    assert_eq!(exception(&share, &two).expect("an exception")["state"], "associating");
    assert_eq!(exception(&share, &two).expect("an exception")["name"], "payments-prod");
    let id = scene.only().id;
    let associated = |account: &str| Edit::SetRecipient {
        share: id.clone(),
        recipient: account.to_owned(),
        status: Some("associated".into()),
        errors: None,
        clear: false,
    };
    world.simulator.edit(associated(&one)).expect("an edit");
    let share =
        scene.wait_for("share", "waf", "counted one", |share| share["status"]["recipients"]["summary"] == "1/2");
    assert!(exception(&share, &one).is_none() && !is_ready(&share), "{share:#}");
    world.simulator.edit(associated(&two)).expect("an edit");
    let share = scene.wait_ready("share", "waf");
    assert!(share["status"]["exceptions"].is_null(), "{share:#}");
    // Not once was it called Ready before.
    let (entries, _) = world.cluster.audit_since(0).expect("an audit log");
    let uid = &share["metadata"]["uid"];
    for entry in entries.iter().filter(|entry| entry["responseObject"]["metadata"]["uid"] == *uid) {
        let told = &entry["responseObject"];
        let summary = &told["status"]["recipients"]["summary"];
        assert!(!is_ready(told) || summary == "2/2", "{told:#}");
    }
}

fn entitlement(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    world.simulator.account(&two, |account| account.entitled = false);
    scene.apply(&format!(
        "{}spec:\n  accountID: {}\n  recipients: [{{accountID: {one}}}, {{accountID: {two}, name: payments-prod}}]\n  \
         resources: [{{type: custom-ruleset, id: {first}}}]\n",
        scene.head("Share", "waf"),
        scene.account,
    ));
    let share = scene.wait_reason("share", "waf", "RecipientFailed");
    let text = message(&share);
    for part in ["payments-prod", two.as_str(), "missing necessary entitlement", "cfshare.dev/requestedAt"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(condition(&share, "Stalled").is_some());
    let failed = exception(&share, &two).expect("an exception");
    assert_eq!((&failed["name"], &failed["terminal"]), (&"payments-prod".into(), &true.into()));
    assert!(failed["message"].as_str().is_some_and(|text| text.contains("entitlement")), "{failed}");
    assert_eq!(share["status"]["recipients"]["summary"], "1/2");
    assert_eq!(share["status"]["recipients"]["failed"], 1);
    let before = scene.changes().len();
    // Asked again too early, it fails again.
    scene.ask("share", "waf");
    scene.wait_reason("share", "waf", "RecipientFailed");
    world.simulator.account(&two, |account| account.entitled = true);
    scene.annotate("share", "waf", "cfshare.dev/requestedAt=mended");
    scene.wait_for("share", "waf", "became Ready", |share| {
        is_ready(share) && share["status"]["lastHandledReconcileAt"] == "mended"
    });
    assert_eq!(scene.only().live_recipients().len(), 2);
    let made = scene.changes_since(before);
    let removed = made.iter().filter(|call| call.starts_with("DELETE ")).count();
    assert!(made.len() <= 4 && removed > 0 && removed < made.len(), "a failed row is removed and added: {made:?}");
}

fn entitlement_of_object(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    world.simulator.account(&two, |account| account.entitled = false);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.apply(&scene.recipient("two", "waf", &two, "name: payments-prod"));
    let child = scene.wait_reason("sharerecipient", "two", "RecipientFailed");
    let text = message(&child);
    assert!(text.contains("payments-prod") && text.contains("entitlement") && text.contains("requestedAt"), "{text}");
    assert_eq!(child["status"]["errors"][0]["resourceID"], first.as_str());
    assert_eq!(child["status"]["errors"][0]["terminal"], true);
    // The share itself is right; which object is not stands in its exceptions.
    scene.wait_for("share", "waf", "named the object's account", |share| {
        exception(share, &two).is_some() && share["status"]["recipients"]["summary"] == "1/2"
    });
    let before = scene.changes().len();
    scene.ask("sharerecipient", "two");
    scene.wait_reason("sharerecipient", "two", "RecipientFailed");
    let made = scene.changes_since(before);
    assert!(made.len() == 2 && made[0].starts_with("DELETE ") && made[1].starts_with("POST "), "{made:?}");
    world.simulator.account(&two, |account| account.entitled = true);
    scene.ask("sharerecipient", "two");
    scene.wait_ready("sharerecipient", "two");
    scene.wait_ready("share", "waf");
    assert_eq!(scene.only().live_recipients().len(), 2);
}

fn failing(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = None);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_state("the share", |shares| shares.len() == 1);
    let id = scene.only().id;
    let set = |errors: Option<Vec<RowError>>, status: Option<&str>, clear: bool| {
        let status = status.map(str::to_owned);
        let edit = Edit::SetRecipient { share: id.clone(), recipient: one.clone(), status, errors, clear };
        world.simulator.edit(edit).expect("an edit");
    };
    let busy = RowError {
        resource_id: first.clone(),
        resource_version: 1,
        error: "Internal error, trying again".into(),
        terminal: false,
    };
    set(Some(vec![busy]), None, false);
    let share = scene.wait_for("share", "waf", "told what Cloudflare says", |share| {
        exception(share, &one).is_some_and(|entry| entry["message"].as_str().is_some_and(|m| m.contains("trying")))
    });
    assert!(exception(&share, &one).expect("an exception")["terminal"].is_null(), "{share:#}");
    assert!(condition(&share, "Reconciling").is_some() && condition(&share, "Stalled").is_none());
    set(None, None, true);
    set(None, Some("associated"), false);
    scene.wait_ready("share", "waf");
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
}

fn unknown_words(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let id = scene.only().id;
    let word = || Action::UnknownWords { word: Some("evaluating".into()) };
    let faults = ["/accounts/*/shares", "/accounts/*/shares/*", "/accounts/*/shares/*/recipients"]
        .map(|path| world.simulator.fault(Rule::always("GET", path, word()).account(&scene.account)));
    scene.annotate("share", "waf", "cfshare.dev/requestedAt=now");
    let share = scene.wait_for("share", "waf", "showed the word", |share| {
        share["status"]["remoteStatus"] == "evaluating" && !is_ready(share)
    });
    assert!(message(&share).contains("evaluating"), "{}", message(&share));
    assert_eq!(share["status"]["shareID"], id.as_str());
    assert_eq!(exception(&share, &one).expect("an exception")["state"], "evaluating");
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
    for fault in faults {
        world.simulator.remove_fault(fault);
    }
    scene.wait_ready("share", "waf");
    assert_eq!(scene.only().id, id);
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
}

fn leaving(world: &World) {
    let scene = world.scene();
    let [one, two, first, second] = ids();
    world.simulator.delays(Some(&scene.account), |delays| {
        delays.disassociate_ms = None;
        delays.delete_resource_ms = None;
    });
    scene.apply(&scene.share("waf", &[&one, &two], &[&first, &second], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let share = scene.wait_for("share", "waf", "told that two are being removed", |share| {
        message(share).contains("2 being removed")
    });
    assert!(condition(&share, "Reconciling").is_some(), "{share:#}");
    let id = scene.only().id;
    world.simulator.edit(Edit::EraseRecipient { share: id.clone(), recipient: two }).expect("an edit");
    world.simulator.edit(Edit::EraseResource { share: id, resource: second }).expect("an edit");
    let share = scene.wait_ready("share", "waf");
    let state = scene.only();
    assert!(state.recipients.iter().all(|row| row.status != Association::Disassociating), "{state:#?}");
    assert!(state.resources.iter().all(|row| row.status != Life::Deleting), "{state:#?}");
    assert_eq!(share["status"]["inventory"]["recipients"].as_array().map(Vec::len), Some(1));
    assert_eq!(share["status"]["inventory"]["resources"].as_array().map(Vec::len), Some(1));
    assert_eq!(scene.changes().len(), 3, "{:?}", scene.changes());
}

fn wanted_again(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    world.simulator.delays(Some(&scene.account), |delays| delays.disassociate_ms = Some(2500));
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_state("one on its way out", |shares| {
        let left = [Association::Disassociating, Association::Disassociated];
        shares[0].recipients.iter().any(|row| left.contains(&row.status))
    });
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    let share = scene.wait_ready("share", "waf");
    assert_eq!(share["status"]["recipients"]["summary"], "2/2");
    let state = scene.only();
    assert_eq!(state.live_recipients().len(), 2);
    assert_eq!(state.recipients.len(), 3, "{state:#?}");
    assert!(condition(&share, "Drifted").is_none(), "{share:#}");
}

fn requested(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    for (kind, name) in [("share", "waf"), ("sharerecipient", "two")] {
        scene.wait_ready(kind, name);
        for (minute, annotation) in ["cfshare.dev/requestedAt", "reconcile.fluxcd.io/requestedAt"].iter().enumerate() {
            let before = scene.journal().len();
            // The later of the two counts.
            let request = format!("2026-11-24T10:0{minute}:00Z");
            scene.annotate(kind, name, &format!("{annotation}={request}"));
            scene.wait_for(kind, name, "echoed the request", |object| {
                object["status"]["lastHandledReconcileAt"] == request.as_str() && is_ready(object)
            });
            let calls = scene.journal().split_off(before);
            assert!(calls.iter().any(|entry| entry.path.contains("/shares/")), "nothing was looked at: {calls:#?}");
        }
    }
    assert_eq!(scene.changes().len(), 2, "{:?}", scene.changes());
}

fn fails_later(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let id = scene.only().id;
    let gone = RowError {
        resource_id: first.clone(),
        resource_version: 2,
        error: "Recipient is missing necessary entitlement".into(),
        terminal: true,
    };
    let edit = Edit::SetRecipient {
        share: id.clone(),
        recipient: one.clone(),
        status: None,
        errors: Some(vec![gone]),
        clear: false,
    };
    world.simulator.edit(edit).expect("an edit");
    world.simulator.edit(Edit::BumpVersion { share: id, resource: first.clone() }).expect("an edit");
    let share = scene.wait_reason("share", "waf", "RecipientFailed");
    assert!(message(&share).contains(&one), "{}", message(&share));
}

/// So many shares that a sweep serves them better than single reads.
const MANY: [&str; 4] = ["waf-1", "waf-2", "waf-3", "waf-4"];

fn apply_many(scene: &Scene<'_>) {
    let share = |name: &&str| {
        let [one, first] = ids();
        scene.share(name, &[&one], &[&first], "")
    };
    scene.apply(&MANY.iter().map(share).collect::<Vec<_>>().join("---\n"));
}

fn many_without_resources(world: &World) {
    let scene = world.own_scene();
    // No sweep comes but those that the shares ask for.
    let _operator = own::start(&scene, &[("--sweep-interval", "10m")]);
    let simulator = &world.simulator;
    simulator.switches(Some(&scene.account), |s| s.included_resources = IncludedResources::LeftOut);
    simulator.delays(Some(&scene.account), |delays| delays.associate_ms = Some(3000));
    apply_many(&scene);
    for name in MANY {
        scene.wait_ready("share", name);
    }
    assert_eq!(scene.changes().len(), MANY.len(), "{:?}", scene.changes());
}

fn many_unlisted(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--sweep-interval", "10m")]);
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = None);
    apply_many(&scene);
    for name in MANY {
        scene.wait_for("share", name, "told that one is pending", |s| s["status"]["recipients"]["summary"] == "0/1");
    }
    let status = |share: &cfshare_simulator::ShareState, word: Option<&str>| {
        let edit =
            Edit::SetShareStatus { share: share.id.clone(), status: word.map(str::to_owned), unlisted: word.is_some() };
        world.simulator.edit(edit).expect("an edit");
    };
    let shares = scene.live();
    shares.iter().for_each(|share| status(share, Some("evaluating")));
    for name in MANY {
        scene.wait_for("share", name, "showed the word", |share| share["status"]["remoteStatus"] == "evaluating");
    }
    for share in &shares {
        status(share, None);
        let associated = Edit::SetRecipient {
            share: share.id.clone(),
            recipient: share.recipients[0].account_id.clone(),
            status: Some("associated".into()),
            errors: None,
            clear: false,
        };
        world.simulator.edit(associated).expect("an edit");
    }
    for name in MANY {
        scene.wait_ready("share", name);
    }
    assert_eq!(scene.changes().len(), MANY.len(), "{:?}", scene.changes());
}

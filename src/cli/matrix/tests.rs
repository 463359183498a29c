use serde_json::{Value, json};

use super::table::Row;
use super::*;
use crate::api::ShareRecipient;
use crate::core::id::AccountId;

fn ready(status: &str, reason: &str) -> Value {
    json!([{"type": "Ready", "status": status, "reason": reason, "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}])
}

fn share(spec: Value, status: Value) -> Share {
    let mut all = json!({"accountID": "acc", "resources": [{"type": "t", "id": "x", "name": "rules"}]});
    all.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
    let mut reported = json!({"observedGeneration": 2, "shareID": "s1", "remoteStatus": "active", "seenWith": "f",
                          "boundUID": "u1", "conditions": ready("True", "Associated")});
    reported.as_object_mut().expect("an object").extend(status.as_object().cloned().unwrap_or_default());
    let object = json!({
        "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
        "metadata": {"name": "waf", "namespace": "ns", "generation": 2, "uid": "u1"}, "spec": all, "status": reported,
    });
    serde_json::from_value(object).expect("a Share")
}

fn child(account: &str, status: Value) -> ShareRecipient {
    let object = json!({
        "apiVersion": "cfshare.dev/v1alpha1", "kind": "ShareRecipient",
        "metadata": {"name": account, "namespace": "ns", "uid": "c1", "generation": 1},
        "spec": {"shareRef": {"name": "waf"}, "accountID": account}, "status": status,
    });
    serde_json::from_value(object).expect("a ShareRecipient")
}

fn pulse(now: Timestamp) -> Pulse {
    let sweep = crate::operator::Sweep { at: now.as_second() - 60, every: 600, left: None };
    Pulse { leader: Leader::Leads("a".into()), sweeps: [(sweeps::key("acc", "f"), sweep)].into(), watches: None }
}

fn of(share: Share, children: Vec<ShareRecipient>) -> Table {
    let now = "2026-01-01T01:00:00Z".parse().expect("a time");
    table(
        &Objects { shares: vec![share], recipients: children, ..Objects::default() },
        &pulse(now),
        &Reach::default(),
        now,
    )
}

fn words(table: &Table) -> Vec<(String, String)> {
    let id = |row: &Row| match &row.receiver {
        Receiver::Account(id) | Receiver::Organization(id) => id.to_string(),
    };
    table.rows.iter().map(|row| (id(row), row.cell.word.clone())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(id, word)| ((*id).to_owned(), (*word).to_owned())).collect()
}

pub(super) fn sample() -> Table {
    let inventory = json!({"recipients": [{"accountID": "a1"}, {"accountID": "a2"}, {"accountID": "a3"}],
                           "resources": [{"type": "t", "id": "x", "accountID": "acc"}]});
    of(
        share(
            json!({"recipients": [{"accountID": "a1", "name": "=pay, ments"}, {"accountID": "a2"}]}),
            json!({"inventory": inventory, "unmanagedCount": 18, "exceptionsOmitted": 0,
                   "conditions": ready("False", "RemovalBlocked"),
                   "exceptions": [{"accountID": "a2", "state": "associating", "since": "2026-01-01T00:00:00Z"}],
                   "unmanaged": [{"accountID": "a9", "state": "associated"}]}),
        ),
        vec![],
    )
}

#[test]
fn each_account_has_a_line_and_what_is_left_out_is_said() {
    assert_eq!(
        print::table(&sample(), By::Account, false),
        "NOTE: shares at Cloudflare without a Share object are not in this table; --live reads them\n\n\
         ACCOUNT      ID  SHARE   STATE                     VERIFIED  RESOURCES\n\
         =pay, ments  a1  ns/waf  associated                60s ago   t/rules (x)\n\
         -            a2  ns/waf  associating               60s ago   t/rules (x)\n\
         -            a3  ns/waf  to be removed (blocked)   60s ago   t/rules (x)\n\
         -            a9  ns/waf  associated, not declared  60s ago   t/rules (x)\n\
         ns/waf: and 17 more that no manifest declares; --live lists all\n"
    );
    let csv = print::csv(&sample(), By::Account);
    let first = "\"'=pay, ments\",a1,ns,waf,s1,associated,t/rules (x),,2026-01-01T00:59:00Z,Share,,t/x";
    assert_eq!(csv.lines().nth(1), Some(first));
    assert!(csv.contains(",and 17 more that no manifest declares,"), "{csv}");
    let by = print::table(&sample(), By::Resource, false);
    assert!(by.lines().nth(3).is_some_and(|line| line.starts_with("t/rules (x)  =pay, ments  a1")), "{by}");
    assert_eq!(print::json(&sample())["rows"][2]["state"], "removalBlocked");
}

#[test]
fn what_cannot_be_read_is_unknown_whatever_was_declared() {
    let recorded = json!({"recipients": [{"accountID": "a1"}], "resources": []});
    let spec = json!({"recipients": [{"accountID": "a1"}, {"accountID": "a2"}]});
    let unread = [("Unknown", "Denied"), ("Unknown", "BreakerOpen"), ("False", "SomethingNew"), ("False", "Observed")];
    for (status, reason) in unread {
        let table =
            of(share(spec.clone(), json!({"conditions": ready(status, reason), "inventory": recorded})), vec![]);
        assert_eq!(words(&table), pairs(&[("a1", "unknown"), ("a2", "unknown")]), "{reason}");
        assert!(table.rows[0].cell.why.ends_with("(last seen associated)"), "{}", table.rows[0].cell.why);
    }
    let observed = json!({"conditions": ready("True", "Observed"), "inventory": recorded});
    assert_eq!(words(&of(share(spec.clone(), observed), vec![]))[0].1, "associated");
    // The status is older than the manifest, or cut.
    let older = json!({"observedGeneration": 1, "inventory": recorded});
    assert_eq!(words(&of(share(spec.clone(), older), vec![])), pairs(&[("a1", "associated"), ("a2", "unknown")]));
    let cut = json!({"exceptionsOmitted": 3, "inventory": recorded});
    assert_eq!(words(&of(share(spec.clone(), cut), vec![])), pairs(&[("a1", "unknown"), ("a2", "unknown")]));
    let review = json!({"remoteStatus": "under_review", "inventory": recorded});
    assert_eq!(words(&of(share(spec.clone(), review), vec![]))[0].1, "unknown");
    let open = json!({"intent": {"attempt": 1, "startedAt": "x", "name": "n", "fingerprint": "f"}, "shareID": null});
    assert_eq!(words(&of(share(spec, open), vec![]))[0].1, "unknown");
}

#[test]
fn a_child_says_how_its_own_row_is() {
    let status = |ready: Value, more: Value| {
        let mut status = json!({"observedGeneration": 1, "conditions": ready, "confirmed": true, "boundUID": "c1",
                                "shareID": "s1", "associationStatus": "associated"});
        status.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        status
    };
    let word =
        |child: ShareRecipient| words(&of(share(json!({"recipients": []}), json!({})), vec![child]))[0].1.clone();
    assert_eq!(word(child("a1", status(ready("True", "Associated"), json!({})))), "associated");
    assert_eq!(
        word(child("a1", status(ready("Unknown", "BreakerOpen"), json!({"associationStatus": null})))),
        "unknown"
    );
    let failed = json!({"errors": [{"resourceID": "x", "message": "no entitlement", "terminal": true}]});
    assert_eq!(word(child("a1", status(ready("False", "RecipientFailed"), failed))), "failed");
    assert_eq!(word(child("a1", Value::Null)), "unknown");
}

#[test]
fn an_exclusion_that_is_not_in_force_says_so() {
    let spec = json!({"organization": {"id": "org", "excluded": [{"accountID": "a1"}, {"accountID": "a2"}]}});
    let status = json!({
        "recipients": {"declared": 7, "associated": 7, "pending": 0, "failed": 0, "summary": "7/7"},
        "inventory": {"excluded": [{"accountID": "a2"}]},
        "exceptions": [{"accountID": "a1", "state": "not excluded", "since": "2026-01-01T00:00:00Z", "message": "403"},
                       {"accountID": "a2", "state": "absent", "since": "2026-01-01T00:00:00Z"}]});
    let expected = [("org", "associated 7/7"), ("a1", "associated, should be excluded"), ("a2", "excluded")];
    assert_eq!(words(&of(share(spec.clone(), status.clone()), vec![])), pairs(&expected));
    // A ShareRecipient that declares an excluded account is invalid, and not what the exclusion is judged by.
    assert_eq!(words(&of(share(spec, status), vec![child("a2", Value::Null)])), pairs(&expected));
}

#[test]
fn who_receives_the_share_of_an_organization_is_said_since_it_has_one_row() {
    let spec = json!({"organization": {"id": "org", "excluded": [{"accountID": "a1"}, {"accountID": "a2"}]}});
    let notes = |counts: Value, ready: Value| {
        let excluded = json!([{"accountID": "a1"}, {"accountID": "a2"}]);
        let status = json!({"recipients": counts, "inventory": {"excluded": excluded}, "conditions": ready});
        let mut table = of(share(spec.clone(), status), vec![]);
        table.notes.clear();
        table.note_organizations();
        table.notes
    };
    let counts =
        |pending: i32| json!({"declared": 7, "associated": 7, "pending": pending, "failed": 0, "summary": "7/7"});
    let said = |except: &str, word: &str| {
        [format!(
            "ns/waf is shared with every account of organization org{except} ({word}); they are not listed one by one"
        )]
    };
    let associated = ready("True", "Associated");
    assert_eq!(notes(counts(0), associated.clone()), said(" except 2 excluded", "associated 7/7"));
    assert_eq!(notes(counts(1), associated), said(" except 2 excluded", "associated 7/7"));
    assert_eq!(notes(counts(0), ready("Unknown", "Denied")), said("", "unknown"));
    let forbidden = json!({"shareID": null, "conditions": ready("False", "OrganizationNotAllowed")});
    let mut table = of(share(spec.clone(), forbidden), vec![]);
    table.notes.clear();
    table.note_organizations();
    assert!(
        table.notes[0].starts_with("ns/waf would be shared with every account of organization org"),
        "{:?}",
        table.notes
    );
    let unmade = json!({"shareID": null, "conditions": ready("False", "WaitingForResources")});
    let mut table = of(share(spec, unmade), vec![]);
    table.notes.clear();
    table.note_organizations();
    assert_eq!(table.notes, [""; 0]);
    let excluded = "excluded, not shared yet";
    assert_eq!(words(&table), pairs(&[("org", "not shared yet"), ("a1", excluded), ("a2", excluded)]));
}

#[test]
fn a_share_that_is_newer_than_the_sweep_was_verified_when_its_status_was_written() {
    let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
    let made = |created: &str, call: Option<&str>, written: &str, ready: Value| {
        let calls: Vec<Value> =
            call.iter().map(|at| json!({"at": at, "call": "create share waf", "result": "done"})).collect();
        let status = json!({"recentCalls": calls, "conditions": ready});
        let mut share = share(json!({"recipients": [{"accountID": "a1"}]}), status);
        let entry = json!([{"manager": "cfshare", "operation": "Update", "subresource": "status", "time": written}]);
        share.metadata.managed_fields = serde_json::from_value(entry).expect("fields");
        share.metadata.creation_timestamp = serde_json::from_value(json!(created)).expect("a time");
        Objects { shares: vec![share], ..Objects::default() }
    };
    let (old, new, written) = ("2026-01-01T00:00:00Z", "2026-01-01T00:59:20Z", "2026-01-01T00:59:30Z");
    let associated = ready("True", "Associated");
    let verified = |objects: &Objects| {
        // The sweep is a minute old.
        let verified = table(objects, &pulse(now), &Reach::default(), now).columns[0].verified;
        verified.map(|at| at.to_string()).unwrap_or_default()
    };
    assert_eq!(verified(&made(old, None, written, associated.clone())), "2026-01-01T00:59:00Z");
    assert_eq!(verified(&made(new, None, written, associated.clone())), written);
    assert_eq!(verified(&made(old, Some(new), written, associated.clone())), written);
    assert_eq!(verified(&made(new, None, written, ready("Unknown", "Denied"))), "", "nothing was read");
    // The Lease does not say the first sweep yet, or there was none.
    let warnings = |written: &str| {
        let pulse = Pulse { sweeps: crate::operator::Sweeps::new(), ..pulse(now) };
        table(&made(old, None, written, associated.clone()), &pulse, &Reach::default(), now).warnings
    };
    let soon = "when account acc was last read is not in the operator's Lease yet: try again in 15 s";
    assert_eq!(warnings(written), [soon]);
    assert!(warnings("2026-01-01T00:30:00Z")[0].ends_with("the operator has not read it since it started"));
}

#[test]
fn a_dead_operator_and_an_old_sweep_are_said_first() {
    let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
    let objects =
        Objects { shares: vec![share(json!({"recipients": [{"accountID": "a1"}]}), json!({}))], ..Objects::default() };
    let dead = Pulse { leader: Leader::Nobody("nobody leads".into()), ..pulse(now) };
    let text = print::table(&table(&objects, &dead, &Reach::default(), now), By::Account, false);
    assert!(text.starts_with("WARNING: nobody leads\nNOTE: "), "{text}");
    let old = crate::operator::Sweep { at: now.as_second() - 4000, every: 600, left: None };
    let old = Pulse { sweeps: [(sweeps::key("acc", "f"), old)].into(), ..pulse(now) };
    let table = table(&objects, &old, &Reach::default(), now);
    assert!(table.warnings[0].contains("was last read 66m ago"), "{:?}", table.warnings);
}

#[test]
fn a_list_of_accounts_names_them_and_shows_who_is_in_no_share() {
    let mut table = sample();
    let names =
        [("a1", "Payments"), ("a7", "Lab")].map(|(id, name)| (AccountId::parse(id).expect("an id"), name.to_owned()));
    table.name_accounts(&names.clone().into(), None);
    let last = table.rows.last().expect("a row");
    assert_eq!(
        (last.label.as_deref(), last.cell.word.as_str()),
        (Some("Lab"), "unknown"),
        "the status leaves out some"
    );
    assert_eq!(table.rows[0].label.as_deref(), Some("Payments"));
    for (part, word) in [(None, "in no Share object"), (Some("in namespace ns"), "in no Share object in namespace ns")]
    {
        let mut table = sample();
        table.columns[0].more.clear();
        table.name_accounts(&names.clone().into(), part);
        assert_eq!(table.rows.last().map(|row| row.cell.word.as_str()), Some(word));
    }
}

#[test]
fn accounts_are_sorted_by_the_name_that_is_shown() {
    let recipients = json!({"recipients": [{"accountID": "a1", "name": "Zoo"}, {"accountID": "a2"},
                                           {"accountID": "a3", "name": "apple"}]});
    let table = of(share(recipients, json!({})), vec![]);
    for by in [By::Account, By::Share, By::Resource] {
        let csv = print::csv(&table, by);
        let names: Vec<&str> = csv.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
        assert_eq!(names, ["apple", "Zoo", ""], "{by:?}");
    }
}

#[test]
fn a_suspended_share_is_not_verified_though_its_account_is_read() {
    let suspended = of(
        share(json!({"recipients": [{"accountID": "a1"}]}), json!({"conditions": ready("Unknown", "Suspended")})),
        vec![],
    );
    assert_eq!((suspended.columns[0].verified, suspended.warnings), (None, vec![]));
    assert_eq!(suspended.rows[0].cell.word, "unknown");
}

#[test]
fn without_a_lease_the_statuses_say_how_fresh_the_table_is() {
    let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
    let unknown = || Pulse::unknown("there is no Lease".into());
    let of = |written: &str| {
        let mut share = share(json!({"recipients": [{"accountID": "a1"}]}), json!({}));
        let entry = json!([{"manager": "cfshare", "operation": "Update", "subresource": "status", "time": written}]);
        share.metadata.managed_fields = serde_json::from_value(entry).expect("fields");
        table(&Objects { shares: vec![share], ..Objects::default() }, &unknown(), &Reach::default(), now)
    };
    let fresh = print::table(&of("2026-01-01T00:50:00Z"), By::Account, false);
    assert!(fresh.starts_with("NOTE: there is no Lease; cfshare was active 10m ago, when it wrote"), "{fresh}");
    assert!(fresh.contains("  10m ago  "), "VERIFIED says when: {fresh}");
    let late = of("2026-01-01T00:20:00Z");
    assert!(
        late.warnings[0].starts_with("there is no Lease; cfshare last wrote a status 40m ago"),
        "{:?}",
        late.warnings
    );
    assert_eq!(late.notes.len(), 1, "{:?}", late.notes);
}

#[test]
fn accounts_of_a_shard_without_a_replica_are_named() {
    let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
    let objects = Objects { shares: vec![share(json!({}), json!({}))], ..Objects::default() };
    let without = |shard: u16| {
        let without = [(shard, "nobody holds it".to_owned())].into();
        let leader = Leader::Partly(crate::cli::lease::Unserved { shards: 2, without });
        table(&objects, &Pulse { leader, ..pulse(now) }, &Reach::default(), now).warnings
    };
    let shard = crate::core::shard::of("acc", 2);
    assert_eq!(without(1 - shard), [""; 0]);
    let said = "no cfshare replica reconciles account acc, and no change there is seen or made: nobody holds it";
    assert_eq!(without(shard), [said]);
}

#[test]
fn an_account_is_in_no_share_only_if_every_status_proves_it() {
    let names: crate::cli::accounts::Accounts = [(AccountId::parse("a7").expect("an id"), "Lab".to_owned())].into();
    let last = |status: &str, reason: &str| {
        let mut table = of(share(json!({"recipients": []}), json!({"conditions": ready(status, reason)})), vec![]);
        table.name_accounts(&names, None);
        table.rows.last().map(|row| (row.cell.state, row.cell.why.clone())).expect("a row")
    };
    for reason in ["Suspended", "Denied", "CredentialsNotFound"] {
        let why = "not listed, but the status of Share ns/waf proves nothing; --live reads Cloudflare";
        assert_eq!(last("Unknown", reason), (State::Unknown, why.to_owned()), "{reason}");
    }
    assert_eq!(last("True", "Associated").0, State::Nothing);
    let mut unprocessed = share(json!({}), json!({}));
    unprocessed.status = None;
    let mut others = ["one", "two"].map(|_| unprocessed.clone());
    others[1].metadata.name = Some("two".into());
    let mut table = table(
        &Objects { shares: others.to_vec(), ..Objects::default() },
        &pulse(Timestamp::UNIX_EPOCH),
        &Reach::default(),
        Timestamp::UNIX_EPOCH,
    );
    table.name_accounts(&names, None);
    let why = &table.rows.last().expect("a row").cell.why;
    assert!(why.contains("the status of Share ns/waf, and of 1 more, proves nothing"), "{why}");
}

#[test]
fn a_read_of_cloudflare_proves_what_a_status_does_not() {
    let suspended =
        share(json!({"recipients": [{"accountID": "a1"}]}), json!({"conditions": ready("Unknown", "Suspended")}));
    let objects = Objects { shares: vec![suspended], ..Objects::default() };
    let reach = Reach::default();
    let rows = rows_of(&objects.shares[0], &objects, &reach);
    let column = || column(&objects.shares[0], &rows, &objects, None);
    let read = || Answer::Read(Box::new(live::tests::read("active", &["a1"], &[])));
    let asked = |answer: Option<Answer>| as_read(column(), &rows, answer.map(|answer| ("s1".into(), answer)));
    let proved = |answer| asked(answer).0.proved;
    assert!(proved(Some(read())) && proved(Some(Answer::Absent)) && !proved(None));
    let unknown = || Some(Answer::Unknown("this credential has never shown the share".into()));
    assert!(!proved(unknown()), "the status proves nothing either");
    let (column, found) = asked(unknown());
    assert_eq!((found[0].cell.word.as_str(), column.resources[0].cell.word.as_str()), ("unknown", "unknown"));
    assert_eq!(asked(Some(Answer::Absent)).1[0].cell.word, "absent");
    let settled = json!({"observedGeneration": 1, "conditions": ready("True", "Associated")});
    let objects =
        Objects { shares: vec![share(json!({"recipients": [{"accountID": "a1"}]}), settled)], ..Objects::default() };
    let rows = rows_of(&objects.shares[0], &objects, &reach);
    let column = super::column(&objects.shares[0], &rows, &objects, None);
    assert!(column.proved, "by its status");
    let answer = Answer::Unknown("it timed out".into());
    assert!(!as_read(column, &rows, Some(("s1".into(), answer))).0.proved, "what was asked for is what counts");
}

#[test]
fn a_share_without_an_object_has_a_column_and_its_accounts_are_in_a_share() {
    let mut table = sample();
    let read = live::tests::read("active", &["a1", "b2"], &["x", "y"]);
    table.add(table::Column::unmanaged(&read.share, Some(&read)), read.unmanaged());
    table.has_unmanaged = true;
    let names = ["a1", "b2", "c3"].map(|id| (AccountId::parse(id).expect("an id"), String::new())).into();
    table.columns[0].more.clear();
    table.name_accounts(&names, None);
    let said: Vec<_> = words(&table).split_off(4);
    let word = "associated, no Share object";
    assert_eq!(said, pairs(&[("a1", word), ("b2", word), ("c3", "in no share")]));
    let text = print::table(&table, By::Share, false);
    assert!(text.contains("\nwaf (5e1f)  -            b2  associated, no Share object  "), "{text}");
    let json = print::json(&table);
    let last = &json["shares"][1];
    assert_eq!((&last["namespace"], &last["name"], &last["shareID"]), (&Value::Null, &json!("waf"), &json!("5e1f")));
    assert_eq!((&json["rows"][4]["state"], &json["rows"][4]["namespace"]), (&json!("unmanaged"), &Value::Null));
    let mut unread = sample();
    unread.columns[0].more.clear();
    unread.add(table::Column::unmanaged(&read.share, None), Vec::new());
    unread.name_accounts(&names, None);
    let why = &unread.rows.last().expect("a row").cell.why;
    assert_eq!(why, "not listed, but the recipients of share waf (5e1f) could not be read");
}

#[test]
fn what_nobody_reconciles_is_unknown_and_not_verified() {
    let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
    let inventory = json!({"recipients": [{"accountID": "a1"}], "resources": []});
    let spec = json!({"recipients": [{"accountID": "a1"}]});
    let confirmed = json!({"observedGeneration": 1, "conditions": ready("True", "Associated"), "confirmed": true,
                           "boundUID": "c1", "shareID": "s1", "associationStatus": "associated"});
    let shares = vec![share(spec, json!({"inventory": inventory}))];
    let objects = Objects { shares, recipients: vec![child("a2", confirmed)], ..Objects::default() };
    let said = |reach: &Reach| {
        let table = table(&objects, &pulse(now), reach, now);
        (words(&table), table.columns[0].verified.is_some(), table.warnings)
    };
    let (all, verified, warnings) = said(&Reach::default());
    assert_eq!((all, verified), (pairs(&[("a1", "associated"), ("a2", "associated")]), true));
    assert_eq!(warnings, [""; 0]);
    // The Share is watched, and its ShareRecipient is not.
    let (all, verified, _) = said(&crate::cli::reach::tests::only("waf"));
    assert_eq!((all, verified), (pairs(&[("a1", "associated"), ("a2", "unknown")]), true));
    let (all, verified, warnings) = said(&crate::cli::reach::tests::only("dns"));
    assert_eq!((all, verified), (pairs(&[("a1", "unknown"), ("a2", "unknown")]), false));
    assert!(warnings[0].starts_with("Share ns/waf: not reconciled by this cfshare"), "{warnings:?}");
}

#[test]
fn a_share_for_an_organization_without_counts_is_unknown() {
    let spec = json!({"organization": {"id": "org"}});
    assert_eq!(words(&of(share(spec, json!({})), vec![])), pairs(&[("org", "unknown")]));
}

#[test]
fn no_label_hides_the_id_of_a_resource_and_no_type_reaches_the_terminal_as_it_came() {
    let mut table = sample();
    table.columns[0].resources[0].kind = "t\u{1b}[31m".into();
    let text = print::table(&table, By::Account, false);
    assert!(text.contains("  t/rules (x)\n") && !text.contains('\u{1b}'), "{text}");
    let csv = print::csv(&table, By::Resource);
    assert!(csv.lines().nth(1).is_some_and(|line| line.ends_with(",t/x")), "{csv}");
}

#[test]
fn no_share_is_believed_only_after_a_look_that_found_none() {
    let word = |reason: &str| {
        let status = json!({"shareID": null, "conditions": ready("False", reason)});
        words(&of(share(json!({"recipients": [{"accountID": "a1"}]}), status), vec![]))[0].1.clone()
    };
    for reason in ["WaitingForRecipients", "WaitingForResources", "Rejected", "Differs"] {
        assert_eq!(word(reason), "not shared yet", "{reason}");
    }
    // The share may exist, and the accounts may receive it.
    for reason in ["NameTaken", "Ambiguous", "Claimed", "TargetMismatch", "Invalid", "Progressing", "Creating", "New"] {
        assert_eq!(word(reason), "unknown", "{reason}");
    }
}

#[test]
fn the_case_of_an_id_does_not_matter() {
    let spec = json!({"recipients": [{"accountID": "AB1", "name": "pay"}], "prune": true,
                      "resources": [{"type": "t", "id": "CD2", "name": "rules"}]});
    let inventory =
        json!({"recipients": [{"accountID": "ab1"}], "resources": [{"type": "t", "id": "cd2", "accountID": "acc"}]});
    let respelled = share(spec, json!({"inventory": inventory}));
    let mut table = of(respelled.clone(), vec![]);
    assert_eq!(words(&table), pairs(&[("AB1", "associated")]));
    let carried = |all: &[resources::Carried]| -> Vec<String> { all.iter().map(resources::Carried::words).collect() };
    assert_eq!(carried(&table.columns[0].resources), ["t/rules (CD2)"]);
    table.name_accounts(&[(AccountId::parse("Ab1").expect("an id"), "Payments".to_owned())].into(), None);
    assert_eq!(table.rows.len(), 1);
    assert_eq!(table.rows[0].label.as_deref(), Some("Payments"));
    let objects = Objects { shares: vec![respelled], ..Objects::default() };
    let reach = Reach::default();
    let rows = rows_of(&objects.shares[0], &objects, &reach);
    let read = live::tests::read("active", &["ab1"], &["cd2"]);
    let (column, found) = as_read(
        column(&objects.shares[0], &rows, &objects, None),
        &rows,
        Some(("s1".into(), Answer::Read(Box::new(read)))),
    );
    assert_eq!(found.iter().map(|row| row.cell.word.as_str()).collect::<Vec<_>>(), ["associated"]);
    assert_eq!(carried(&column.resources), ["t/rules (CD2)"]);
}

#[test]
fn what_cloudflare_deletes_is_leaving() {
    let declared = share(json!({"recipients": [{"accountID": "a1"}, {"accountID": "a3"}]}), json!({}));
    let objects = Objects { shares: vec![declared], ..Objects::default() };
    let reach = Reach::default();
    let rows = rows_of(&objects.shares[0], &objects, &reach);
    let read = live::tests::read("deleting", &["a1", "a2"], &["x", "y"]);
    let (column, found) = as_read(
        column(&objects.shares[0], &rows, &objects, None),
        &rows,
        Some(("s1".into(), Answer::Read(Box::new(read)))),
    );
    let said = |cell: &Cell| (cell.state, cell.word.clone());
    let leaving = (State::Leaving, "deleting".to_owned());
    let all: Vec<_> = found.iter().map(|row| said(&row.cell)).collect();
    assert_eq!(all, [leaving.clone(), leaving.clone(), (State::Pending, "absent".to_owned())]);
    assert_eq!(column.resources.iter().map(|r| said(&r.cell)).collect::<Vec<_>>(), [leaving.clone(), leaving]);
}

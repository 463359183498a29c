//! Do the calls, the slow changes and the switches behave as the API is known to?

mod caller;

use std::time::Duration;

use caller::{Caller, SIMULATOR, caller, caller_of, code, column, id, quick_caller, resource, start, to};
use cfshare_simulator::*;
use serde_json::json;

fn switch(caller: &Caller, change: impl FnOnce(&mut Switches)) {
    SIMULATOR.switches(Some(&caller.account), change);
}

fn seed(caller: &Caller, shares: usize) {
    let seed = Seed {
        account: caller.account.clone(),
        shares,
        recipients: 2,
        resources: 1,
        prefix: "share".to_owned(),
        list: Vec::new(),
    };
    SIMULATOR.seed(seed).expect("seeded");
}

#[tokio::test]
async fn a_list_is_whole_without_paging_and_paged_with_either_parameter() {
    let caller = caller();
    seed(&caller, 45);
    let rows = async |query: &str| {
        let (status, answer) = caller.get(query).await;
        assert_eq!(status, 200, "{answer}");
        (column(&answer, "name"), answer["result_info"].clone())
    };
    assert_eq!(rows("").await.0.len(), 45);
    assert_eq!(rows("?per_page=30").await.0.len(), 30);
    let (names, info) = rows("?page=3").await;
    assert_eq!(names, ["share-40", "share-41", "share-42", "share-43", "share-44"]);
    assert_eq!(info, json!({"count": 5, "page": 3, "per_page": 20, "total_count": 45, "total_pages": 3}));
    let (names, _) = rows("?order=created&direction=desc&page=1&per_page=2").await;
    assert_eq!(names, ["share-44", "share-43"]);
    let (names, _) = rows("?order=name&page=1&per_page=3").await;
    assert_eq!(names, ["share-0", "share-1", "share-10"]);
    for query in ["?page=0", "?per_page=101", "?status=lost", "?kind=x", "?direction=up"] {
        assert_eq!(caller.get(query).await.0, 400, "{query}");
    }
    let created = caller.column("", "created").await;
    assert!(created.is_sorted_by(|a, b| a < b));
}

#[tokio::test]
async fn shares_are_filtered_by_status_type_and_tag() {
    let caller = caller();
    let (tagged, plain) = (caller.share("tagged", &[&random_id()]).await, caller.share("plain", &[&random_id()]).await);
    let tags = [("env".to_owned(), "prod".to_owned())].into();
    let share = tagged.clone();
    SIMULATOR.edit(Edit::SetTags { share, tags }).expect("tagged");
    assert_eq!(caller.delete(&format!("/{plain}")).await.0, 200);
    assert_eq!(caller.column("?status=deleting", "id").await, [plain]);
    assert_eq!(caller.column("?status=active", "id").await, [tagged.as_str()]);
    assert_eq!(caller.column("?tag=env&tag=env=prod", "id").await, [tagged.as_str()]);
    assert!(caller.column("?tag=env=test", "id").await.is_empty());
    let types = "?status=active&resource_types=trust-grant";
    assert!(caller.column(types, "id").await.is_empty());
    let repeated = format!("{types}&resource_types=custom-ruleset");
    assert_eq!(caller.column(&repeated, "id").await, [tagged.as_str()]);
    switch(&caller, |s| s.query_arrays = QueryArrays::Comma);
    let comma = format!("{types},custom-ruleset");
    assert_eq!(caller.column(&comma, "id").await, [tagged.as_str()]);
}

#[tokio::test]
async fn a_share_is_deleted_in_time_and_then_gone() {
    let caller = caller();
    let share = caller.share("short", &[&random_id()]).await;
    let path = format!("/{share}");
    let (status, answer) = caller.delete(&path).await;
    assert_eq!((status, &answer["result"]["status"]), (200, &json!("deleting")));
    let rename = json!({"name": "late"});
    assert_eq!(caller.put(&path, rename.clone()).await.0, 409);
    switch(&caller, |s| s.write_while_deleting = WriteWhileDeleting::NotFound);
    assert_eq!(caller.put(&path, rename.clone()).await.0, 404);
    switch(&caller, |s| s.write_while_deleting = WriteWhileDeleting::Accepted);
    assert_eq!(caller.put(&path, rename).await.0, 200);
    SIMULATOR.delays(Some(&caller.account), |d| d.delete_share_ms = Some(0));
    SIMULATOR.edit(Edit::DeleteShare { share: share.clone() }).expect("deleted");
    let (status, answer) = caller.get(&path).await;
    assert_eq!((status, code(&answer)), (404, 1004));
    assert_eq!(caller.get(&format!("{path}/recipients")).await.0, 404);
    assert!(caller.column("", "id").await.is_empty());
    assert_eq!(caller.column("?status=deleted", "id").await, [share.as_str()]);
    switch(&caller, |s| s.deleted_share = DeletedShare::Shown);
    let (status, answer) = caller.get(&path).await;
    assert_eq!((status, &answer["result"]["status"]), (200, &json!("deleted")));
}

#[tokio::test]
async fn a_removed_recipient_stays_in_the_list_and_returns_as_a_new_row_or_the_old_one() {
    let caller = quick_caller();
    let (one, two) = (random_id(), random_id());
    let share = caller.share("soft", &[&one]).await;
    let path = format!("/{share}/recipients");
    let (_, added) = caller.post(&path, to(&two)).await;
    let row = format!("{path}/{}", id(&added));
    assert_eq!(added["result"]["association_status"], "associating");
    assert_eq!(caller.get(&row).await.1["result"]["association_status"], "associated");
    let (status, removed) = caller.delete(&row).await;
    assert_eq!(status, 200);
    assert_eq!(removed["result"]["association_status"], "disassociating");
    let states = caller.column(&path, "association_status").await;
    assert_eq!(states, ["associated", "disassociated"]);
    switch(&caller, |s| s.recipient_return = RecipientReturn::Reused);
    assert_eq!(id(&caller.post(&path, to(&two)).await.1), id(&added));
    caller.delete(&row).await;
    switch(&caller, |s| s.recipient_return = RecipientReturn::NewRow);
    let (_, again) = caller.post(&path, to(&two)).await;
    assert_ne!(id(&again), id(&added));
    assert_eq!(caller.column(&path, "id").await.len(), 3);

    assert_eq!(id(&caller.post(&path, to(&two)).await.1), id(&again));
    switch(&caller, |s| s.live_recipient_again = PostedAgain::Conflict);
    assert_eq!(caller.post(&path, to(&two)).await.0, 409);
    switch(&caller, |s| s.live_recipient_again = PostedAgain::SecondRow);
    assert_ne!(id(&caller.post(&path, to(&two)).await.1), id(&again));
    let counts = caller.get(&format!("/{share}?include_recipient_counts=true")).await.1;
    assert_eq!(counts["result"]["associated_recipient_count"], 3);
    assert_eq!(counts["result"]["disassociated_recipient_count"], 1);
}

#[tokio::test]
async fn a_put_of_recipients_replaces_the_whole_list() {
    let caller = quick_caller();
    let (kept, lost, new) = (random_id(), random_id(), random_id());
    let share = caller.share("whole", &[&kept, &lost]).await;
    let before = caller.get(&format!("/{share}")).await.1;
    let answer = caller.put(&format!("/{share}/recipients"), json!([to(&kept), to(&new)])).await;
    assert_eq!(answer, (204, serde_json::Value::Null));
    let state = SIMULATOR.share(&share).expect("the share");
    let live: Vec<_> = state.live_recipients().iter().map(|row| &row.account_id).collect();
    assert_eq!(live, [&kept, &new]);
    let row = state.recipients.iter().find(|row| row.account_id == lost).expect("the row");
    assert_eq!(row.status, Association::Disassociated);
    let same = caller.get(&format!("/{share}")).await.1;
    assert_eq!(before["result"]["modified"], same["result"]["modified"]);
}

#[tokio::test]
async fn a_recipient_without_a_target_reaches_the_whole_organization() {
    let caller = caller();
    let (organization, one, two) = (random_id(), random_id(), random_id());
    SIMULATOR.organization(&organization, &[&caller.account, &one, &two]);
    let share = caller.share("mistake", &[&one]).await;
    let path = format!("/{share}/recipients");
    assert_eq!(caller.post(&path, json!({"recipient_acount_id": two})).await.0, 201);
    assert_eq!(caller.column(&path, "account_id").await, [one.as_str(), two.as_str()]);
    switch(&caller, |s| s.untargeted = Untargeted::Refused);
    assert_eq!(caller.post(&path, json!({})).await.0, 400);
    let both = json!({"recipient_account_id": one, "organization_id": organization});
    assert_eq!(caller.post(&path, both).await.0, 400);
}

#[tokio::test]
async fn a_share_of_an_organization_follows_its_members_and_exclusions() {
    let caller = quick_caller();
    let (organization, one, two) = (random_id(), random_id(), random_id());
    SIMULATOR.organization(&organization, &[&caller.account, &one]);
    let mut wanted = caller.wanted("all", &[]);
    wanted["recipients"] = json!([{"organization_id": organization}]);
    let (status, made) = caller.post("", wanted).await;
    assert_eq!((status, &made["result"]["target_type"]), (201, &json!("organization")));
    let live = || {
        let state = SIMULATOR.share(&id(&made)).expect("the share");
        let rows = state.live_recipients().into_iter().map(|row| row.account_id.clone());
        rows.collect::<Vec<_>>()
    };
    SIMULATOR.organization(&organization, &[&caller.account, &one, &two]);
    assert_eq!(live(), [one.clone(), two.clone()]);
    let path = format!("/{}/excluded-recipients", id(&made));
    let (status, excluded) = caller.post(&path, json!({"account_id": one})).await;
    assert_eq!((status, live()), (201, vec![two.clone()]));
    assert_eq!(caller.column(&path, "account_id").await, [one.as_str()]);
    assert_eq!(caller.get(&format!("{path}/{}", id(&excluded))).await.0, 200);
    assert_eq!(caller.put(&path, json!([{"account_id": two}])).await.0, 204);
    assert_eq!(live(), [one.as_str()]);
    let excluded = caller.column(&path, "id").await;
    assert_eq!(caller.delete(&format!("{path}/{}", excluded[0])).await.0, 200);
    assert_eq!(live().len(), 2);
    let recipients = format!("/{}/recipients", id(&made));
    assert_eq!(caller.put(&recipients, json!([to(&one)])).await.0, 400);
    let listed = caller
        .request(reqwest::Method::GET, &format!("/organizations/{organization}/shares"))
        .bearer_auth(&caller.token);
    let listed = listed.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(column(&listed, "id"), [id(&made)]);
}

#[tokio::test]
async fn resources_are_added_once_updated_and_the_last_one_stays() {
    let caller = quick_caller();
    let share = caller.share("things", &[&random_id()]).await;
    let path = format!("/{share}/resources");
    let first = caller.column(&path, "id").await.remove(0);
    assert_eq!(caller.delete(&format!("{path}/{first}")).await.0, 400);
    let mut second = resource(&caller.account, "second");
    second["meta"] = json!({"b": null, "a": {"c": 1.5}});
    let (status, added) = caller.post(&path, second.clone()).await;
    assert_eq!((status, &added["result"]["meta"]), (201, &second["meta"]));
    assert_eq!(id(&caller.post(&path, second.clone()).await.1), id(&added));
    switch(&caller, |s| s.resource_again = PostedAgain::Conflict);
    assert_eq!(caller.post(&path, second.clone()).await.0, 409);
    switch(&caller, |s| s.meta_echo = MetaEcho::Normalized);
    let row = format!("{path}/{}", id(&added));
    let (_, updated) = caller.put(&row, json!({"meta": second["meta"]})).await;
    assert_eq!(updated["result"]["meta"], json!({"a": {"c": 1.5}}));
    assert_eq!(updated["result"]["resource_version"], 2);
    assert_eq!(caller.delete(&row).await.1["result"]["status"], "deleting");
    assert_eq!(caller.get(&row).await.0, 404);
    assert_eq!(caller.column(&path, "id").await, [first.as_str()]);
    switch(&caller, |s| s.deleted_resources = DeletedResources::Shown);
    assert_eq!(caller.column(&path, "status").await, ["active", "deleted"]);
    switch(&caller, |s| s.last_resource = LastResource::Deletable);
    assert_eq!(caller.delete(&format!("{path}/{first}")).await.0, 200);
}

#[tokio::test]
async fn a_refused_create_names_the_cause_and_makes_nothing() {
    let caller = caller();
    let (good, unknown, outside) = (random_id(), random_id(), random_id());
    SIMULATOR.account(&unknown, |account| account.known = false);
    SIMULATOR.account(&outside, |account| account.organization = None);
    for bad in [&unknown, &outside] {
        let (status, answer) = caller.post("", caller.wanted("x", &[&good, bad])).await;
        let error = &answer["errors"][0];
        assert_eq!(status, 400);
        assert!(error["message"].as_str().is_some_and(|text| text.contains(bad.as_str())));
        assert_eq!(error["source"]["pointer"], "/recipients/1/recipient_account_id");
    }
    switch(&caller, |s| s.error_pointer = false);
    let (_, answer) = caller.post("", caller.wanted("x", &[&unknown])).await;
    assert!(answer["errors"][0].get("source").is_none());
    SIMULATOR.account(&caller.account, |account| {
        account.unknown_resources.insert("first-source".to_owned());
    });
    assert_eq!(caller.post("", caller.wanted("x", &[&good])).await.0, 400);
    for body in [json!({}), json!([]), json!({"name": "", "recipients": [], "resources": []})] {
        assert_eq!(caller.post("", body).await.0, 400);
    }
    assert_eq!(caller.post("", caller.wanted("x", &[])).await.0, 400);
    assert!(SIMULATOR.state(&caller.account).is_empty());
}

#[tokio::test]
async fn a_missing_entitlement_is_an_error_entry_for_those_who_ask() {
    let caller = quick_caller();
    let poor = random_id();
    SIMULATOR.account(&poor, |account| account.entitled = false);
    let share = caller.share("errors", &[&poor]).await;
    let path = format!("/{share}/recipients");
    let row = caller.get(&format!("{path}?include_resources=true")).await.1["result"][0].clone();
    assert_eq!(row["association_status"], "associating");
    assert_eq!(row["resources"][0]["error"], "Recipient is missing necessary entitlement");
    assert_eq!(row["resources"][0]["terminal"], true);
    assert!(caller.get(&path).await.1["result"][0].get("resources").is_none());
    switch(&caller, |s| s.errors_unasked = Unasked::Shown);
    assert!(caller.get(&path).await.1["result"][0].get("resources").is_some());
    SIMULATOR.account(&poor, |account| account.entitled = true);
    let row = caller.get(&format!("{path}?include_resources=true")).await.1["result"][0].clone();
    assert_eq!((&row["association_status"], &row["resources"]), (&json!("associated"), &json!([])));
}

#[tokio::test]
async fn a_recipient_sees_what_it_receives() {
    let (owner, recipient) = (caller(), caller());
    let sent = owner.share("given", &[&recipient.account]).await;
    let own = recipient.share("own", &[&owner.account]).await;
    assert_eq!(recipient.column("", "kind").await, ["received", "sent"]);
    assert_eq!(recipient.column("?kind=received", "id").await, [sent.as_str()]);
    let path = format!("/{sent}");
    assert_eq!(recipient.get(&path).await.1["result"]["kind"], "received");
    assert_eq!(recipient.delete(&path).await.0, 404);
    switch(&recipient, |s| {
        s.received_read = ReceivedRead::NotFound;
        s.list_without_kind = ListWithoutKind::Sent;
    });
    assert_eq!(recipient.get(&path).await.0, 404);
    assert_eq!(recipient.column("", "id").await, [own]);
}

#[tokio::test]
async fn reads_may_lag_behind_writes_in_lists_or_gets_or_both() {
    // Time passes here, and must not for the others.
    let simulator = start(Config::default());
    let caller = caller_of(&simulator);
    let switch = |change: fn(&mut Switches)| simulator.switches(Some(&caller.account), change);
    let old = caller.share("old", &[&random_id()]).await;
    simulator.advance(Duration::from_secs(10));
    switch(|s| s.list_lag_ms = 5_000);
    let new = caller.share("new", &[&random_id()]).await;
    caller.put(&format!("/{old}"), json!({"name": "renamed"})).await;
    assert_eq!(caller.column("", "name").await, ["old"]);
    assert_eq!(caller.get(&format!("/{new}")).await.0, 200);
    switch(|s| s.get_lag_ms = 5_000);
    assert_eq!(caller.get(&format!("/{new}")).await.0, 404);
    assert_eq!(caller.get(&format!("/{old}")).await.1["result"]["name"], "old");
    simulator.advance(Duration::from_secs(10));
    assert_eq!(caller.column("", "name").await, ["renamed", "new"]);
    assert_eq!(caller.get(&format!("/{new}")).await.0, 200);
}

#[tokio::test]
async fn one_name_may_be_used_twice_unless_it_may_not() {
    let caller = caller();
    caller.share("same", &[&random_id()]).await;
    caller.share("same", &[&random_id()]).await;
    assert_eq!(SIMULATOR.live_shares(&caller.account, "same").len(), 2);
    switch(&caller, |s| s.same_name = SameName::Conflict);
    assert_eq!(caller.post("", caller.wanted("same", &[&random_id()])).await.0, 409);
}

#[tokio::test]
async fn modified_moves_with_the_rows_only_where_that_is_the_rule() {
    let caller = caller();
    switch(&caller, |s| s.modified_moves = true);
    let share = caller.share("moves", &[&random_id()]).await;
    let before = caller.get(&format!("/{share}")).await.1;
    caller.post(&format!("/{share}/recipients"), to(&random_id())).await;
    let after = caller.get(&format!("/{share}")).await.1;
    assert_ne!(before["result"]["modified"], after["result"]["modified"]);
}

#[tokio::test]
async fn what_others_change_shows() {
    let caller = caller();
    let recipient = random_id();
    let share = caller.share("mine", &[&recipient]).await;
    let path = format!("/{share}/recipients?include_resources=true");
    let edit = |edit: serde_json::Value| {
        let edit = serde_json::from_value(edit).expect("an edit");
        SIMULATOR.edit(edit).expect("edited")
    };
    edit(json!({"op": "set_recipient", "share": share, "recipient": recipient,
        "status": "evaluating", "errors": [{"resource_id": "x", "resource_version": 1,
        "error": "by hand", "terminal": false}]}));
    let row = caller.get(&path).await.1["result"][0].clone();
    assert_eq!(row["association_status"], "evaluating");
    assert_eq!(row["resources"][0]["error"], "by hand");
    edit(json!({"op": "vanish_share", "share": share}));
    assert_eq!(caller.get(&format!("/{share}")).await.0, 404);
    assert!(caller.column("?status=deleted", "id").await.is_empty());
    edit(json!({"op": "reappear_share", "share": share}));
    assert_eq!(caller.get(&format!("/{share}")).await.0, 200);
}

#[tokio::test]
async fn ids_that_are_none_have_no_route() {
    let caller = caller();
    let malformed = ["/%2e%2e", "/a%2Fb", "/x%20y", "/%00", "/x/unknown", "/%zz"];
    for path in malformed {
        let (status, answer) = caller.get(path).await;
        assert_eq!((status, code(&answer)), (400, 7003), "{path}");
    }
    let mut wrong = self::caller();
    wrong.account = "short".to_owned();
    assert_eq!(wrong.get("").await.0, 400);
    assert_eq!(caller.put("", json!({})).await.0, 405);
    assert_eq!(code(&caller.get(&format!("/{}", random_id())).await.1), 1004);
}

//! Are shares listed, read, made and refused as they should be?

use std::time::Duration;

use cfshare_simulator::*;
use serde_json::json;

use crate::caller::{Caller, SIMULATOR, caller, caller_of, code, column, start, switch};

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

//! Do recipients and resources come and go as they should?

use cfshare_simulator::*;
use serde_json::json;

use crate::caller::{SIMULATOR, caller, id, quick_caller, resource, switch, to};

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
async fn what_is_refused_or_hidden_may_be_accepted_or_shown() {
    let caller = quick_caller();
    let poor = random_id();
    SIMULATOR.account(&poor, |account| account.entitled = false);
    switch(&caller, |s| {
        s.empty_create = EmptyCreate::Accepted;
        s.resource_again = PostedAgain::SecondRow;
        s.deleted_resources = DeletedResources::Shown;
        s.error_names = ErrorNames::ShareResourceId;
        s.not_entitled = NotEntitled::Associated;
    });
    let (status, empty) = caller.post("", json!({"name": "empty", "recipients": [], "resources": []})).await;
    assert_eq!(status, 201, "{empty}");
    let share = caller.share("full", &[&poor]).await;
    let path = format!("/{share}/resources");
    let (_, twin) = caller.post(&path, resource(&caller.account, "first-source")).await;
    let kept = caller.column(&path, "id").await.remove(0);
    assert_ne!(id(&twin), kept);
    caller.delete(&format!("{path}/{}", id(&twin))).await;
    let shown = caller.get(&format!("/{share}?include_resources=true")).await.1;
    let states = shown["result"]["resources"].as_array().expect("resources").iter();
    assert_eq!(states.map(|row| &row["status"]).collect::<Vec<_>>(), ["active", "deleted"]);
    let row = caller.get(&format!("/{share}/recipients?include_resources=true")).await.1["result"][0].clone();
    assert_eq!(row["association_status"], "associated");
    assert_eq!(row["resources"][0]["resource_id"], kept);
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

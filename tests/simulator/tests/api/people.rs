//! Do organizations, recipients and other people show as they should?

use cfshare_simulator::*;
use serde_json::json;

use crate::caller::{SIMULATOR, caller, column, id, quick_caller, switch, to};

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
    let mut everyone = caller.wanted("everyone", &[]);
    everyone["recipients"] = json!([{}]);
    assert_eq!(caller.post("", everyone.clone()).await.0, 400);
    switch(&caller, |s| s.untargeted = Untargeted::Everyone);
    assert_eq!(caller.post("", everyone).await.1["result"]["target_type"], "organization");
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

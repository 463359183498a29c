//! Whether the calls that concern the resources of a share do what they say.

use cfshare::cloudflare::{ErrorClass, NewResource, ResourceQuery, ResourceStatus, ShareResource};
use cfshare::core::id::SourceId;
use cfshare_simulator::random_id;
use serde_json::json;

use super::{Stage, Test, a_resource, object};

pub const TESTS: [Test; 5] = [
    ("list_resources", list_resources),
    ("add_resource", add_resource),
    ("resource", resource),
    ("update_resource", update_resource),
    ("remove_resource", remove_resource),
];

fn list_resources(stage: &Stage) {
    let share = stage.share();
    let query = |kind: &str, status| ResourceQuery {
        kind: Some(kind.into()),
        status: Some(status),
        ..ResourceQuery::default()
    };
    for (kind, status, rows) in [
        ("gateway-policy", ResourceStatus::Active, 1),
        ("gateway-policy", ResourceStatus::Deleting, 0),
        ("custom-ruleset", ResourceStatus::Active, 0),
    ] {
        let query = query(kind, status);
        let list = stage.client.list_resources(&stage.credential, &stage.account, &share.id, &query);
        let page = stage.run(list).unwrap().body;
        assert_eq!((page.rows.len(), page.total_count), (rows, Some(rows as u64)));
    }
}

fn add_resource(stage: &Stage) {
    let share = stage.share();
    let new = NewResource { id: SourceId::parse(&random_id()).unwrap(), kind: "custom-ruleset".into(), ..a_resource() };
    let call = stage.client.add_resource(&stage.credential, &stage.account, &share.id, &new);
    let row = stage.run(call).unwrap().body;
    assert_eq!((&row.resource_id, &row.resource_account_id), (&new.id, &new.account));
    assert_eq!((row.status, row.meta), (ResourceStatus::Active, new.meta));
    assert_eq!(stage.resources(&share.id).len(), 2);
}

fn resource(stage: &Stage) {
    let share = stage.share();
    let row = stage.resources(&share.id).remove(0);
    let read = stage.client.resource(&stage.credential, &stage.account, &share.id, &row.id);
    assert_eq!(stage.run(read).unwrap().body, row);
}

fn update_resource(stage: &Stage) {
    let share = stage.share();
    let row = stage.resources(&share.id).remove(0);
    let meta = object(json!({"deep": {"list": [1, 2.5, "ü"]}, "empty": {}}));
    let call = stage.client.update_resource(&stage.credential, &stage.account, &share.id, &row.id, &meta);
    assert_eq!(stage.run(call).unwrap().body.meta, meta);
    assert_eq!(stage.resources(&share.id).remove(0).meta, meta);
}

fn remove_resource(stage: &Stage) {
    let share = stage.share();
    let remove = |row: &ShareResource| {
        stage.run(stage.client.remove_resource(&stage.credential, &stage.account, &share.id, &row.id))
    };
    let last = stage.resources(&share.id).remove(0);
    assert_eq!(remove(&last).unwrap_err().class(), ErrorClass::Rejected);
    let new = NewResource { id: SourceId::parse(&random_id()).unwrap(), ..a_resource() };
    let call = stage.client.add_resource(&stage.credential, &stage.account, &share.id, &new);
    stage.run(call).unwrap();
    let removed = remove(&last).unwrap().body.unwrap();
    assert_eq!(removed.status, ResourceStatus::Deleting);
    stage.settle();
    let left = stage.resources(&share.id);
    assert_eq!((left.len(), &left[0].resource_id), (1, &new.id));
}

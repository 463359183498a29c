//! Whether the calls that concern the resources of a share do what they say.

use cfshare::cloudflare::{ErrorClass, NewResource, ResourceStatus, ShareResource};
use cfshare::core::id::SourceId;
use cfshare_simulator::random_id;
use serde_json::json;

use super::{Stage, Test, a_resource, object};

pub const TESTS: [Test; 4] = [
    ("list_resources", list_resources),
    ("add_resource", add_resource),
    ("update_resource", update_resource),
    ("remove_resource", remove_resource),
];

fn list_resources(stage: &Stage) {
    let share = stage.share();
    let page = stage.run(stage.api().list_resources(&share.id, 1)).unwrap().body;
    assert_eq!((page.rows.len(), page.total_count), (1, Some(1)));
    assert_eq!((&*page.rows[0].resource_type, &page.rows[0].status), ("gateway-policy", &ResourceStatus::Active));
}

fn add_resource(stage: &Stage) {
    let share = stage.share();
    let new = NewResource { id: SourceId::parse(&random_id()).unwrap(), kind: "custom-ruleset".into(), ..a_resource() };
    let row = stage.run(stage.api().add_resource(&share.id, &new)).unwrap().body.expect("a row");
    assert_eq!((&row.resource_id, &row.resource_account_id), (&new.id, &new.account));
    assert_eq!((row.status, row.meta), (ResourceStatus::Active, new.meta));
    assert_eq!(stage.resources(&share.id).len(), 2);
}

fn update_resource(stage: &Stage) {
    let share = stage.share();
    let row = stage.resources(&share.id).remove(0);
    let meta = object(json!({"deep": {"list": [1, 2.5, "ü"]}, "empty": {}}));
    assert_eq!(
        stage.run(stage.api().update_resource(&share.id, &row.id, &meta)).unwrap().body.expect("a row").meta,
        meta
    );
    assert_eq!(stage.resources(&share.id).remove(0).meta, meta);
}

fn remove_resource(stage: &Stage) {
    let share = stage.share();
    let remove = |row: &ShareResource| stage.run(stage.api().remove_resource(&share.id, &row.id));
    let last = stage.resources(&share.id).remove(0);
    assert_eq!(remove(&last).unwrap_err().class(), ErrorClass::Rejected);
    let new = NewResource { id: SourceId::parse(&random_id()).unwrap(), ..a_resource() };
    stage.run(stage.api().add_resource(&share.id, &new)).unwrap();
    let removed = remove(&last).unwrap().body.unwrap();
    assert_eq!(removed.status, ResourceStatus::Deleting);
    stage.settle();
    let left = stage.resources(&share.id);
    assert_eq!((left.len(), &left[0].resource_id), (1, &new.id));
}

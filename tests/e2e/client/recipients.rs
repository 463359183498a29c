//! Whether the calls that concern who receives, and who does not, do what they say.

use cfshare::cloudflare::{AssociationStatus, NewShare, Target, TargetType};
use cfshare::core::id::{AccountId, OrganizationId};
use cfshare_simulator::random_id;
use serde_json::json;

use super::{Stage, Test, a_share, an_account};

pub const TESTS: [Test; 5] = [
    ("list_recipients", list_recipients),
    ("add_recipient", add_recipient),
    ("replace_recipients", replace_recipients),
    ("remove_recipient", remove_recipient),
    ("excluded_recipients", excluded_recipients),
];

fn list_recipients(stage: &Stage) {
    let share = stage.share();
    let lame = an_account();
    stage.simulator.account(lame.as_str(), |account| account.entitled = false);
    stage.run(stage.api().add_recipient(&share.id, &lame)).unwrap();
    stage.settle();
    let page = stage.run(stage.api().list_recipients(&share.id, 1)).unwrap().body;
    assert_eq!(page.total_count, Some(2));
    let [healthy, failed] = &page.rows[..] else { panic!("two rows: {page:?}") };
    assert_eq!(healthy.association_status, AssociationStatus::Associated);
    assert!(healthy.errors.is_empty());
    assert_eq!(failed.account_id, lame);
    assert_eq!(failed.errors[0].error, "Recipient is missing necessary entitlement");
    assert!(failed.errors[0].terminal);
}

fn add_recipient(stage: &Stage) {
    let share = stage.share();
    let account = an_account();
    let row = stage.run(stage.api().add_recipient(&share.id, &account)).unwrap().body.expect("a row");
    assert_eq!(row.account_id, account);
    assert_eq!(row.association_status, AssociationStatus::Associating);
    assert_eq!(stage.receiving(&share.id).len(), 2);
    let journal = stage.simulator.journal(Some(stage.account.as_str()), 0);
    assert_eq!(journal.last().unwrap().body, json!({"recipient_account_id": account.as_str()}));
}

fn replace_recipients(stage: &Stage) {
    let share = stage.share();
    let accounts = [an_account(), an_account()];
    assert_eq!(stage.run(stage.api().replace_recipients(&share.id, &accounts)).unwrap().head.status, 204);
    let mut receiving = stage.receiving(&share.id);
    let mut wanted = accounts.map(|account| account.to_string());
    receiving.sort();
    wanted.sort();
    assert_eq!(receiving, wanted);
}

fn remove_recipient(stage: &Stage) {
    let share = stage.share();
    let row = stage.recipients(&share.id).remove(0);
    let removed = stage.run(stage.api().remove_recipient(&share.id, &row.id)).unwrap().body.unwrap();
    assert_eq!(removed.association_status, AssociationStatus::Disassociating);
    stage.settle();
    let row = stage.recipients(&share.id).remove(0);
    assert_eq!(row.association_status, AssociationStatus::Disassociated);
}

fn excluded_recipients(stage: &Stage) {
    let members = [an_account(), an_account(), an_account()];
    let organization = random_id();
    let mut ids: Vec<&str> = members.iter().map(AccountId::as_str).collect();
    ids.push(stage.account.as_str());
    stage.simulator.organization(&organization, &ids);
    let new = NewShare {
        recipients: vec![Target::Organization(OrganizationId::parse(&organization).unwrap())],
        ..a_share("for all")
    };
    let share = stage.create(&new).unwrap();
    assert_eq!(share.target_type, TargetType::Organization);
    assert_eq!(stage.receiving(&share.id).len(), 3);
    let list = || stage.run(stage.api().list_excluded(&share.id, 1)).unwrap().body.rows;
    assert!(list().is_empty());
    let add = |member| stage.run(stage.api().add_excluded(&share.id, member)).unwrap().body.expect("a row");
    let row = add(&members[0]);
    assert_eq!(row.account_id, members[0]);
    assert_eq!(list(), std::slice::from_ref(&row));
    assert_eq!(stage.receiving(&share.id).len(), 2);
    let rows = [row, add(&members[1])];
    assert_eq!(list(), rows);
    assert_eq!(stage.receiving(&share.id), [members[2].as_str()]);
    stage.run(stage.api().remove_excluded(&share.id, &rows[0].id)).unwrap();
    assert_eq!(stage.receiving(&share.id).len(), 2);
    assert_eq!(list(), rows[1..]);
}

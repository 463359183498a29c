//! Whether the calls that concern who receives, and who does not, do what they say.

use cfshare::cloudflare::{AssociationStatus, ErrorClass, NewShare, Target, TargetType};
use cfshare::core::id::{AccountId, OrganizationId, RecipientId};
use cfshare_simulator::random_id;
use serde_json::json;

use super::{Stage, Test, a_share, an_account};

pub const TESTS: [Test; 6] = [
    ("list_recipients", list_recipients),
    ("add_recipient", add_recipient),
    ("replace_recipients", replace_recipients),
    ("recipient", recipient),
    ("remove_recipient", remove_recipient),
    ("excluded_recipients", excluded_recipients),
];

fn list_recipients(stage: &Stage) {
    let share = stage.share();
    let lame = an_account();
    stage.simulator.account(lame.as_str(), |account| account.entitled = false);
    let target = Target::Account(lame.clone());
    let add = stage.client.add_recipient(&stage.credential, &stage.account, &share.id, &target);
    stage.run(add).unwrap();
    stage.settle();
    let list = |errors| {
        let page = |number| {
            let list = stage.client.list_recipients(&stage.credential, &stage.account, &share.id, errors, number, 1);
            stage.run(list).unwrap().body
        };
        assert_eq!(page(1).total_count, Some(2));
        [page(1), page(2)].map(|mut page| page.rows.remove(0))
    };
    let [healthy, failed] = list(true);
    assert_eq!(healthy.association_status, AssociationStatus::Associated);
    assert!(healthy.errors.is_empty());
    assert_eq!(failed.account_id, lame);
    assert_eq!(failed.errors[0].error, "Recipient is missing necessary entitlement");
    assert!(failed.errors[0].terminal);
    assert!(list(false).iter().all(|row| row.errors.is_empty()));
}

fn add_recipient(stage: &Stage) {
    let share = stage.share();
    let account = an_account();
    let target = Target::Account(account.clone());
    let call = stage.client.add_recipient(&stage.credential, &stage.account, &share.id, &target);
    let row = stage.run(call).unwrap().body;
    assert_eq!(row.account_id, account);
    assert_eq!(row.association_status, AssociationStatus::Associating);
    assert_eq!(stage.receiving(&share.id).len(), 2);
    let journal = stage.simulator.journal(Some(stage.account.as_str()), 0);
    assert_eq!(journal.last().unwrap().body, json!({"recipient_account_id": account.as_str()}));
}

fn replace_recipients(stage: &Stage) {
    let share = stage.share();
    let accounts = [an_account(), an_account()];
    let targets = accounts.clone().map(Target::Account);
    let call = stage.client.replace_recipients(&stage.credential, &stage.account, &share.id, &targets);
    assert_eq!(stage.run(call).unwrap().head.status, 204);
    let mut receiving = stage.receiving(&share.id);
    let mut wanted = accounts.map(|account| account.to_string());
    receiving.sort();
    wanted.sort();
    assert_eq!(receiving, wanted);
}

fn recipient(stage: &Stage) {
    let share = stage.share();
    let row = stage.recipients(&share.id).remove(0);
    let read =
        |id: &RecipientId| stage.run(stage.client.recipient(&stage.credential, &stage.account, &share.id, id, true));
    assert_eq!(read(&row.id).unwrap().body, row);
    let unknown = RecipientId::parse(&random_id()).unwrap();
    assert_eq!(read(&unknown).unwrap_err().class(), ErrorClass::Gone);
}

fn remove_recipient(stage: &Stage) {
    let share = stage.share();
    let row = stage.recipients(&share.id).remove(0);
    let call = stage.client.remove_recipient(&stage.credential, &stage.account, &share.id, &row.id);
    let removed = stage.run(call).unwrap().body.unwrap();
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
    let (client, credential, account) = (&stage.client, &stage.credential, &stage.account);
    let list = || {
        let list = client.list_excluded(credential, account, &share.id, 1, 100);
        stage.run(list).unwrap().body.rows
    };
    assert!(list().is_empty());
    let add = client.add_excluded(credential, account, &share.id, &members[0]);
    let row = stage.run(add).unwrap().body;
    assert_eq!(row.account_id, members[0]);
    assert_eq!(list(), std::slice::from_ref(&row));
    let read = client.excluded(credential, account, &share.id, &row.id);
    assert_eq!(stage.run(read).unwrap().body, row);
    assert_eq!(stage.receiving(&share.id).len(), 2);
    let replace = client.replace_excluded(credential, account, &share.id, &members[1..]);
    assert_eq!(stage.run(replace).unwrap().head.status, 204);
    let rows = list();
    assert_eq!(rows.len(), 2);
    assert_eq!(stage.receiving(&share.id), [members[0].as_str()]);
    let remove = client.remove_excluded(credential, account, &share.id, &rows[0].id);
    stage.run(remove).unwrap();
    assert_eq!(stage.receiving(&share.id).len(), 2);
    assert_eq!(list(), rows[1..]);
}

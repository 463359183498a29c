//! Whether the calls that concern shares do what they say.

use cfshare::cloudflare::{Credential, ErrorClass, Kind, Order, ShareQuery, ShareStatus, Target, TargetType};
use cfshare::core::id::ShareId;
use cfshare_simulator::{Seed, random_id};
use serde_json::json;

use super::{Stage, Test, a_share};

pub const TESTS: [Test; 6] = [
    ("create_share", create_share),
    ("list_shares", list_shares),
    ("share", share),
    ("rename_share", rename_share),
    ("delete_share", delete_share),
    ("both_kinds_of_credentials_work", both_kinds_of_credentials_work),
];

fn create_share(stage: &Stage) {
    let new = a_share("WAF baseline, \"quoted\" – ü");
    let share = stage.create(&new).unwrap();
    assert_eq!((&share.name, &share.account_id), (&new.name, &stage.account));
    assert_eq!(share.status, ShareStatus::Active);
    assert_eq!(share.target_type, TargetType::Account);
    assert!(share.created.is_some());
    let state = stage.simulator.state(stage.account.as_str());
    assert_eq!((state.len(), state[0].id.as_str()), (1, share.id.as_str()));
    let [Target::Account(recipient)] = &new.recipients[..] else {
        panic!("one account was meant");
    };
    assert_eq!(state[0].recipients[0].account_id, recipient.as_str());
    let row = &state[0].resources[0];
    assert_eq!(row.resource_id, new.resources[0].id.as_str());
    assert_eq!(row.resource_account_id, new.resources[0].account.as_str());
    assert_eq!(row.resource_type, new.resources[0].kind);
    assert_eq!(row.meta, json!({"note": "by us"}));
}

fn list_shares(stage: &Stage) {
    let seed = Seed {
        account: stage.account.to_string(),
        shares: 5,
        recipients: 3,
        resources: 2,
        prefix: "share".into(),
        list: Vec::new(),
    };
    stage.simulator.seed(seed).unwrap();
    let mut names = Vec::new();
    for page in 1..=3 {
        let query = ShareQuery {
            kind: Some(Kind::Sent),
            status: Some(ShareStatus::Active),
            order: Some(Order::NewestFirst),
            include: true,
            page,
            per_page: 2,
        };
        let reply = stage.run(stage.api().list_shares(query)).unwrap();
        assert_eq!(reply.body.page, page);
        assert_eq!(reply.body.total_pages, Some(3));
        assert_eq!(reply.body.total_count, Some(5));
        assert!(reply.head.date.is_some() && reply.head.ray.is_some());
        assert!(reply.head.limits.remaining.is_some() && reply.head.limits.reset.is_some());
        for share in reply.body.rows {
            assert_eq!(share.kind, Some(Kind::Sent));
            assert_eq!(share.counts.unwrap().associated, 3);
            assert_eq!(share.resources.unwrap().len(), 2);
            names.push(share.name);
        }
    }
    assert_eq!(names, ["share-4", "share-3", "share-2", "share-1", "share-0"]);
    let none = ShareQuery { kind: Some(Kind::Received), ..ShareQuery::default() };
    assert!(stage.run(stage.api().list_shares(none)).unwrap().body.rows.is_empty());
}

fn share(stage: &Stage) {
    let made = stage.share();
    let mut bare = stage.run(stage.api().list_shares(ShareQuery::default())).unwrap().body.rows;
    let bare = bare.remove(0);
    assert_eq!((bare.resources, bare.counts), (None, None));
    let full = stage.read(&made.id).unwrap();
    assert_eq!(full.resources.unwrap().len(), 1);
    assert_eq!(full.counts.unwrap().associated, 1);
    let unknown = ShareId::parse(&random_id()).unwrap();
    let error = stage.read(&unknown).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Gone, "{error}");
}

fn rename_share(stage: &Stage) {
    let share = stage.share();
    let reply = stage.run(stage.api().rename_share(&share.id, "new name")).unwrap();
    let renamed = reply.body.expect("a share");
    assert_eq!(renamed.name, "new name");
    assert!(renamed.modified > share.modified);
    assert_eq!(stage.simulator.share(share.id.as_str()).unwrap().name, "new name");
}

fn delete_share(stage: &Stage) {
    let share = stage.share();
    let delete = || stage.run(stage.api().delete_share(&share.id));
    assert_eq!(delete().unwrap().body.unwrap().status, ShareStatus::Deleting);
    stage.settle();
    let error = stage.read(&share.id).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Gone);
    assert_eq!(delete().unwrap_err().class(), ErrorClass::Gone);
}

fn both_kinds_of_credentials_work(stage: &Stage) {
    let pair = Credential::Key { email: "security@example.com".into(), key: "key-of-the-stage".into() };
    for credential in [&stage.credential, &pair] {
        let list = stage.client.api(credential, &stage.account).list_shares(ShareQuery::default());
        assert!(stage.run(list).is_ok());
    }
    let journal = stage.simulator.journal(Some(stage.account.as_str()), 0);
    assert_ne!(journal[0].credential, journal[1].credential);
    assert!(journal.iter().all(|entry| entry.credential.is_some()));
    assert!(journal[0].user_agent.as_ref().unwrap().starts_with("cfshare/"));
}

//! Whether the client judges rightly what Cloudflare does wrong, and whether a change happened then.

use std::time::Duration;

use cfshare::cloudflare::{AssociationStatus, Credential, Error, ErrorClass, ShareQuery, ShareStatus, WriteOutcome};
use cfshare_simulator::{Action, BadCredential, ErrorBody, LimitHeaders, Policy, Rule};
use serde_json::json;

use super::{Stage, Test, a_share};

pub const TESTS: [Test; 9] = [
    ("an_ambiguous_create_is_made_once_or_never", ambiguous_create),
    ("a_refused_create_is_made_never", refused_create),
    ("unknown_words_and_fields_are_no_error", unknown_words),
    ("an_answer_about_another_object_is_not_believed", answer_of_another),
    ("a_conflict_is_told_from_a_rejection", conflict),
    ("a_credential_that_may_not_is_denied", denied),
    ("limits_are_read_in_every_form", limits),
    ("a_spoilt_list_is_never_an_empty_list", spoilt_list),
    ("a_connection_closed_on_reuse_is_survived", reuse),
];

const SHARES: &str = "/accounts/*/shares";

fn shares(stage: &Stage) -> usize {
    stage.simulator.state(stage.account.as_str()).len()
}

fn posts(stage: &Stage) -> usize {
    let journal = stage.simulator.journal(Some(stage.account.as_str()), 0);
    journal.iter().filter(|entry| entry.method == "POST").count()
}

/// One create under one fault: how it was judged, and how many shares there are in the end.
fn create(stage: &Stage, action: Action) -> (Error, usize) {
    let (before, sent) = (shares(stage), posts(stage));
    let shown = format!("{action:?}");
    let rule = stage.simulator.fault(Rule::once("POST", SHARES, action));
    let error = stage.create(&a_share("waf")).expect_err(&shown);
    assert_eq!(stage.simulator.fired(rule), 1, "{shown}");
    assert_eq!(posts(stage), sent + 1, "{shown} was sent again");
    (error, shares(stage) - before)
}

fn status(status: u16, body: ErrorBody, code: Option<i64>) -> [Action; 2] {
    let retry_after = None;
    [
        Action::StatusBefore { status, body, code, retry_after: None },
        Action::StatusAfter { status, body, code, retry_after },
    ]
}

fn ambiguous_create(stage: &Stage) {
    let mut cases = vec![
        (Action::Drop {}, 0),
        (Action::Reset {}, 0),
        (Action::ApplyDrop {}, 1),
        (Action::ApplyReset {}, 1),
        (Action::Cut {}, 1),
        (Action::Garbage { body: None, content_type: None }, 1),
        (Action::Unsuccessful {}, 1),
        (Action::NullResult {}, 1),
        (Action::Redirect { to: stage.simulator.control_url().into() }, 0),
    ];
    for (code, body) in
        [(500, ErrorBody::Json), (502, ErrorBody::Html), (408, ErrorBody::Json), (524, ErrorBody::Empty)]
    {
        let [before, after] = status(code, body, None);
        cases.extend([(before, 0), (after, 1)]);
    }
    for (action, expected) in cases {
        let shown = format!("{action:?}");
        let (error, made) = create(stage, action);
        assert_eq!(error.write_outcome(), WriteOutcome::Ambiguous, "{shown}: {error}");
        assert_eq!(error.class(), ErrorClass::Retry, "{shown}: {error}");
        assert_eq!(made, expected, "{shown}");
    }
}

fn refused_create(stage: &Stage) {
    let throttle =
        |retry_after: Option<&str>| Action::Throttle { retry_after: retry_after.map(str::to_owned), code: None };
    let [rejected, _] = status(400, ErrorBody::Json, Some(1001));
    let [no_route, _] = status(400, ErrorBody::Json, Some(7003));
    let [html, _] = status(429, ErrorBody::Html, None);
    for (action, class) in [
        (throttle(Some("1")), ErrorClass::Throttled),
        (throttle(None), ErrorClass::Throttled),
        (html, ErrorClass::Throttled),
        (Action::Forbidden {}, ErrorClass::Denied),
        (rejected, ErrorClass::Rejected),
        (no_route, ErrorClass::Rejected),
    ] {
        let shown = format!("{action:?}");
        let (error, made) = create(stage, action);
        assert_eq!(error.write_outcome(), WriteOutcome::Rejected, "{shown}: {error}");
        assert_eq!(error.class(), class, "{shown}: {error}");
        assert_eq!(made, 0, "{shown}");
    }
    for (retry_after, expected) in [("0", Some(0)), ("300", Some(300)), ("soon", None)] {
        let (error, _) = create(stage, throttle(Some(retry_after)));
        let limits = error.head().unwrap().limits;
        assert_eq!(limits.retry_after, expected.map(Duration::from_secs));
    }
}

fn unknown_words(stage: &Stage) {
    let share = stage.share();
    for action in [Action::UnknownWords { word: Some("frozen".into()) }, Action::FewerFields {}] {
        let unknown = matches!(action, Action::UnknownWords { .. });
        stage.simulator.clear_faults();
        stage.simulator.fault(Rule::always("GET", "*", action));
        let read = stage.read(&share.id).unwrap();
        let row = stage.recipients(&share.id).remove(0);
        assert_eq!(read.id, share.id);
        if unknown {
            assert_eq!(read.status, ShareStatus::Other("frozen".into()));
            assert_eq!(row.association_status, AssociationStatus::Other("frozen".into()));
        }
        assert_eq!(stage.resources(&share.id).len(), 1);
    }
    let news = json!({"nested": [1, null, {"status": "frozen"}]});
    let set = ["/zz", "/result/zz"].map(|at| (at.to_owned(), news.clone()));
    let rewrite = Action::Rewrite { set: set.into(), remove: Vec::new() };
    stage.simulator.clear_faults();
    stage.simulator.fault(Rule::always("GET", "*", rewrite));
    assert_eq!(stage.read(&share.id).unwrap().name, share.name);
}

fn answer_of_another(stage: &Stage) {
    let (one, other) = (stage.share(), stage.share());
    stage.read(&one.id).unwrap();
    let rule = Rule::once("GET", "/accounts/*/shares/*", Action::AnswerOfAnother {});
    let rule = stage.simulator.fault(rule);
    let error = stage.read(&other.id).unwrap_err();
    assert_eq!(stage.simulator.fired(rule), 1);
    assert!(matches!(error, Error::Garbled { .. }), "{error}");
}

fn conflict(stage: &Stage) {
    let share = stage.share();
    stage.simulator.delays(None, |delays| delays.delete_share_ms = None);
    stage.run(stage.api().delete_share(&share.id)).unwrap();
    let error = stage.run(stage.api().rename_share(&share.id, "late")).unwrap_err();
    assert_eq!(error.head().unwrap().status, 409);
    assert_eq!(error.class(), ErrorClass::Conflict);
    assert_eq!(error.write_outcome(), WriteOutcome::Rejected);
}

fn denied(stage: &Stage) {
    let new = a_share("waf");
    let policy = |change: fn(&mut Policy)| {
        let mut policy = Policy::default();
        change(&mut policy);
        policy
    };
    for (name, policy) in [
        ("read-only-token", policy(|policy| policy.read_only = true)),
        ("revoked-token", policy(|policy| policy.revoked = true)),
        ("token-for-others", policy(|policy| policy.accounts = Some(vec!["a".into()]))),
    ] {
        stage.simulator.token(name, policy);
        for form in
            [BadCredential::Forbidden, BadCredential::Unauthorized, BadCredential::Malformed, BadCredential::BadRequest]
        {
            stage.simulator.switches(None, |switches| switches.bad_credential = form);
            let credential = Credential::Token(name.into());
            let create = stage.client.api(&credential, &stage.account).create_share(&new);
            let error = stage.run(create).unwrap_err();
            assert_eq!(error.class(), ErrorClass::Denied, "{name}: {error}");
            assert_eq!(error.write_outcome(), WriteOutcome::Rejected, "{name}: {error}");
            assert!(!format!("{error} {error:?}").contains(name));
        }
    }
    assert_eq!(shares(stage), 0);
}

fn limits(stage: &Stage) {
    let read = |headers| {
        stage.simulator.limits(|limits| limits.headers = headers);
        stage.run(stage.api().list_shares(ShareQuery::default())).unwrap().head.limits
    };
    let one = read(LimitHeaders::One);
    assert!(one.remaining.is_some() && one.reset.is_some());
    let several = read(LimitHeaders::Several);
    assert_eq!(several.remaining, one.remaining.map(|left| left - 1));
    for headers in [LimitHeaders::Garbage, LimitHeaders::Missing] {
        assert_eq!(read(headers).remaining, None);
    }
}

fn spoilt_list(stage: &Stage) {
    stage.share();
    let [before, _] = status(200, ErrorBody::Empty, None);
    let [html, _] = status(200, ErrorBody::Html, None);
    for action in [
        Action::NullResult {},
        Action::Cut {},
        Action::Unsuccessful {},
        Action::Garbage { body: None, content_type: None },
        Action::Garbage { body: Some("{}".into()), content_type: None },
        before,
        html,
    ] {
        let shown = format!("{action:?}");
        stage.simulator.fault(Rule::once("GET", SHARES, action));
        let error = stage.run(stage.api().list_shares(ShareQuery::default())).expect_err(&shown);
        assert_eq!(error.class(), ErrorClass::Retry, "{shown}: {error}");
    }
}

/// The connection looks alive until the next request is on it: then nobody knows.
fn reuse(stage: &Stage) {
    let rule = Rule::once("GET", SHARES, Action::CloseOnReuse {});
    stage.simulator.fault(rule);
    stage.run(stage.api().list_shares(ShareQuery::default())).unwrap();
    match stage.create(&a_share("waf")) {
        Ok(_) => assert_eq!(shares(stage), 1),
        Err(error) => {
            assert_eq!(error.write_outcome(), WriteOutcome::Ambiguous, "{error}");
            assert_eq!(shares(stage), 0);
        }
    }
    assert!(posts(stage) <= 1);
}

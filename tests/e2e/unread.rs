//! Whether a Share stops saying Ready once Cloudflare could not be read for several sweeps, whatever the cause.

use cfshare_simulator::{Action, ErrorBody, LimitHeaders, Limits, Policy, Rule};
use serde_json::Value;

use crate::Test;
use crate::scene::{Scene, World, condition, ids, message};

pub const TESTS: &[Test] = &[
    ("unread: 429 with each answer", |w| unread(w, "Throttled", throttle(None))),
    ("unread: 429 that asks for a long pause", |w| unread(w, "Throttled", throttle(Some("20")))),
    ("unread: 503", |w| unread(w, "Unavailable", status(503, ErrorBody::Json))),
    ("unread: a page of a proxy with status 502", |w| unread(w, "Unavailable", status(502, ErrorBody::Html))),
    ("unread: answers that are not JSON", |w| {
        unread(w, "Unavailable", Action::Garbage { body: None, content_type: None })
    }),
    ("unread: answers without a list", |w| unread(w, "Unavailable", Action::NullResult {})),
    ("unread: connections that break", |w| unread(w, "Unavailable", Action::Reset {})),
    ("unread: answers that never come", |w| unread(w, "Unavailable", Action::Stall {})),
    ("unread: 409", |w| unread(w, "Unavailable", status(409, ErrorBody::Json))),
    ("unread: 404", |w| unread(w, "Rejected", status(404, ErrorBody::Json))),
    ("unread: a refused token", |w| unread(w, "Denied", Action::Forbidden {})),
    ("unread: headers that leave no call", no_calls),
    ("unread: what an edit declares counts at once", edited),
];

fn throttle(retry_after: Option<&str>) -> Action {
    Action::Throttle { retry_after: retry_after.map(str::to_owned), code: None }
}

fn status(status: u16, body: ErrorBody) -> Action {
    Action::StatusBefore { status, body, code: None, retry_after: None }
}

fn settled(scene: &Scene) {
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "two");
    scene.wait_sweep();
}

/// Both say that nobody knows, and since when.
fn expect_unknown(scene: &Scene, reason: &str) {
    for (kind, name) in [("share", "waf"), ("sharerecipient", "two")] {
        let object: Value = scene.wait_reason(kind, name, reason);
        assert_eq!(condition(&object, "Ready").expect("Ready")["status"], "Unknown", "{object:#}");
        if reason == "Throttled" || reason == "Unavailable" {
            let text = message(&object);
            assert!(text.contains(&scene.account) && text.contains("since"), "{text}");
        }
    }
}

fn unread(world: &World, reason: &str, action: Action) {
    let scene = world.own_scene();
    let _operator = scene.operator(&[("--call-timeout", "2s")]);
    settled(&scene);
    let changes = scene.changes().len();
    let fault = world.simulator.fault(Rule::always("GET", "*", action).account(&scene.account));
    expect_unknown(&scene, reason);
    assert!(world.simulator.remove_fault(fault));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "two");
    assert_eq!(scene.changes().len(), changes, "{:?}", scene.changes());
}

/// Nothing is refused: no call is made.
fn no_calls(world: &World) {
    let scene = world.own_scene();
    let _operator = scene.operator(&[]);
    settled(&scene);
    let headers = LimitHeaders::Steady { left: 0, reset: 30 };
    let limits = Limits { requests: 0, headers, ..Limits::default() };
    world.simulator.token(&scene.token, Policy { limits: Some(limits), ..Policy::default() });
    expect_unknown(&scene, "Throttled");
    world.simulator.token(&scene.token, Policy::default());
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "two");
}

fn edited(world: &World) {
    let scene = world.own_scene();
    let _operator = scene.operator(&[]);
    settled(&scene);
    world.simulator.fault(Rule::always("GET", "*", Action::Forbidden {}).account(&scene.account));
    expect_unknown(&scene, "Denied");
    let manifest = scene.get("share", "waf").expect("the Share");
    let text = |field: &Value| field.as_str().expect("an id").to_owned();
    let one = text(&manifest["spec"]["recipients"][0]["accountID"]);
    let first = text(&manifest["spec"]["resources"][0]["id"]);
    let [three] = ids();
    scene.apply(&scene.share("waf", &[&one, &three], &[&first], ""));
    let object = scene.wait_for("share", "waf", "looked at after the edit", |share| {
        share["status"]["observedGeneration"] == share["metadata"]["generation"]
    });
    assert_eq!(object["status"]["recipients"]["summary"], "2/3", "{object:#}");
}

//! The Secret that a Share's calls are made with: missing, wrong, changed, gone.

use cfshare_simulator::{Policy, random_id, short_hash};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::Test;
use crate::health::{ALL, account, command, grant, start};
use crate::own;
use crate::scene::{Scene, World, condition, ids, is_observed, is_ready, message};

pub const TESTS: &[Test] = &[
    ("credentials: a missing Secret is named, and its coming is noticed", missing),
    ("credentials: a Secret or a Share that does not arrive within two minutes is stalled", never_arrived),
    ("credentials: a Secret that is empty, or may not be read yet, is awaited as a missing one", on_its_way),
    ("credentials: a Secret without the right keys says which ones it needs", wrong_keys),
    ("credentials: a token with blanks, quotes or a leading Bearer is named by its kind before a call", malformed),
    ("credentials: a token works where empty or other keys of the pair stand with it", token_wins),
    ("credentials: an email address and a key do as well", email_and_key),
    ("credentials: a Secret of another name, with a newline at its end", other_name),
    ("credentials: a rotated Secret is in use within a minute", rotated),
    ("credentials: a revoked token is told, and a new one goes on", revoked),
    ("credentials: a Secret that goes is noticed, and nothing is undone", removed),
    ("credentials: a share whose Secret never came can be deleted", never_came),
    ("credentials: objects of a share use its Secret", of_objects),
];

fn secret(scene: &Scene, name: &str, data: &str) {
    scene.apply(&format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {data}\n"));
}

fn missing(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.kubectl(&["delete", "secret", "cloudflare-credentials"]);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let share = scene.wait_reason("share", "waf", "CredentialsNotFound");
    let text = message(&share);
    assert!(text.contains("cloudflare-credentials") && text.contains("apiToken"), "{text}");
    assert_eq!(condition(&share, "Ready").expect("Ready")["status"], "Unknown");
    // It may be on its way, as where an external secret store brings it: Flux and `helm --wait` go on waiting.
    assert!(condition(&share, "Stalled").is_none() && condition(&share, "Reconciling").is_some(), "{share:#}");
    assert!(scene.journal().is_empty());
    scene.put_token(&scene.token);
    scene.wait_ready("share", "waf");
}

/// Since when it is missed stands in the status, so a restart does not begin to count again.
fn never_arrived(world: &World) {
    let scene = world.own_scene();
    let [one, first] = ids();
    scene.kubectl(&["delete", "secret", "cloudflare-credentials"]);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.apply(&scene.recipient("orphan", "nobody", &one, ""));
    let ago = Timestamp::from_second(Timestamp::now().as_second() - 180).expect("a time").to_string();
    for (kind, name, status, reason) in [
        ("shares.cfshare.dev", "waf", "Unknown", "CredentialsNotFound"),
        ("sharerecipients.cfshare.dev", "orphan", "False", "WaitingForShare"),
    ] {
        let condition = json!({
            "type": "Ready", "status": status, "reason": reason, "message": "", "observedGeneration": 1,
            "lastTransitionTime": ago,
        });
        let patch = json!({"status": {"observedGeneration": 1, "conditions": [condition]}}).to_string();
        scene.kubectl(&["patch", kind, name, "--subresource=status", "--type=merge", "--patch", &patch]);
    }
    let _operator = own::start(&scene, &[]);
    for (kind, name) in [("share", "waf"), ("sharerecipient", "orphan")] {
        scene.wait_for(kind, name, "was stalled", |object| condition(object, "Stalled").is_some());
        scene.wait_event(name, |reason, _| ["CredentialsNotFound", "WaitingForShare"].contains(&reason));
    }
}

/// What comes with the same installation needs nobody's hand at first.
fn on_its_way(world: &World) {
    let scene = world.own_scene();
    let [one, first] = ids();
    let kubeconfig = account(&scene, "partly");
    grant(&scene, &scene.namespace, "partly", ALL, false);
    let _operator = start(&scene, "operator.log", command(&scene, &kubeconfig, &scene.namespace, &[]));
    let awaited = |name: &str| {
        let share = scene.wait_reason("share", name, "CredentialsNotFound");
        assert!(condition(&share, "Stalled").is_none() && condition(&share, "Reconciling").is_some(), "{share:#}");
    };
    scene.kubectl(&["delete", "secret", "cloudflare-credentials"]);
    secret(&scene, "cloudflare-credentials", "{}");
    scene.apply(&scene.share("empty", &[&one], &[&first], ""));
    awaited("empty");
    secret(&scene, "other", &format!("{{apiToken: {}}}", scene.token));
    scene.apply(&scene.share("forbidden", &[&one], &[&first], "credentialsRef: {name: other}"));
    awaited("forbidden");
    // A misspelt key is nobody's but a person's.
    secret(&scene, "cloudflare-credentials", "{token: canary}");
    scene.wait_for("share", "empty", "was stalled", |share| condition(share, "Stalled").is_some());
    scene.put_token(&scene.token);
    scene.wait_ready("share", "empty");
    let rule = r#"[{"op": "add", "path": "/rules/-", "value":
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["other"], "verbs": ["get"]}}]"#;
    scene.kubectl(&["patch", "role", "partly", "--type=json", "-p", rule]);
    scene.wait_ready("share", "forbidden");
}

fn wrong_keys(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    for (name, data, says) in [
        ("empty", "{}", "apiToken"),
        ("misspelt", "{token: mumble}", "apiToken"),
        ("half", "{email: somebody@example.com}", "apiKey"),
        ("blank", "{apiToken: ''}", "apiToken"),
        ("control", "{apiToken: \"mumble\\u0001def\"}", "apiToken"),
    ] {
        secret(&scene, name, data);
        scene.apply(&scene.share(name, &[&one], &[&first], &format!("credentialsRef: {{name: {name}}}")));
        let share = scene.wait_reason("share", name, "CredentialsNotFound");
        let text = message(&share);
        assert!(text.contains(name) && text.contains(says), "{text}");
        assert!(!text.contains("mumble"), "{text}");
    }
    assert!(scene.journal().is_empty());
    scene.kubectl(&["delete", "share", "--all", "--timeout=60s"]);
}

fn malformed(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    for (name, value, says) in [
        ("leading-blank", " canary", "blanks"),
        ("trailing-blank", "canary ", "blanks"),
        ("quoted", "\\\"canary\\\"", "quotation marks"),
        ("bearer", "Bearer canary", "Bearer"),
        ("not-ascii", "can\u{e4}ry", "ASCII"),
    ] {
        secret(&scene, name, &format!("{{apiToken: \"{value}\"}}"));
        scene.apply(&scene.share(name, &[&one], &[&first], &format!("credentialsRef: {{name: {name}}}")));
        let share = scene.wait_for("share", name, "said what is wrong with its Secret", |share| {
            is_observed(share) && message(share).contains(says)
        });
        let text = message(&share);
        assert!(text.contains(&format!("Secret {name} ")) && text.contains("apiToken"), "{text}");
        assert!(!text.contains("canary") && condition(&share, "Stalled").is_some(), "{share:#}");
    }
    assert!(scene.journal().is_empty());
    secret(&scene, "quoted", &format!("{{apiToken: {}}}", scene.token));
    scene.wait_ready("share", "quoted");
    scene.kubectl(&["delete", "shares.cfshare.dev", "--all", "--timeout=60s"]);
}

fn token_wins(world: &World) {
    let scene = world.scene();
    let hash = short_hash(&scene.token);
    for (name, pair) in [("empty-pair", "email: '', apiKey: ''"), ("full-pair", "email: me@example.com, apiKey: key-1")]
    {
        let [one, first] = ids();
        secret(&scene, name, &format!("{{apiToken: {}, {pair}}}", scene.token));
        scene.apply(&scene.share(name, &[&one], &[&first], &format!("credentialsRef: {{name: {name}}}")));
        scene.wait_ready("share", name);
    }
    assert!(scene.journal().iter().all(|entry| entry.credential.as_deref() == Some(hash.as_str())));
}

fn email_and_key(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let key = random_id();
    secret(&scene, "legacy", &format!("{{email: somebody@example.com, apiKey: {key}}}"));
    scene.apply(&scene.share("waf", &[&one], &[&first], "credentialsRef: {name: legacy}"));
    scene.wait_ready("share", "waf");
    let hash = short_hash(&key);
    assert!(scene.journal().iter().all(|entry| entry.credential.as_deref() == Some(hash.as_str())));
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
}

fn other_name(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let token = format!("token-{}", random_id());
    secret(&scene, "another", &format!("{{apiToken: \"{token}\\r\\n\"}}"));
    scene.apply(&scene.share("waf", &[&one], &[&first], "credentialsRef: {name: another}"));
    scene.wait_ready("share", "waf");
    let hash = short_hash(&token);
    assert!(scene.journal().iter().all(|entry| entry.credential.as_deref() == Some(hash.as_str())));
}

fn rotated(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let token = format!("token-{}", random_id());
    scene.put_token(&token);
    let hash = short_hash(&token);
    scene.wait("the new token in use", || {
        scene.journal().iter().any(|entry| entry.credential.as_deref() == Some(hash.as_str()))
    });
    // The old one is not used any more, and nothing was made twice.
    world.simulator.token(&scene.token, Policy { revoked: true, ..Policy::default() });
    scene.ask("share", "waf");
    scene.wait_ready("share", "waf");
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
}

fn revoked(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    world.simulator.token(&scene.token, Policy { revoked: true, ..Policy::default() });
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    let share = scene.wait_reason("share", "waf", "Denied");
    let text = message(&share);
    assert!(text.contains("cloudflare-credentials") && text.contains("9109"), "{text}");
    assert!(!text.contains(&scene.token), "{text}");
    assert_eq!(condition(&share, "Ready").expect("Ready")["status"], "Unknown");
    scene.wait_for("share", "waf", "was stalled in the end", |share| condition(share, "Stalled").is_some());
    assert_eq!(scene.only().live_recipients().len(), 1);
    scene.put_token(&format!("token-{}", random_id()));
    scene.wait_ready("share", "waf");
    assert_eq!(scene.only().live_recipients().len(), 2);
}

fn removed(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let share = scene.wait_ready("share", "waf");
    scene.kubectl(&["delete", "secret", "cloudflare-credentials"]);
    let blind = scene.wait_reason("share", "waf", "CredentialsNotFound");
    assert!(condition(&blind, "Stalled").is_some(), "{blind:#}");
    assert_eq!(blind["status"]["shareID"], share["status"]["shareID"]);
    assert_eq!(scene.only().live_recipients().len(), 1);
    scene.put_token(&scene.token);
    scene.wait_for("share", "waf", "became Ready again", |again| {
        is_ready(again) && again["status"]["shareID"] == share["status"]["shareID"]
    });
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
}

fn never_came(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "credentialsRef: {name: never}"));
    scene.apply(&scene.recipient("one", "waf", &one, ""));
    scene.wait_reason("share", "waf", "CredentialsNotFound");
    scene.kubectl(&["delete", "share,sharerecipient", "--all", "--timeout=60s"]);
    assert!(scene.journal().is_empty());
}

fn of_objects(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    let token = format!("token-{}", random_id());
    secret(&scene, "another", &format!("{{apiToken: {token}}}"));
    scene.kubectl(&["delete", "secret", "cloudflare-credentials"]);
    scene.apply(&scene.share("waf", &[&one], &[&first], "credentialsRef: {name: another}\ndeletionPolicy: Retain"));
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.wait_ready("sharerecipient", "two");
    // They remember it when the share object is gone.
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.kubectl(&["delete", "sharerecipient", "two", "--timeout=60s"]);
    assert_eq!(scene.only().live_recipients().len(), 1);
    let hash = short_hash(&token);
    assert!(scene.journal().iter().all(|entry| entry.credential.as_deref() == Some(hash.as_str())));
}

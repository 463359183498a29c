//! Whether the operator is right whichever way Cloudflare answers the questions that its documentation leaves open.

use std::collections::BTreeMap;

use cfshare_simulator::{
    BadCredential, DeletedResources, DeletedShare, Edit, EmptyCreate, ErrorNames, IncludedResources, LastResource,
    ListFilters, ListWithoutKind, MetaEcho, NotEntitled, OrganizationCalls, PostedAgain, QueryArrays, ReceivedRead,
    RecipientReturn, SameName, Switches, Unasked, Untargeted, WriteWhileDeleting, random_id,
};
use serde_json::json;

use crate::Test;
use crate::expect::{has, nothing_doubled, only_share, tally};
use crate::scene::{Scene, World, condition, message};

pub const TESTS: &[Test] = &[
    ("switches: a life is right with every default", |w| life(w, |_| {})),
    ("switches: a life is right where an empty create is accepted", |w| {
        life(w, |s| s.empty_create = EmptyCreate::Accepted);
    }),
    ("switches: a life is right where a live recipient posted again is a conflict", |w| {
        life(w, |s| s.live_recipient_again = PostedAgain::Conflict);
    }),
    ("switches: a life is right where a live recipient posted again is a second row", |w| {
        life(w, |s| s.live_recipient_again = PostedAgain::SecondRow);
    }),
    ("switches: a life is right where a resource posted again is a conflict", |w| {
        life(w, |s| s.resource_again = PostedAgain::Conflict);
    }),
    ("switches: a life is right where a resource posted again is a second row", |w| {
        life(w, |s| s.resource_again = PostedAgain::SecondRow);
    }),
    ("switches: a life is right where a disassociated row lives again", |w| {
        life(w, |s| s.recipient_return = RecipientReturn::Reused);
    }),
    ("switches: a life is right where a recipient without target is refused", |w| {
        life(w, |s| s.untargeted = Untargeted::Refused);
    }),
    ("switches: a life is right where error entries come unasked", |w| life(w, |s| s.errors_unasked = Unasked::Shown)),
    ("switches: a life is right where a list without kind has sent shares only", |w| {
        life(w, |s| s.list_without_kind = ListWithoutKind::Sent);
    }),
    ("switches: a life is right where lists ignore their filters", |w| {
        life(w, |s| s.list_filters = ListFilters::Ignored);
    }),
    ("switches: a life is right where a received share cannot be read", |w| {
        life(w, |s| s.received_read = ReceivedRead::NotFound);
    }),
    ("switches: a life is right where a write on a share that goes is not found", |w| {
        life(w, |s| s.write_while_deleting = WriteWhileDeleting::NotFound);
    }),
    ("switches: a life is right where a write on a share that goes is accepted", |w| {
        life(w, |s| s.write_while_deleting = WriteWhileDeleting::Accepted);
    }),
    ("switches: a life is right where modified moves with the rows", |w| life(w, |s| s.modified_moves = true)),
    ("switches: a life is right where deleted resources are shown", |w| {
        life(w, |s| s.deleted_resources = DeletedResources::Shown);
    }),
    ("switches: a life is right where a share is shown without its resources", |w| {
        life(w, |s| s.included_resources = IncludedResources::LeftOut);
    }),
    ("switches: the last resource goes where an empty list of resources is left out", without_resources),
    ("switches: a life is right where a deleted share is shown", |w| {
        life(w, |s| s.deleted_share = DeletedShare::Shown);
    }),
    ("switches: a life is right where the last resource may go", |w| {
        life(w, |s| s.last_resource = LastResource::Deletable);
    }),
    ("switches: a life is right where names are unique", |w| life(w, |s| s.same_name = SameName::Conflict)),
    ("switches: a life is right where lists lag behind", |w| life(w, |s| s.list_lag_ms = 1500)),
    ("switches: lists that do not show a new share yet cost a few calls", lagging_lists),
    ("switches: a life is right where reads of one object lag behind", |w| life(w, |s| s.get_lag_ms = 1500)),
    ("switches: a life is right where all reads lag behind", |w| {
        life(w, |s| (s.list_lag_ms, s.get_lag_ms) = (1500, 1500));
    }),
    ("switches: a life is right where a bad credential is a 401", |w| {
        life(w, |s| s.bad_credential = BadCredential::Unauthorized);
    }),
    ("switches: a life is right where meta comes back without nulls", |w| {
        life(w, |s| s.meta_echo = MetaEcho::Normalized);
    }),
    ("switches: a life is right where query arrays are separated by commas", |w| {
        life(w, |s| s.query_arrays = QueryArrays::Comma);
    }),
    ("switches: a life is right where a refusal does not point", |w| life(w, |s| s.error_pointer = false)),
    ("switches: a life is right where all of it is the other way", |w| life(w, the_other_way)),
    ("switches: an associated recipient without entitlement is not ready", |w| {
        unentitled(w, |s| s.not_entitled = NotEntitled::Associated);
    }),
    ("switches: an associating recipient without entitlement is not ready", |w| unentitled(w, |_| {})),
    ("switches: an error entry that names the row is told", |w| {
        unentitled(w, |s| {
            (s.not_entitled, s.error_names) = (NotEntitled::Associated, ErrorNames::ShareResourceId);
        });
    }),
    ("switches: the key of a user works where tokens do not make organization calls", key_only),
];

fn the_other_way(switches: &mut Switches) {
    switches.empty_create = EmptyCreate::Accepted;
    switches.live_recipient_again = PostedAgain::SecondRow;
    switches.resource_again = PostedAgain::SecondRow;
    switches.recipient_return = RecipientReturn::Reused;
    switches.errors_unasked = Unasked::Shown;
    switches.list_without_kind = ListWithoutKind::Sent;
    switches.write_while_deleting = WriteWhileDeleting::Accepted;
    switches.modified_moves = true;
    switches.deleted_resources = DeletedResources::Shown;
    switches.deleted_share = DeletedShare::Shown;
    switches.last_resource = LastResource::Deletable;
    switches.same_name = SameName::Conflict;
    (switches.list_lag_ms, switches.get_lag_ms) = (1500, 1500);
    switches.meta_echo = MetaEcho::Normalized;
    switches.error_pointer = false;
}

/// The share itself can be read at once, and its recipients only later: nobody asks for them without a pause.
fn lagging_lists(world: &World) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), |s| s.list_lag_ms = 1200);
    let [a, b] = std::array::from_fn(|_| random_id());
    let [x, y] = std::array::from_fn(|_| random_id());
    let objects = scene.recipient("bee", "waf", &b, "") + "---\n" + &scene.resource("why", "waf", &y, "");
    scene.apply(&(objects + "---\n" + &scene.share("waf", &[&a], &[&x], "")));
    for (kind, name) in [("share", "waf"), ("sharerecipient", "bee"), ("shareresource", "why")] {
        scene.wait_ready(kind, name);
    }
    only_share(&scene.state(), &[&a, &b], &[&x, &y]);
    let not_found = scene.journal().into_iter().filter(|entry| entry.status == Some(404)).count();
    assert!((1..=20).contains(&not_found), "{not_found} reads of what is not shown yet");
}

/// An object declares the only resource, and goes; another one is added to the share that has none.
fn without_resources(world: &World) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), |s| {
        (s.included_resources, s.last_resource) = (IncludedResources::EmptyLeftOut, LastResource::Deletable);
    });
    let [a, x, y] = std::array::from_fn(|_| random_id());
    scene.apply(&(scene.resource("ex", "waf", &x, "") + "---\n" + &scene.share("waf", &[&a], &[], "")));
    scene.wait_ready("shareresource", "ex");
    scene.wait_ready("share", "waf");
    let id = scene.only().id;
    world.simulator.edit(Edit::RemoveResource { share: id, resource: x.clone() }).expect("an edit");
    scene.wait_state("what others removed put right", |shares| has(&shares[0], &[&a], &[&x]));
    scene.wait_ready("shareresource", "ex");
    scene.apply(&scene.resource("why", "waf", &y, ""));
    scene.wait_ready("shareresource", "why");
    only_share(&scene.state(), &[&a], &[&x, &y]);
}

/// Made, grown, shrunk, grown again, changed by others, removed: each change is one call, and nothing is left.
fn life(world: &World, switch: impl Fn(&mut Switches)) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), switch);
    let [a, b, c, d] = std::array::from_fn(|_| random_id());
    let [x, y] = std::array::from_fn(|_| random_id());
    let manifest = |recipients: &[&str], resources: &[&str]| {
        let yaml = scene.share("waf", recipients, resources, "");
        yaml.replacen(
            &format!("id: {x}}}"),
            &format!("id: {x}, meta: {{mode: block, note: null, list: [1, null]}}}}"),
            1,
        )
    };
    scene.apply(&manifest(&[&a, &b], &[&x]));
    scene.wait_ready("share", "waf");
    calls(&scene, &[("POST shares", 1)]);

    scene.apply(&manifest(&[&a, &b, &c], &[&x, &y]));
    scene.apply(&scene.recipient("dee", "waf", &d, ""));
    scene.wait_ready("sharerecipient", "dee");
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &[&a, &b, &c, &d], &[&x, &y]);
    calls(&scene, &[("POST shares", 1), ("POST recipients", 2), ("POST resources", 1)]);

    scene.apply(&manifest(&[&a, &c], &[&x, &y]));
    scene.wait_state("one recipient less", |shares| has(&shares[0], &[&a, &c, &d], &[&x, &y]));
    scene.wait_ready("share", "waf");
    scene.apply(&manifest(&[&a, &b, &c], &[&x, &y]));
    scene.wait_state("it again", |shares| has(&shares[0], &[&a, &b, &c, &d], &[&x, &y]));
    let share = scene.wait_ready("share", "waf");
    assert_eq!(share["status"]["recipients"]["summary"], "4/4", "{share:#}");
    assert!(share["status"].get("drift").is_none(), "{share:#}");
    calls(&scene, &[("POST shares", 1), ("POST recipients", 3), ("POST resources", 1), ("DELETE recipient", 1)]);

    let id = scene.only().id;
    let edit = |edit| world.simulator.edit(edit).expect("an edit");
    edit(Edit::RemoveRecipient { share: id.clone(), recipient: c.clone() });
    edit(Edit::SetMeta { share: id.clone(), resource: x.clone(), meta: json!({"mode": "log"}) });
    scene.wait_state("what others changed put right", |shares| {
        let mode = shares[0].live_resources().iter().any(|row| row.meta["mode"] == "block");
        has(&shares[0], &[&a, &b, &c, &d], &[&x, &y]) && mode
    });
    scene.wait_ready("share", "waf");
    let share = only_share(&scene.state(), &[&a, &b, &c, &d], &[&x, &y]).clone();
    assert_eq!(share.id, id);
    calls(
        &scene,
        &[
            ("POST shares", 1),
            ("POST recipients", 4),
            ("POST resources", 1),
            ("PUT resource", 1),
            ("DELETE recipient", 1),
        ],
    );

    scene.kubectl(&["delete", "share,sharerecipient", "--all", "--timeout=60s"]);
    scene.wait_nothing();
    nothing_doubled(&scene.state());
    assert_eq!(scene.state().len(), 1, "{:#?}", scene.state());
    let all = scene.journal().len();
    assert!(all < 600, "{all} calls for one life");
}

/// Exactly so many changing calls, by what they are about.
fn calls(scene: &Scene<'_>, wanted: &[(&str, usize)]) {
    let wanted: BTreeMap<String, usize> = wanted.iter().map(|(call, n)| (template(call), *n)).collect();
    assert_eq!(tally(&scene.journal()), wanted, "{:#?}", scene.changes());
}

fn template(call: &str) -> String {
    let (method, what) = call.split_once(' ').expect("a method and what");
    let path = match what {
        "shares" => "/accounts/*/shares",
        "recipients" => "/accounts/*/shares/*/recipients",
        "recipient" => "/accounts/*/shares/*/recipients/*",
        "resources" => "/accounts/*/shares/*/resources",
        "resource" => "/accounts/*/shares/*/resources/*",
        other => panic!("what is {other}?"),
    };
    format!("{method} {path}")
}

fn unentitled(world: &World, switch: impl Fn(&mut Switches)) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), switch);
    let [fine, poor, source] = std::array::from_fn(|_| random_id());
    world.simulator.account(&poor, |account| account.entitled = false);
    scene.apply(&scene.share("waf", &[&fine, &poor], &[&source], ""));
    let share = scene.wait_for("share", "waf", "told of the recipient", |share| {
        share["status"]["exceptions"][0]["accountID"] == poor.as_str()
            && condition(share, "Stalled").is_some_and(|stalled| stalled["reason"] == "RecipientFailed")
    });
    assert_eq!(condition(&share, "Ready").expect("it")["status"], "False");
    assert!(message(&share).contains("missing necessary entitlement") && message(&share).contains(&poor), "{share:#}");
    assert_eq!(share["status"]["recipients"]["summary"], "1/2");
    only_share(&scene.state(), &[&fine, &poor], &[&source]);
}

fn key_only(world: &World) {
    let scene = world.scene();
    let organization = random_id();
    let [one, two, out, source] = std::array::from_fn(|_| random_id());
    world.simulator.organization(&organization, &[&scene.account, &one, &two, &out]);
    world.simulator.switches(Some(&scene.account), |s| s.organization_calls = OrganizationCalls::KeyOnly);
    let key = random_id();
    scene.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: the-key}}\nstringData: {{email: a@example.com, apiKey: {key}}}\n"
    ));
    let target = format!(
        "credentialsRef: {{name: the-key}}\norganization: {{id: {organization}, excluded: [{{accountID: {out}}}]}}"
    );
    scene.apply(&scene.share("waf", &[], &[&source], &target));
    scene.wait_ready("share", "waf");
    let share = scene.only();
    assert_eq!(share.excluded, [out]);
    assert!(scene.journal().iter().all(|entry| entry.status != Some(403)), "{:#?}", scene.journal());
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
}

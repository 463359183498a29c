//! What the page of `cfshare matrix -o html` does in a browser.

use std::fs;

use serde_json::{Value, json};

use crate::Test;
use crate::browser::Browser;
use crate::cli::cfshare;
use crate::scene::{World, ids};
use crate::waivers::waiver;

pub const TESTS: &[Test] = &[
    ("cli: the page of the matrix filters, sorts and searches in a browser, whatever names say", page),
    ("cli: the page of the matrix shows what is waived, and does not count it as a problem", waived),
];

const HOSTILE: &str = "</script><img src=x onerror=alert(1)><b>&amp;'\"`${1}";

fn page(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    world.simulator.account(&three, |account| account.entitled = false);
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.apply(&scene.share("gateway", &[&two, &three], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene
        .wait_for("share", "gateway", "said what failed", |share| share["status"]["exceptions"][0]["terminal"] == true);
    let names = scene.file("accounts.json");
    let list = json!([{"id": one, "name": HOSTILE}, {"id": two, "name": "Account 10 Oslo"}, {"id": three, "name": "account 9"}]);
    fs::write(&names, list.to_string()).expect("a file");
    let ran = cfshare(&scene, &["matrix", "-o", "html", "--accounts", &names.display().to_string()]);
    let file = scene.file("matrix.html");
    fs::write(&file, &ran.out).expect("a file");
    let Some(mut browser) = Browser::open(&file, &scene.file("browser")) else { return };
    assert_eq!(browser.eval("document.documentElement.dataset.ready"), "true", "{:?}", browser.complaints);

    // What fails comes first, and a name is text, whatever stands in it.
    assert_eq!(lines(&mut browser), json!(["account 9", HOSTILE, "Account 10 Oslo"]));
    assert_eq!(browser.eval("document.querySelectorAll('table img, table b').length"), 0);
    browser.eval("document.querySelector('th[data-key=account] button').click()");
    assert_eq!(lines(&mut browser), json!([HOSTILE, "account 9", "Account 10 Oslo"]));
    browser.eval("document.querySelector('th[data-key=account] button').click()");
    assert_eq!(lines(&mut browser), json!(["Account 10 Oslo", "account 9", HOSTILE]));

    // Search by keyboard, then only problems, then one share.
    browser.press("/");
    // No letter of an id is in "oslo": every word is looked for in ids too.
    "count oslo".chars().for_each(|letter| browser.press(&letter.to_string()));
    assert_eq!(lines(&mut browser), json!(["Account 10 Oslo"]));
    assert_eq!(browser.eval("document.getElementById('shown').textContent"), "1 of 3 accounts");
    browser.press("Escape");
    browser.eval("document.getElementById('clear').click()");
    browser.eval("document.activeElement.blur()");
    browser.press("p");
    assert_eq!(lines(&mut browser), json!(["account 9"]));
    browser.eval("document.getElementById('clear').click()");
    choose(&mut browser, &format!("{}/waf", scene.namespace));
    assert_eq!(lines(&mut browser), json!(["Account 10 Oslo", HOSTILE]));
    browser.eval("document.getElementById('clear').click()");
    browser.eval("document.querySelector('#legend button[data-state=failed]').click()");
    assert_eq!(lines(&mut browser), json!(["account 9"]));

    // The details of a cell, by keyboard.
    browser.eval("document.activeElement.blur()");
    browser.press("ArrowDown");
    browser.press("Enter");
    let detail = browser.eval("document.getElementById('detail').textContent");
    assert!(
        detail.as_str().is_some_and(|text| text.contains("Recipient is missing necessary entitlement")),
        "{detail}"
    );
    browser.press("Escape");
    assert_eq!(browser.eval("document.getElementById('detail').hidden"), true);
    assert_eq!(browser.complaints, Vec::<String>::new());
}

fn waived(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    for failing in [&two, &three] {
        world.simulator.account(failing, |account| account.entitled = false);
    }
    let waiver = waiver("2099-03-31T00:00:00Z");
    scene.apply(&format!(
        "{}spec:\n  accountID: {}\n  recipients: [{{accountID: {one}, name: fine}}, {{accountID: {two}, name: accepted, \
         waiver: {waiver}}}, {{accountID: {three}, name: failing}}]\n  resources: [{{type: custom-ruleset, id: {first}}}]\n",
        scene.head("Share", "waf"),
        scene.account,
    ));
    scene.wait_for("share", "waf", "listed both failures", |share| {
        let listed = share["status"]["exceptions"].as_array();
        listed.is_some_and(|listed| listed.len() == 2 && listed.iter().all(|entry| entry["terminal"] == true))
    });
    let file = scene.file("matrix.html");
    fs::write(&file, cfshare(&scene, &["matrix", "-o", "html"]).out).expect("a file");
    let Some(mut browser) = Browser::open(&file, &scene.file("browser")) else { return };

    // What fails comes first; what is waived comes after it, and is no problem.
    let problems = "[...document.querySelectorAll('tbody tr')].map((line) => [line.querySelector('th span').textContent, \
                    line.querySelector('td.number').textContent])";
    assert_eq!(browser.eval(problems), json!([["failing", "1"], ["accepted", "0"], ["fine", "0"]]));
    browser.press("p");
    assert_eq!(lines(&mut browser), json!(["failing"]));
    browser.eval("document.getElementById('clear').click()");
    let legend = "#legend button[data-state=waived]";
    assert_eq!(browser.eval(&format!("document.querySelector('{legend} b').textContent")), "1");
    browser.eval(&format!("document.querySelector('{legend}').click()"));
    assert_eq!(lines(&mut browser), json!(["accepted"]));
    browser.eval("document.getElementById('clear').click()");
    browser.press("/");
    "waived 2099".chars().for_each(|letter| browser.press(&letter.to_string()));
    assert_eq!(lines(&mut browser), json!(["accepted"]));

    browser.eval("document.querySelector('tbody tr:not([hidden]) .state.waived').click()");
    let detail = browser.eval("document.getElementById('detail').textContent");
    let detail = detail.as_str().unwrap_or_default();
    for part in ["waived until 2099-03-31T00:00:00Z", "waived: gets its plan in March", "missing necessary entitlement"]
    {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// The accounts that the page shows, in their order.
fn lines(browser: &mut Browser) -> Value {
    browser.eval("[...document.querySelectorAll('tbody tr:not([hidden]) th span')].map((name) => name.textContent)")
}

fn choose(browser: &mut Browser, share: &str) {
    let value = json!(share);
    browser.eval(&format!(
        "(() => {{ const list = document.getElementById('share'); list.value = {value}; \
         list.dispatchEvent(new Event('change')); }})()"
    ));
}

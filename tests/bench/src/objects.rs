//! Shares whose recipients and resources are objects of their own.

use std::time::Duration;

use cfshare_simulator::random_id;
use serde_json::{Value, json};

use crate::account::Account;
use crate::figure::Figures;
use crate::plot::Plot;
use crate::world::{UNLIMITED, World};

const RECIPIENTS: usize = 4;
const RESOURCES: usize = 4;

const OVER: &str = "ShareRecipient and ShareResource objects";

pub async fn measure(world: &World, parents: usize, figures: &mut Figures, plot: &mut Plot) -> Result<(), String> {
    eprintln!("{parents} shares with {RECIPIENTS} ShareRecipient and {RESOURCES} ShareResource objects each");
    let namespace = format!("objects-{parents}");
    let account = Account::new(world, &namespace, false).await?;
    let operator = world.operator(&namespace, &UNLIMITED)?;
    let before = world.simulator.last_request();
    operator.forget_peak();
    // A share and its objects come together, as from one folder.
    for parent in 0..parents {
        let name = format!("share-{parent}");
        account.apply("shares", &account.share(&name, &[], &[], false)).await?;
        let recipients = (0..RECIPIENTS).map(|n| child("ShareRecipient", &name, n, json!({"accountID": random_id()})));
        account.apply_all("sharerecipients", recipients).await?;
        let resource = || json!({"type": "custom-ruleset", "id": random_id()});
        let resources = (0..RESOURCES).map(|n| child("ShareResource", &name, n, resource()));
        account.apply_all("shareresources", resources).await?;
    }
    let patience = Duration::from_secs(120 + parents as u64);
    account.ready("shares", parents, patience).await?;
    account.ready("sharerecipients", parents * RECIPIENTS, patience).await?;
    account.ready("shareresources", parents * RESOURCES, patience).await?;
    let peak = operator.peak();
    let a_share = account.calls_since(before) as f64 / parents as f64;
    operator.stop()?;
    let operator = world.operator(&namespace, &[])?;
    tokio::time::sleep(Duration::from_secs(90)).await;
    let steady = operator.memory();
    operator.stop()?;
    let what = format!("{parents} shares with {} objects", parents * (RECIPIENTS + RESOURCES));
    let goal = |small: f64, large: f64| Some(small + (large - small) * parents as f64 / 1000.0);
    figures.note(format!("{what}: calls"), a_share, "a share", Some(3.0));
    figures.note(format!("{what}: memory, steady"), steady, "MB", goal(15.0, 50.0));
    figures.note(format!("{what}: memory, while they are made"), peak, "MB", goal(22.0, 75.0));
    let objects = parents * (RECIPIENTS + RESOURCES);
    plot.add(OVER, "memory, MB", "steady", objects, steady);
    plot.add(OVER, "memory, MB", "while they are made", objects, peak);
    plot.add(OVER, "calls for each share", "calls", objects, a_share);
    Ok(())
}

fn child(kind: &str, share: &str, number: usize, mut spec: Value) -> Value {
    spec["shareRef"] = json!({"name": share});
    let name = format!("{share}-{number}");
    json!({"apiVersion": "cfshare.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

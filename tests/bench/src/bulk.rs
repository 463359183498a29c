//! A share of one recipient that gets many at once.

use std::time::{Duration, Instant};

use crate::account::{Account, ids};
use crate::figure::Figures;
use crate::plot::Plot;
use crate::world::World;

const OVER: &str = "recipients of one share";

pub async fn measure(world: &World, count: usize, figures: &mut Figures, plot: &mut Plot) -> Result<(), String> {
    for (curve, prune) in [("prune: false", false), ("prune: true", true)] {
        let name = &format!("bulk-{count}-{prune}");
        eprintln!("{count} recipients for one share, prune: {prune}");
        let account = Account::new(world, name, true).await?;
        let operator = world.operator(name, &[])?;
        let (recipients, resources) = (ids(count), ids(4));
        account.apply("shares", &account.share("one", &recipients[..1], &resources, prune)).await?;
        account.ready("shares", 1, Duration::from_secs(60)).await?;
        let (before, start) = (world.simulator.last_request(), Instant::now());
        account.apply("shares", &account.share("one", &recipients, &resources, prune)).await?;
        account.ready("shares", 1, Duration::from_secs(1200)).await?;
        let calls = account.calls_since(before) as f64;
        let what = format!("one recipient becomes {count}{}", if prune { ", prune" } else { "" });
        let goal = if prune { 12.0 } else { (1.05 * count as f64).max(count as f64 + 12.0) };
        figures.note(format!("{what}: calls"), calls, "calls", Some(goal));
        let seconds = start.elapsed().as_secs_f64();
        figures.note(format!("{what}: until Ready"), seconds, "s", None);
        plot.add(OVER, "calls", curve, count, calls);
        plot.add(OVER, "until Ready, s", curve, count, seconds);
        operator.stop()?;
    }
    Ok(())
}

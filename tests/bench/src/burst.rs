//! Many shares at once under Cloudflare's real limits, and a person's edits meanwhile.

use std::time::{Duration, Instant};

use crate::account::{Account, ids, percentile};
use crate::figure::Figures;
use crate::grow::{ROWS, edit};
use crate::world::World;

/// The default rate, calls a second, and the calls that may be saved up.
const RATE: f64 = 3.0;
const BURST: f64 = 240.0;
/// Edits while the shares are made, so far apart.
const EDITS: usize = 20;
const BETWEEN_EDITS: Duration = Duration::from_secs(2);

pub async fn measure(world: &World, count: usize, figures: &mut Figures) -> Result<(), String> {
    eprintln!("{count} shares at once under the real limits");
    let account = Account::new(world, "burst", true).await?;
    let operator = world.operator("burst", &[])?;
    account.apply("shares", &account.share("edited", &ids(ROWS), &ids(ROWS), false)).await?;
    account.ready("shares", 1, Duration::from_secs(60)).await?;
    // A process starts with few calls, so that one that crashes again and again does not overspend.
    tokio::time::sleep(Duration::from_secs_f64(BURST / RATE)).await;
    let (before, start) = (world.simulator.last_request(), Instant::now());
    let new = (0..count).map(|n| account.share(&format!("share-{n}"), &ids(ROWS), &ids(ROWS), false));
    account.apply_all("shares", new).await?;
    let mut took = Vec::new();
    for _ in 0..EDITS {
        took.push(edit(world, &account, "edited").await?.took.as_secs_f64());
        tokio::time::sleep(BETWEEN_EDITS).await;
    }
    account.ready("shares", count + 1, Duration::from_secs(60 + count as u64)).await?;
    let seconds = start.elapsed().as_secs_f64();
    let calls = account.calls_since(before) as f64;
    let refused = world.simulator.journal(Some(&account.id), before).iter().filter(|c| c.status == Some(429)).count();
    operator.stop()?;
    // Each edit costs a call, and looks at the list that it makes.
    let a_share = (calls - 2.0 * EDITS as f64) / count as f64;
    let floor = ((calls - BURST) / RATE).max(1.0);
    took.sort_by(f64::total_cmp);
    figures.note(format!("{count} shares at once: calls"), a_share, "a share", Some(2.2));
    figures.note(format!("{count} shares at once: refused for their number"), refused as f64, "calls", Some(0.0));
    figures.note(
        format!("{count} shares at once: until Ready, against the budget's floor"),
        seconds / floor,
        "times",
        Some(1.1),
    );
    figures.note("an edit meanwhile, p50", percentile(&took, 0.5), "s", None);
    figures.note("an edit meanwhile, p99", percentile(&took, 0.99), "s", Some(1.0));
    Ok(())
}

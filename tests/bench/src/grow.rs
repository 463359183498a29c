//! Growing to a number of settled shares, restarting with them, resting, and editing one among them.

use std::time::{Duration, Instant};

use cfshare_simulator::{Entry, random_id};
use jiff::Timestamp;

use crate::account::{Account, ids, percentile};
use crate::audit::{self, Mark};
use crate::figure::Figures;
use crate::plot::Plot;
use crate::world::{Operator, UNLIMITED, World};

/// Recipients and resources of each share.
pub const ROWS: usize = 4;
/// Edits whose way to Cloudflare is timed, at most; one edit of each share.
const EDITS: usize = 100;
/// So long apart that the rate limit does not count.
const APART: Duration = Duration::from_secs(2);
/// What the list showed is decided on before the rest: some hundred shares a second.
const DECIDED: Duration = Duration::from_secs(30);
/// How long the operator rests while its time on a core is measured; less than a sweep's interval.
const REST: Duration = Duration::from_secs(60);

/// The longest that the list of all shares takes after a restart.
const LISTED: Duration = Duration::from_secs(300);

const OVER: &str = "shares";

pub async fn measure(world: &World, sizes: &[usize], figures: &mut Figures, plot: &mut Plot) -> Result<(), String> {
    let account = Account::new(world, "grow", false).await?;
    let mut made = 0;
    for &shares in sizes {
        eprintln!("{shares} shares of {ROWS} recipients and {ROWS} resources");
        let operator = world.operator(&account.namespace, &UNLIMITED)?;
        account.ready("shares", made, Duration::from_secs(600)).await?;
        operator.forget_peak();
        let new = (made..shares).map(|n| account.share(&format!("share-{n}"), &ids(ROWS), &ids(ROWS), false));
        account.apply_all("shares", new).await?;
        account.ready("shares", shares, Duration::from_secs(60 + shares as u64 / 5)).await?;
        let peak = operator.peak();
        operator.stop()?;
        made = shares;
        restart(world, &account, shares, peak, figures, plot).await?;
    }
    Ok(())
}

async fn restart(
    world: &World,
    account: &Account<'_>,
    shares: usize,
    peak: f64,
    figures: &mut Figures,
    plot: &mut Plot,
) -> Result<(), String> {
    let (before, mark) = (world.simulator.last_request(), Mark::now(&world.cluster)?);
    let start = Instant::now();
    let operator = world.operator(&account.namespace, &[])?;
    // The edit is carried out before all shares are listed.
    let edited = edit(world, account, "share-0").await?;
    let restart_seconds = start.elapsed().as_secs_f64();
    account.ready("shares", shares, Duration::from_secs(60)).await?;
    let is_list = |call: &Entry| call.done && !call.changing && call.template == "/accounts/*/shares";
    let end = Instant::now() + LISTED;
    let (calls, lists) = loop {
        let calls = world.simulator.journal(Some(&account.id), before);
        let lists = calls.iter().filter(|call| is_list(call)).count();
        if lists >= shares.div_ceil(100) {
            break (calls, lists);
        }
        if Instant::now() > end {
            return Err(format!("{lists} pages of {shares} shares were listed within {LISTED:?} of a restart"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let other = calls.len() - lists - calls.iter().filter(|call| call.path.contains(&edited.share)).count();
    let writes = audit::writes(&world.cluster, &mark, &account.namespace)?;
    let others = writes.iter().filter(|write| write["objectRef"]["name"] != "share-0").count();
    let restart_calls = (lists + other) as f64;
    figures.note(
        format!("restart with {shares}: calls"),
        restart_calls,
        "calls",
        Some(shares.div_ceil(100) as f64 + 1.0),
    );
    figures.note(format!("restart with {shares}: writes"), others as f64, "writes", Some(0.0));
    figures.note(format!("restart with {shares}: until an edit is carried out"), restart_seconds, "s", None);
    tokio::time::sleep(DECIDED).await;
    let steady = rest(&operator, shares, figures).await;
    let goal = |small: f64, large: f64| Some(small + (large - small) * shares as f64 / 10_000.0);
    figures.note(format!("memory with {shares}, steady"), steady, "MB", goal(15.0, 80.0));
    figures.note(format!("memory with {shares}, while they are made"), peak, "MB", goal(22.0, 120.0));
    edits(world, account, shares, figures).await?;
    plot.add(OVER, "memory, MB", "steady", shares, steady);
    plot.add(OVER, "memory, MB", "while they are made", shares, peak);
    plot.add(OVER, "calls of a restart", "calls", shares, restart_calls);
    plot.add(OVER, "restart until an edit is carried out, s", "seconds", shares, restart_seconds);
    operator.stop()
}

/// Memory, and time on a core, where nothing happens.
async fn rest(operator: &Operator, shares: usize, figures: &mut Figures) -> f64 {
    let before = operator.cpu();
    tokio::time::sleep(REST).await;
    let share_of_a_core = 100.0 * (operator.cpu() - before) / REST.as_secs_f64();
    figures.note(format!("core in use with {shares}, between sweeps"), share_of_a_core, "%", Some(0.1));
    operator.memory()
}

pub struct Edit {
    /// The share's id.
    share: String,
    /// From the person's write to the call.
    pub took: Duration,
    /// When the call came, in microseconds since 1970.
    at: i64,
}

/// Adds a recipient to a share, and waits for the call.
pub async fn edit(world: &World, account: &Account<'_>, name: &str) -> Result<Edit, String> {
    let recipient = random_id();
    let since = world.simulator.last_request();
    let start = Timestamp::now().as_microsecond();
    account.add_recipient(name, &recipient).await?;
    let call = tokio::task::block_in_place(|| {
        world.simulator.wait_request_after(since, Duration::from_secs(300), |call| {
            call.changing && call.body["recipient_account_id"].as_str() == Some(&recipient)
        })
    });
    let call = call.ok_or_else(|| format!("the edit of {name} was not carried out within 300 s"))?;
    let share = call.path.split('/').nth(4).unwrap_or_default().to_owned();
    let took = Duration::from_micros(call.at.saturating_sub(start).try_into().unwrap_or_default());
    Ok(Edit { share, took, at: call.at })
}

async fn edits(world: &World, account: &Account<'_>, shares: usize, figures: &mut Figures) -> Result<(), String> {
    let mut took = Vec::new();
    let mut server = Vec::new();
    for n in 0..EDITS.min(shares) {
        tokio::time::sleep(APART).await;
        let name = format!("share-{n}");
        let mark = Mark::now(&world.cluster)?;
        let edit = edit(world, account, &name).await?;
        let trips = audit::writing(&world.cluster, &mark, &account.namespace, &name, edit.at)?;
        took.push(edit.took.as_secs_f64() * 1e3 - trips);
        server.push(trips);
    }
    took.sort_by(f64::total_cmp);
    server.sort_by(f64::total_cmp);
    let own = format!("edit with {shares}: from the write to the call, less the API server's time");
    figures.note(format!("{own}, p50"), percentile(&took, 0.5), "ms", None);
    figures.note(format!("{own}, p99"), percentile(&took, 0.99), "ms", Some(20.0));
    figures.note(format!("edit with {shares}: the API server's time, p50"), percentile(&server, 0.5), "ms", None);
    Ok(())
}

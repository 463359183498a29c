//! Many accounts, each with a credential of its own.

use std::time::{Duration, Instant};

use crate::account::{Account, ids};
use crate::figure::Figures;
use crate::grow::ROWS;
use crate::plot::Plot;
use crate::world::{UNLIMITED, World};

/// Shares of each account.
const SHARES: usize = 10;

const OVER: &str = "credentials";

pub async fn measure(world: &World, count: usize, figures: &mut Figures, plot: &mut Plot) -> Result<(), String> {
    eprintln!("{count} accounts of {SHARES} shares, each with a credential of its own");
    let namespace = format!("credentials-{count}");
    world.kube.make_namespace(&namespace).await?;
    let mut accounts = Vec::new();
    for n in 0..count {
        accounts.push(Account::with_secret(world, &namespace, &format!("token-{n}"), false).await?);
    }
    let operator = world.operator(&namespace, &UNLIMITED)?;
    for (n, account) in accounts.iter().enumerate() {
        let new = (0..SHARES).map(|at| account.share(&format!("share-{n}-{at}"), &ids(ROWS), &ids(ROWS), false));
        account.apply_all("shares", new).await?;
    }
    accounts[0].ready("shares", count * SHARES, Duration::from_secs(60 + count as u64)).await?;
    operator.stop()?;
    let (before, start) = (world.simulator.last_request(), Instant::now());
    let operator = world.operator(&namespace, &[])?;
    let patience = Duration::from_secs(60 + count as u64);
    for account in &accounts {
        let lists = |call: &cfshare_simulator::Entry| call.seq > before && call.path.contains(&account.id);
        let read = tokio::task::block_in_place(|| world.simulator.wait_request(patience, lists));
        read.ok_or_else(|| format!("account {} was not read within {patience:?}", account.id))?;
    }
    let seconds = start.elapsed().as_secs_f64();
    accounts[0].ready("shares", count * SHARES, patience).await?;
    let memory = operator.memory();
    operator.stop()?;
    let what = format!("restart with {count} credentials");
    figures.note(format!("{what}: until all accounts are read"), seconds, "s", None);
    figures.note(format!("{what}: memory"), memory, "MB", None);
    plot.add(OVER, "memory, MB", "steady", count, memory);
    plot.add(OVER, "restart until all accounts are read, s", "seconds", count, seconds);
    Ok(())
}

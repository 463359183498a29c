//! Cloudflare's Resource Sharing API, simulated: the calls, the slow changes behind them, the
//! limits, and whatever can go wrong on the way.
//!
//! A request comes in through `server`, is written into the `journal`, meets the `fault`
//! that it is meant to meet in `exchange`, passes the `gate`, and changes or reads the
//! `world` through `calls`. Tests set the stage through [`Simulator`] or the `control` port.

mod action;
mod answer;
mod apply;
mod arrival;
mod calls;
mod clock;
mod control;
mod core;
mod course;
mod edit;
mod exchange;
mod fault;
mod gate;
mod ids;
mod journal;
mod query;
mod record;
mod report;
mod route;
mod rules;
mod seed;
mod server;
mod settings;
mod share;
mod spoil;
mod view;
mod wanted;
mod wire;
mod world;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

pub use crate::core::{Held, Point, Release};
pub use action::{Action, ErrorBody};
pub use edit::Edit;
pub use fault::{Report, Rule};
pub use gate::{LimitHeaders, Limits, Policy};
pub use ids::{random_id, short_hash};
pub use journal::Entry;
pub use report::{RecipientState, ResourceState, ShareState, Tally};
pub use rules::*;
pub use seed::{Seed, SeedResource, SeedShare, Seeded};
pub use share::{Association, Life, RowError, TargetType};
pub use world::Account;

use crate::core::Core;
use crate::server::Port;

/// How a simulator starts; [`Simulator::reset`] goes back to it.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub control: SocketAddr,
    /// Ids are the same for the same seed.
    pub seed: Option<u64>,
    pub switches: Switches,
    pub delays: Delays,
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Config {
            listen: anywhere,
            control: anywhere,
            seed: None,
            switches: Switches::default(),
            delays: Delays::default(),
            limits: Limits::default(),
        }
    }
}

/// A running simulator. It ends when it is dropped.
pub struct Simulator {
    core: Arc<Core>,
    base_url: String,
    control_url: String,
    runtime: Option<Runtime>,
}

impl Simulator {
    pub fn start(config: Config) -> io::Result<Simulator> {
        let (api, api_address) = listen(config.listen)?;
        let (control, control_address) = listen(config.control)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("simulator")
            .enable_all()
            .build()?;
        let core = Arc::new(Core::new(config));
        runtime.spawn(server::serve(api, core.clone(), Port::Api));
        runtime.spawn(server::serve(control, core.clone(), Port::Control));
        Ok(Simulator {
            core,
            base_url: format!("http://{api_address}{}", server::API_ROOT),
            control_url: format!("http://{control_address}"),
            runtime: Some(runtime),
        })
    }

    /// What a client takes for Cloudflare's base URL.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    pub fn control_url(&self) -> &str {
        &self.control_url
    }

    /// The shares of an account in full, those that are deleted too.
    pub fn state(&self, account: &str) -> Vec<ShareState> {
        self.core.update(|state| report::shares(&mut state.world, Some(account)))
    }

    /// How many shares, recipients and resources of an account are in which state.
    pub fn tally(&self, account: &str) -> Tally {
        self.core.update(|state| report::tally(&mut state.world, Some(account)))
    }

    pub fn share(&self, id: &str) -> Option<ShareState> {
        self.core.update(|state| {
            let index = state.world.find_any(id)?;
            state.world.settle(index);
            let present = !state.world.is_vanished(index);
            present.then(|| report::share(&state.world, state.world.share(index)))
        })
    }

    /// The live shares of an account by name.
    pub fn live_shares(&self, account: &str, name: &str) -> Vec<ShareState> {
        let mut shares = self.state(account);
        shares.retain(|share| share.live() && share.name == name);
        shares
    }

    /// The requests after number `since`, of one account or all.
    pub fn journal(&self, account: Option<&str>, since: u64) -> Vec<Entry> {
        self.core.lock().journal.since(since, account)
    }

    /// The number of the last request.
    pub fn last_request(&self) -> u64 {
        self.core.lock().journal.entries().len() as u64
    }

    /// Blocks until a request fits, an old or a new one. `fits` must not call the simulator, here
    /// and below.
    pub fn wait_request(&self, timeout: Duration, fits: impl FnMut(&Entry) -> bool) -> Option<Entry> {
        self.wait_request_after(0, timeout, fits)
    }

    /// The same of the requests after that one: where there are thousands before it, to look at them takes time.
    pub fn wait_request_after(
        &self,
        request: u64,
        timeout: Duration,
        mut fits: impl FnMut(&Entry) -> bool,
    ) -> Option<Entry> {
        self.core.wait(timeout, |state| {
            let mut entries = state.journal.entries().iter().skip(request as usize);
            entries.find(|entry| fits(entry)).cloned()
        })
    }

    /// Blocks until the shares of an account fit.
    pub fn wait_state(&self, timeout: Duration, account: &str, mut fits: impl FnMut(&[ShareState]) -> bool) -> bool {
        let look = |state: &mut core::State| {
            let shares = report::shares(&mut state.world, Some(account));
            fits(&shares).then_some(())
        };
        self.core.wait(timeout, look).is_some()
    }

    /// Whether no change of an account's shares is under way.
    pub fn quiet(&self, account: &str) -> bool {
        self.core.lock().world.quiet(account)
    }

    pub fn wait_quiet(&self, timeout: Duration, account: &str) -> bool {
        let quiet = |state: &mut core::State| state.world.quiet(account).then_some(());
        self.core.wait(timeout, quiet).is_some()
    }

    /// Adds a rule; the number removes it and finds its report.
    pub fn fault(&self, rule: Rule) -> u64 {
        self.core.update(|state| state.faults.add(rule))
    }

    pub fn remove_fault(&self, id: u64) -> bool {
        self.core.update(|state| state.faults.remove(id))
    }

    pub fn clear_faults(&self) {
        self.core.update(|state| state.faults.clear());
    }

    pub fn faults(&self) -> Vec<Report> {
        self.core.lock().faults.reports()
    }

    /// How often a rule acted.
    pub fn fired(&self, id: u64) -> u64 {
        let reports = self.faults();
        let report = reports.iter().find(|report| report.id == id);
        report.map_or(0, |report| report.fired)
    }

    pub fn held(&self) -> Vec<Held> {
        let state = self.core.lock();
        state.held.values().map(|holding| holding.shown.clone()).collect()
    }

    /// Blocks until a request that fits is held.
    pub fn wait_held(&self, timeout: Duration, mut fits: impl FnMut(&Held) -> bool) -> Option<Held> {
        self.core.wait(timeout, |state| {
            let mut held = state.held.values().map(|holding| &holding.shown);
            held.find(|held| fits(held)).cloned()
        })
    }

    pub fn release(&self, id: u64, release: Release) -> Result<(), String> {
        control::release(&self.core, id, release)
    }

    /// Changes the switches of one account, or of all that have none of their own.
    pub fn switches(&self, account: Option<&str>, change: impl FnOnce(&mut Switches)) {
        self.core.update(|state| change(state.world.switches.edit(account)));
    }

    pub fn delays(&self, account: Option<&str>, change: impl FnOnce(&mut Delays)) {
        self.core.update(|state| change(state.world.delays.edit(account)));
    }

    pub fn limits(&self, change: impl FnOnce(&mut Limits)) {
        self.core.update(|state| change(&mut state.gate.limits));
    }

    /// Makes a change past the API. Returns the shares that it touched.
    pub fn edit(&self, edit: Edit) -> Result<Vec<ShareState>, String> {
        self.core.update(|state| edit::edit(&mut state.world, edit))
    }

    pub fn account(&self, id: &str, change: impl FnOnce(&mut Account)) {
        self.core.update(|state| {
            let mut account = state.world.account(id).into_owned();
            change(&mut account);
            state.world.set_account(id, account);
        });
    }

    /// Says who belongs to an organization, and to no other.
    pub fn organization(&self, id: &str, members: &[&str]) {
        let members = members.iter().map(|id| (*id).to_owned()).collect();
        self.core.update(|state| state.world.set_members(id, members));
    }

    /// Says what a token or key may do.
    pub fn token(&self, secret: &str, policy: Policy) {
        self.core.update(|state| state.gate.set_policy(secret, policy));
    }

    pub fn seed(&self, seed: Seed) -> Result<Vec<Seeded>, String> {
        self.core.update(|state| seed::seed(&mut state.world, seed))
    }

    /// Lets the simulated time pass.
    pub fn advance(&self, by: Duration) {
        self.core.update(|state| state.world.clock.advance(by));
    }

    /// Forgets everything.
    pub fn reset(&self) {
        self.core.reset();
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

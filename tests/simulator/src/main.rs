//! The simulator as a program: which addresses, delays and limits, and until when?

use std::io::Write;
use std::net::SocketAddr;

use cfshare_simulator::{Config, Delays, Limits, Simulator};
use clap::Parser;

/// Simulates Cloudflare's Resource Sharing API. The first line that it prints is the base URL
/// of the API, the second one the URL of the control port.
#[derive(Parser)]
#[command(name = "cfshare-simulator", version)]
struct Args {
    /// Where the API listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the control port listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// How long each change takes.
    #[arg(long, default_value_t = 100)]
    delay_ms: u64,
    /// Requests per user in five minutes; 0 is no limit.
    #[arg(long, default_value_t = 1200)]
    limit: usize,
    /// Ends when the standard input ends: with whoever started it, however that ends.
    #[arg(long)]
    end_with_input: bool,
    /// Makes the same ids every time.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let delay = Some(args.delay_ms);
    let simulator = Simulator::start(Config {
        listen: args.listen,
        control: args.control,
        seed: args.seed,
        delays: Delays {
            associate_ms: delay,
            disassociate_ms: delay,
            delete_share_ms: delay,
            delete_resource_ms: delay,
        },
        limits: Limits { requests: args.limit, ..Limits::default() },
        ..Config::default()
    })?;
    let mut out = std::io::stdout();
    writeln!(out, "{}\n{}", simulator.base_url(), simulator.control_url())?;
    out.flush()?;
    if args.end_with_input {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        return Ok(());
    }
    loop {
        std::thread::park();
    }
}

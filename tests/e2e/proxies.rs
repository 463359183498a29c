//! Whether the API server and Cloudflare are reached through the proxies that kubectl would use.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};

use cfshare_testbed::{Process, process};

use crate::Test;
use crate::expect::only_share;
use crate::scene::{OWN_LABEL, Scene, World, ids, operator};

pub const TESTS: &[Test] = &[
    ("proxies: the proxy-url of a kubeconfig is used, whatever NO_PROXY says", of_kubeconfig),
    ("proxies: HTTPS_PROXY leads to the API server, and NO_PROXY names exceptions", of_environment),
    ("proxies: Cloudflare is reached through a SOCKS proxy", to_cloudflare),
    ("proxies: the operator works with the API server behind a SOCKS proxy", operator_behind),
];

/// A name that only the proxy can resolve.
const NAME: &str = "apiserver.cfshare.test";

/// An HTTP proxy (CONNECT) and a SOCKS5 proxy on one port of loopback. Whatever is asked for, it leads to one target.
struct Proxy {
    port: u16,
    /// What it was asked for, as `connect host:port` or `socks host:port`.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(target: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (target, log) = (target.to_owned(), asked.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (target, log) = (target.clone(), log.clone());
                std::thread::spawn(move || serve(client, &target, &log));
            }
        });
        Proxy { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the list").clone()
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }
}

fn serve(mut client: TcpStream, target: &str, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut first = [0; 1];
    client.read_exact(&mut first).ok()?;
    let asked = if first[0] == 5 { socks(&mut client)? } else { connect(&mut client)? };
    log.lock().expect("the list").push(asked);
    let upstream = TcpStream::connect(target).ok()?;
    let (from, to) = (client.try_clone().ok()?, upstream.try_clone().ok()?);
    std::thread::spawn(move || pump(from, to));
    pump(upstream, client);
    Some(())
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

fn connect(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    head.split_whitespace().nth(1).map(|place| format!("connect {place}"))
}

fn socks(client: &mut TcpStream) -> Option<String> {
    let take = |client: &mut TcpStream, count: usize| {
        let mut bytes = vec![0; count];
        client.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let methods = take(client, 1)?[0];
    take(client, methods.into())?;
    client.write_all(&[5, 0]).ok()?;
    let kind = take(client, 4)?[3];
    let host = match kind {
        1 => take(client, 4)?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        3 => {
            let length = take(client, 1)?[0];
            String::from_utf8(take(client, length.into())?).ok()?
        }
        _ => return None,
    };
    let port = take(client, 2)?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    Some(format!("socks {host}:{}", u16::from_be_bytes([port[0], port[1]])))
}

/// Address of the API server, and a kubeconfig that calls it by the name which only a proxy resolves.
fn behind(scene: &Scene<'_>, own: Option<&str>) -> (String, std::path::PathBuf) {
    let text = std::fs::read_to_string(scene.world.cluster.kubeconfig()).expect("a kubeconfig");
    let server = text.lines().find_map(|line| line.trim().strip_prefix("server: https://")).expect("a server");
    let (host, port) = server.rsplit_once(':').expect("a port");
    let own = own.map(|url| format!("\n    proxy-url: {url}")).unwrap_or_default();
    let named = format!("server: https://{NAME}:{port}\n    tls-server-name: {host}{own}");
    let file = scene.file(&format!("proxied-{}", cfshare_simulator::random_id()));
    std::fs::write(&file, text.replace(&format!("server: https://{server}"), &named)).expect("a file");
    (server.to_owned(), file)
}

fn status(scene: &Scene<'_>, kubeconfig: &std::path::Path, set: &[(&str, &str)]) -> Output {
    let mut command = process::program(env!("CARGO_BIN_EXE_cfshare"));
    command.envs(set.iter().copied()).env("KUBECONFIG", kubeconfig);
    command.args(["status", "--namespace", &scene.namespace]).output().expect("cfshare runs")
}

fn shows_waf(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stdout).contains("waf")
}

fn settled<'a>(world: &'a World) -> Scene<'a> {
    let scene = world.scene();
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    scene
}

fn of_kubeconfig(world: &World) {
    let scene = settled(world);
    let (target, _) = behind(&scene, None);
    let proxy = Proxy::start(&target);
    for (scheme, kind) in [("http", "connect"), ("socks5", "socks"), ("socks5h", "socks")] {
        let before = proxy.asked().len();
        let (_, kubeconfig) = behind(&scene, Some(&proxy.url(scheme)));
        let ran = status(&scene, &kubeconfig, &[("NO_PROXY", "*"), ("HTTPS_PROXY", "http://127.0.0.1:1")]);
        assert!(shows_waf(&ran), "{scheme}: {ran:?}");
        let asked = proxy.asked().split_off(before);
        assert!(!asked.is_empty() && asked.iter().all(|a| a.starts_with(&format!("{kind} {NAME}:"))), "{asked:?}");
    }
}

fn of_environment(world: &World) {
    let scene = settled(world);
    let (target, kubeconfig) = behind(&scene, None);
    let proxy = Proxy::start(&target);
    for (name, scheme) in [("HTTPS_PROXY", "http"), ("https_proxy", "http"), ("HTTPS_PROXY", "socks5h")] {
        let before = proxy.asked().len();
        let ran = status(&scene, &kubeconfig, &[(name, &proxy.url(scheme)), ("NO_PROXY", "example.com,127.0.0.1")]);
        assert!(shows_waf(&ran) && proxy.asked().len() > before, "{name} {scheme}: {ran:?}");
    }
    // An exception, and this very machine, are reached without it.
    let before = proxy.asked();
    let ran = status(&scene, &kubeconfig, &[("HTTPS_PROXY", &proxy.url("http")), ("NO_PROXY", ".cfshare.test")]);
    assert!(!ran.status.success(), "{ran:?}");
    let ran = status(&scene, world.cluster.kubeconfig(), &[("HTTPS_PROXY", &proxy.url("http"))]);
    assert!(shows_waf(&ran), "{ran:?}");
    assert_eq!(proxy.asked(), before);
}

fn to_cloudflare(world: &World) {
    let scene = settled(world);
    let base = world.simulator.base_url();
    let address = base.trim_start_matches("http://").split('/').next().expect("an address");
    let proxy = Proxy::start(address);
    for scheme in ["socks5", "socks5h"] {
        let before = proxy.asked().len();
        let mut command = process::program(env!("CARGO_BIN_EXE_cfshare"));
        command.env("ALL_PROXY", proxy.url(scheme)).env("CLOUDFLARE_API_TOKEN", &scene.token);
        command.args(["import", "--account", &scene.account, "--cloudflare-url", base]);
        let ran = command.output().expect("cfshare runs");
        assert!(shows_waf(&ran), "{ran:?}");
        let asked = proxy.asked().split_off(before);
        assert!(!asked.is_empty() && asked.iter().all(|a| a.starts_with("socks ")), "{asked:?}");
    }
}

fn operator_behind(world: &World) {
    let scene = world.own_scene();
    let (target, _) = behind(&scene, None);
    let proxy = Proxy::start(&target);
    let (_, kubeconfig) = behind(&scene, Some(&proxy.url("socks5h")));
    let mut command = operator(&world.cluster, &world.simulator);
    command.env("KUBECONFIG", kubeconfig);
    command.args(["--watch-label-selector", OWN_LABEL, "--namespace", &scene.namespace]);
    let _operator = Process::start(command, scene.file("operator.log")).expect("the operator starts");
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &[&a], &[&x]);
    assert!(!proxy.asked().is_empty());
}

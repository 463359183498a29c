//! Whether certificate authorities that are renewed while the operator runs are trusted.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use cfshare_simulator::random_id;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::Test;
use crate::scene::{Scene, World, condition, ids, message};

pub const TESTS: &[Test] = &[
    ("trust: a CA bundle that Kubernetes swaps is trusted without a restart", swapped),
    ("trust: a CA bundle that cannot be used leaves the one before trusted, and the log says so once", unusable),
    ("trust: a Share is not Ready while the certificate is not trusted, and is once the bundle is renewed", late),
];

/// Made for these tests, valid for a hundred years; the keys of the authorities were thrown away.
struct Identity {
    authority: &'static [u8],
    chain: &'static [u8],
    key: &'static [u8],
}

const OLD: Identity = Identity {
    authority: include_bytes!("client/tls/authority.pem"),
    chain: include_bytes!("client/tls/server.pem"),
    key: include_bytes!("client/tls/server.key"),
};
const RENEWED: Identity = Identity {
    authority: include_bytes!("client/tls/renewed/authority.pem"),
    chain: include_bytes!("client/tls/renewed/server.pem"),
    key: include_bytes!("client/tls/renewed/server.key"),
};

fn config(identity: &Identity) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_slice_iter(identity.chain).map(Result::unwrap);
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key).unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(chain.collect(), key).unwrap())
}

/// The simulator behind TLS: one call a connection.
struct Front {
    url: String,
    config: Arc<Mutex<Arc<ServerConfig>>>,
}

impl Front {
    fn start(simulator: &str) -> Front {
        let (target, path) = simulator.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/{path}", listener.local_addr().unwrap());
        let shared = Arc::new(Mutex::new(config(&OLD)));
        let (target, current) = (target.to_owned(), shared.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (target, config) = (target.clone(), current.lock().unwrap().clone());
                std::thread::spawn(move || serve(client, &target, config));
            }
        });
        Front { url, config: shared }
    }

    fn renew(&self) {
        *self.config.lock().unwrap() = config(&RENEWED);
    }
}

fn serve(client: TcpStream, target: &str, config: Arc<ServerConfig>) -> Option<()> {
    let mut client = StreamOwned::new(ServerConnection::new(config).ok()?, client);
    let request = request(&mut client)?;
    let mut upstream = TcpStream::connect(target).ok()?;
    upstream.write_all(&request).ok()?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).ok()?;
    client.write_all(&answer).ok()?;
    client.conn.send_close_notify();
    client.flush().ok()?;
    client.sock.shutdown(Shutdown::Write).ok()
}

/// One request, with the wish to close the connection after it.
fn request(client: &mut impl Read) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    let mut byte = [0; 1];
    while !read.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        read.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&read).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    client.read_exact(&mut body).ok()?;
    let line = read.iter().position(|byte| *byte == b'\n')? + 1;
    Some([&read[..line], b"Connection: close\r\n", &read[line..], &body].concat())
}

/// A folder as the kubelet mounts a ConfigMap: the file is a link through `..data`, which is replaced in one step.
struct Mount(PathBuf);

impl Mount {
    fn new(scene: &Scene, content: &[u8]) -> Mount {
        let mount = Mount(scene.file("ca"));
        std::fs::create_dir_all(&mount.0).unwrap();
        mount.swap(content);
        std::os::unix::fs::symlink("..data/ca.pem", mount.file()).unwrap();
        mount
    }

    fn file(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    fn swap(&self, content: &[u8]) {
        let version = format!("..{}", random_id());
        std::fs::create_dir(self.0.join(&version)).unwrap();
        std::fs::write(self.0.join(&version).join("ca.pem"), content).unwrap();
        let new = self.0.join("..data_tmp");
        std::os::unix::fs::symlink(Path::new(&version), &new).unwrap();
        std::fs::rename(new, self.0.join("..data")).unwrap();
    }
}

fn log(scene: &Scene) -> String {
    std::fs::read_to_string(scene.file("operator.log")).unwrap_or_default()
}

fn says(scene: &Scene, text: &str) -> usize {
    log(scene).lines().filter(|line| line.contains(text)).count()
}

const CHANGED: &str = "--ca-bundle changed: ";
const UNUSABLE: &str = "--ca-bundle changed and cannot be used";

/// A settled share behind TLS.
fn settled<'a>(world: &'a World) -> (Scene<'a>, Front, Mount, cfshare_testbed::Process, [String; 3]) {
    let scene = world.own_scene();
    let front = Front::start(world.simulator.base_url());
    let mount = Mount::new(&scene, OLD.authority);
    let file = mount.file();
    let operator = scene.operator(&[("--cloudflare-url", front.url.as_str()), ("--ca-bundle", file.to_str().unwrap())]);
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    (scene, front, mount, operator, [one, two, first])
}

fn swapped(world: &World) {
    let (scene, front, mount, _operator, [one, two, first]) = settled(world);
    mount.swap(RENEWED.authority);
    scene.wait("the new bundle", || says(&scene, CHANGED) == 1);
    front.renew();
    scene.wait_sweep();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.wait_state("the edit", |shares| shares[0].live_recipients().len() == 2);
    scene.wait_ready("share", "waf");
    assert_eq!(scene.changes().len(), 2, "{:?}", scene.changes());
}

fn unusable(world: &World) {
    let (scene, _front, mount, _operator, _) = settled(world);
    mount.swap(b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n");
    scene.wait("the complaint", || says(&scene, UNUSABLE) == 1);
    scene.wait_sweep();
    std::fs::remove_file(mount.file()).unwrap();
    scene.wait("the next complaint", || says(&scene, UNUSABLE) == 2);
    scene.wait_sweep();
    scene.wait_sweep();
    assert_eq!(says(&scene, UNUSABLE), 2);
    scene.wait_ready("share", "waf");
    std::fs::write(mount.file(), [OLD.authority, RENEWED.authority].concat()).unwrap();
    scene.wait("the new bundle", || says(&scene, CHANGED) == 1);
    scene.wait_sweep();
}

fn late(world: &World) {
    let (scene, front, mount, _operator, _) = settled(world);
    front.renew();
    let share = scene.wait_reason("share", "waf", "Unavailable");
    assert_eq!(condition(&share, "Ready").expect("Ready")["status"], "Unknown");
    let text = message(&share);
    assert!(text.contains("certificate") && text.contains(&scene.account) && text.contains("since"), "{text}");
    mount.swap(RENEWED.authority);
    scene.wait_ready("share", "waf");
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
}

//! What the control plane consists of: how each component is called, and when it is ready.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::folder::Folder;
use crate::programs::Programs;
use crate::{audit, kubeconfig};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    Etcd,
    ApiServer,
    ControllerManager,
}

impl Component {
    /// In the order in which they start.
    pub const ALL: [Self; 3] = [Self::Etcd, Self::ApiServer, Self::ControllerManager];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
        }
    }
}

/// Nodes, volumes, certificates and the like have nothing to do here.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,serviceaccount-controller,\
    serviceaccount-token-controller,root-ca-certificate-publisher-controller,clusterrole-aggregation-controller,\
    validatingadmissionpolicy-status-controller,deployment-controller,replicaset-controller";

/// What stays the same when a component is started again.
pub struct Site {
    pub programs: Programs,
    pub folder: Folder,
    etcd: u16,
    peer: u16,
    apiserver: u16,
    admin: String,
    controllers: String,
    /// Further ones of kube-apiserver.
    flags: Vec<String>,
}

impl Site {
    pub fn new(programs: Programs, folder: Folder, flags: Vec<String>) -> io::Result<Self> {
        // All bound at once, so that they differ.
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let [etcd, peer, apiserver] = [free()?, free()?, free()?];
        let [etcd, peer, apiserver] = [etcd.local_addr()?, peer.local_addr()?, apiserver.local_addr()?];
        let (admin, controllers) = (random()?, random()?);
        fs::write(
            folder.join("tokens.csv"),
            format!(
                "{admin},admin,admin,system:masters\n\
                 {controllers},system:kube-controller-manager,controllers,system:masters\n"
            ),
        )?;
        fs::write(folder.join("audit-policy.yaml"), audit::POLICY)?;
        Ok(Self {
            programs,
            folder,
            etcd: etcd.port(),
            peer: peer.port(),
            apiserver: apiserver.port(),
            admin,
            controllers,
            flags,
        })
    }

    pub fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.apiserver)
    }

    pub fn audit(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// The API server makes its certificate, with its authority, at its first start; the key of it
    /// also signs the tokens of service accounts.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("certificates/apiserver.crt")
    }

    /// Runs in the folder of the cluster, so that its files have plain names.
    pub fn command(&self, component: Component) -> Command {
        let Self { etcd, peer, apiserver, .. } = self;
        let (program, flags) = match component {
            Component::Etcd => (
                &self.programs.etcd,
                format!(
                    "--data-dir=etcd
                     --listen-client-urls=http://127.0.0.1:{etcd}
                     --advertise-client-urls=http://127.0.0.1:{etcd}
                     --listen-peer-urls=http://127.0.0.1:{peer}
                     --initial-advertise-peer-urls=http://127.0.0.1:{peer}
                     --initial-cluster=default=http://127.0.0.1:{peer}
                     --quota-backend-bytes=8589934592
                     --unsafe-no-fsync
                     --log-level=warn"
                ),
            ),
            // A loopback address is refused as an endpoint, so there are none. What may be
            // privileged is up to Pod Security, as in most clusters.
            Component::ApiServer => (
                &self.programs.apiserver,
                format!(
                    "--etcd-servers=http://127.0.0.1:{etcd}
                     --bind-address=127.0.0.1
                     --advertise-address=127.0.0.1
                     --secure-port={apiserver}
                     --cert-dir=certificates
                     --token-auth-file=tokens.csv
                     --authorization-mode=RBAC
                     --allow-privileged
                     --service-account-issuer=https://kubernetes.default.svc
                     --service-account-key-file=certificates/apiserver.key
                     --service-account-signing-key-file=certificates/apiserver.key
                     --service-cluster-ip-range=10.0.0.0/24
                     --endpoint-reconciler-type=none
                     --audit-policy-file=audit-policy.yaml
                     --audit-log-path=audit.log
                     --audit-log-maxsize=100000
                     --profiling=false"
                ),
            ),
            Component::ControllerManager => (
                &self.programs.controller_manager,
                format!(
                    "--kubeconfig=controllers.kubeconfig
                     --controllers={CONTROLLERS}
                     --use-service-account-credentials
                     --service-account-private-key-file=certificates/apiserver.key
                     --root-ca-file=certificates/apiserver.crt
                     --leader-elect=false
                     --secure-port=0
                     --kube-api-qps=500
                     --kube-api-burst=1000
                     --profiling=false"
                ),
            ),
        };
        let mut command = Command::new(program);
        command.args(flags.split_whitespace()).current_dir(self.folder.path());
        // There is memory enough: fewer collections leave the processor to the tests.
        command.env("GOGC", "400");
        if component == Component::ApiServer {
            command.args(&self.flags);
        }
        command
    }

    /// Asked again and again after the start, until true.
    pub fn ready(&self, component: Component) -> bool {
        match component {
            Component::Etcd => healthy(self.etcd).unwrap_or(false),
            // kubectl costs a tenth of a second: only once somebody listens.
            Component::ApiServer => {
                TcpStream::connect((Ipv4Addr::LOCALHOST, self.apiserver)).is_ok()
                    && self.write_kubeconfigs().is_ok()
                    && succeeds(self.kubectl().args(["get", "--raw", "/readyz"]))
            }
            Component::ControllerManager => {
                let account = ["wait", "--for=create", "--timeout=1s", "-n", "default", "serviceaccount/default"];
                succeeds(self.kubectl().args(account))
            }
        }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    fn write_kubeconfigs(&self) -> io::Result<()> {
        let write =
            |path: &Path, token: &str| kubeconfig::write(path, &self.server(), &self.authority(), "default", token);
        write(&self.folder.join("controllers.kubeconfig"), &self.controllers)?;
        write(&self.kubeconfig(), &self.admin)
    }

    pub fn kubectl(&self) -> Command {
        self.client(&self.programs.kubectl)
    }

    pub fn helm(&self) -> Command {
        self.client(&self.programs.helm)
    }

    /// Caches of its own: the next cluster may have this port and other kinds.
    fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("KUBECACHEDIR", self.folder.join("cache"))
            .env("KUBERC", "off")
            .env("HELM_CACHE_HOME", self.folder.join("helm/cache"))
            .env("HELM_CONFIG_HOME", self.folder.join("helm/config"))
            .env("HELM_DATA_HOME", self.folder.join("helm/data"));
        command
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

fn healthy(port: u16) -> io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.contains("\"health\":\"true\""))
}

/// A token for this run: others may be on this machine.
fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

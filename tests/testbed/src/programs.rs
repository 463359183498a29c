//! Where etcd, kube-apiserver, kube-controller-manager, kubectl and helm are on this machine.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::world;

/// The programs that a cluster consists of.
#[derive(Clone, Debug)]
pub struct Programs {
    pub etcd: PathBuf,
    pub apiserver: PathBuf,
    pub controller_manager: PathBuf,
    pub kubectl: PathBuf,
    pub helm: PathBuf,
}

impl Programs {
    /// Those in `KUBEBUILDER_ASSETS`, completed from `PATH`; else those in `PATH`, if a whole
    /// control plane is there; what is then missing is built once, into the user's cache.
    pub fn find() -> Result<Self, Error> {
        let assets = env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty());
        let found = Found::in_places(assets.map(PathBuf::from), env::var_os("PATH").unwrap_or_default());
        if let Some(programs) = found.complete() {
            return Ok(programs);
        }
        let world = world::folder(&found.missing())?;
        let built = |name: &str| world.join(name);
        Ok(Self {
            etcd: found.etcd.unwrap_or_else(|| built("etcd")),
            apiserver: found.apiserver.unwrap_or_else(|| built("kube-apiserver")),
            controller_manager: found.controller_manager.unwrap_or_else(|| built("kube-controller-manager")),
            kubectl: found.kubectl.unwrap_or_else(|| built("kubectl")),
            helm: found.helm.unwrap_or_else(|| built("helm")),
        })
    }

    /// The folders that they are in, in the form of `PATH`.
    pub fn search_path(&self) -> OsString {
        let mut folders: Vec<&Path> = Vec::new();
        for program in [&self.etcd, &self.apiserver, &self.controller_manager, &self.kubectl, &self.helm] {
            let folder = program.parent().unwrap_or(Path::new("."));
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        env::join_paths(folders).unwrap_or_default()
    }
}

/// What is there already.
struct Found {
    etcd: Option<PathBuf>,
    apiserver: Option<PathBuf>,
    controller_manager: Option<PathBuf>,
    kubectl: Option<PathBuf>,
    helm: Option<PathBuf>,
}

impl Found {
    fn in_places(assets: Option<PathBuf>, path: OsString) -> Self {
        let chosen = assets.is_some();
        // Absolute, since the components run in a folder of their own.
        let folders: Vec<PathBuf> = assets
            .into_iter()
            .chain(env::split_paths(&path))
            .filter_map(|folder| std::path::absolute(folder).ok())
            .collect();
        let find = |name| folders.iter().map(|folder| folder.join(name)).find(|file| executable(file));
        let found = Self {
            etcd: find("etcd"),
            apiserver: find("kube-apiserver"),
            controller_manager: find("kube-controller-manager"),
            kubectl: find("kubectl"),
            helm: find("helm").filter(|helm| is_version_4(helm)),
        };
        let whole = found.etcd.is_some()
            && found.apiserver.is_some()
            && found.controller_manager.is_some()
            && found.kubectl.is_some();
        // A kubectl alone, of any age, is no reason to mix it with a control plane that we build.
        if chosen || whole { found } else { Self::nothing() }
    }

    fn nothing() -> Self {
        Self { etcd: None, apiserver: None, controller_manager: None, kubectl: None, helm: None }
    }

    fn complete(&self) -> Option<Programs> {
        Some(Programs {
            etcd: self.etcd.clone()?,
            apiserver: self.apiserver.clone()?,
            controller_manager: self.controller_manager.clone()?,
            kubectl: self.kubectl.clone()?,
            helm: self.helm.clone()?,
        })
    }

    fn missing(&self) -> Vec<&'static str> {
        [
            (&self.etcd, "etcd"),
            (&self.apiserver, "kube-apiserver"),
            (&self.controller_manager, "kube-controller-manager"),
            (&self.kubectl, "kubectl"),
            (&self.helm, "helm 4"),
        ]
        .into_iter()
        .filter_map(|(place, name)| place.is_none().then_some(name))
        .collect()
    }
}

fn executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn is_version_4(helm: &Path) -> bool {
    let version = Command::new(helm).args(["version", "--short"]).output();
    version.is_ok_and(|output| output.stdout.starts_with(b"v4."))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::Folder;

    /// A script that is still open for writing in a process that another test is just starting cannot be executed.
    static ALONE: Mutex<()> = Mutex::new(());

    fn install(folder: &Path, names: &[&str]) {
        fs::create_dir_all(folder).unwrap();
        for name in names {
            let file = folder.join(name);
            fs::write(&file, "#!/bin/sh\necho v4.3.1\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn kubebuilder_assets_are_completed_from_path() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Folder::temporary().unwrap();
        let (assets, path) = (folder.join("assets"), folder.join("path"));
        install(&assets, &["etcd", "kube-apiserver", "kubectl"]);
        install(&path, &["kubectl", "kube-controller-manager", "helm"]);
        let programs = Found::in_places(Some(assets.clone()), path.clone().into()).complete().unwrap();
        assert_eq!(programs.kubectl, assets.join("kubectl"));
        assert_eq!(programs.controller_manager, path.join("kube-controller-manager"));
        assert_eq!(programs.search_path(), env::join_paths([assets, path]).unwrap());
    }

    #[test]
    fn a_kubectl_alone_in_path_is_not_used() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Folder::temporary().unwrap();
        install(folder.path(), &["kubectl", "helm"]);
        let found = Found::in_places(None, folder.path().into());
        assert_eq!(found.missing().len(), 5);
    }
}

//! `cfshare plan`: what would be called at Cloudflare.

mod files;
mod print;
mod yaml;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::core::object::HasSpec;
use kube::{Resource, ResourceExt};

use super::cluster::{Cluster, Objects, Scope};
use super::credentials::{Remotes, credential_of_environment};
use super::output::{Exit, causes, print_json};
use super::remote::{Endpoint, Rows, explained_of, unknown_target, words};
use super::survey::{Account, Survey, View};
use crate::api::{ChildObject, Name, Share, is_suspended};
use crate::core::deletions::MaxDeletions;
use crate::core::id::{AnyId, ShareId};
use crate::core::time::At;
use crate::operator::Settings;
use crate::operator::preview::{self, Fleet, Preview, ReadAccount, ReadWith};
pub(in crate::cli) use files::files as manifest_files;
use print::Planned;
pub(in crate::cli) use yaml::documents;

/// Show the Cloudflare API calls that would be made, without making them
///
/// Without -f, it plans for the objects in the cluster: what the operator would do now. With -f, it plans for manifests
/// as if they were applied for the first time or, with --cluster, as if they were applied to the cluster.
///
/// The credential comes from CLOUDFLARE_API_TOKEN, or CLOUDFLARE_EMAIL and CLOUDFLARE_API_KEY, or else from the Secrets
/// in the cluster.
///
/// Exit code 0: no calls. 2: at least one call. 1: error, or a Share could not be planned.
#[derive(Args, Debug, Clone)]
#[command(verbatim_doc_comment)]
pub struct Plan {
    /// File of manifests, directory (read recursively), or - for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Directory with a kustomization, built with the kubectl in PATH
    #[arg(short = 'k', long, value_name = "FOLDER", conflicts_with = "files")]
    kustomize: Option<PathBuf>,
    /// With --cluster: as if all objects that are not in the files were deleted from the namespaces of the manifests and
    /// of -n, as Argo CD and Flux do when they prune
    #[arg(long, requires = "kube_cluster")]
    prune: bool,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    endpoint: Endpoint,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORM")]
    output: Form,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Form {
    Text,
    Json,
    /// For the comment of a pull request
    Markdown,
}

/// After so long a call that was announced cannot take effect any more, unless the installer decided otherwise.
const SETTLE_TIME: Duration = Duration::from_secs(240);

impl Plan {
    pub async fn run(&self, out: &mut impl Write) -> anyhow::Result<Exit> {
        let (fleet, concerned, cluster) = self.subject().await?;
        let mut shares: Vec<Arc<Share>> = fleet.shares().collect();
        shares.retain(|share| concerned.as_ref().is_none_or(|names| names.contains(&Name::of(share.as_ref()))));
        shares.sort_by_key(|share| Name::of(share.as_ref()));
        let remotes = Remotes::new(cluster.as_ref(), &self.endpoint, shares.iter().map(Arc::as_ref));
        let mut planner = Planner {
            survey: Survey::new(remotes),
            settings: Settings { settle_time: SETTLE_TIME, ..Settings::default() },
            accounts: HashMap::new(),
        };
        let mut plan = Vec::new();
        for share in &shares {
            let preview = planner
                .preview(&fleet, share)
                .await
                .unwrap_or_else(|problem| Preview { problem: Some(problem), ..Preview::default() });
            plan.push(Planned { name: Name::of(share.as_ref()), account: share.spec.account_id.to_string(), preview });
        }
        note_held_deletions(&fleet, &mut plan);
        match self.output {
            Form::Text => out.write_all(print::text(&plan).as_bytes())?,
            Form::Json => print_json(out, &print::json(&plan))?,
            Form::Markdown => out.write_all(print::markdown(&plan).as_bytes())?,
        }
        Ok(if plan.iter().any(|planned| planned.preview.problem.is_some()) {
            Exit::Failed
        } else if plan.iter().any(|planned| planned.calls() > 0) {
            Exit::Differs
        } else {
            Exit::Good
        })
    }

    /// The objects; which Shares of them are meant, if not all; and the cluster where one is needed.
    async fn subject(&self) -> anyhow::Result<(Fleet, Option<BTreeSet<Name>>, Option<Cluster>)> {
        if self.files.is_empty() && self.kustomize.is_none() {
            if self.prune {
                anyhow::bail!("--prune compares files with the cluster: specify them with -f or -k");
            }
            let cluster = self.scope.cluster().await?;
            cluster.must_exist().await?;
            return Ok((cluster.fleet().await?, cluster.selected().await?, Some(cluster)));
        }
        let cluster = if self.scope.kube.cluster.is_some() { Some(self.scope.cluster().await?) } else { None };
        let namespace = cluster.as_ref().and_then(|cluster| cluster.namespace.clone());
        let namespace = namespace.or_else(|| self.scope.namespace.clone()).unwrap_or_else(|| "default".into());
        let manifests = match &self.kustomize {
            Some(folder) => Objects::build(folder, &namespace)?,
            None => Objects::read(&self.files, &namespace)?,
        };
        if manifests.is_empty() && !self.prune {
            anyhow::bail!(
                "the files contain no Share, ShareRecipient or ShareResource: check the path given with -f or -k"
            );
        }
        let mut concerned = concerned(&manifests);
        let Some(cluster) = cluster else {
            let known: HashSet<Name> = manifests.shares.iter().map(Name::of).collect();
            if let Some(orphan) = concerned.iter().find(|name| !known.contains(name)) {
                anyhow::bail!(
                    "Share {orphan} is not in the files: add its file, or use --cluster to read it from the cluster"
                );
            }
            let Objects { shares, recipients, resources } = manifests;
            return Ok((Fleet::new(shares, recipients, resources), None, None));
        };
        let own = self.scope.namespace.as_deref().into_iter().filter(|_| self.prune);
        let namespaces: BTreeSet<&str> = concerned.iter().map(|name| name.namespace.as_str()).chain(own).collect();
        let Objects { mut shares, mut recipients, mut resources } = Objects::default();
        for namespace in namespaces {
            let objects = cluster.within(namespace).objects().await?;
            shares.extend(objects.shares);
            recipients.extend(objects.recipients);
            resources.extend(objects.resources);
        }
        if self.prune {
            concerned.extend(self::concerned(&Objects {
                shares: delete_missing(&mut shares, &manifests.shares),
                recipients: delete_missing(&mut recipients, &manifests.recipients),
                resources: delete_missing(&mut resources, &manifests.resources),
            }));
        }
        apply(&mut shares, manifests.shares);
        apply(&mut recipients, manifests.recipients);
        apply(&mut resources, manifests.resources);
        Ok((Fleet::new(shares, recipients, resources), Some(concerned), Some(cluster)))
    }
}

/// The Shares that the manifests are about, their own and those of their children.
fn concerned(manifests: &Objects) -> BTreeSet<Name> {
    manifests.shares.iter().map(Name::of).chain(manifests.children().map(ChildObject::share)).collect()
}

/// Deletes what the manifests lack, as the API server does with what has a finalizer, and returns that.
fn delete_missing<K: Resource<DynamicType = ()> + Clone>(there: &mut [K], manifests: &[K]) -> Vec<K> {
    let kept: HashSet<Name> = manifests.iter().map(Name::of).collect();
    let lacking = there.iter_mut().filter(|object| !kept.contains(&Name::of(*object)));
    lacking
        .map(|object| {
            object.meta_mut().deletion_timestamp.get_or_insert_with(|| Time(Timestamp::now()));
            object.clone()
        })
        .collect()
}

/// Says where more shares would be deleted at once than the operator deletes without confirmation.
fn note_held_deletions(fleet: &Fleet, plan: &mut [Planned]) {
    let mut deletions: BTreeMap<AnyId, usize> = BTreeMap::new();
    for planned in plan.iter().filter(|planned| planned.deletes()) {
        *deletions.entry(AnyId::new(&planned.account)).or_default() += 1;
    }
    for planned in plan.iter_mut().filter(|planned| planned.deletes()) {
        let count = deletions[&AnyId::new(&planned.account)];
        let allowed = MaxDeletions::default().of(fleet.managed(&planned.account));
        if count > allowed {
            planned.preview.notes.push(format!(
                "{count} shares of account {} would be deleted at once: unless the operator's --max-deletions differs from \
                 its default (10%, at least 5), {allowed} are deleted within 10 minutes, and the others stay until somebody \
                 confirms their deletion (reason DeletionBlocked)",
                planned.account
            ));
        }
    }
}

/// What the API server would make of manifests: those that are there keep all but their spec, and a spec that differs is a
/// new generation, for which removals are confirmed.
fn apply<K>(there: &mut Vec<K>, manifests: Vec<K>)
where
    K: Resource<DynamicType = ()> + HasSpec<Spec: PartialEq>,
{
    for mut new in manifests {
        match there.iter_mut().find(|old| Name::of(*old) == Name::of(&new)) {
            Some(old) => {
                old.annotations_mut().append(new.annotations_mut());
                if old.spec() != new.spec() {
                    std::mem::swap(old.spec_mut(), new.spec_mut());
                    old.meta_mut().generation = Some(old.meta().generation.unwrap_or(0) + 1);
                }
            }
            None => {
                new.meta_mut().generation = Some(1);
                there.push(new);
            }
        }
    }
}

/// Plans Shares, with accounts that are each read once.
struct Planner<'a> {
    survey: Survey<'a>,
    settings: Settings,
    accounts: HashMap<View, ReadAccount>,
}

impl Planner<'_> {
    async fn preview(&mut self, fleet: &Fleet, share: &Share) -> Result<Preview, String> {
        if is_suspended(share) {
            return Ok(preview::preview(fleet, &ReadAccount::new(Vec::new(), At::default()), share, &self.settings));
        }
        preview::owner(share)?;
        let account = self.survey.account(share).await.map_err(|error| causes(&error))?;
        let read = self.accounts.entry(account.view()).or_insert_with(|| {
            let is_of_secret = !matches!(credential_of_environment(), Ok(Some(_)));
            let read_with = ReadWith { credential: account.remote.fingerprint(), is_of_secret };
            ReadAccount::new(account.shares.clone(), At(account.began.as_millisecond())).with(read_with)
        });
        if let Some(id) = preview::subject(fleet, read, share, &self.settings) {
            complete(read, &account, &id).await.map_err(|error| words(&error))?;
        }
        Ok(preview::preview(fleet, read, share, &self.settings))
    }
}

/// Reads of one share what the list of all does not show.
async fn complete(read: &mut ReadAccount, account: &Account, id: &ShareId) -> anyhow::Result<()> {
    if read.seen(id).is_none() {
        read.learn(id, account.share(id).await?);
    }
    let Some(seen) = read.seen(id) else { return Ok(()) };
    let (target, counts) = (&seen.share.target_type, seen.counts);
    let rows =
        async { account.remote.rows(&account.id, id, target, counts).await.map_err(|error| explained_of(id, error)) };
    let Rows { recipients, excluded } = account.ask(id, rows).await?.with_context(|| unknown_target(id, target))?;
    read.learn_rows(id, recipients, excluded);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::operator::next_confirmation;

    fn share(name: &str, generation: Option<i64>, recipients: &[&str]) -> Share {
        let recipients: Vec<Value> = recipients.iter().map(|id| json!({ "accountID": id })).collect();
        let object = json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share",
            "metadata": {"name": name, "namespace": "ns", "generation": generation, "uid": "u1"},
            "spec": {"accountID": "acc", "recipients": recipients},
        });
        serde_json::from_value(object).expect("a Share")
    }

    #[test]
    fn an_applied_manifest_has_the_generation_that_confirms_its_removals() {
        let mut shares = vec![share("changed", Some(7), &["a1", "a2"]), share("same", Some(7), &["a1"])];
        apply(
            &mut shares,
            vec![share("changed", None, &["a1"]), share("same", None, &["a1"]), share("new", None, &[])],
        );
        let generations: Vec<Option<i64>> = shares.iter().map(|share| share.metadata.generation).collect();
        assert_eq!(generations, [Some(8), Some(7), Some(1)]);
        assert_eq!(next_confirmation(&shares[0]), "8");
        assert_eq!(shares[0].spec.recipients.as_ref().map(Vec::len), Some(1));
        assert_eq!(shares[0].metadata.uid.as_deref(), Some("u1"));
    }
}

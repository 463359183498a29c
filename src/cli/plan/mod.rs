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
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use k8s_openapi::jiff::Timestamp;
use kube::core::object::HasSpec;
use kube::{Resource, ResourceExt};
use serde::Serialize;

use super::cluster::{Cluster, Objects, Scope};
use super::credentials::{Remotes, credential_of_environment};
use super::output::{Exit, causes, print_json};
use super::remote::{Endpoint, Rows, explained_of, unknown_target, words};
use super::survey::{Account, Survey, View};
use crate::api::admission::Admission;
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
#[command(
    verbatim_doc_comment,
    mut_arg("kube_cluster", |cluster| {
        cluster.help(
            "With -f or -k: as if the files were applied to the cluster. NAME: cluster in the kubeconfig; default: the \
             cluster of the context",
        )
    })
)]
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
        let Subject { fleet, concerned, cluster, mut refused } = self.subject().await?;
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
        let not_planned = |problem| Preview { problem: Some(problem), ..Preview::default() };
        for share in &shares {
            let name = Name::of(share.as_ref());
            let preview = match refused.remove(&name) {
                Some(problem) => not_planned(problem),
                None => planner.preview(&fleet, share).await.unwrap_or_else(not_planned),
            };
            plan.push(Planned { name, account: Some(share.spec.account_id.to_string()), preview });
        }
        // Of Shares that do not exist.
        plan.extend(refused.into_iter().map(|(name, problem)| Planned {
            name,
            account: None,
            preview: not_planned(problem),
        }));
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

    async fn subject(&self) -> anyhow::Result<Subject> {
        if self.files.is_empty() && self.kustomize.is_none() {
            if self.prune {
                anyhow::bail!("--prune compares files with the cluster: specify them with -f or -k");
            }
            let cluster = self.scope.cluster().await?;
            cluster.must_exist().await?;
            let (fleet, concerned) = (cluster.fleet().await?, cluster.selected().await?);
            return Ok(Subject { fleet, concerned, cluster: Some(cluster), refused: BTreeMap::new() });
        }
        let cluster = if self.scope.kube.cluster.is_some() { Some(self.scope.cluster().await?) } else { None };
        let of_context = || cluster.as_ref().map(|cluster| cluster.kube.default_namespace().to_owned());
        let namespace = self.scope.namespace.clone().or_else(of_context).unwrap_or_else(|| "default".into());
        let manifests = match &self.kustomize {
            Some(folder) => Objects::build(folder, &namespace)?,
            None => Objects::read(&self.files, &namespace)?,
        };
        if manifests.is_empty() && !self.prune {
            anyhow::bail!(
                "the files contain no Share, ShareRecipient or ShareResource: check the path given with -f or -k"
            );
        }
        match cluster {
            Some(cluster) => self.on_top(manifests, cluster).await,
            None => first(manifests),
        }
    }

    /// Manifests as if they were applied to the cluster.
    async fn on_top(&self, mut manifests: Objects, cluster: Cluster) -> anyhow::Result<Subject> {
        let mut concerned = concerned(&manifests);
        let own = self.scope.namespace.as_deref().into_iter().filter(|_| self.prune);
        let namespaces: BTreeSet<&str> = concerned.iter().map(|name| name.namespace.as_str()).chain(own).collect();
        let mut there = Objects::default();
        if self.scope.all_namespaces {
            there = cluster.whole().objects().await?;
        } else {
            for namespace in &namespaces {
                let objects = cluster.within(namespace).objects().await?;
                there.shares.extend(objects.shares);
                there.recipients.extend(objects.recipients);
                there.resources.extend(objects.resources);
            }
        }
        keep_ids(&there.shares, &mut manifests.shares);
        let refused = refused(&manifests, &there);
        let Objects { mut shares, mut recipients, mut resources } = there;
        if self.prune {
            let deleted = self::concerned(&Objects {
                shares: delete_missing(&mut shares, &manifests.shares, &namespaces),
                recipients: delete_missing(&mut recipients, &manifests.recipients, &namespaces),
                resources: delete_missing(&mut resources, &manifests.resources, &namespaces),
            });
            concerned.extend(deleted);
        }
        apply(&mut shares, manifests.shares);
        apply(&mut recipients, manifests.recipients);
        apply(&mut resources, manifests.resources);
        let fleet = Fleet::new(shares, recipients, resources);
        Ok(Subject { fleet, concerned: Some(concerned), cluster: Some(cluster), refused })
    }
}

/// What a plan is made for.
struct Subject {
    fleet: Fleet,
    /// Which Shares are meant, if not all.
    concerned: Option<BTreeSet<Name>>,
    /// The cluster, where one is needed.
    cluster: Option<Cluster>,
    /// Why nothing can be planned for these Shares.
    refused: BTreeMap<Name, String>,
}

/// Manifests as if they were applied for the first time.
fn first(manifests: Objects) -> anyhow::Result<Subject> {
    let known: HashSet<Name> = manifests.shares.iter().map(Name::of).collect();
    if let Some(orphan) = concerned(&manifests).iter().find(|name| !known.contains(name)) {
        anyhow::bail!("Share {orphan} is not in the files: add its file, or use --cluster to read it from the cluster");
    }
    let refused = refused(&manifests, &Objects::default());
    let Objects { shares, recipients, resources } = manifests;
    Ok(Subject { fleet: Fleet::new(shares, recipients, resources), concerned: None, cluster: None, refused })
}

/// The Shares that the manifests are about, their own and those of their children.
fn concerned(manifests: &Objects) -> BTreeSet<Name> {
    manifests.shares.iter().map(Name::of).chain(manifests.children().map(ChildObject::share)).collect()
}

/// A `shareID` that was set by another than the one who applies the manifest stays, though the manifest does not have it.
fn keep_ids(there: &[Share], manifests: &mut [Share]) {
    let set_by_another = |share: &&Share| {
        let owners = share
            .metadata
            .managed_fields
            .iter()
            .flatten()
            .filter(|owner| owner.subresource.as_deref().unwrap_or_default().is_empty());
        let owns = |owner: &ManagedFieldsEntry, field: &str| {
            owner.fields_v1.as_ref().is_some_and(|fields| !fields.0["f:spec"][field].is_null())
        };
        let mut of_id = owners.filter(|owner| owns(owner, "f:shareID")).peekable();
        of_id.peek().is_some() && of_id.all(|owner| !owns(owner, "f:accountID"))
    };
    let kept: HashMap<Name, &Share> =
        there.iter().filter(set_by_another).map(|share| (Name::of(share), share)).collect();
    for manifest in manifests.iter_mut().filter(|manifest| manifest.spec.share_id.is_none()) {
        if let Some(share) = kept.get(&Name::of(manifest)) {
            manifest.spec.share_id = share.spec.share_id.clone();
        }
    }
}

/// Why the API server would refuse manifests, or nobody would reconcile them, by the Shares that they are about.
fn refused(manifests: &Objects, there: &Objects) -> BTreeMap<Name, String> {
    let admission = Admission::of_crds();
    let mut refused: BTreeMap<Name, Vec<String>> = BTreeMap::new();
    let shares = refusals(&admission, &there.shares, &manifests.shares, Name::of);
    let recipients = refusals(&admission, &there.recipients, &manifests.recipients, ChildObject::share);
    let resources = refusals(&admission, &there.resources, &manifests.resources, ChildObject::share);
    for (name, why) in shares.into_iter().chain(recipients).chain(resources) {
        refused.entry(name).or_default().push(why);
    }
    let shares: HashSet<Name> = there.shares.iter().chain(&manifests.shares).map(Name::of).collect();
    let mut missing = HashSet::new();
    for child in manifests.children() {
        if shares.contains(&child.share()) || !missing.insert(child.share()) {
            continue;
        }
        refused.entry(child.share()).or_default().push(format!(
            "{} names this Share in spec.shareRef, and it is neither in the files nor in the cluster: check the name, or add \
             its file",
            child.object_key()
        ));
    }
    refused.into_iter().map(|(name, why)| (name, why.join("; "))).collect()
}

fn refusals<K>(admission: &Admission, there: &[K], manifests: &[K], share: impl Fn(&K) -> Name) -> Vec<(Name, String)>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    let json = |object: &K| serde_json::to_value(object).unwrap_or_default();
    let there: HashMap<Name, &K> = there.iter().map(|object| (Name::of(object), object)).collect();
    let kind = K::kind(&());
    let refusal = |manifest: &K| {
        let name = Name::of(manifest);
        let old = there.get(&name).map(|old| json(old));
        let why = admission.refusals(&kind, old.as_ref(), &json(manifest));
        (!why.is_empty())
            .then(|| (share(manifest), format!("the API server refuses {kind} {name}: {}", why.join("; "))))
    };
    manifests.iter().filter_map(refusal).collect()
}

/// Deletes what the manifests lack in these namespaces, as the API server does with what has a finalizer, and returns that.
fn delete_missing<K>(there: &mut [K], manifests: &[K], namespaces: &BTreeSet<&str>) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone,
{
    let kept: HashSet<Name> = manifests.iter().map(Name::of).collect();
    let is_lacking = |name: Name| namespaces.contains(name.namespace.as_str()) && !kept.contains(&name);
    let lacking = there.iter_mut().filter(|object| is_lacking(Name::of(*object)));
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
    for account in plan.iter().filter(|planned| planned.deletes()).filter_map(|planned| planned.account.as_ref()) {
        *deletions.entry(AnyId::new(account)).or_default() += 1;
    }
    for planned in plan.iter_mut().filter(|planned| planned.deletes()) {
        let Some(account) = &planned.account else { continue };
        let count = deletions[&AnyId::new(account)];
        let allowed = MaxDeletions::default().of(fleet.managed(account));
        if count > allowed {
            planned.preview.notes.push(format!(
                "{count} shares of account {account} would be deleted at once: unless the operator's --max-deletions differs \
                 from its default (10%, at least 5), {allowed} are deleted within 10 minutes, and the others stay until \
                 somebody confirms their deletion (reason DeletionBlocked)"
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

    #[test]
    fn nothing_is_planned_for_what_cannot_be_applied_or_has_no_share() {
        let mut moved = share("moved", None, &["a1"]);
        moved.spec.account_id = "another".into();
        let child = json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "ShareRecipient", "metadata": {"name": "c", "namespace": "ns"},
            "spec": {"shareRef": {"name": "nobody"}, "accountID": "a1"},
        });
        let child = serde_json::from_value(child).expect("a ShareRecipient");
        let manifests = Objects {
            shares: vec![moved, share("same", None, &["a1"]), share("twice", None, &["a1", "a1"])],
            recipients: vec![child],
            ..Objects::default()
        };
        let there = ["moved", "same"].map(|name| share(name, Some(1), &["a1"]));
        let refused = refused(&manifests, &Objects { shares: there.into(), ..Objects::default() });
        let said = |name: &str| refused.get(&Name::new("ns", name)).cloned().unwrap_or_default();
        assert!(
            said("moved").starts_with("the API server refuses Share ns/moved: spec.accountID: cannot be changed: ")
        );
        assert!(said("twice").ends_with("spec.recipients[1]: a1 is listed twice: remove one of the entries"));
        assert!(said("nobody").starts_with("ShareRecipient ns/c names this Share in spec.shareRef, "));
        assert_eq!(refused.len(), 3, "{refused:?}");
    }

    #[test]
    fn an_id_that_somebody_else_set_stays_and_one_s_own_is_taken_away() {
        let id_after = |owners: [Value; 2]| {
            let mut there = share("waf", Some(1), &[]);
            there.spec.share_id = Some("5e1f".into());
            let owners = owners.map(|fields| {
                json!({"manager": "m", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields}})
            });
            there.metadata.managed_fields = serde_json::from_value(json!(owners)).expect("fields");
            let mut manifests = [share("waf", None, &[])];
            keep_ids(&[there], &mut manifests);
            manifests[0].spec.share_id.as_deref().map(str::to_owned)
        };
        let apart = [json!({"f:accountID": {}}), json!({"f:shareID": {}})];
        assert_eq!(id_after(apart).as_deref(), Some("5e1f"));
        assert_eq!(id_after([json!({"f:accountID": {}, "f:shareID": {}}), json!({})]), None);
    }
}

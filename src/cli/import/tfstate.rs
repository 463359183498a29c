//! Which shares a state of Terraform or OpenTofu manages, and how it forgets them without destroying them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::given_file;
use crate::core::id::{ShareId, folded};

/// The resource types of Cloudflare's provider.
const SHARE: &str = "cloudflare_share";
const TYPES: [&str; 3] = [SHARE, "cloudflare_share_recipient", "cloudflare_share_resource"];
/// From this version on Terraform forgets what a `removed` block names.
const REMOVED_BLOCKS: (u64, u64) = (1, 7);

/// A share that the state manages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    pub account: String,
    /// What its address suggests for the object's name.
    pub name: String,
}

/// One instance of a resource.
#[derive(Debug)]
struct Instance {
    /// With its key, where it has one.
    address: String,
    /// The id of the share that it is, or is a part of, in the form in which ids are compared.
    share: String,
}

/// What a state has of ours.
#[derive(Debug, Default)]
pub struct State {
    /// By the share's id, in the form in which ids are compared.
    pub shares: BTreeMap<String, Managed>,
    /// Shares of which the state manages recipients or resources only.
    pub parts_only: BTreeSet<String>,
    /// By the addresses of their resources.
    resources: BTreeMap<String, Vec<Instance>>,
    version: String,
    is_tofu: bool,
}

pub fn read(path: &Path) -> anyhow::Result<State> {
    let shown = path.display();
    let text = given_file::text("--from-tfstate", path)?;
    parse(&text).with_context(|| format!("--from-tfstate: {shown}"))
}

fn parse(text: &str) -> anyhow::Result<State> {
    let value: Value = serde_json::from_str(text).context("this is not JSON: write it with `terraform state pull`")?;
    if value.get("encrypted_data").is_some() {
        anyhow::bail!("the state is encrypted: write it with `tofu state pull`");
    }
    let mut state = State {
        version: value["terraform_version"].as_str().unwrap_or_default().to_owned(),
        is_tofu: text.contains("registry.opentofu.org/"),
        ..State::default()
    };
    match (value["resources"].as_array(), &value["values"]["root_module"]) {
        (Some(resources), _) => resources.iter().for_each(|resource| state.take(resource)),
        (None, root @ Value::Object(_)) => state.take_shown(root),
        (None, _) => anyhow::bail!(
            "this is not a state: write it with `terraform state pull` or `terraform show -json`, or the same with tofu"
        ),
    }
    if state.resources.is_empty() {
        anyhow::bail!("the state has no {}", TYPES.join(", no "));
    }
    let known: BTreeSet<&String> = state.shares.keys().collect();
    let parts = state.parts_only.iter().filter(|id| !known.contains(id)).cloned().collect();
    state.parts_only = parts;
    Ok(state)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// As an address writes it: `[0]` with `count`, `["eu"]` with `for_each`.
fn index(key: &Value) -> String {
    if key.is_null() { String::new() } else { format!("[{key}]") }
}

/// An address without the keys of instances.
fn whole(address: &str) -> String {
    let mut out = String::new();
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for letter in address.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if depth > 0 => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth -= 1,
            letter if depth == 0 => out.push(letter),
            _ => {}
        }
    }
    out
}

impl State {
    /// An entry of a state file.
    fn take(&mut self, resource: &Value) {
        let kind = text(resource, "type");
        if text(resource, "mode") != "managed" || !TYPES.contains(&kind) {
            return;
        }
        let module = resource["module"].as_str().map_or(String::new(), |module| format!("{module}."));
        let name = text(resource, "name");
        let live = resource["instances"].as_array().into_iter().flatten().filter(|i| i.get("deposed").is_none());
        for instance in live {
            let address = format!("{module}{kind}.{name}{}", index(&instance["index_key"]));
            self.add(kind, name, &instance["index_key"], address, &instance["attributes"]);
        }
    }

    /// A module as `show -json` prints it.
    fn take_shown(&mut self, module: &Value) {
        for resource in module["resources"].as_array().into_iter().flatten() {
            let kind = text(resource, "type");
            if text(resource, "mode") == "managed" && TYPES.contains(&kind) {
                let address = text(resource, "address").to_owned();
                self.add(kind, text(resource, "name"), &resource["index"], address, &resource["values"]);
            }
        }
        module["child_modules"].as_array().into_iter().flatten().for_each(|child| self.take_shown(child));
    }

    fn add(&mut self, kind: &str, name: &str, key: &Value, address: String, attributes: &Value) {
        let id = text(attributes, if kind == SHARE { "id" } else { "share_id" });
        let id = folded(id).into_owned();
        self.resources.entry(whole(&address)).or_default().push(Instance { address, share: id.clone() });
        if kind != SHARE {
            self.parts_only.insert(id);
            return;
        }
        let name = match key {
            Value::String(key) => format!("{name}-{key}"),
            Value::Null => name.to_owned(),
            other => format!("{name}-{other}"),
        };
        let account = text(attributes, "account_id").to_owned();
        self.shares.insert(id, Managed { account, name });
    }

    fn has_removed_blocks(&self) -> bool {
        let mut numbers = self.version.split('.').map(|part| part.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        !self.is_tofu && version >= REMOVED_BLOCKS
    }

    /// How the state forgets these shares and their parts, once their manifests are applied; nothing of other shares.
    pub fn steps(&self, shares: &BTreeSet<ShareId>) -> String {
        let shares: BTreeSet<Cow<'_, str>> = shares.iter().map(|id| folded(id.as_str())).collect();
        let is_written = |instance: &Instance| shares.contains(instance.share.as_str());
        let (mut blocks, mut lines) = (Vec::new(), Vec::new());
        for (address, instances) in &self.resources {
            if self.has_removed_blocks() && instances.iter().all(is_written) {
                blocks.push(format!("removed {{\n  from = {address}\n  lifecycle {{\n    destroy = false\n  }}\n}}\n"));
            } else {
                let written = instances.iter().filter(|instance| is_written(instance));
                lines.extend(written.map(|instance| instance.address.as_str()));
            }
        }
        let program = if self.is_tofu { "tofu" } else { "terraform" };
        let mut steps = String::new();
        if !blocks.is_empty() {
            steps.push_str(&format!(
                "# Terraform forgets the shares, and destroys nothing: delete their resource blocks from the \
                 configuration, add these, and apply.\n{}",
                blocks.concat()
            ));
        }
        if !lines.is_empty() {
            steps.push_str(&if self.has_removed_blocks() {
                format!(
                    "# {program} forgets these instances, and destroys nothing. Then delete them from the configuration, and keep \
                     the other instances of their resources: those are not imported, and a removed block would forget them too.\n"
                )
            } else {
                format!(
                    "# {program} forgets the shares, and destroys nothing. Then delete their resource blocks, or only these \
                     instances if a resource has others.\n"
                )
            });
        }
        for address in lines {
            steps.push_str(&format!("{program} state rm '{}'\n", address.replace('\'', "'\\''")));
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ids(ids: &[&str]) -> BTreeSet<ShareId> {
        ids.iter().map(|id| ShareId::parse(id).expect("an id")).collect()
    }

    fn file(version: &str, registry: &str) -> String {
        let provider = format!("provider[\"{registry}/cloudflare/cloudflare\"]");
        let share = |id: &str, key: Value| json!({"index_key": key, "attributes": {"id": id, "account_id": "acc"}});
        json!({"version": 4, "terraform_version": version, "resources": [
            {"mode": "managed", "type": "cloudflare_share", "name": "waf", "provider": provider,
             "instances": [share("s0", json!(0)), share("s1", json!(1)),
                           {"deposed": "x", "attributes": {"id": "old"}}]},
            {"mode": "managed", "module": "module.eu[\"a]b\"]", "type": "cloudflare_share", "name": "all",
             "provider": provider, "instances": [share("s2", json!("it's"))]},
            {"mode": "managed", "type": "cloudflare_share_recipient", "name": "one", "provider": provider,
             "instances": [{"attributes": {"share_id": "s0"}}, {"index_key": 1, "attributes": {"share_id": "s9"}}]},
            {"mode": "data", "type": "cloudflare_share", "name": "seen", "instances": [share("s8", Value::Null)]},
        ]})
        .to_string()
    }

    #[test]
    fn shares_are_found_with_count_and_for_each_and_named_after_their_addresses() {
        let state = parse(&file("1.9.5", "registry.terraform.io")).expect("a state");
        let names: Vec<(&str, &str)> = state.shares.iter().map(|(id, s)| (id.as_str(), s.name.as_str())).collect();
        assert_eq!(names, [("s0", "waf-0"), ("s1", "waf-1"), ("s2", "all-it's")]);
        assert_eq!(state.parts_only, ["s9".to_owned()].into());
        let shown = json!({"format_version": "1.0", "terraform_version": "1.6.0", "values": {"root_module": {
            "resources": [{"address": "cloudflare_share.waf", "mode": "managed", "type": "cloudflare_share", "name": "waf",
                           "values": {"id": "s0", "account_id": "acc"}}],
            "child_modules": [{"resources": [{"address": "module.a.cloudflare_share.b[\"x\"]", "mode": "managed",
                "type": "cloudflare_share", "name": "b", "index": "x", "values": {"id": "s1", "account_id": "acc"}}]}]}}});
        let state = parse(&shown.to_string()).expect("a state");
        assert_eq!(state.shares.len(), 2);
        assert_eq!(
            state.steps(&ids(&["s0", "s1"])),
            "# terraform forgets the shares, and destroys nothing. Then delete their resource blocks, or only these \
             instances if a resource has others.\nterraform state rm 'cloudflare_share.waf'\nterraform state rm 'module.a.cloudflare_share.b[\"x\"]'\n"
        );
    }

    #[test]
    fn what_is_forgotten_is_named_as_each_program_takes_it() {
        let all = ids(&["s0", "s1", "s2", "s9"]);
        let steps = parse(&file("1.9.5", "registry.terraform.io")).expect("a state").steps(&all);
        assert!(
            steps.contains("removed {\n  from = module.eu.cloudflare_share.all\n  lifecycle {\n    destroy = false")
        );
        assert_eq!(steps.matches("removed {").count(), 3, "{steps}");
        let steps = parse(&file("1.10.0", "registry.opentofu.org")).expect("a state").steps(&all);
        assert!(steps.contains("\ntofu state rm 'cloudflare_share.waf[1]'\n"), "{steps}");
        assert!(steps.contains("\ntofu state rm 'module.eu[\"a]b\"].cloudflare_share.all[\"it'\\''s\"]'\n"), "{steps}");
    }

    #[test]
    fn only_shares_that_were_written_are_forgotten_with_their_parts() {
        let state = parse(&file("1.9.5", "registry.terraform.io")).expect("a state");
        let steps = state.steps(&ids(&["s0", "s2"]));
        assert!(steps.contains("  from = module.eu.cloudflare_share.all\n"), "{steps}");
        // The other instance of each is of a share that stays in the state.
        assert_eq!(steps.matches("removed {").count(), 1, "{steps}");
        let lines: Vec<&str> = steps.lines().filter(|line| line.starts_with("terraform state rm ")).collect();
        assert_eq!(
            lines,
            ["terraform state rm 'cloudflare_share.waf[0]'", "terraform state rm 'cloudflare_share_recipient.one'"]
        );
        let older = parse(&file("1.6.0", "registry.terraform.io")).expect("a state").steps(&ids(&["s2"]));
        assert_eq!(older.matches(" state rm ").count(), 1, "{older}");
        assert_eq!(state.steps(&ids(&[])), "");
    }

    #[test]
    fn the_case_of_a_share_s_id_does_not_matter() {
        let state = json!({"version": 4, "terraform_version": "1.6.0", "resources": [
            {"mode": "managed", "type": "cloudflare_share", "name": "waf",
             "instances": [{"attributes": {"id": "5E1F", "account_id": "acc"}}]},
            {"mode": "managed", "type": "cloudflare_share_recipient", "name": "one",
             "instances": [{"attributes": {"share_id": "5e1f"}}]}]});
        let state = parse(&state.to_string()).expect("a state");
        assert!(state.shares.contains_key("5e1f") && state.parts_only.is_empty(), "{state:?}");
        assert_eq!(state.steps(&ids(&["5e1F"])).matches(" state rm ").count(), 2);
    }

    #[test]
    fn what_is_no_state_is_refused() {
        for text in ["x", "{}", r#"{"encrypted_data": "x"}"#, r#"{"version": 4, "resources": []}"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

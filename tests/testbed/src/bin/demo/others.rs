//! The other ways to share: objects of their own, a whole organization, shares that exist already.

use cfshare_simulator::{Action, Edit, Rule, Seed, SeedResource, SeedShare};
use cfshare_testbed::Error;

use crate::stage::{PATIENCE, Stage, ensure, ready};
use crate::story::SECURITY;

const ORGANIZATION: &str = "7f2e1a9c4b3d4e5f8a6b7c8d9e0f1a2b";

pub fn tell(stage: &mut Stage) -> Result<(), Error> {
    survive(stage)?;
    organization(stage)?;
    adopt(stage)
}

fn survive(stage: &mut Stage) -> Result<(), Error> {
    stage.simulator.delays(Some(SECURITY), |delays| delays.associate_ms = Some(300));
    stage.terminal.step("Each team declares its own part, and the operator dies while Cloudflare makes the share");
    stage.simulator.fault(Rule::once("POST", "/accounts/*/shares", Action::HoldAfter {}));
    let mark = stage.simulator.last_request();
    stage.shell("kubectl apply -f deploy/examples/with-objects.yaml")?;
    let held = stage.simulator.wait_held(PATIENCE, |_| true);
    ensure(held.is_some(), || "no share was created".into())?;
    stage.terminal.command(&format!("kill -9 {}", stage.operator.pid()));
    stage.operator.kill();
    stage.terminal.say("Cloudflare has the share, and nobody got its id. The next operator looks before it creates:");
    stage.restart_operator()?;
    stage.until_ready("zero-trust-baseline", "2/2")?;
    stage.shell(
        "kubectl wait sharerecipients.cfshare.dev,shareresources.cfshare.dev --all --for=condition=Ready --timeout=60s",
    )?;
    stage.shell("kubectl get shares.cfshare.dev,sharerecipients.cfshare.dev,shareresources.cfshare.dev")?;
    stage.show_calls(mark);
    stage.remote("Zero Trust baseline")?;
    let posts = stage.changes(mark).len();
    ensure(posts == 1, || format!("{posts} changing calls were made instead of one POST"))
}

fn organization(stage: &Stage) -> Result<(), Error> {
    stage.terminal.step("A whole organization, but two accounts");
    let excluded = ["6512bd43d9caa6e02c990b0a82652dca", "c20ad4d76fe97759aa27a0c99bff6710"];
    let mut members: Vec<String> = stage
        .shares()
        .iter()
        .flat_map(|share| share.recipients.iter().map(|row| row.account_id.clone()))
        .chain([SECURITY.to_owned()])
        .chain(excluded.map(str::to_owned))
        .collect();
    members.sort();
    members.dedup();
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    stage.simulator.organization(ORGANIZATION, &members);
    stage.shell("kubectl apply -f deploy/examples/organization.yaml")?;
    let receiving = members.len() - 1 - excluded.len();
    stage.until_ready("malware-protection", &format!("{receiving}/{receiving}"))?;
    stage.shell("kubectl get shares.cfshare.dev malware-protection")?;
    let left_out = stage.remote("Malware protection")?.excluded;
    ensure(excluded.iter().all(|id| left_out.iter().any(|out| out == id)), || {
        format!("Cloudflare leaves out other accounts: {left_out:?}")
    })
}

fn adopt(stage: &Stage) -> Result<(), Error> {
    stage.terminal.step("Shares that exist already are taken over, or only watched: no call changes anything");
    let resource =
        |id: &str| SeedResource { resource_type: "custom-ruleset".into(), id: id.into(), account: None, meta: None };
    let by_hand = |name: &str, recipients: &[&str], ruleset: &str| SeedShare {
        name: name.into(),
        recipients: recipients.iter().map(|id| (*id).to_owned()).collect(),
        resources: vec![resource(ruleset)],
        organization: false,
    };
    let list = vec![
        by_hand(
            "Partner rules",
            &["aab3238922bcc25a6f606eb525ffdc56", "9bf31c7ff062936a96d3c8bd1f8f2ff3"],
            "c74d97b01eae257e44aa9d5bade97baf",
        ),
        by_hand("Office rules", &["70efdf2ec9b086079795c442636b55fb"], "6f4922f45568161a8cdf4ad2299f6d23"),
        by_hand("Legacy rules", &["1ff1de774005f8da13f42943881c655f"], "8e296a067a37563370ded05f5a3bf3ec"),
    ];
    let seed = Seed { account: SECURITY.into(), shares: 0, recipients: 0, resources: 0, prefix: String::new(), list };
    let seeded = stage.simulator.seed(seed).map_err(Error::new)?;
    let [partner, _, legacy] = seeded.as_slice() else { return Err(Error::new("three shares should be there")) };
    let mark = stage.simulator.last_request();
    stage.shell("kubectl create secret generic cloudflare-readonly --from-literal=apiToken=a-token-that-reads")?;
    stage.shell(&format!(
        "sed s/3fd85f74b32742f1bff64a85009dda07/{}/ deploy/examples/adopt.yaml | kubectl apply -f -",
        partner.id
    ))?;
    stage.shell(&format!(
        "sed s/98f13708210194c475687be6106a3b84/{}/ deploy/examples/observe.yaml | kubectl apply -f -",
        legacy.id
    ))?;
    stage.until_ready("partner-rules", "2/2")?;
    stage.until_ready("office-rules", "1/1")?;
    stage.until_ready("legacy-ruleset", "1/1")?;
    stage.terminal.say("Somebody takes an account out of the share that is only watched: READY turns False.");
    let edit = Edit::RemoveRecipient { share: legacy.id.clone(), recipient: legacy.share.recipients[0].clone() };
    stage.simulator.edit(edit).map_err(Error::new)?;
    stage.until("legacy-ruleset", "says that it differs", |share| ready(share)["reason"] == "Differs")?;
    stage.shell("kubectl get shares.cfshare.dev")?;
    stage.show_calls(mark);
    ensure(stage.changes(mark).is_empty(), || "nothing should have been changed".into())?;
    stage.shell("cfshare matrix --lease-namespace default").map(drop)
}

//! How a plan reads: one line for each call, in words or as JSON.

use serde_json::{Value, json};

use crate::api::Name;
use crate::cli::output::count;
use crate::cloudflare::clean;
use crate::core::meta::ResourceMeta;
use crate::core::row_key::RowKey;
use crate::operator::label;
use crate::operator::preview::{Call, Preview, Row};

/// Longest name or meta that is shown.
const LONGEST: usize = 200;
/// Longest sentence that is shown.
const LINE: usize = 2000;

/// What is planned for one Share.
pub struct Planned {
    pub name: Name,
    /// Whose share it is; `None`: there is no such Share.
    pub account: Option<String>,
    pub preview: Preview,
}

impl Planned {
    /// The calls that would be made.
    pub fn calls(&self) -> usize {
        if self.preview.held.is_some() { 0 } else { self.preview.calls.len() }
    }

    /// Whether its share would be deleted.
    pub fn deletes(&self) -> bool {
        self.preview.held.is_none() && self.preview.calls.iter().any(|call| matches!(call, Call::DeleteShare { .. }))
    }

    fn is_quiet(&self) -> bool {
        self.preview.calls.is_empty() && self.preview.notes.is_empty() && self.preview.problem.is_none()
    }
}

/// The whole plan, Shares with nothing to tell left out.
pub fn text(plan: &[Planned]) -> String {
    let mut text = String::new();
    for planned in plan.iter().filter(|planned| !planned.is_quiet()) {
        let Planned { name, account, preview } = planned;
        let share = preview.share_id.as_ref().map_or(String::new(), |id| format!(", share {id}"));
        let clean_account = |account: &String| format!(" (account {}{share})", clean(account, LONGEST));
        let whose = account.as_ref().map_or(String::new(), clean_account);
        text.push_str(&format!("Share {}{whose}\n", clean(&name.to_string(), LONGEST)));
        if let Some(problem) = &preview.problem {
            text.push_str(&format!("  ! {}\n", clean(problem, LINE)));
        }
        for note in &preview.notes {
            text.push_str(&format!("  . {}\n", clean(note, LINE)));
        }
        if let (Some(held), false) = (&preview.held, preview.calls.is_empty()) {
            text.push_str(&format!("  . {held}: none of these calls are made\n"));
        }
        for line in preview.calls.iter().flat_map(call_lines) {
            text.push_str(&format!("  {line}\n"));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&summary(plan));
    text.push('\n');
    text
}

/// For the comment of a pull request: what is called stands in a block that colours it.
pub fn markdown(plan: &[Planned]) -> String {
    let mut text = format!("### cfshare plan: {}\n", summary(plan));
    for planned in plan.iter().filter(|planned| !planned.is_quiet()) {
        let Planned { name, account, preview } = planned;
        let share = preview.share_id.as_ref().map_or(String::new(), |id| format!(", share `{}`", clean(id, LONGEST)));
        let calls = match planned.calls() {
            0 => "no calls".to_owned(),
            n => count(n, "call"),
        };
        // A manifest that the API server has not seen may have any name.
        let name = clean(&name.to_string(), LONGEST).replace('<', "&lt;");
        text.push_str(&format!("\n<details open><summary><b>{name}</b>: {calls}</summary>\n\n"));
        if let Some(account) = account {
            text.push_str(&format!("Account `{}`{share}\n\n", clean(account, LONGEST)));
        }
        let mut lines: Vec<String> =
            preview.problem.iter().map(|problem| format!("! {}", clean(problem, LINE))).collect();
        lines.extend(preview.notes.iter().map(|note| format!("# {}", clean(note, LINE))));
        if let (Some(held), false) = (&preview.held, preview.calls.is_empty()) {
            lines.push(format!("# {held}: none of these calls are made"));
        }
        lines.extend(preview.calls.iter().flat_map(call_lines).map(|line| match line.strip_prefix('~') {
            Some(rest) => format!("!{rest}"),
            None => line,
        }));
        // A name may hold what would end the block.
        let longest = lines.iter().flat_map(|line| line.split(|c| c != '`')).map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        text.push_str(&format!("{fence}diff\n{}\n{fence}\n\n</details>\n", lines.join("\n")));
    }
    text
}

fn summary(plan: &[Planned]) -> String {
    let calls: usize = plan.iter().map(Planned::calls).sum();
    let touched = plan.iter().filter(|planned| planned.calls() > 0).count();
    let problems = plan.iter().filter(|planned| planned.preview.problem.is_some()).count();
    let mut text = match (plan.len(), calls) {
        (0, _) => "no Shares here".to_owned(),
        (all, 0) => format!("no calls for {}", count(all, "Share")),
        (all, calls) => format!("{} for {touched} of {}", count(calls, "call"), count(all, "Share")),
    };
    if problems > 0 {
        text.push_str(&format!("; {} could not be planned", count(problems, "Share")));
    }
    text
}

/// One line for the call, and further ones for what a create carries.
fn call_lines(call: &Call) -> Vec<String> {
    match call {
        Call::CreateShare { name, organization, rows } => {
            let recipients = rows.iter().filter(|row| row.key.is_recipient()).count();
            let with = match organization {
                Some(id) => format!("organization {id}"),
                None => count(recipients, "recipient"),
            };
            let resources = count(rows.len() - recipients, "resource");
            let head = format!("+ create share {} with {with} and {resources}", quoted(name));
            std::iter::once(head).chain(rows.iter().map(|row| format!("    {}", words(row)))).collect()
        }
        Call::RenameShare { from, to } => vec![format!("~ rename {} -> {}", quoted(from), quoted(to))],
        Call::DeleteShare { id } => vec![format!("- delete share {id}")],
        Call::Add { row, restored: false } => vec![format!("+ {}", words(row))],
        Call::Add { row, restored: true } => vec![format!("+ {}, which somebody removed at Cloudflare", words(row))],
        Call::Update { row, from, to } => {
            vec![format!("~ meta of {}: {} -> {}", words(row), meta(from), meta(to))]
        }
        Call::Remove { row } => vec![format!("- {}", words(row))],
    }
}

fn words(row: &Row) -> String {
    // What nobody declares has the type that Cloudflare sent.
    clean(&label(&row.key, row.label.as_deref()), 3 * LONGEST)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", clean(name, LONGEST))
}

fn meta(meta: &ResourceMeta) -> String {
    clean(&meta.to_string(), LONGEST)
}

pub fn json(plan: &[Planned]) -> Value {
    let shares: Vec<Value> = plan
        .iter()
        .map(|Planned { name, account, preview }| {
            json!({
                "namespace": name.namespace,
                "name": name.name,
                "accountID": account,
                "shareID": preview.share_id,
                "calls": preview.calls.iter().map(|call| call_json(call, preview)).collect::<Vec<_>>(),
                "notes": preview.notes,
                "problem": preview.problem,
                "held": preview.held,
            })
        })
        .collect();
    let calls: usize = plan.iter().map(Planned::calls).sum();
    let problems = plan.iter().filter(|planned| planned.preview.problem.is_some()).count();
    json!({ "shares": shares, "calls": calls, "problems": problems })
}

/// What waits is not made at first, and says why.
const WAITS: &str = "waits for confirmation (reason RemovalBlocked)";

fn call_json(call: &Call, preview: &Preview) -> Value {
    let held = |row: &Row| preview.unconfirmed.contains(&row.key).then_some(WAITS);
    match call {
        Call::CreateShare { name, organization, rows } => json!({
            "call": "createShare", "name": name, "organizationID": organization,
            "with": rows.iter().map(row_json).collect::<Vec<_>>(),
        }),
        Call::RenameShare { from, to } => json!({ "call": "renameShare", "from": from, "to": to }),
        Call::DeleteShare { id } => json!({ "call": "deleteShare", "shareID": id }),
        Call::Add { row, restored } => {
            json!({ "call": "add", "row": row_json(row), "restored": restored, "held": held(row) })
        }
        Call::Update { row, from, to } => json!({ "call": "update", "row": row_json(row), "from": from, "to": to }),
        Call::Remove { row } => json!({ "call": "remove", "row": row_json(row), "held": held(row) }),
    }
}

fn row_json(row: &Row) -> Value {
    match &row.key {
        RowKey::Recipient(account) => json!({ "what": "recipient", "accountID": account, "name": row.label }),
        RowKey::Excluded(account) => json!({ "what": "excluded", "accountID": account, "name": row.label }),
        RowKey::Resource { kind, id, account } => {
            json!({ "what": "resource", "type": kind, "id": id, "accountID": account, "name": row.label })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::AccountId;

    fn recipient(id: &str, label: Option<&str>) -> Row {
        let key = RowKey::Recipient(AccountId::parse(id).expect("an id"));
        Row { key, label: label.map(Into::into) }
    }

    fn planned(name: &str, preview: Preview) -> Planned {
        Planned { name: Name::new("ns", name), account: Some("acc".into()), preview }
    }

    fn plan() -> Vec<Planned> {
        let calls = vec![
            Call::RenameShare { from: "a\u{1b}[31m".into(), to: "b".into() },
            Call::Add { row: recipient("372e", Some("payments-prod")), restored: false },
            Call::Remove { row: recipient("8f14", None) },
        ];
        let unconfirmed = [recipient("8f14", None).key].into();
        let made = Call::CreateShare { name: "new".into(), organization: None, rows: vec![recipient("c9f0", None)] };
        vec![
            planned("quiet", Preview::default()),
            planned("waf", Preview { share_id: Some("3fd8".into()), calls, unconfirmed, ..Preview::default() }),
            planned("new", Preview { calls: vec![made.clone()], ..Preview::default() }),
            planned("seen", Preview { calls: vec![made], held: Some("observed only".into()), ..Preview::default() }),
            planned("taken", Preview { problem: Some("a share named x exists".into()), ..Preview::default() }),
        ]
    }

    #[test]
    fn a_plan_reads_as_one_line_for_each_call() {
        assert_eq!(
            text(&plan()),
            "Share ns/waf (account acc, share 3fd8)\n  ~ rename \"a\" -> \"b\"\n  + recipient payments-prod (372e)\n  \
             - recipient 8f14\n\
             Share ns/new (account acc)\n  + create share \"new\" with 1 recipient and 0 resources\n      recipient c9f0\n\
             Share ns/seen (account acc)\n  . observed only: none of these calls are made\n  \
             + create share \"new\" with 1 recipient and 0 resources\n      recipient c9f0\n\
             Share ns/taken (account acc)\n  ! a share named x exists\n\n\
             4 calls for 2 of 5 Shares; 1 Share could not be planned\n"
        );
        assert_eq!(text(&[]), "no Shares here\n");
        assert_eq!(text(&plan()[..1]), "no calls for 1 Share\n");
    }

    #[test]
    fn as_json_it_says_the_same() {
        let plan = json(&plan());
        assert_eq!((&plan["calls"], &plan["problems"]), (&json!(4), &json!(1)));
        assert_eq!(plan["shares"][1]["calls"][1]["row"]["name"], "payments-prod");
        assert_eq!(plan["shares"][1]["calls"][1]["held"], Value::Null);
        assert_eq!(plan["shares"][1]["calls"][2]["held"], "waits for confirmation (reason RemovalBlocked)");
        assert_eq!(plan["shares"][2]["calls"][0]["with"][0]["accountID"], "c9f0");
        assert_eq!(plan["shares"][4]["problem"], "a share named x exists");
    }
}

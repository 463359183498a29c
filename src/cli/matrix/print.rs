//! The table as text, CSV, JSON.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::resources::Carried;
use super::rows::Receiver;
use super::state::State;
use super::table::{By, Column, Row, Table};
use crate::cli::lease::age;
use crate::cli::output;
use crate::cloudflare::clean;
use crate::core::interned::Interned;

/// Longest reason that a table shows.
const LONGEST: usize = 200;

fn receiver(row: &Row) -> (String, String) {
    match &row.receiver {
        Receiver::Account(id) => (row.label.as_deref().unwrap_or("-").to_owned(), id.to_string()),
        Receiver::Organization(id) => ("(whole organization)".into(), id.to_string()),
    }
}

/// Whole organizations, then accounts by the name that is shown, then those without one.
fn account(row: &Row) -> (bool, bool, String, Receiver) {
    let name = row.label.as_deref().map(str::to_lowercase);
    let single = matches!(row.receiver, Receiver::Account(_));
    (single, name.is_none(), name.unwrap_or_default(), row.receiver.clone())
}

fn moment(time: Option<Timestamp>) -> String {
    // Whole seconds: what is behind them says nothing.
    let whole = time.and_then(|time| Timestamp::from_second(time.as_second()).ok());
    whole.map_or(String::new(), |time| time.to_string())
}

fn share(column: Option<&Column>) -> String {
    column.map_or("-".into(), Column::title)
}

/// The rows in the order that is asked for, each with the resource that it is about where resources come first.
fn ordered(table: &Table, by: By) -> Vec<(&Row, Option<usize>)> {
    let mut lines: Vec<(&Row, Option<usize>)> = match by {
        By::Account | By::Share => table.rows.iter().map(|row| (row, None)).collect(),
        By::Resource => {
            let rows = table.rows.iter().filter_map(|row| Some((row, table.column(row)?)));
            rows.flat_map(|(row, column)| (0..column.resources.len()).map(move |at| (row, Some(at)))).collect()
        }
    };
    let resource = |row: &Row, at: Option<usize>| {
        at.and_then(|at| table.column(row)?.resources.get(at)).map(|carried| (carried.kind.clone(), carried.id.clone()))
    };
    lines.sort_by_cached_key(|(row, at)| {
        let share = table.column(row).map(|column| column.name.clone());
        match by {
            By::Account => (None, None, Some(account(row)), share),
            By::Share | By::Resource => (resource(row, *at), share, Some(account(row)), None),
        }
    });
    lines
}

fn resource_words(table: &Table, row: &Row, at: Option<usize>) -> String {
    let Some(column) = table.column(row) else { return String::new() };
    match at {
        Some(at) => column.resources.get(at).map(Carried::words).unwrap_or_default(),
        None => column.resources.iter().map(Carried::words).collect::<Vec<_>>().join(", "),
    }
}

/// The same without labels and states.
fn resource_ids(table: &Table, row: &Row, at: Option<usize>) -> String {
    let resources = table.column(row).map(|column| column.resources.as_slice()).unwrap_or_default();
    let meant = resources.iter().enumerate().filter(|(number, _)| at.is_none_or(|at| at == *number));
    meant.map(|(_, carried)| carried.key()).collect::<Vec<_>>().join(" ")
}

pub fn table(table: &Table, by: By, wide: bool) -> String {
    let mut text = String::new();
    for warning in &table.warnings {
        text.push_str(&format!("WARNING: {warning}\n"));
    }
    for note in &table.notes {
        text.push_str(&format!("NOTE: {note}\n"));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let head: &[&str] = match (by, wide) {
        (By::Account, false) => &["ACCOUNT", "ID", "SHARE", "STATE", "VERIFIED", "RESOURCES"],
        (By::Account, true) => {
            &["ACCOUNT", "ID", "SHARE", "STATE", "VERIFIED", "SINCE", "SHARE ID", "DECLARED BY", "RESOURCES", "WHY"]
        }
        (By::Share, false) => &["SHARE", "ACCOUNT", "ID", "STATE", "VERIFIED", "RESOURCES"],
        (By::Share, true) => {
            &["SHARE", "ACCOUNT", "ID", "STATE", "VERIFIED", "SINCE", "SHARE ID", "DECLARED BY", "RESOURCES", "WHY"]
        }
        (By::Resource, false) => &["RESOURCE", "ACCOUNT", "ID", "STATE", "VERIFIED", "SHARE"],
        (By::Resource, true) => {
            &["RESOURCE", "ACCOUNT", "ID", "STATE", "VERIFIED", "SINCE", "SHARE ID", "DECLARED BY", "SHARE", "WHY"]
        }
    };
    let mut lines = vec![head.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()];
    for (row, at) in ordered(table, by) {
        lines.push(line(table, row, at, by, wide));
    }
    text.push_str(&output::table(&lines));
    for column in &table.columns {
        for more in &column.more {
            text.push_str(&format!("{}: {more}; --live lists all\n", column.title()));
        }
    }
    if !wide {
        text.push_str(&reasons(table));
    }
    text
}

fn line(table: &Table, row: &Row, at: Option<usize>, by: By, wide: bool) -> Vec<String> {
    let column = table.column(row);
    let (label, id) = receiver(row);
    let verified = column.and_then(|column| column.verified);
    let ago = verified.map_or("-".into(), |time| format!("{} ago", age(table.at.duration_since(time))));
    let verified = if table.live && verified.is_some() { "now".to_owned() } else { ago };
    let (resources, share) = (resource_words(table, row, at), share(column));
    let label = clean(&label, LONGEST);
    let mut line = match by {
        By::Account => vec![label, id, share.clone()],
        By::Share => vec![share.clone(), label, id],
        By::Resource => vec![resources.clone(), label, id],
    };
    line.push(clean(&row.cell.word, LONGEST));
    line.push(verified);
    if wide {
        let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        line.push(or_dash(moment(row.cell.since)));
        line.push(column.and_then(|column| column.share_id.as_deref()).unwrap_or("-").to_owned());
        line.push(or_dash(row.declared_by.join(", ")));
    }
    let last = if by == By::Resource { share } else { resources };
    line.push(last);
    if wide {
        line.push(clean(&row.cell.why, LONGEST));
    }
    line
}

/// Each reason once, below the table.
fn reasons(table: &Table) -> String {
    let mut listed: Vec<(String, String, usize)> = Vec::new();
    for row in &table.rows {
        let explained = matches!(
            row.cell.state,
            State::Unknown | State::Failed | State::Waived | State::NotExcluded | State::NotShared
        );
        if !explained || row.cell.why.is_empty() {
            continue;
        }
        let key = (share(table.column(row)), clean(&row.cell.why, LONGEST));
        match listed.iter_mut().find(|(share, why, _)| (share, why) == (&key.0, &key.1)) {
            Some((_, _, count)) => *count += 1,
            None => listed.push((key.0, key.1, 1)),
        }
    }
    let lines =
        listed.iter().map(|(share, why, count)| format!("{share}: {}: {why}\n", output::count(*count, "account")));
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

pub fn csv(table: &Table, by: By) -> String {
    let mut text = String::from(
        "account,id,namespace,share,share_id,state,resources,since,verified,declared_by,reason,resource_ids\r\n",
    );
    let mut push = |cells: &[&str]| {
        let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    };
    for (row, at) in ordered(table, by) {
        let column = table.column(row);
        let (label, id) = receiver(row);
        let label = if label == "-" { "" } else { label.as_str() };
        let name = column.map(|column| column.name.clone());
        let (namespace, share) = name.map(|name| (name.namespace, name.name)).unwrap_or_default();
        let share_id = column.and_then(|column| column.share_id.clone()).unwrap_or_default();
        let resources = resource_words(table, row, at).replace(", ", " ");
        let (since, verified) = (moment(row.cell.since), moment(column.and_then(|column| column.verified)));
        let by = row.declared_by.join(" ");
        let why = clean(&row.cell.why, LONGEST);
        let (word, ids) = (clean(&row.cell.word, LONGEST), resource_ids(table, row, at));
        push(&[label, &id, &namespace, &share, &share_id, &word, &resources, &since, &verified, &by, &why, &ids]);
    }
    for column in &table.columns {
        for more in &column.more {
            let id = column.share_id.clone().unwrap_or_default();
            push(&["", "", &column.name.namespace, &column.name.name, &id, more, "", "", "", "", "", ""]);
        }
    }
    text
}

/// Spreadsheets take some cells for formulas: a quote before those keeps them text.
fn cell(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

pub fn json(table: &Table) -> Value {
    let shares: Vec<Value> = table.columns.iter().map(column_json).collect();
    let rows: Vec<Value> = table
        .rows
        .iter()
        .map(|row| {
            let (account, organization) = match &row.receiver {
                Receiver::Account(id) => (Some(id), None),
                Receiver::Organization(id) => (None, Some(id)),
            };
            let column = table.column(row);
            json!({
                "accountID": account, "organizationID": organization, "name": row.label,
                "namespace": column.and_then(namespace), "share": column.map(|column| &column.name.name),
                "shareID": column.and_then(|column| column.share_id.as_ref()),
                "state": row.cell.state.id(), "word": row.cell.word, "reason": row.cell.why,
                "since": some(moment(row.cell.since)), "declaredBy": row.declared_by,
                "verifiedAt": some(moment(column.and_then(|column| column.verified))),
            })
        })
        .collect();
    json!({
        "asOf": moment(Some(table.at)), "source": if table.live { "cloudflare" } else { "status" },
        "upToDate": table.warnings.is_empty(), "warnings": table.warnings, "notes": table.notes,
        "shares": shares, "rows": rows,
    })
}

/// A share without an object is in none.
fn namespace(column: &Column) -> Option<&Interned> {
    Some(&column.name.namespace).filter(|_| !column.is_unmanaged())
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn column_json(column: &Column) -> Value {
    let resources = column.resources.iter().map(|carried| {
        json!({ "type": carried.kind, "id": carried.id, "name": carried.label,
                "state": carried.cell.state.id(), "word": carried.cell.word, "reason": carried.cell.why })
    });
    json!({
        "namespace": namespace(column), "name": column.name.name, "shareID": column.share_id,
        "accountID": column.owner, "accountName": column.owner_name, "ready": column.ready, "reason": column.reason,
        "verifiedAt": some(moment(column.verified)), "leftOut": column.more,
        "resources": resources.collect::<Vec<_>>(),
    })
}

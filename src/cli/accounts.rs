//! Names of accounts, from a file: CSV or JSON with id and name.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::given_file;
use crate::core::id::AccountId;

/// Accounts by id, each with its name.
pub type Accounts = BTreeMap<AccountId, String>;

pub fn read(path: &Path) -> anyhow::Result<Accounts> {
    let shown = path.display();
    let text = given_file::text("--accounts", path)?;
    let accounts = parse(&text).with_context(|| format!("--accounts: {shown}"))?;
    if accounts.is_empty() {
        anyhow::bail!("--accounts: {shown} names no account: write a header id,name and a line for each account");
    }
    Ok(accounts)
}

fn parse(text: &str) -> anyhow::Result<Accounts> {
    let text = text.trim_start_matches('\u{feff}');
    let pairs = if text.trim_start().starts_with(['[', '{']) { json(text)? } else { csv(text)? };
    let mut accounts = Accounts::new();
    for (id, name) in pairs {
        let id = AccountId::parse(&id).map_err(|error| anyhow::anyhow!("account {id:?}: {error}"))?;
        accounts.insert(id, name);
    }
    Ok(accounts)
}

/// A list of objects with id and name, that list as Cloudflare's API answers it, or an object of names by id.
fn json(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let value: Value = serde_json::from_str(text).context("this is not JSON")?;
    let list = value.as_array().or_else(|| value["result"].as_array());
    let Some(list) = list else {
        let fields = value.as_object().into_iter().flatten();
        let pairs = fields.map(|(id, name)| Some((id.clone(), name.as_str()?.to_owned())));
        return pairs.collect::<Option<_>>().context("write a list of {\"id\": …, \"name\": …}");
    };
    let text = |entry: &Value, names: [&str; 3]| names.iter().find_map(|name| Some(entry[*name].as_str()?.to_owned()));
    let pairs = list.iter().map(|entry| {
        let id = text(entry, ["id", "accountID", "account_id"])?;
        Some((id, text(entry, ["name", "accountName", "account_name"]).unwrap_or_default()))
    });
    pairs.collect::<Option<_>>().context("each entry needs an id")
}

fn csv(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut records = records(text)?.into_iter();
    let Some(header) = records.next() else { return Ok(Vec::new()) };
    let column = |names: [&str; 4]| header.iter().position(|cell| names.contains(&cell.trim().to_lowercase().as_str()));
    let id = column(["id", "accountid", "account_id", "account id"]);
    let name = column(["name", "account", "account_name", "account name"]);
    let Some(id) = id else { anyhow::bail!("the first line must be a header with the columns id and name") };
    let cell = |record: &Vec<String>, at: usize| record.get(at).map(|cell| cell.trim().to_owned()).unwrap_or_default();
    let pairs = records.filter(|record| record.iter().any(|cell| !cell.trim().is_empty()));
    Ok(pairs.map(|record| (cell(&record, id), name.map(|at| cell(&record, at)).unwrap_or_default())).collect())
}

/// RFC 4180; semicolons where the header has no comma, as some spreadsheets write.
fn records(text: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let first = text.lines().next().unwrap_or_default();
    let comma = if first.contains(',') || !first.contains(';') { ',' } else { ';' };
    let (mut records, mut record, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => cell.extend(letters.next()),
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => quoted = true,
            letter if quoted => cell.push(letter),
            '\r' => {}
            '\n' => {
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            letter if letter == comma => record.push(std::mem::take(&mut cell)),
            letter => cell.push(letter),
        }
    }
    if quoted {
        anyhow::bail!("a quoted cell has no end");
    }
    if !cell.is_empty() || !record.is_empty() {
        record.push(cell);
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_csv_and_json() {
        let id = |text| AccountId::parse(text).expect("an id");
        let expected: Accounts = [(id("a1"), "Pay, ments".into()), (id("a2"), "x \"y\"".into())].into();
        for text in [
            "id,name\na1,\"Pay, ments\"\r\na2,\"x \"\"y\"\"\"\n",
            "\u{feff}Name;ID\n\"Pay, ments\";a1\n\"x \"\"y\"\"\";a2",
            r#"[{"id":"a1","name":"Pay, ments"},{"id":"a2","name":"x \"y\""}]"#,
            r#"{"result":[{"id":"a1","name":"Pay, ments"},{"id":"a2","name":"x \"y\""}],"success":true}"#,
            r#"{"a1":"Pay, ments","a2":"x \"y\""}"#,
        ] {
            assert_eq!(parse(text).expect(text), expected, "{text}");
        }
        for text in ["a1,x\n", "id,name\n\"a", "id,name\n a b ,x\n", "[{\"name\":\"x\"}]", "{\"a\":1}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

//! What does the body of a request ask for?

use serde_json::Value;

use crate::answer::Refusal;
use crate::route::is_account;

/// Whom a recipient object in a request means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    Account(String),
    Organization(String),
    /// Neither field, or a misspelt one.
    Nobody,
}

#[derive(Clone, Debug)]
pub struct NewResource {
    pub account_id: String,
    pub resource_id: String,
    pub resource_type: String,
    pub meta: Value,
}

pub struct NewShare {
    pub name: String,
    pub recipients: Vec<Target>,
    pub resources: Vec<NewResource>,
}

pub fn json(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad(format!("invalid JSON: {error}")))
}

pub fn new_share(body: &Value) -> Result<NewShare, Refusal> {
    let recipients = array(body, "recipients")?;
    let resources = array(body, "resources")?;
    Ok(NewShare {
        name: name(body)?,
        recipients: targets(recipients, "/recipients")?,
        resources: resources
            .iter()
            .enumerate()
            .map(|(index, value)| resource(value, &format!("/resources/{index}")))
            .collect::<Result<_, _>>()?,
    })
}

pub fn name(body: &Value) -> Result<String, Refusal> {
    let name = text(body, "name", "")?;
    match name {
        Some(name) if !name.is_empty() => Ok(name),
        _ => Err(Refusal::bad("name: required").at("/name".to_owned())),
    }
}

fn array<'a>(body: &'a Value, key: &str) -> Result<&'a Vec<Value>, Refusal> {
    let found = body.get(key).and_then(Value::as_array);
    found.ok_or_else(|| Refusal::bad(format!("{key}: an array is required")).at(format!("/{key}")))
}

pub fn targets(values: &[Value], at: &str) -> Result<Vec<Target>, Refusal> {
    values.iter().enumerate().map(|(index, value)| target(value, &format!("{at}/{index}"))).collect()
}

/// One recipient object. Fields that the API does not know are ignored, as it does.
pub fn target(value: &Value, at: &str) -> Result<Target, Refusal> {
    if !value.is_object() {
        return Err(Refusal::bad("a recipient is an object").at(at.to_owned()));
    }
    let account = match account_of(value, "recipient_account_id", at)? {
        Some(account) => Some(account),
        None => account_of(value, "account_id", at)?,
    };
    let organization = account_of(value, "organization_id", at)?;
    match (account, organization) {
        (Some(account), None) => Ok(Target::Account(account)),
        (None, Some(organization)) => Ok(Target::Organization(organization)),
        (None, None) => Ok(Target::Nobody),
        (Some(_), Some(_)) => {
            let text = "a recipient is an account or an organization, not both";
            Err(Refusal::bad(text).at(at.to_owned()))
        }
    }
}

/// The `account_id` of an excluded recipient.
pub fn excluded(value: &Value, at: &str) -> Result<String, Refusal> {
    account_of(value, "account_id", at)?
        .ok_or_else(|| Refusal::bad("account_id: required").at(format!("{at}/account_id")))
}

pub fn resource(value: &Value, at: &str) -> Result<NewResource, Refusal> {
    let required = |key: &str| {
        text(value, key, at)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Refusal::bad(format!("{key}: required")).at(format!("{at}/{key}")))
    };
    let account_id = required("resource_account_id")?;
    if !is_account(&account_id) {
        let text = format!("resource_account_id: not an account id: {account_id}");
        return Err(Refusal::bad(text).at(format!("{at}/resource_account_id")));
    }
    Ok(NewResource {
        account_id,
        resource_id: required("resource_id")?,
        resource_type: required("resource_type")?,
        meta: meta(value, at)?,
    })
}

pub fn meta(value: &Value, at: &str) -> Result<Value, Refusal> {
    match value.get("meta") {
        Some(meta @ Value::Object(_)) => Ok(meta.clone()),
        _ => Err(Refusal::bad("meta: an object is required").at(format!("{at}/meta"))),
    }
}

fn account_of(value: &Value, key: &str, at: &str) -> Result<Option<String>, Refusal> {
    match text(value, key, at)? {
        Some(id) if !is_account(&id) => Err(Refusal::bad(format!("{key}: not an id: {id}")).at(format!("{at}/{key}"))),
        found => Ok(found),
    }
}

fn text(value: &Value, key: &str, at: &str) -> Result<Option<String>, Refusal> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::bad(format!("{key}: a string is required")).at(format!("{at}/{key}"))),
    }
}

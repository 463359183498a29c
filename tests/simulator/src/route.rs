//! Which call does a method and a path mean?

use crate::answer::Refusal;

/// A call with the ids from its path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Call {
    Shares {
        account: String,
    },
    Share {
        account: String,
        share: String,
    },
    Recipients {
        account: String,
        share: String,
    },
    Recipient {
        account: String,
        share: String,
        id: String,
    },
    Resources {
        account: String,
        share: String,
    },
    Resource {
        account: String,
        share: String,
        id: String,
    },
    AllExcluded {
        account: String,
        share: String,
    },
    Excluded {
        account: String,
        share: String,
        id: String,
    },
    OrganizationShares {
        organization: String,
    },
    Accounts,
    /// A token asks what it is; with an account: one that the account owns.
    OwnToken {
        account: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    List,
    Read,
    Create,
    Update,
    Replace,
    Delete,
}

impl Verb {
    pub fn changes(self) -> bool {
        match self {
            Verb::List | Verb::Read => false,
            Verb::Create | Verb::Update | Verb::Replace | Verb::Delete => true,
        }
    }
}

impl Call {
    /// The account whose objects the call is about.
    pub fn account(&self) -> Option<&str> {
        match self {
            Call::Shares { account }
            | Call::Share { account, .. }
            | Call::Recipients { account, .. }
            | Call::Recipient { account, .. }
            | Call::Resources { account, .. }
            | Call::Resource { account, .. }
            | Call::AllExcluded { account, .. }
            | Call::Excluded { account, .. } => Some(account),
            Call::OwnToken { account } => account.as_deref(),
            Call::OrganizationShares { .. } | Call::Accounts => None,
        }
    }

    /// The path with `*` for each id.
    pub fn template(&self) -> &'static str {
        match self {
            Call::Shares { .. } => "/accounts/*/shares",
            Call::Share { .. } => "/accounts/*/shares/*",
            Call::Recipients { .. } => "/accounts/*/shares/*/recipients",
            Call::Recipient { .. } => "/accounts/*/shares/*/recipients/*",
            Call::Resources { .. } => "/accounts/*/shares/*/resources",
            Call::Resource { .. } => "/accounts/*/shares/*/resources/*",
            Call::AllExcluded { .. } => "/accounts/*/shares/*/excluded-recipients",
            Call::Excluded { .. } => "/accounts/*/shares/*/excluded-recipients/*",
            Call::OrganizationShares { .. } => "/organizations/*/shares",
            Call::Accounts => "/accounts",
            Call::OwnToken { account: None } => "/user/tokens/verify",
            Call::OwnToken { account: Some(_) } => "/accounts/*/tokens/verify",
        }
    }

    fn verb(&self, method: &str) -> Option<Verb> {
        match (self, method) {
            (Call::Shares { .. }, "GET") => Some(Verb::List),
            (Call::Shares { .. }, "POST") => Some(Verb::Create),
            (Call::OrganizationShares { .. } | Call::Accounts, "GET") => Some(Verb::List),
            (Call::OwnToken { .. }, "GET") => Some(Verb::Read),
            (Call::Recipients { .. } | Call::Resources { .. } | Call::AllExcluded { .. }, "GET") => Some(Verb::List),
            (Call::Recipients { .. } | Call::Resources { .. } | Call::AllExcluded { .. }, "POST") => Some(Verb::Create),
            (Call::Recipients { .. } | Call::AllExcluded { .. }, "PUT") => Some(Verb::Replace),
            (Call::Share { .. } | Call::Resource { .. }, "PUT") => Some(Verb::Update),
            (Call::Share { .. } | Call::Recipient { .. } | Call::Resource { .. } | Call::Excluded { .. }, "GET") => {
                Some(Verb::Read)
            }
            (Call::Share { .. } | Call::Recipient { .. } | Call::Resource { .. } | Call::Excluded { .. }, "DELETE") => {
                Some(Verb::Delete)
            }
            _ => None,
        }
    }
}

/// `path` is what follows `/client/v4`.
pub fn route(method: &str, path: &str) -> Result<(Call, Verb), Refusal> {
    let unknown = || Refusal::no_route(path);
    let segments = path
        .strip_prefix('/')
        .unwrap_or(path)
        .split('/')
        .map(|segment| decode(segment, false))
        .collect::<Option<Vec<String>>>()
        .ok_or_else(unknown)?;
    let call = call(&segments).ok_or_else(unknown)?;
    match call.verb(method) {
        Some(verb) => Ok((call, verb)),
        None => Err(Refusal::new(405, 7001, format!("Method {method} not available for that URI"))),
    }
}

fn call(segments: &[String]) -> Option<Call> {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments[..] {
        ["organizations", organization, "shares"] if is_account(organization) => {
            Some(Call::OrganizationShares { organization: organization.to_owned() })
        }
        ["accounts"] => Some(Call::Accounts),
        ["user", "tokens", "verify"] => Some(Call::OwnToken { account: None }),
        ["accounts", account, "tokens", "verify"] if is_account(account) => {
            Some(Call::OwnToken { account: Some(account.to_owned()) })
        }
        ["accounts", account, "shares", ref rest @ ..] if is_account(account) => {
            if !rest.iter().all(|segment| is_id(segment)) {
                return None;
            }
            let account = account.to_owned();
            match *rest {
                [] => Some(Call::Shares { account }),
                [share] => Some(Call::Share { account, share: share.to_owned() }),
                [share, group] => {
                    let share = share.to_owned();
                    match group {
                        "recipients" => Some(Call::Recipients { account, share }),
                        "resources" => Some(Call::Resources { account, share }),
                        "excluded-recipients" => Some(Call::AllExcluded { account, share }),
                        _ => None,
                    }
                }
                [share, group, id] => {
                    let (share, id) = (share.to_owned(), id.to_owned());
                    match group {
                        "recipients" => Some(Call::Recipient { account, share, id }),
                        "resources" => Some(Call::Resource { account, share, id }),
                        "excluded-recipients" => Some(Call::Excluded { account, share, id }),
                        _ => None,
                    }
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Accounts and organizations have 32 hex digits.
pub fn is_account(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_id(id: &str) -> bool {
    (1..=36).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The pairs of a query string, decoded; what does not decode is left as it came.
pub fn query(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = |text: &str| decode(text, true).unwrap_or_else(|| text.to_owned());
            (plain(key), plain(value))
        })
        .collect()
}

fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let high = (rest.next()? as char).to_digit(16)?;
                let low = (rest.next()? as char).to_digit(16)?;
                bytes.push((high * 16 + low) as u8);
            }
            b'+' if plus_is_space => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

//! How is a setting kept for all accounts and for single ones, and how is it patched?

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A setting for all accounts, and another one for some of them.
pub struct PerAccount<T> {
    pub common: T,
    own: HashMap<String, T>,
}

impl<T: Clone> PerAccount<T> {
    pub fn new(common: T) -> Self {
        PerAccount { common, own: HashMap::new() }
    }

    pub fn of(&self, account: &str) -> &T {
        self.own.get(account).unwrap_or(&self.common)
    }

    /// The setting to change. An account's own one starts as a copy of the common one.
    pub fn edit(&mut self, account: Option<&str>) -> &mut T {
        match account {
            None => &mut self.common,
            Some(account) => self.own.entry(account.to_owned()).or_insert_with(|| self.common.clone()),
        }
    }
}

/// The fields of `patch` laid over `value`; a field that `T` does not have is an error.
pub fn merge<T: Serialize + for<'de> Deserialize<'de>>(value: &T, patch: Value) -> Result<T, String> {
    let Value::Object(patch) = patch else {
        return Err("expected a JSON object".to_owned());
    };
    let mut merged = serde_json::to_value(value).map_err(|e| e.to_string())?;
    for (key, new) in patch {
        merged[key.as_str()] = new;
    }
    serde_json::from_value(merged).map_err(|e| e.to_string())
}

//! What the operator asked of the API server, as the audit log tells it.

use cfshare_testbed::Cluster;
use jiff::Timestamp;
use serde_json::Value;

/// A place in the audit log.
pub struct Mark(u64);

impl Mark {
    pub fn now(cluster: &Cluster) -> Result<Mark, String> {
        let length = std::fs::metadata(cluster.audit_path()).map_err(|e| e.to_string())?.len();
        Ok(Mark(length))
    }
}

/// Writes of the operator to Shares and their objects in a namespace since then.
pub fn writes(cluster: &Cluster, since: &Mark, namespace: &str) -> Result<Vec<Value>, String> {
    let (entries, _) = cluster.audit_since(since.0).map_err(|e| e.to_string())?;
    let own = |entry: &Value| {
        let agent = entry["userAgent"].as_str().unwrap_or_default();
        let verb = entry["verb"].as_str().unwrap_or_default();
        agent.starts_with("cfshare")
            && ["create", "update", "patch", "delete"].contains(&verb)
            && entry["objectRef"]["namespace"] == namespace
            && entry["objectRef"]["apiGroup"] == "cfshare.dev"
    };
    Ok(entries.into_iter().filter(own).collect())
}

/// How long the API server took for the writes to a share since then that it was sent before that time (microseconds
/// since 1970), in milliseconds.
pub fn writing(cluster: &Cluster, since: &Mark, namespace: &str, name: &str, until: i64) -> Result<f64, String> {
    let (entries, _) = cluster.audit_since(since.0).map_err(|e| e.to_string())?;
    let mut took = 0;
    for entry in entries {
        let target = &entry["objectRef"];
        if target["namespace"] != namespace || target["name"] != name || entry["verb"] != "patch" {
            continue;
        }
        let time = |field: &str| {
            let text = entry[field].as_str().unwrap_or_default();
            text.parse::<Timestamp>().map(Timestamp::as_microsecond).map_err(|e| format!("{field}: {e}"))
        };
        let (from, to) = (time("requestReceivedTimestamp")?, time("stageTimestamp")?);
        if from < until {
            took += to - from;
        }
    }
    Ok(took as f64 / 1e3)
}

//! Which objects does this cfshare reconcile, by what its Lease says that it watches?

use std::collections::HashSet;

use super::cluster::Cluster;
use super::lease::Pulse;
use crate::api::{Kind, Name};
use crate::operator::Watches;

/// As far as it is known: without a Lease, every object may be reconciled.
#[derive(Default)]
pub struct Reach {
    watches: Watches,
    /// The objects with the labels that the operator asks for, if it does.
    selected: Option<HashSet<(Kind, Name)>>,
}

impl Reach {
    /// To be asked after the objects were read: one that comes later is not among those of the selector.
    pub async fn read(cluster: &Cluster, pulse: &Pulse) -> anyhow::Result<Reach> {
        let watches = pulse.watches.clone().unwrap_or_default();
        let selected = match &watches.selector {
            Some(selector) => Some(cluster.names_with(selector).await?),
            None => None,
        };
        Ok(Reach { watches, selected })
    }

    /// Why this object is not reconciled; `None`: nothing speaks against it.
    pub fn beyond(&self, kind: Kind, name: &Name) -> Option<String> {
        let Watches { namespaces, selector } = &self.watches;
        if !namespaces.is_empty() && !namespaces.iter().any(|watched| *watched == *name.namespace) {
            return Some(format!("not reconciled by this cfshare, which does not watch namespace {}", name.namespace));
        }
        let is_selected = |selected: &HashSet<(Kind, Name)>| selected.contains(&(kind, name.clone()));
        let labels = selector.as_ref().filter(|_| !self.selected.as_ref().is_none_or(is_selected))?;
        Some(format!("not reconciled by this cfshare, which watches only objects with the labels {labels}"))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An operator that watches only this Share of namespace ns.
    pub fn only(share: &str) -> Reach {
        let selected = [(Kind::Share, Name::new("ns", share))].into();
        Reach { watches: Watches::new(&["ns".to_owned()], Some("team=waf")), selected: Some(selected) }
    }

    #[test]
    fn what_is_not_watched_is_not_reconciled() {
        let reach = only("waf");
        let why =
            |kind, namespace: &str, name: &str| reach.beyond(kind, &Name::new(namespace, name)).unwrap_or_default();
        assert_eq!(why(Kind::Share, "ns", "waf"), "");
        assert!(why(Kind::Share, "ns", "dns").ends_with("only objects with the labels team=waf"));
        assert!(why(Kind::ShareRecipient, "ns", "waf").ends_with("only objects with the labels team=waf"));
        assert!(why(Kind::Share, "other", "waf").ends_with("does not watch namespace other"));
        assert_eq!(Reach::default().beyond(Kind::Share, &Name::new("other", "waf")), None);
    }
}

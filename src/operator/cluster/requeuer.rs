//! How anything but a watch event gets an object looked at again.

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use kube::runtime::reflector::ObjectRef;

use crate::api::{Kind, Name, ObjectKey};

/// Where the names for one controller come out: of one kind, in one namespace or all.
pub type End = (Kind, Option<String>, UnboundedReceiver<Name>);

/// Names on their way to the controllers, one channel for each controller.
pub struct Requeuer {
    channels: Vec<(Kind, Option<String>, UnboundedSender<Name>)>,
}

impl Requeuer {
    /// Channels for each kind in each scope: one namespace, or all.
    pub fn new(scopes: &[Option<String>]) -> (Requeuer, Vec<End>) {
        let mut channels = Vec::new();
        let mut ends = Vec::new();
        for scope in scopes {
            for kind in Kind::ALL {
                let (sender, receiver) = unbounded();
                channels.push((kind, scope.clone(), sender));
                ends.push((kind, scope.clone(), receiver));
            }
        }
        (Requeuer { channels }, ends)
    }

    pub fn requeue(&self, key: &ObjectKey) {
        for (kind, scope, sender) in &self.channels {
            if *kind == key.kind && scope.as_ref().is_none_or(|namespace| *namespace == key.name.namespace) {
                // Nobody listens any more only while the process ends.
                let _ = sender.unbounded_send(key.name.clone());
            }
        }
    }
}

/// Names as kube's controller wants them.
pub fn references<K>(names: UnboundedReceiver<Name>) -> impl Stream<Item = ObjectRef<K>>
where
    K: kube::Resource<DynamicType = ()>,
{
    names.map(|name| ObjectRef::new(&name.name).within(&name.namespace))
}

//! What is followed of a cluster: what it serves, as far as this user may see it.

use std::collections::HashSet;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::object::{
    Address, AiBackend, Claim, Event, Hpa, InferenceService, InferenceSet, LlmService, Node, Pod,
    Pool, Revision, Route, Scaled, Service, Workload, Workspace,
};
use super::watch::{Of, follow};
use super::world::{Change, Touched};
use super::{Reading, permit};
use crate::cluster::Served;
use crate::fleet::cluster::PartState;
use crate::fleet::cluster::object::Kind;

impl Reading {
    /// Who this is to the cluster.
    pub(super) async fn ask_who(&mut self) {
        if let Ok(user) = self.api.who().await {
            self.cluster.user = Some(user);
        }
    }

    /// Whoever may not list all namespaces looks at that of the context, as with `kubectl`.
    pub(super) async fn settle_namespaces(&mut self) {
        if self.settings.everywhere || !self.settings.namespaces.is_empty() {
            return;
        }
        if permit::lists_everywhere(&self.api, Kind::Pod).await {
            return;
        }
        let own = self.api.namespace().to_owned();
        self.bounded = Some(format!(
            "this user may not list pods in all namespaces: only {own}, that of the context, is looked at; name others with --namespace"
        ));
        self.settings.namespaces = vec![own];
    }

    /// Takes in what the cluster serves now: follows what is new or has another version, and no longer what is gone.
    pub(super) fn serves(
        &mut self,
        mut now: Served,
        out: &mpsc::Sender<Vec<Change>>,
        touched: &mut Touched,
    ) {
        for kind in Kind::ALL {
            let version = self.served.version(kind);
            let Some(version) = version.filter(|_| now.version(kind).is_none()) else {
                self.missed.remove(&kind);
                continue;
            };
            // A server that just began leaves out groups that are there: once is not enough, unless its list is gone too.
            let parts = &self.world.parts;
            let mut of = parts.iter().filter(|((it, _), _)| *it == kind);
            if self.missed.insert(kind) && !of.any(|(_, state)| *state == PartState::Absent) {
                now = now.with(kind, version);
            } else {
                self.missed.remove(&kind);
            }
        }
        let differs = |kind: &Kind| now.version(*kind) != self.served.version(*kind);
        let changed: Vec<Kind> = Kind::ALL.into_iter().filter(differs).collect();
        if changed.is_empty() {
            return;
        }
        self.served = now;
        for kind in changed {
            self.followed.remove(&kind);
            let of: Vec<_> = self.world.parts.keys().cloned().collect();
            for (_, namespace) in of.into_iter().filter(|(it, _)| *it == kind) {
                if self.served.version(kind).is_none() {
                    let none = Change::Only(kind, namespace.clone(), HashSet::new());
                    self.world.apply(none, touched);
                }
                self.world.parts.remove(&(kind, namespace));
            }
            self.follow(kind, out);
        }
        self.feeds.ask_permits(self.served.clone(), out);
        touched.parts = true;
        touched.structure = true;
    }

    /// Follows a kind, where it is one that matters here.
    pub(super) fn follow(&mut self, kind: Kind, out: &mpsc::Sender<Vec<Change>>) {
        use Kind as K;
        macro_rules! watched {
            ($($kind:ident: $type:ty),+ $(,)?) => {
                match kind {
                    $(K::$kind => {
                        let all = self.each(kind, out).into_iter();
                        let tasks = all.map(|of| tokio::spawn(follow::<$type>(of)));
                        let tasks = tasks.map(AbortOnDropHandle::new).collect();
                        self.followed.insert(kind, tasks);
                    })+
                    // Nothing is seen of it.
                    K::Lease => {}
                }
            };
        }
        watched! {
            Deployment: Workload,
            Pod: Pod,
            StatefulSet: Workload,
            LeaderWorkerSet: Workload,
            Service: Service,
            HorizontalPodAutoscaler: Hpa,
            ScaledObject: Scaled,
            HttpRoute: Route,
            AiGatewayRoute: Route,
            AiServiceBackend: AiBackend,
            Backend: Address,
            InferencePool: Pool,
            Workspace: Workspace,
            InferenceSet: InferenceSet,
            InferenceService: InferenceService,
            LlmInferenceService: LlmService,
            Revision: Revision,
            NodeClaim: Claim,
            Node: Node,
            Event: Event,
        }
    }

    /// A watch of a kind for each namespace that is looked at; none where the cluster does not have it.
    fn each(&mut self, kind: Kind, out: &mpsc::Sender<Vec<Change>>) -> Vec<Of> {
        let Some(version) = self.served.version(kind).map(ToOwned::to_owned) else {
            self.world.parts.insert((kind, None), PartState::Absent);
            return Vec::new();
        };
        // Pods have labels of their own: whose they are is known otherwise.
        let owners = [
            Kind::InferenceService,
            Kind::LlmInferenceService,
            Kind::InferenceSet,
            Kind::Workspace,
        ];
        let is_chosen = crate::fleet::cluster::is_workload(kind) || owners.contains(&kind);
        let selector = self.settings.selector.clone().filter(|_| is_chosen);
        let of = |namespace: Option<String>| Of {
            api: self.api.clone(),
            kind,
            version: version.clone(),
            namespace,
            selector: selector.clone(),
            out: out.clone(),
        };
        let all: Vec<Of> = if self.settings.namespaces.is_empty() || kind.is_of_cluster() {
            vec![of(None)]
        } else {
            self.settings
                .namespaces
                .iter()
                .map(|it| of(Some(it.clone())))
                .collect()
        };
        for it in &all {
            self.world
                .parts
                .insert((kind, it.namespace.clone()), PartState::Loading);
        }
        all
    }
}

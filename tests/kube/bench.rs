//! A fake cluster and a fleet on it, as the command line starts one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use fleetctl::actuator::Actuator;
use fleetctl::actuator::kube::Hand;
use fleetctl::clock::Clock;
use fleetctl::cluster::{Access, Api};
use fleetctl::fleet::cluster::{Cluster, PartState};
use fleetctl::fleet::{Actor, Backend, Command, Fleet, Observation, Receipt, Refusal};
use fleetctl::handle::{FleetHandle, Order};
use fleetctl::hub;
use fleetctl::source::kube::{Settings, watch_cluster};
use fleetctl::web;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::engines::Engines;
use super::world::{self, Who, World, is_settled};
use super::yard;
use crate::fake_kube::FakeKube;

/// Nothing here takes this long; a wait that does has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Waits of operations are so many times shorter.
const PACE: u32 = 20;
/// Engines are read this often.
const READ_EVERY: Duration = Duration::from_millis(40);

/// A fake cluster with a kubeconfig for it.
pub(crate) struct Bench {
    pub(crate) fake: Arc<FakeKube>,
    pub(crate) engines: Engines,
    dir: TempDir,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::on(FakeKube::start().await)
    }

    /// A cluster with a model of so many pods, routed to beside a hosted API, and what else is said, see [`yard`].
    pub(crate) async fn routed(replicas: u32, more: &[&str]) -> Self {
        let bench = Self::start().await;
        let model = format!("deployment chat {replicas}");
        let route = "route chat chat=90 Backend:azure=10";
        let lines = ["node gpu-0", &model, "service chat", "hosted azure", route];
        for line in lines.iter().chain(more) {
            yard::put(&bench.fake, line);
        }
        bench
    }

    /// Has everybody else on it at work, and waits for the pods.
    pub(crate) async fn lively(&self) -> World {
        let world = self.live(&[]);
        self.until("pods that are ready", is_settled).await;
        world
    }

    /// Has everybody else on it at work, but for some.
    pub(crate) fn live(&self, without: &[Who]) -> World {
        world::live(&self.fake, &self.engines, without)
    }

    pub(crate) fn on(fake: FakeKube) -> Self {
        let bench = Self {
            fake: Arc::new(fake),
            engines: Engines::default(),
            dir: tempfile::tempdir().unwrap(),
        };
        bench.write_kubeconfig();
        bench
    }

    /// Writes down how the cluster is reached now, its token included.
    pub(crate) fn write_kubeconfig(&self) {
        std::fs::write(self.dir.path().join("config"), self.fake.kubeconfig()).unwrap();
    }

    /// Where its kubeconfig is.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// A fleet of everything on the cluster, seen whole.
    pub(crate) async fn fleet(&self) -> Open {
        let open = self.open(|_| ()).await;
        open.seen_whole().await;
        open
    }

    /// A fleet in a runtime of its own, seen whole: with that runtime all of it is gone at once.
    pub(crate) async fn mortal(&self) -> (tokio::runtime::Runtime, Open) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let open = runtime.spawn(self.reached().open(PACE)).await.unwrap();
        open.seen_whole().await;
        (runtime, open)
    }

    /// A fleet that only begins to look, with settings of its own.
    pub(crate) async fn open(&self, change: impl FnOnce(&mut Settings)) -> Open {
        self.paced(PACE, change).await
    }

    /// The same with waits that are so many times shorter.
    pub(crate) async fn paced(&self, pace: u32, change: impl FnOnce(&mut Settings)) -> Open {
        let mut reached = self.reached();
        change(&mut reached.settings);
        reached.open(pace).await
    }

    /// Runs the program on it; its status, what it says, and what it says is wrong. `_` is a space within a word.
    pub(crate) async fn run(&self, line: &str) -> (i32, String, String) {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_fleetctl"));
        program
            .args(["--kube", "--operator", "ann", "--kubeconfig"])
            .arg(self.dir.path().join("config"))
            .args(line.split(' ').map(|word| word.replace('_', " ")))
            .env("XDG_STATE_HOME", self.dir.path())
            .stdin(std::process::Stdio::null());
        let out = tokio::task::spawn_blocking(move || program.output());
        let out = out.await.unwrap().unwrap();
        (
            out.status.code().unwrap(),
            String::from_utf8(out.stdout).unwrap(),
            String::from_utf8(out.stderr).unwrap(),
        )
    }

    /// How it is reached, for a fleet that is started elsewhere.
    pub(crate) fn reached(&self) -> Reached {
        Reached {
            access: Access {
                kubeconfig: Some(self.dir.path().join("config")),
                ..Access::default()
            },
            settings: Settings::new("fake"),
            engines: self.engines.clone(),
            told: true,
            name: None,
        }
    }

    /// Waits for something of the cluster.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&FakeKube) -> bool) {
        assert!(
            self.fake.wait_for(holds, PATIENCE).await,
            "not seen of the cluster: {what}"
        );
    }
}

/// How a cluster is reached.
pub(crate) struct Reached {
    access: Access,
    pub(crate) settings: Settings,
    engines: Engines,
    /// What engines say is told at once; else the fleet reads their pages itself.
    told: bool,
    /// One of several clusters.
    name: Option<String>,
}

impl Reached {
    /// Has the fleet read engines' pages itself, in its own time.
    pub(crate) fn reading(self) -> Self {
        Self {
            told: false,
            ..self
        }
    }

    /// One of several clusters, by its name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.settings = Settings::new(name);
        self.settings.prefix = Some(name.into());
        self.name = Some(name.into());
        self
    }

    /// Reaches it, and no more.
    pub(crate) async fn connect(self) -> Result<Api, String> {
        Api::connect(self.access, self.name).await
    }

    /// A fleet that begins to look.
    pub(crate) async fn open(self, pace: u32) -> Open {
        Open::start(vec![self], pace).await
    }
}

/// A fleet at work. Dropped, it ends as if told to.
pub(crate) struct Open {
    pub(crate) handle: FleetHandle,
    _stop: DropGuard,
    _readings: Option<AbortOnDropHandle<()>>,
}

impl Open {
    /// A fleet on each of these clusters.
    pub(crate) async fn start(clusters: Vec<Reached>, pace: u32) -> Self {
        let clock = Clock::starting_at(Utc::now(), 1);
        let mut fleet = Fleet::new("fake", clock.now());
        let shutdown = CancellationToken::new();
        let http = web::client().unwrap();
        let mut hands = Vec::new();
        let mut watched = Vec::new();
        let mut told = None;
        for it in clusters {
            let api = Api::connect(it.access, it.name).await.unwrap();
            fleet.clusters.push(Arc::new(Cluster {
                name: Arc::clone(api.name()),
                ..Cluster::default()
            }));
            let hand = Hand::new(api.clone(), http.clone(), shutdown.clone());
            let hand = hand.reaching(it.settings.reach);
            hands.push(hand.attending(&it.settings.attention).paced(pace));
            watched.push((api, it.settings));
            told = told.or(it.told.then_some(it.engines));
        }
        let actuator = Actuator::new(HashMap::new(), http.clone()).on(hands);
        let hub = hub::start(fleet, actuator, None, clock, shutdown.clone());
        for (api, settings) in watched {
            let out = hub.observations.clone();
            let stop = shutdown.clone();
            tokio::spawn(watch_cluster(api, settings, http.clone(), out, clock, stop));
        }
        let readings = told.map(|engines| {
            let out = hub.observations.clone();
            tokio::spawn(read(hub.handle.clone(), out, clock, engines))
        });
        Self {
            handle: hub.handle,
            _stop: shutdown.drop_guard(),
            _readings: readings.map(AbortOnDropHandle::new),
        }
    }

    /// The newest picture.
    pub(crate) fn now(&self) -> Arc<Fleet> {
        self.handle.snapshots.borrow().clone()
    }

    /// Waits until the picture is as wanted.
    pub(crate) async fn see(&self, what: &str, wanted: impl Fn(&Fleet) -> bool) -> Arc<Fleet> {
        let mut snapshots = self.handle.snapshots.clone();
        let seen = async {
            loop {
                let fleet = snapshots.borrow_and_update().clone();
                if wanted(&fleet) {
                    return fleet;
                }
                snapshots.changed().await.unwrap();
            }
        };
        if let Ok(fleet) = timeout(PATIENCE, seen).await {
            return fleet;
        }
        let now = self.now();
        let backends: Vec<String> = now.backends.iter().map(|b| format!("{b:#?}")).collect();
        panic!(
            "not seen: {what}\n{:#?}\n{}",
            now.clusters,
            backends.join("\n")
        );
    }

    /// Waits until a backend is as wanted.
    pub(crate) async fn sees(&self, id: &str, what: &str, wanted: impl Fn(&Backend) -> bool) {
        self.see(&format!("{id} {what}"), |fleet| {
            fleet
                .backends
                .iter()
                .any(|b| b.id.as_str() == id && wanted(b))
        })
        .await;
    }

    /// Waits until everything that there is was told.
    pub(crate) async fn seen_whole(&self) -> Arc<Fleet> {
        self.see("everything", |fleet| {
            let told = fleet.clusters.iter().all(|it| {
                let parts = &it.parts;
                parts.len() > 1 && parts.iter().all(|it| it.state != PartState::Loading)
            });
            let mut own = fleet.backends.iter().filter(|b| !b.is_hosted());
            told && own.all(|b| b.place.is_some())
        })
        .await
    }

    /// Asks for something as `ana`.
    pub(crate) async fn ask(&self, command: Command) -> Result<Receipt, Refusal> {
        self.order(command, "ana", false).await
    }

    pub(crate) async fn order(
        &self,
        command: Command,
        by: &str,
        rehearse: bool,
    ) -> Result<Receipt, Refusal> {
        let (reply, answer) = oneshot::channel();
        let order = Order {
            command,
            by: Actor::Operator(by.into()),
            expects: None,
            rehearse,
            reply: Some(reply),
        };
        self.handle.orders.send(order).await.unwrap();
        timeout(PATIENCE, answer).await.unwrap().unwrap()
    }

    /// Waits for the end of the newest operation of that name, and gives what was said of it.
    pub(crate) async fn ended(&self, verb: &str, times: usize) -> String {
        let fleet = self
            .see(&format!("the end of {verb}"), |fleet| {
                ends(fleet, verb).len() >= times
            })
            .await;
        ends(&fleet, verb).swap_remove(times - 1)
    }

    /// How many operations of that name have ended.
    pub(crate) fn endings(&self, verb: &str) -> usize {
        ends(&self.now(), verb).len()
    }
}

/// What was said of each operation of that name that ended.
fn ends(fleet: &Fleet, verb: &str) -> Vec<String> {
    let of = fleet.audit.iter().filter(|it| it.verb == verb);
    let of = of.filter(|it| it.by == Actor::Policy("cluster".into()));
    of.map(|it| it.result.clone()).collect()
}

/// Reads the engines of all backends that have pods.
async fn read(handle: FleetHandle, out: mpsc::Sender<Observation>, clock: Clock, engines: Engines) {
    let mut ticks = interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let fleet = handle.snapshots.borrow().clone();
        for b in &fleet.backends {
            let pods = b.place.as_ref().map_or(0, |it| it.serving.len());
            let Some(mut sample) = engines.read(b.id.as_str()).filter(|_| pods > 0) else {
                continue;
            };
            // As when the fleet reads its pods' pages: what all of them say together.
            for it in [&mut sample.running, &mut sample.prompt_tokens] {
                *it = it.map(|it| it * pods as f64);
            }
            let observation = Observation::Engine {
                backend: b.id.clone(),
                sample: Box::new(sample),
                at: clock.now(),
            };
            if out.send(observation).await.is_err() {
                return;
            }
        }
    }
}

//! A fake cluster and a fleet on it, as the command line starts one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use fleetctl::actuator::Actuator;
use fleetctl::actuator::kube::Hand;
use fleetctl::clock::Clock;
use fleetctl::cluster::{Access, Api};
use fleetctl::fleet::cluster::{Cluster, PartState};
use fleetctl::fleet::engine::EngineSample;
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

use crate::fake_kube::FakeKube;

/// Nothing here takes this long; a wait that does has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Waits of operations are so many times shorter.
const PACE: u32 = 20;
/// Engines are read this often.
const READ_EVERY: Duration = Duration::from_millis(40);

/// What engines say, by backend, or by pod where one differs: requests that run, and whether new ones arrive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Engines {
    inner: Arc<Mutex<HashMap<String, Says>>>,
}

/// What one engine says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Says {
    /// Requests that run.
    pub(crate) running: f64,
    /// Tokens of requests that arrive between two readings.
    pub(crate) arriving: f64,
    /// It is not read at all.
    pub(crate) mute: bool,
    /// It is ready, and answers nothing.
    pub(crate) broken: bool,
    /// It takes this many orders more, and then none.
    pub(crate) takes: Option<u32>,
    /// How deeply it sleeps: 0, 1 or 2.
    pub(crate) level: u8,
    tokens: f64,
}

impl Engines {
    /// Changes what the engine of a backend says from now on.
    pub(crate) fn set(&self, backend: &str, change: impl FnOnce(&mut Says)) {
        change(
            self.inner
                .lock()
                .unwrap()
                .entry(backend.to_owned())
                .or_default(),
        );
    }

    /// Who speaks for a pod: `llm/chat-x-y` itself where something was said of it, else its backend.
    pub(crate) fn of(&self, backend: &str, pod: &str) -> String {
        let all = self.inner.lock().unwrap();
        let own = all.contains_key(pod);
        if own { pod } else { backend }.to_owned()
    }

    /// What an engine answers, as vLLM's server does: status, media type, body.
    pub(crate) fn answer(
        &self,
        backend: &str,
        method: &str,
        path: &str,
        query: &str,
    ) -> (u16, String, Vec<u8>) {
        let says = |status: u16, body: String| (status, "application/json".to_owned(), body.into());
        let level = self.level(backend);
        if method == "POST" && !self.takes(backend) {
            return says(500, r#"{"error":{"message":"no more"}}"#.into());
        }
        match (method, path) {
            ("GET", "/metrics") => match self.read(backend) {
                Some(sample) => (200, "text/plain".into(), page(&sample, level).into()),
                None => (503, "text/plain".into(), b"nobody is there".to_vec()),
            },
            ("GET", "/health") | ("POST", "/collective_rpc") => says(200, String::new()),
            ("GET", "/v1/models") => {
                let model = r#"{"object":"list","data":[{"id":"served","object":"model"}]}"#;
                says(200, model.into())
            }
            ("POST", "/v1/completions") => {
                if self.inner.lock().unwrap()[backend].broken {
                    return says(500, r#"{"error":{"message":"EngineCore died"}}"#.into());
                }
                says(200, r#"{"choices":[{"text":"2"}]}"#.into())
            }
            ("GET", "/is_sleeping") => says(200, format!("{{\"is_sleeping\":{}}}", level > 0)),
            ("POST", "/sleep") => {
                let level = if query.contains("level=2") { 2 } else { 1 };
                self.set(backend, |it| it.level = level);
                says(200, String::new())
            }
            ("POST", "/wake_up") => {
                if !query.contains("tags=weights") {
                    self.set(backend, |it| it.level = 0);
                }
                says(200, String::new())
            }
            _ => says(404, r#"{"detail":"Not Found"}"#.into()),
        }
    }

    /// Whether it takes one more order.
    fn takes(&self, backend: &str) -> bool {
        let mut all = self.inner.lock().unwrap();
        let says = all.entry(backend.to_owned()).or_default();
        match &mut says.takes {
            // It refuses one, and is over it.
            Some(0) => {
                says.takes = None;
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }

    fn level(&self, backend: &str) -> u8 {
        let mut all = self.inner.lock().unwrap();
        all.entry(backend.to_owned()).or_default().level
    }

    fn read(&self, backend: &str) -> Option<EngineSample> {
        let mut all = self.inner.lock().unwrap();
        let says = all.entry(backend.to_owned()).or_default();
        says.tokens += says.arriving;
        (!says.mute).then(|| EngineSample {
            running: Some(says.running),
            waiting: Some(0.0),
            prompt_tokens: Some(says.tokens),
            asleep: Some(says.level > 0),
            discarded: Some(says.level > 1),
            ..EngineSample::default()
        })
    }
}

/// An engine's page, as vLLM writes it.
fn page(sample: &EngineSample, level: u8) -> String {
    let state = |name: &str, of: u8| {
        let is = u8::from(level == of);
        format!("vllm:engine_sleep_state{{engine=\"0\",sleep_state=\"{name}\"}} {is}.0\n")
    };
    format!(
        "vllm:num_requests_running {}\nvllm:num_requests_waiting 0\nvllm:prompt_tokens_total {}\n{}{}{}",
        sample.running.unwrap_or_default(),
        sample.prompt_tokens.unwrap_or_default(),
        state("awake", 0),
        state("weights_offloaded", 1),
        state("discard_all", 2),
    )
}

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
            hands.push(hand.reaching(it.settings.reach).paced(pace));
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
            if b.place.as_ref().is_none_or(|it| it.serving.is_empty()) {
                continue;
            }
            let Some(sample) = engines.read(b.id.as_str()) else {
                continue;
            };
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

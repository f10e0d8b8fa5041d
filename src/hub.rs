//! The one owner of the fleet: takes observations and orders in, publishes pictures, has actions performed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actuator::Actuator;
use crate::clock::Clock;
use crate::fleet::cluster::Permit;
use crate::fleet::cluster::plan::Plan;
use crate::fleet::message::RefusalKind;
use crate::fleet::reload::Reload;
use crate::fleet::{Action, Backend, BackendId, Fleet, Observation, Refusal};
use crate::handle::{FleetHandle, Order, Reach};
use crate::store::Journal;

/// Readings of a thousand backends in one second fit; a source that finds it full drops its reading and counts it.
const OBSERVATIONS: usize = 4096;
/// Orders come from fingers and from held requests (one a wake).
const ORDERS: usize = 64;
/// Readings taken in one go.
const BATCH: usize = 256;
/// Pictures in which only figures changed are published this far apart; changes of state at once.
const CALM: Duration = Duration::from_millis(100);

/// A hub at work.
#[derive(Debug)]
pub struct Hub {
    /// The port for consoles and gateways.
    pub handle: FleetHandle,
    /// Where sources and the gateway send what they read.
    pub observations: mpsc::Sender<Observation>,
    /// Where a config that changed is sent.
    pub configs: mpsc::Sender<Configured>,
    /// Ends when the hub has stopped and every action under way is done.
    pub task: tokio::task::JoinHandle<()>,
}

/// A config that changed.
#[derive(Debug)]
pub enum Configured {
    /// It is good, and in force from now on.
    Renewed {
        /// What it makes of the fleet.
        reload: Box<Reload>,
        /// How backends are reached now.
        actuator: Actuator,
        /// The weights in it.
        weights: HashMap<BackendId, u32>,
        /// Gets the backends that are gone, once the new picture is published.
        done: oneshot::Sender<Vec<Arc<Backend>>>,
    },
    /// It is wrong, and the one before stays in force.
    Refused(String),
}

/// Starts the owner of `fleet`. It stops when `shutdown` is cancelled.
///
/// With a `journal` what happens outlives this process: an order is answered once its effect is on the disk.
pub fn start(
    fleet: Fleet,
    actuator: Actuator,
    journal: Option<Journal>,
    clock: Clock,
    shutdown: CancellationToken,
) -> Hub {
    let (observe, observations) = mpsc::channel(OBSERVATIONS);
    let (order, orders) = mpsc::channel(ORDERS);
    let (configure, configs) = mpsc::channel(1);
    let (ask, asked) = mpsc::channel(ORDERS);
    let (publish, snapshots) = watch::channel(Arc::new(fleet.clone()));
    let (here, reach) = watch::channel(Reach::Near);
    actuator.attach(&snapshots, &observe);
    let owner = Owner {
        fleet,
        publish,
        actuator: Arc::new(actuator),
        performing: TaskTracker::new(),
        ask,
        observe: observe.clone(),
        clock,
        journal,
        dirty: false,
        next: Instant::now(),
        _here: here,
    };
    let task = tokio::spawn(owner.run(observations, (orders, asked), configs, shutdown));
    Hub {
        handle: FleetHandle {
            snapshots,
            orders: order,
            reach,
        },
        observations: observe,
        configs: configure,
        task,
    }
}

/// An order, and what its user may do on a cluster.
struct Asked {
    order: Order,
    cluster: Arc<str>,
    permits: Vec<Permit>,
}

struct Owner {
    fleet: Fleet,
    publish: watch::Sender<Arc<Fleet>>,
    actuator: Arc<Actuator>,
    performing: TaskTracker,
    observe: mpsc::Sender<Observation>,
    clock: Clock,
    journal: Option<Journal>,
    /// Where orders go on whose rights had to be asked for first.
    ask: mpsc::Sender<Asked>,
    /// Something changed since the last picture.
    dirty: bool,
    /// When the next calm picture may go out.
    next: Instant,
    _here: watch::Sender<Reach>,
}

impl Owner {
    async fn run(
        mut self,
        mut observations: mpsc::Receiver<Observation>,
        (mut orders, mut asked): (mpsc::Receiver<Order>, mpsc::Receiver<Asked>),
        mut configs: mpsc::Receiver<Configured>,
        shutdown: CancellationToken,
    ) {
        // Compressed time needs finer ticks for its deadlines to be as exact as a real fleet's.
        let every = if self.clock.speed() > 1 {
            Duration::from_millis(250)
        } else {
            Duration::from_secs(1)
        };
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(order) = orders.recv() => self.obey(order),
                Some(asked) = asked.recv() => self.obey_asked(asked),
                Some(config) = configs.recv() => self.configure(config),
                n = observations.recv_many(&mut batch, BATCH) => {
                    if n == 0 { break }
                    self.take_in(&mut batch);
                }
                _ = ticks.tick() => {
                    self.tick();
                    if let Some(journal) = &mut self.journal {
                        journal.seal(&self.fleet);
                        self.fleet.not_recorded = journal.trouble();
                    }
                    self.publish();
                }
                () = tokio::time::sleep_until(self.next), if self.dirty => self.publish(),
            }
        }
        self.performing.close();
        // An action under way is bounded by its own limits; leaving it would leave an engine half-started.
        self.performing.wait().await;
        if let Some(journal) = &mut self.journal {
            // Whether or not it worked: this is the end.
            let _ = journal.flush(&self.fleet).await;
        }
    }

    fn tick(&mut self) {
        let actions = self.fleet.tick(self.clock.now());
        self.dirty = true;
        self.perform(actions);
    }

    fn configure(&mut self, config: Configured) {
        // What has passed is accounted by what was in force.
        self.tick();
        let now = self.clock.now();
        match config {
            Configured::Refused(why) => {
                self.fleet.refuse_config(&why, now);
                self.publish();
            }
            Configured::Renewed {
                reload,
                actuator,
                weights,
                done,
            } => {
                let gone = self.fleet.reload(*reload, now);
                self.actuator = Arc::new(actuator);
                if let Some(journal) = &mut self.journal {
                    journal.renew(&self.fleet, weights);
                }
                self.publish();
                // Who asked may have ended meanwhile.
                let _ = done.send(gone);
            }
        }
    }

    /// Has a cluster check what an order would do, where it is about one.
    fn rehearse(&self, order: Order, plan: Result<Plan, Refusal>) {
        let Some(reply) = order.reply else { return };
        let actuator = Arc::clone(&self.actuator);
        self.performing.spawn(async move {
            let answer = match plan {
                Err(refusal) => Err(refusal),
                Ok(plan) => match actuator.rehearse(&plan).await {
                    Ok(()) => Ok(Fleet::rehearsed(&plan)),
                    Err(what) => Err(Refusal {
                        kind: RefusalKind::Refused,
                        what: format!("{} does not accept it: {what}", plan.cluster),
                        hint: "nothing was changed".to_owned(),
                    }),
                },
            };
            // The asker may be gone.
            let _ = reply.send(answer);
        });
    }

    /// Asks first for rights that nobody knows of; nothing is begun without all of them.
    fn obey(&mut self, order: Order) {
        let plan = if self.fleet.is_on_clusters() {
            let now = self.clock.now();
            self.fleet.plan(&order.command, &order.by, now).ok()
        } else {
            None
        };
        let Some(plan) = plan else {
            return self.obey_now(order);
        };
        let needs = self.fleet.unasked(&plan);
        if needs.is_empty() {
            return self.obey_now(order);
        }
        let (actuator, ask) = (Arc::clone(&self.actuator), self.ask.clone());
        self.performing.spawn(async move {
            let permits = actuator.may(&plan, &needs).await;
            let asked = Asked {
                order,
                cluster: plan.cluster,
                permits,
            };
            // The fleet may be ending: then nothing is begun.
            let _ = ask.send(asked).await;
        });
    }

    fn obey_asked(&mut self, asked: Asked) {
        let clusters = self.fleet.clusters.clone();
        let of = clusters.iter().position(|it| it.name == asked.cluster);
        if let Some(of) = of {
            let permits = &mut Arc::make_mut(&mut self.fleet.clusters[of]).permits;
            permits.extend(asked.permits);
        }
        self.obey_now(asked.order);
        // They were asked by name: of others they say nothing.
        self.fleet.clusters = clusters;
    }

    fn obey_now(&mut self, order: Order) {
        if order.rehearse {
            let plan = self.fleet.plan(&order.command, &order.by, self.clock.now());
            return self.rehearse(order, plan);
        }
        let (answer, actions) = self.fleet.order_if(
            &order.command,
            &order.by,
            order.expects.as_deref(),
            self.clock.now(),
        );
        self.perform(actions);
        // Published before the answer: who gets the answer sees its effect.
        self.publish();
        let kept = self
            .journal
            .as_mut()
            .map(|journal| journal.flush(&self.fleet));
        let Some(reply) = order.reply else { return };
        let Some(kept) = kept else {
            // The asker may be gone; the audit has the answer either way.
            let _ = reply.send(answer);
            return;
        };
        tokio::spawn(async move {
            // A disk that does not take it is a finding of its own.
            let _ = kept.await;
            let _ = reply.send(answer);
        });
    }

    fn take_in(&mut self, batch: &mut Vec<Observation>) {
        let before = self.open();
        let mut actions = Vec::new();
        for observation in batch.drain(..) {
            if let (Some(journal), Observation::Request(record)) = (&self.journal, &observation) {
                journal.request(record);
            }
            actions.extend(self.fleet.observe(observation));
        }
        self.dirty = true;
        let urgent = !actions.is_empty() || before != self.open();
        self.perform(actions);
        if urgent || Instant::now() >= self.next {
            self.publish();
        }
    }

    /// Which backends take traffic: the part of the picture that the gateway must not wait for.
    fn open(&self) -> Vec<bool> {
        self.fleet
            .backends
            .iter()
            .map(|b| b.takes_traffic())
            .collect()
    }

    fn publish(&mut self) {
        self.dirty = false;
        self.next = Instant::now() + CALM;
        self.publish.send_replace(Arc::new(self.fleet.clone()));
    }

    fn perform(&self, actions: Vec<Action>) {
        for action in actions {
            let (actuator, observe, clock) =
                (Arc::clone(&self.actuator), self.observe.clone(), self.clock);
            self.performing.spawn(async move {
                let result = actuator.perform(&action).await;
                // The hub may have stopped meanwhile; then nobody is left to tell.
                let _ = observe
                    .send(Observation::Performed {
                        action,
                        result,
                        at: clock.now(),
                    })
                    .await;
            });
        }
    }
}

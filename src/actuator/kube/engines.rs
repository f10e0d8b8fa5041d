//! Orders and questions to the engines in pods: at their own addresses where pages are read so, else through the API.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Hand;
use super::patience::{Patience, Undone};
use super::router::Knows;
use crate::cluster::Fault;
use crate::fleet::cluster::place::{BY_PROXY, DIRECTLY, LivePod, Place, Router};
use crate::fleet::cluster::plan::Step;
use crate::fleet::{BackendId, Fleet};
use crate::web;

/// How long a question may take.
const SHORT: Duration = Duration::from_secs(10);
/// How long an order may take: running requests end first, weights are moved.
const LONG: Duration = Duration::from_secs(300);
/// How long one token may take: the first one compiles what is left to compile.
const TOKEN: Duration = Duration::from_secs(120);
/// How long engines may take to sleep, or to wake, after they said that they would.
const NAPPING: Duration = Duration::from_secs(60);
/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long it may take to find out how pods are reached.
const REACHED: Duration = Duration::from_secs(20);

/// The body of `/is_sleeping`.
#[derive(Deserialize)]
struct IsSleeping {
    is_sleeping: bool,
}

/// The body of `/v1/models`, as far as it is read.
#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

/// What every engine of a backend is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order<'a> {
    path: &'a str,
    body: Option<&'a Value>,
    via: Option<&'a Router>,
}

impl<'a> Order<'a> {
    /// The order that a step gives, where it gives one.
    pub(super) fn of(step: &'a Step) -> Option<Self> {
        let Step::Post {
            path, body, via, ..
        } = step
        else {
            return None;
        };
        Some(Self {
            path,
            body: body.as_ref(),
            via: via.as_ref(),
        })
    }
}

/// Whether an engine answers.
pub(super) enum Answered {
    /// One token.
    Yes,
    /// It could not be asked, and why: which says nothing of it.
    Unasked(String),
}

impl Hand {
    /// An order to every ready pod; where one does not take it, those before it get `back`.
    pub(super) async fn post(
        &self,
        id: &BackendId,
        order: Order<'_>,
        back: Option<Order<'_>>,
        patience: &mut Patience<'_>,
    ) -> Result<(), Undone> {
        let place = self.place(id).map_err(Undone::Engine)?;
        let known = match order.via {
            Some(router) => Some(self.asked(router, patience).await?),
            None => None,
        };
        let known = known.as_ref();
        if let (Some(known), Some(router)) = (known, order.via)
            && let Some(pod) = place.live_pods.iter().find(|it| !known.knows(it))
            && order.path.starts_with("/sleep")
        {
            return Err(Undone::Engine(format!(
                "the router, {}, does not know {} yet, and would go on sending to it; wait until it does, or use --force",
                router.service, pod.name
            )));
        }
        for (at, pod) in place.live_pods.iter().enumerate() {
            // The same order twice is the same order.
            let fault = loop {
                match self.tell(&place, pod, order, known).await {
                    Ok(_) => break None,
                    Err(fault) if is_on_the_way(&fault) => {
                        match patience.after(fault.clone()).await {
                            Ok(()) => {}
                            Err(Undone::Stopped(why)) => return Err(Undone::Stopped(why)),
                            Err(_) => break Some(fault),
                        }
                    }
                    Err(fault) => break Some(fault),
                }
            };
            let Some(fault) = fault else { continue };
            let mut why = match fault {
                Fault::Absent(_) => format!(
                    "{} does not know it; start vLLM with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1",
                    pod.name
                ),
                other => format!("{}: {}", pod.name, said_by(&other)),
            };
            for (pod, back) in place.live_pods[..at].iter().zip(back.iter().cycle()) {
                if let Err(fault) = self.tell(&place, pod, *back, known).await {
                    why = format!("{why}; {} could not be taken back: {fault}", pod.name);
                }
            }
            return Err(Undone::Engine(why));
        }
        Ok(())
    }

    /// Whom a router knows, asked again where it is the way that did not work.
    async fn asked<'r>(
        &self,
        router: &'r Router,
        patience: &mut Patience<'_>,
    ) -> Result<Knows<'r>, Undone> {
        loop {
            let fault = match self.known_to(router).await {
                Ok(known) => return Ok(known),
                Err(fault) => fault,
            };
            let why = || {
                let said = said_by(&fault);
                Undone::Engine(format!(
                    "the router, {}: {said}; mend it, or use --force to tell the engines themselves",
                    router.service
                ))
            };
            if !is_on_the_way(&fault) {
                return Err(why());
            }
            match patience.after(fault.clone()).await {
                Ok(()) => {}
                Err(Undone::Stopped(stopped)) => return Err(Undone::Stopped(stopped)),
                Err(_) => return Err(why()),
            }
        }
    }

    /// An order to the engine in one pod: by way of a router that knows it, else to itself.
    async fn tell(
        &self,
        place: &Place,
        pod: &LivePod,
        order: Order<'_>,
        known: Option<&Knows<'_>>,
    ) -> Result<Vec<u8>, Fault> {
        match known.and_then(|it| it.path(pod, order.path)) {
            Some(path) => self.by_router(&path, order.body, LONG).await,
            None => {
                self.ask(place, pod, Method::POST, order.path, order.body, LONG)
                    .await
            }
        }
    }

    /// Until every engine says that it sleeps, or that it does not; and a router has those that it knows down as that.
    pub(super) async fn until_napping(
        &self,
        id: &BackendId,
        asleep: bool,
        by: Option<&Router>,
    ) -> Result<(), String> {
        let ends = Instant::now() + NAPPING / self.pace;
        let known = match by {
            // Who took the orders through it was reached a moment ago.
            Some(router) => self.known_to(router).await.ok(),
            None => None,
        };
        let is_known = |pod: &LivePod| known.as_ref().is_some_and(|it| it.knows(pod));
        loop {
            let place = self.place(id)?;
            let mut last = None;
            for pod in &place.live_pods {
                let said = self
                    .ask(&place, pod, Method::GET, "/is_sleeping", None, SHORT)
                    .await;
                let said = said.map_err(|fault| fault.to_string()).and_then(|bytes| {
                    serde_json::from_slice::<IsSleeping>(&bytes).map_err(|why| why.to_string())
                });
                match said {
                    Ok(said) if said.is_sleeping == asleep => {
                        if is_known(pod) && pod.left_out != asleep {
                            let (set, sends) = if asleep {
                                ("did not set", "sends it requests as before")
                            } else {
                                ("did not take off", "sends it no requests")
                            };
                            last = Some(format!(
                                "the router {set} the label sleeping=true of {} (may it patch pods?) and {sends}",
                                pod.name
                            ));
                        }
                    }
                    Ok(said) => {
                        let word = if said.is_sleeping { "asleep" } else { "awake" };
                        last = Some(format!("{} says that it is {word}", pod.name));
                    }
                    Err(why) => last = Some(format!("{}: {why}", pod.name)),
                }
            }
            let Some(why) = last else { return Ok(()) };
            if Instant::now() >= ends {
                return Err(format!(
                    "{why}, {} s later; look at its log",
                    NAPPING.as_secs()
                ));
            }
            sleep(ASK_EVERY / self.pace).await;
        }
    }

    /// One token from one pod, by the name that the engine itself has for its model.
    pub(super) async fn one_token(
        &self,
        id: &BackendId,
        mut patience: Patience<'_>,
    ) -> Result<Answered, String> {
        // How pods are reached is found out with the first one that is ready.
        let known = |fleet: &Fleet| {
            let Some(place) = fleet.backend(id).and_then(|b| b.place.clone()) else {
                return true;
            };
            let mut of = fleet.clusters.iter().filter(|it| it.name == place.cluster);
            place.read_by.is_some() || place.ready == 0 || of.any(|it| it.unread().is_some())
        };
        // Where that takes too long it is not known, which is said below.
        let _ = self.until(REACHED * self.pace, known).await;
        let place = self.place(id)?;
        let way = place.read_by.as_deref();
        let Some(pod) = place.live_pods.first() else {
            return Err("no pod is ready any more".into());
        };
        if way != Some(DIRECTLY) && way != Some(BY_PROXY) {
            return Ok(Answered::Unasked(
                "its pods are not reached from here".into(),
            ));
        }
        let get = |path: &'static str| self.ask(&place, pod, Method::GET, path, None, SHORT);
        loop {
            match get("/health").await {
                Ok(_) => break,
                Err(fault) if !is_on_the_way(&fault) => return unanswered(&fault),
                Err(fault) => {
                    if patience.after(fault.clone()).await.is_err() {
                        return unanswered(&fault);
                    }
                }
            }
        }
        let models = match get("/v1/models").await {
            Ok(bytes) => serde_json::from_slice::<Models>(&bytes),
            Err(fault) => return unanswered(&fault),
        };
        let Some(model) = models.ok().and_then(|it| it.data.into_iter().next()) else {
            return Ok(Answered::Unasked("it does not list its model".into()));
        };
        let body = json!({"model": model.id, "prompt": "1", "max_tokens": 1, "temperature": 0});
        let path = "/v1/completions";
        match self
            .ask(&place, pod, Method::POST, path, Some(&body), TOKEN)
            .await
        {
            Ok(_) => Ok(Answered::Yes),
            Err(fault) => unanswered(&fault),
        }
    }

    fn place(&self, id: &BackendId) -> Result<std::sync::Arc<Place>, String> {
        let seen = self
            .seen()
            .and_then(|fleet| fleet.backend(id)?.place.clone());
        seen.ok_or_else(|| format!("{id} is gone"))
    }

    async fn ask(
        &self,
        place: &Place,
        pod: &LivePod,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Vec<u8>, Fault> {
        // An order to the wrong cluster's pod is worse than a slow one: only where the address cannot be another's.
        if self.direct && place.read_by.as_deref() == Some(DIRECTLY) {
            let url = web::at(&pod.ip, place.port, path);
            let reply = if method == Method::GET {
                web::get(&self.http, &url, None, limit).await
            } else {
                let body = body.map(ToString::to_string);
                web::post(&self.http, &url, None, body, limit).await
            };
            let reply = reply.map_err(|fault| Fault::Away(fault.to_string()))?;
            return if reply.ok() {
                Ok(reply.body)
            } else {
                Err(Fault::answered(reply.status, reply.words()))
            };
        }
        let namespace = &place.workload.namespace;
        let path = format!(
            "/api/v1/namespaces/{namespace}/pods/{}:{}/proxy{path}",
            pod.name, place.port
        );
        self.api.pass(method, &path, &[], body, limit).await
    }
}

/// Whether it is the way to the engine that did not work, and not the engine.
fn is_on_the_way(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Away(_) | Fault::Busy(_) | Fault::Said(502..=504, _)
    )
}

/// What was said, by whoever said it: what asks for other credentials is behind the API server, which took ours.
pub(super) fn said_by(fault: &Fault) -> String {
    match fault {
        Fault::Said(code, said) if is_way(said) => format!("the API server said {code}: {said}"),
        Fault::Said(code, said) => format!("it said {code}: {said}"),
        Fault::Stranger(said) => format!("it said 401: {said}"),
        Fault::Absent(said) => format!("it said 404: {said}"),
        other => other.to_string(),
    }
}

/// Whether these are the API server's own words of what is behind it.
fn is_way(said: &str) -> bool {
    [
        "error trying to reach service",
        "no endpoints available",
        "address not allowed",
    ]
    .iter()
    .any(|it| said.contains(it))
}

/// What an engine said instead of a token: that it cannot be asked, or that it does not work.
fn unanswered(fault: &Fault) -> Result<Answered, String> {
    match fault {
        // It has no such path, wants a key, or this user may not: nothing of that is a fault of its own.
        Fault::Stranger(_)
        | Fault::Login(_)
        | Fault::Forbidden(_)
        | Fault::Absent(_)
        | Fault::Said(405, _) => Ok(Answered::Unasked(fault.to_string())),
        // It reads what it is asked, and is full, or serves something else than text.
        Fault::Busy(_) | Fault::Unfit(_) | Fault::Changed(_) | Fault::Said(400, _) => {
            Ok(Answered::Yes)
        }
        Fault::Away(_) | Fault::Old(_) | Fault::Said(..) | Fault::Garbled(_) => Err(format!(
            "it is ready and does not answer: {}; look at its log",
            said_by(fault)
        )),
    }
}

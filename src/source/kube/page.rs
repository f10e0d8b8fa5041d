//! Where a pod's page is: at the pod's own address, behind the API's own proxy, or in a Prometheus.
//!
//! A pod's address says nothing of which cluster it is in: two clusters may number their pods alike. So an address is
//! asked only where it is known to lead to this cluster, or where the page there was seen to be the pod's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::object::Key;
use super::read::{Engine, Paged};
use super::watch::form;
use crate::clock::Clock;
use crate::cluster::{Api, Attention, Fault, Reach};
use crate::fleet::Observation;
use crate::web;

/// How long a page may take.
const LIMIT: Duration = Duration::from_secs(3);
/// How long it may take to find out whether pods are reached directly.
pub(super) const NEAR: Duration = Duration::from_millis(800);

/// What pages are read with.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub api: Api,
    pub http: reqwest::Client,
    pub prometheus: Option<String>,
    pub reach: Reach,
    pub proofs: Proofs,
    pub out: mpsc::Sender<Observation>,
    pub clock: Clock,
    /// What is read before all else.
    pub attention: Attention,
}

/// What was seen at pods' own addresses, by pod and port: the run of its process, or that it was another page.
#[derive(Clone, Debug, Default)]
pub(super) struct Proofs(Arc<Mutex<HashMap<(Key, u16), Proof>>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Proof {
    ip: Box<str>,
    /// `None`: what answers there is not this pod, or nobody answers.
    run: Option<String>,
}

impl Proofs {
    fn of(&self, pod: &Paged, port: u16) -> Option<Proof> {
        let known = self.all().get(&(pod.key(), port)).cloned();
        known.filter(|it| it.ip == pod.ip)
    }

    fn set(&self, pod: &Paged, port: u16, run: Option<String>) {
        let ip = pod.ip.clone();
        self.all().insert((pod.key(), port), Proof { ip, run });
    }

    fn forget(&self, pod: &Paged, port: u16) {
        self.all().remove(&(pod.key(), port));
    }

    /// Forgets pods that are gone.
    pub(super) fn keep(&self, stands: impl Fn(&Key) -> bool) {
        self.all().retain(|(key, _), _| stands(key));
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<(Key, u16), Proof>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// A pod's page at its own address where that is trusted or was seen to be its own; else through the API's proxy.
    pub(super) async fn page(&self, pod: &Paged, port: u16) -> Result<String, Fault> {
        if self.reach == Reach::Direct
            && let Ok(page) = self.direct(pod, port, LIMIT).await
        {
            return Ok(page);
        }
        if self.reach != Reach::Auto {
            return self.proxied(pod, port).await;
        }
        let known = self.proofs.of(pod, port);
        if let Some(Proof { run: Some(run), .. }) = &known {
            match self.direct(pod, port, LIMIT).await {
                Ok(page) if run_of(&page).as_ref() == Some(run) => return Ok(page),
                // It started anew, the way is gone, or somebody else answers there now.
                Ok(_) | Err(_) => self.proofs.forget(pod, port),
            }
        }
        let far = self.proxied(pod, port).await?;
        if known.is_none() {
            self.prove(pod, port, &far).await;
        }
        Ok(far)
    }

    /// Looks whether a pod's own address has the page that its cluster has; `far`: that one.
    pub(super) async fn prove(&self, pod: &Paged, port: u16, far: &str) -> bool {
        let near = self.direct(pod, port, NEAR).await.ok();
        let run = near.and_then(|near| run_of(&near));
        let same = run.filter(|run| run_of(far).as_ref() == Some(run));
        let proven = same.is_some();
        self.proofs.set(pod, port, same);
        proven
    }

    pub(super) async fn direct(
        &self,
        pod: &Paged,
        port: u16,
        limit: Duration,
    ) -> Result<String, String> {
        if pod.ip.is_empty() {
            return Err("it has no address".into());
        }
        let url = web::at(&pod.ip, port, "/metrics");
        let reply = web::get(&self.http, &url, None, limit).await;
        let reply = reply.map_err(|fault| fault.to_string())?;
        if !reply.ok() {
            return Err(reply.words());
        }
        Ok(String::from_utf8_lossy(&reply.body).into_owned())
    }

    pub(super) async fn proxied(&self, pod: &Paged, port: u16) -> Result<String, Fault> {
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}:{port}/proxy/metrics",
            pod.namespace, pod.name
        );
        self.api.text(&path, LIMIT).await
    }

    /// What Prometheus has of a backend's pods, in the form that they write themselves.
    pub(super) async fn federated(&self, engine: &Engine) -> Result<String, String> {
        let namespace = engine.pods.first().map_or("", |it| &*it.namespace);
        let names: Vec<&str> = engine.pods.iter().map(|it| &*it.name).collect();
        let series = format!(
            "{{__name__=~\"vllm:.*\",namespace=\"{namespace}\",pod=~\"{}\"}}",
            names.join("|")
        );
        self.federate(&series).await
    }

    /// What Prometheus has of some series, in the form that pages have.
    pub(super) async fn federate(&self, series: &str) -> Result<String, String> {
        let Some(base) = &self.prometheus else {
            return Err("no Prometheus is configured".into());
        };
        let url = format!(
            "{}/federate?match[]={}",
            base.trim_end_matches('/'),
            form(series)
        );
        let reply = web::get(&self.http, &url, None, LIMIT).await;
        let reply = reply.map_err(|fault| fault.to_string())?;
        if !reply.ok() {
            return Err(reply.words());
        }
        Ok(String::from_utf8_lossy(&reply.body).into_owned())
    }
}

/// What a page has that no other run of any process has: when its process began, and when each of its series did
/// (`…_created`, to the microsecond). `None` where it says neither.
fn run_of(page: &str) -> Option<String> {
    let says = |line: &&str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        name == "process_start_time_seconds" || name == "vllm:num_preemptions_created"
    };
    let mut all: Vec<&str> = page.lines().filter(says).collect();
    all.sort_unstable();
    (!all.is_empty()).then(|| all.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_told_by_when_it_began() {
        let page = |start: &str| {
            format!(
                "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {start}\nvllm:num_requests_running{{}} 3\n"
            )
        };
        assert_eq!(run_of(&page("1.7e9")), run_of(&page("1.7e9")));
        assert_ne!(run_of(&page("1.7e9")), run_of(&page("1.70000001e9")));
        assert_eq!(run_of("vllm:num_requests_running 3\n"), None);
    }
}

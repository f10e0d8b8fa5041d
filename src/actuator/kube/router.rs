//! Orders to engines by way of vLLM production-stack's router, which sends no requests to an engine that it put to sleep.
//!
//! It knows an engine by an id that it makes of its pod's name (`uuid5`, `src/vllm_router/service_discovery.py`), lists all
//! of them at `/engines`, and takes `/sleep` and `/wake_up` with `?id=`.

use std::collections::HashSet;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::Hand;
use crate::cluster::Fault;
use crate::fleet::cluster::place::{LivePod, Router};

/// How long it may take to say whom it knows.
const SHORT: Duration = Duration::from_secs(10);

/// A router and the engines that it knows.
pub(super) struct Knows<'a> {
    router: &'a Router,
    ids: HashSet<String>,
}

/// One of `/engines`, as far as it is read.
#[derive(Deserialize)]
struct Engine {
    engine_id: String,
}

impl Knows<'_> {
    /// Whether it knows the engine in a pod.
    pub(super) fn knows(&self, pod: &LivePod) -> bool {
        self.ids.contains(&Router::id(pod))
    }

    /// The path of an order to the engine in a pod; `None` where the router does not know it.
    pub(super) fn path(&self, pod: &LivePod, order: &str) -> Option<String> {
        self.knows(pod).then(|| self.router.path(pod, order))
    }
}

impl Hand {
    /// Whom a router knows.
    pub(super) async fn known_to<'a>(&self, router: &'a Router) -> Result<Knows<'a>, Fault> {
        let path = router.at("/engines");
        let said = self.api.pass(Method::GET, &path, &[], None, SHORT).await?;
        let all: Vec<Engine> =
            serde_json::from_slice(&said).map_err(|why| Fault::Garbled(why.to_string()))?;
        Ok(Knows {
            router,
            ids: all.into_iter().map(|it| it.engine_id).collect(),
        })
    }

    /// An order by way of the router, at a path of [`Knows::path`].
    pub(super) async fn by_router(
        &self,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Vec<u8>, Fault> {
        self.api.pass(Method::POST, path, &[], body, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::cluster::object::{Kind, Object};

    #[test]
    fn an_engine_is_known_by_the_name_of_its_pod() {
        let router = Router {
            service: Object::new(Kind::Service, "llm", "vllm-router-service"),
            port: 80,
        };
        // python3 -c "import uuid; print(uuid.uuid5(uuid.NAMESPACE_DNS, 'vllm-opt125m-deployment-vllm-6c9f7b8d5-x2k4p'))"
        let id = "fa0bfa5e-94da-5576-8158-955db3f8bef2";
        let knows = Knows {
            router: &router,
            ids: HashSet::from([id.to_owned()]),
        };
        let pod = |name: &str| LivePod {
            name: name.into(),
            ip: "10.0.0.1".into(),
            left_out: false,
        };
        let engine = pod("vllm-opt125m-deployment-vllm-6c9f7b8d5-x2k4p");
        assert_eq!(
            knows.path(&engine, "/sleep?level=1&mode=wait").unwrap(),
            format!(
                "/api/v1/namespaces/llm/services/vllm-router-service:80/proxy/sleep?level=1&mode=wait&id={id}"
            )
        );
        assert_eq!(knows.path(&pod("another"), "/wake_up"), None);
    }
}

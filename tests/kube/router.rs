//! vLLM production-stack's router, as its chart deploys it and as it answers.

use std::sync::{Arc, Weak};

use serde_json::{Value, json};
use uuid::Uuid;

use super::engines::Engines;
use super::yard::HERE;
use crate::fake_kube::{FakeKube, fixtures};

/// A router and its Service, for the pods that carry `app.kubernetes.io/instance` of that name.
pub(crate) fn put(fake: &FakeKube, name: &str, of: &str) {
    let labels =
        json!({"app.kubernetes.io/name": "router", "environment": "router", "release": "router"});
    fake.put(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": format!("{name}-deployment-router"), "namespace": HERE, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "router-container",
                    "image": "lmcache/lmstack-router:latest",
                    "args": [
                        "--host", "0.0.0.0", "--port", "8000", "--service-discovery", "k8s", "--k8s-namespace", HERE,
                        "--k8s-service-discovery-type", "pod-ip",
                        "--k8s-label-selector", format!("app.kubernetes.io/instance={of}"),
                        "--routing-logic", "roundrobin",
                    ],
                    "ports": [{"name": "router-cport", "containerPort": 8000}],
                }]},
            },
        },
    }));
    let mut service = fixtures::service(HERE, &service_of(name));
    service["spec"]["selector"] = labels;
    service["spec"]["ports"] = json!([
        {"name": "router-sport", "port": 80, "targetPort": 8000, "protocol": "TCP"},
        {"name": "lmcache-port", "port": 9000, "targetPort": "lmcache-port", "protocol": "TCP"},
    ]);
    fake.put(service);
}

fn service_of(name: &str) -> String {
    format!("{name}-router-service")
}

/// Has every router answer for the engines in its pods.
pub(crate) fn serve(fake: &Arc<FakeKube>, engines: &Engines, labels: bool) {
    for it in fake.all("deployments") {
        let name = it["metadata"]["name"].as_str().unwrap();
        let Some(name) = name.strip_suffix("-deployment-router") else {
            continue;
        };
        let args = it["spec"]["template"]["spec"]["containers"][0]["args"].clone();
        let of = args.as_array().unwrap().iter().find_map(|it| {
            let label = it.as_str()?.strip_prefix("app.kubernetes.io/instance=")?;
            Some(label.to_owned())
        });
        let of = of.unwrap();
        let (fake_, engines) = (Arc::downgrade(fake), engines.clone());
        fake.on_proxy(
            &format!("{HERE}/{}:80", service_of(name)),
            move |method, path, query| {
                let said = answer(&fake_, &engines, &of, method, path, query);
                // What the API says of its patch it logs, and answers all the same.
                if labels && said.0 == 200 {
                    label(&fake_, &of, path, query);
                }
                said
            },
        );
    }
}

/// `/engines`, and orders with `?id=`. The engine's own answer is not passed on, its status is.
fn answer(
    fake: &Weak<FakeKube>,
    engines: &Engines,
    of: &str,
    method: &str,
    path: &str,
    query: &str,
) -> (u16, String, Vec<u8>) {
    let says = |status: u16, body: Value| {
        let body = body.to_string().into_bytes();
        (status, "application/json".to_owned(), body)
    };
    let Some(fake) = fake.upgrade() else {
        return says(503, json!(null));
    };
    let pods = pods(&fake, of);
    if (method, path) == ("GET", "/engines") {
        let card = |pod: &String| json!({"engine_id": id(pod), "serving_models": ["served"], "created": 1_780_000_000});
        return says(200, pods.iter().map(card).collect());
    }
    let (asked, rest): (Vec<&str>, Vec<&str>) =
        query.split('&').partition(|it| it.starts_with("id="));
    let Some(asked) = asked.first().and_then(|it| it.strip_prefix("id=")) else {
        return says(
            400,
            json!({"error": "Invalid request: missing target Engine Id."}),
        );
    };
    let Some(pod) = pods.iter().find(|pod| id(pod) == asked) else {
        return says(
            400,
            json!({"error": format!("Engine with Id {asked} not found.")}),
        );
    };
    let backend = engines.of(&format!("{HERE}/{of}"), &format!("{HERE}/{pod}"));
    let (status, _, _) = engines.answer(&backend, method, path, &rest.join("&"));
    if status != 200 {
        // It raises, which its server answers so.
        return (
            500,
            "text/plain; charset=utf-8".into(),
            b"Internal Server Error".to_vec(),
        );
    }
    says(status, json!({"status": "success"}))
}

/// The label by which every replica of the router knows who sleeps.
fn label(fake: &Weak<FakeKube>, of: &str, path: &str, query: &str) {
    let sleeping = match path {
        "/sleep" => json!("true"),
        "/wake_up" => Value::Null,
        _ => return,
    };
    let Some(fake) = fake.upgrade() else { return };
    let asked = query.split('&').find_map(|it| it.strip_prefix("id="));
    for pod in pods(&fake, of) {
        if asked == Some(&id(&pod)) {
            let labels = json!({"metadata": {"labels": {"sleeping": sleeping}}});
            fake.merge(&format!("pods/{HERE}/{pod}"), &labels);
        }
    }
}

/// The pods that it finds by their label.
fn pods(fake: &FakeKube, of: &str) -> Vec<String> {
    let all = fake.all("pods").into_iter();
    let mine = all.filter(|it| it["metadata"]["labels"]["app.kubernetes.io/instance"] == of);
    mine.map(|it| it["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

fn id(pod: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, pod.as_bytes()).to_string()
}

//! Workloads: what runs pods, and what its template says of the engine in them.

use serde::Deserialize;

use super::meta::{Meta, Words};
use super::pod::{Condition, Resources, gpus};
use super::router::Router;

/// A Deployment, a StatefulSet or a LeaderWorkerSet, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub(in crate::source::kube) struct Workload {
    pub meta: Meta,
    pub replicas: u32,
    /// Pods that one replica is made of.
    pub size: u32,
    pub engine: Engine,
    /// It sends requests to engines.
    pub router: Option<Router>,
    /// All labels of its pods, for selectors.
    pub labels: Words,
    /// Its pods cannot be made, and why (`ReplicaFailure`).
    pub refused: Option<Condition>,
}

/// What the template says of the container that serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::source::kube) struct Engine {
    /// It is known to serve models.
    pub serves: bool,
    pub container: Box<str>,
    pub image: Box<str>,
    /// The name that clients ask for, where the command says so.
    pub model: Option<Box<str>>,
    pub port: Option<u16>,
    pub gpus: u32,
    /// What the startup probe lets it take, seconds.
    pub probe_allows: Option<u32>,
    /// It lets requests end before it does.
    pub gentle: bool,
    /// The machine that it insists on.
    pub instance: Option<Box<str>>,
    /// It can sleep in its pod: vLLM's sleep mode with its paths.
    pub can_nap: bool,
}

#[derive(Deserialize)]
struct Raw {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    replicas: Option<u32>,
    #[serde(default)]
    template: Template,
    #[serde(default)]
    leader_worker_template: Option<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    #[serde(default)]
    size: Option<u32>,
    #[serde(default)]
    leader_template: Option<Template>,
    #[serde(default)]
    worker_template: Template,
}

#[derive(Default, Deserialize)]
struct Template {
    #[serde(default)]
    metadata: TemplateMeta,
    #[serde(default)]
    spec: PodSpec,
}

#[derive(Default, Deserialize)]
struct TemplateMeta {
    #[serde(default, deserialize_with = "super::meta::all")]
    labels: Words,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    #[serde(default)]
    containers: Vec<Container>,
    #[serde(default, deserialize_with = "super::meta::all")]
    node_selector: Words,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default)]
    name: Box<str>,
    #[serde(default)]
    image: Box<str>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<Env>,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default)]
    resources: Resources,
    #[serde(default)]
    startup_probe: Option<Probe>,
    #[serde(default)]
    lifecycle: Option<Lifecycle>,
}

#[derive(Deserialize)]
struct Env {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(default)]
    name: Box<str>,
    container_port: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    initial_delay_seconds: u32,
    #[serde(default = "ten")]
    period_seconds: u32,
    #[serde(default = "three")]
    failure_threshold: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle {
    #[serde(default)]
    pre_stop: Option<serde::de::IgnoredAny>,
}

fn ten() -> u32 {
    10
}
fn three() -> u32 {
    3
}

/// Images of servers that speak for models.
const IMAGES: [&str; 11] = [
    "vllm",
    "sglang",
    "text-generation-inference",
    "lmdeploy",
    "tritonserver",
    "tensorrt-llm",
    "llm-d",
    "huggingfaceserver",
    "kaito-",
    "/kaito/",
    "nim/",
];

/// Commands of the same.
const COMMANDS: [&str; 5] = [
    "vllm serve",
    "vllm.entrypoints",
    "sglang.launch_server",
    "text-generation-launcher",
    "inference_api.py",
];

/// Flags that name the model, the best first: what clients ask for before where it comes from.
const MODEL_FLAGS: [&str; 5] = [
    "--served-model-name",
    "--model_name",
    "--model",
    "--model-path",
    "--model-id",
];

impl Container {
    /// The words of its command, also where a shell gets them in one.
    fn words(&self) -> Vec<&str> {
        let all = self.command.iter().chain(&self.args);
        all.flat_map(|it| it.split_whitespace()).collect()
    }

    fn serves(&self) -> bool {
        let said = self.words().join(" ");
        let helper = [
            "router",
            "exporter",
            "gateway",
            "operator",
            "controller",
            "proxy",
            "epp",
        ];
        let image = self.image.as_ref();
        let name = image.rsplit('/').next().unwrap_or(image);
        COMMANDS.iter().any(|it| said.contains(it))
            || (IMAGES.iter().any(|it| image.contains(it))
                && !helper.iter().any(|it| name.contains(it)))
    }

    fn model(&self) -> Option<Box<str>> {
        let words = self.words();
        for flag in MODEL_FLAGS {
            for (i, word) in words.iter().enumerate() {
                let value = match word.strip_prefix(flag) {
                    Some("") => words.get(i + 1).copied(),
                    Some(rest) => rest.strip_prefix('='),
                    None => None,
                };
                if let Some(value) = value
                    .map(|it| self.spelled(it))
                    .filter(|it| !it.starts_with('-'))
                {
                    return Some(value.into());
                }
            }
        }
        let after = words.windows(2).find(|it| it[0] == "serve").map(|it| it[1]);
        let served = after
            .filter(|it| !it.starts_with('-'))
            .map(|it| self.spelled(it));
        let env = || {
            let names = ["SERVED_MODEL_NAME", "MODEL_NAME", "MODEL_ID"];
            let mut of = names
                .iter()
                .filter_map(|name| self.env.iter().find(|it| it.name == *name));
            of.find(|it| !it.value.is_empty())
                .map(|it| it.value.as_str())
        };
        served.or_else(env).map(Into::into)
    }

    /// What a flag is set to, after a space or `=`.
    fn flag(&self, name: &str) -> Option<&str> {
        let words = self.words();
        let mut all = words.iter().enumerate();
        let said = all.find_map(|(i, word)| match word.strip_prefix(name)? {
            "" => words.get(i + 1).copied(),
            rest => rest.strip_prefix('='),
        });
        said.map(|it| self.spelled(it))
    }

    /// Without quotes, and with `$(NAME)` as its environment has it.
    fn spelled<'a>(&'a self, word: &'a str) -> &'a str {
        let word = word.trim_matches(['"', '\'']);
        let name = word.strip_prefix("$(").and_then(|it| it.strip_suffix(')'));
        let env = name.and_then(|name| self.env.iter().find(|it| it.name == name));
        env.map_or(word, |it| &it.value)
    }

    fn can_nap(&self) -> bool {
        let developer = |it: &Env| it.name == "VLLM_SERVER_DEV_MODE" && it.value == "1";
        self.words().contains(&"--enable-sleep-mode") && self.env.iter().any(developer)
    }

    fn port(&self) -> Option<u16> {
        let said = self.flag("--port").and_then(|it| it.parse().ok());
        let named = self.ports.iter().find(|it| it.name.contains("http"));
        said.or_else(|| Some(named.or_else(|| self.ports.first())?.container_port))
    }
}

impl Template {
    fn engine(&self) -> Engine {
        let all = &self.spec.containers;
        let serving = all.iter().find(|it| it.serves());
        let with_gpus = all.iter().find(|it| gpus(&it.resources.limits) > 0);
        let Some(container) = serving.or(with_gpus).or(all.first()) else {
            return Engine::default();
        };
        let probe = container.startup_probe.as_ref();
        let drains = container
            .words()
            .iter()
            .any(|it| it.starts_with("--shutdown-timeout"));
        let hook = container
            .lifecycle
            .as_ref()
            .is_some_and(|it| it.pre_stop.is_some());
        Engine {
            serves: serving.is_some(),
            container: container.name.clone(),
            image: container.image.clone(),
            model: container.model(),
            port: container.port(),
            gpus: all.iter().map(|it| gpus(&it.resources.limits)).sum(),
            probe_allows: probe.map(|it| {
                let tries = it.period_seconds.saturating_mul(it.failure_threshold);
                it.initial_delay_seconds.saturating_add(tries)
            }),
            can_nap: container.can_nap(),
            gentle: drains || hook,
            instance: self
                .spec
                .node_selector
                .get("node.kubernetes.io/instance-type")
                .cloned(),
        }
    }
}

impl From<Raw> for Workload {
    fn from(raw: Raw) -> Self {
        let (size, template, workers) = match raw.spec.leader_worker_template {
            Some(group) => {
                let workers = group.worker_template.engine().gpus;
                let leader = group.leader_template.unwrap_or(group.worker_template);
                (group.size.unwrap_or(1), leader, workers)
            }
            None => (1, raw.spec.template, 0),
        };
        let mut containers = template.spec.containers.iter();
        let router = containers.find_map(|it| Router::of(|flag| it.flag(flag)));
        let mut engine = template.engine();
        engine.gpus = engine
            .gpus
            .saturating_add(workers.saturating_mul(size.saturating_sub(1)));
        let mut conditions = raw.status.conditions.into_iter();
        Self {
            refused: conditions.find(|it| *it.kind == *"ReplicaFailure" && it.is_true()),
            meta: raw.metadata,
            replicas: raw.spec.replicas.unwrap_or(1),
            size,
            engine,
            router,
            labels: template.metadata.labels,
        }
    }
}

//! Tokens of hosted backends, as the cluster's own gateways count them.
//!
//! Only what is counted while somebody watches is charged: the totals of before are where the account begins.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::find::Findings;
use super::meters::more;
use super::object::Pod;
use super::page::Reader;
use super::read::Paged;
use super::world::World;
use crate::fleet::cluster::object::Kind;
use crate::fleet::request::Usage;
use crate::fleet::{BackendId, ModelId, Observation};
use crate::source::gen_ai::{self, Counted, What};

/// Between two readings.
const EVERY: Duration = Duration::from_secs(10);
/// Gateways' containers that count tokens, with the port of their page: Envoy AI Gateway's, agentgateway's.
const COUNTERS: [(&str, u16); 2] = [("ai-gateway-extproc", 1064), ("agentgateway", 15020)];
/// What Prometheus is asked for, where no gateway's pod is seen.
pub(super) const SERIES: &str =
    "{__name__=~\"(agentgateway_)?gen_ai_client_token_usage(_token)?_(sum|count)\"}";

/// It as a source.
const PROMETHEUS: &str = "prometheus";

/// Whose tokens are to be counted, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counting {
    gateways: Vec<Gateway>,
    hosted: Vec<Target>,
}

/// A pod of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gateway {
    pod: Paged,
    port: u16,
}

/// A hosted backend whose tokens a gateway counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub id: BackendId,
    /// `namespace/name` of its AIServiceBackend.
    backend: Box<str>,
    model: ModelId,
    provider: Box<str>,
    /// No other backend of its model can be meant by its provider's name.
    alone: bool,
}

/// The port of the page on which a gateway's pod says what it counted.
pub(super) fn counts_at(pod: &Pod) -> Option<u16> {
    let mut names = pod.init.iter().chain(&pod.containers).map(|it| &*it.name);
    names.find_map(|name| {
        let known = COUNTERS.iter().find(|(it, _)| *it == name)?;
        Some(known.1)
    })
}

impl Counting {
    /// What there is to count now.
    pub(super) fn of(findings: &Findings, world: &World, cluster: &str) -> Self {
        let mut hosted = Vec::new();
        for model in &findings.models {
            let routed = model
                .routes
                .iter()
                .filter(|it| it.route.kind == Kind::AiGatewayRoute);
            let named: HashSet<&BackendId> = routed
                .flat_map(|it| it.refs.iter().filter_map(|it| it.backend.as_ref()))
                .collect();
            let somebodys = findings.hosted.iter().filter(|it| it.model == model.id);
            for it in somebodys.clone().filter(|it| named.contains(&it.id)) {
                let Some(provider) = provider(it) else {
                    continue;
                };
                // An engine of ours behind an AIServiceBackend speaks OpenAI's API as well.
                let own =
                    provider == "OpenAI" && findings.found.iter().any(|it| named.contains(&it.id));
                let same = somebodys
                    .clone()
                    .filter(|other| self::provider(other) == Some(provider));
                let name = it.id.within(cluster);
                hosted.push(Target {
                    id: it.id.clone(),
                    backend: name.split('@').next().unwrap_or_default().into(),
                    model: model.id.clone(),
                    provider: provider.into(),
                    alone: !own && same.count() == 1,
                });
            }
        }
        let gateways = world.pods.values().filter(|it| it.is_ready());
        let mut gateways: Vec<Gateway> = gateways
            .filter_map(|it| {
                Some(Gateway {
                    port: counts_at(it)?,
                    pod: Paged::of(it),
                })
            })
            .collect();
        gateways
            .sort_by(|a, b| (&a.pod.namespace, &a.pod.name).cmp(&(&b.pod.namespace, &b.pod.name)));
        Self { gateways, hosted }
    }

    /// Backends that a gateway counts for.
    pub(super) fn ids(&self) -> impl Iterator<Item = &BackendId> {
        self.hosted.iter().map(|it| &it.id)
    }

    /// Whose a total is; `Err` names whom it may be of.
    pub(super) fn whose(&self, it: &Counted<'_>) -> Result<&Target, Vec<&Target>> {
        let asked = |of: &&Target| it.models.iter().any(|model| *of.model.as_str() == **model);
        if let Some(backend) = &it.backend {
            let all = self.hosted.iter().filter(|of| *of.backend == **backend);
            let all: Vec<&Target> = all.collect();
            return match all[..] {
                [one] => Ok(one),
                // One backend for several models is one for each of them here.
                _ => all.iter().copied().find(asked).ok_or(Vec::new()),
            };
        }
        let said = super::find::provider(&it.provider);
        let like = |of: &&Target| asked(of) && *of.provider == *said;
        let all: Vec<&Target> = self.hosted.iter().filter(like).collect();
        match all[..] {
            [one] if one.alone => Ok(one),
            _ => Err(all),
        }
    }
}

fn provider(it: &crate::fleet::cluster::SeenBackend) -> Option<&str> {
    match &it.kind {
        crate::fleet::backend::Kind::Hosted(facts) => Some(&facts.provider),
        crate::fleet::backend::Kind::SelfHosted(_) => None,
    }
}

/// What was read before.
#[derive(Default)]
struct Before {
    totals: HashMap<(String, String), f64>,
    sources: HashSet<String>,
    counted: HashMap<BackendId, bool>,
}

/// Counts for as long as somebody wants it.
pub(super) async fn count(reader: Reader, mut wanted: watch::Receiver<Arc<Counting>>) {
    let began = Utc::now();
    let mut before = Before::default();
    let mut read_any = false;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Nobody else's API is routed to: nothing to count.
        if wanted.borrow_and_update().hosted.is_empty() {
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            _ = ticks.tick() => {}
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                // What is new is read at once.
                ticks.reset();
            }
        }
        let all = Arc::clone(&wanted.borrow_and_update());
        let pages = pages(&reader, &all, &mut read_any).await;
        for told in before.take(&all, &pages, began) {
            let Told {
                backend,
                requests,
                usage,
                counted,
            } = told;
            let at = reader.clock.now();
            let observation = Observation::Metered {
                backend,
                requests,
                usage,
                counted,
                at,
            };
            if reader.out.send(observation).await.is_err() {
                return;
            }
        }
    }
}

/// A page, with its source and since when that counts.
struct Page {
    source: String,
    born: Option<DateTime<Utc>>,
    text: String,
}

/// Reads the pages; `read_any`: one was ever read.
async fn pages(reader: &Reader, all: &Counting, read_any: &mut bool) -> Vec<Page> {
    let mut pages = Vec::new();
    for it in &all.gateways {
        let Ok(text) = reader.page(&it.pod, it.port).await else {
            continue;
        };
        *read_any = true;
        pages.push(Page {
            source: it.source(),
            born: it.pod.born,
            text,
        });
    }
    // Whoever was read itself says later what it counted meanwhile: it is not counted twice.
    if pages.is_empty()
        && !*read_any
        && let Ok(text) = reader.federate(SERIES).await
        && !text.is_empty()
    {
        pages.push(Page {
            source: PROMETHEUS.to_owned(),
            born: None,
            text,
        });
    }
    pages
}

/// What is told of one backend.
struct Told {
    backend: BackendId,
    requests: u64,
    usage: Usage,
    counted: bool,
}

impl Before {
    /// What was counted since the last reading.
    fn take(&mut self, all: &Counting, pages: &[Page], began: DateTime<Utc>) -> Vec<Told> {
        let mut sums: HashMap<&BackendId, (u64, Usage)> = HashMap::new();
        let mut unclear: HashSet<&BackendId> = HashSet::new();
        for page in pages {
            // One that began to count under our eyes has nothing from before.
            let first = self.sources.insert(page.source.clone());
            let born = page.born.is_some_and(|born| born > began);
            let fresh = !first || (born && !self.sources.contains(PROMETHEUS));
            for it in gen_ai::read(&page.text) {
                let (name, labels) = it.series;
                let key = (page.source.clone(), format!("{name}{{{labels}}}"));
                let was = self.totals.insert(key, it.total);
                let was = was.unwrap_or(if fresh { 0.0 } else { it.total });
                let more = more(was, it.total);
                let target = match all.whose(&it) {
                    Ok(target) => target,
                    Err(of) => {
                        unclear.extend(of.iter().map(|it| &it.id));
                        continue;
                    }
                };
                let (requests, usage) = sums.entry(&target.id).or_default();
                match it.what {
                    What::Requests => *requests += more,
                    What::Input => usage.input += more,
                    What::Cached => usage.cached += more,
                    What::Output => usage.output += more,
                }
            }
        }
        self.forget(all);
        let mut told = Vec::new();
        for target in &all.hosted {
            let counted = !pages.is_empty() && !unclear.contains(&target.id);
            let (requests, usage) = sums.remove(&target.id).unwrap_or_default();
            let news = self.counted.insert(target.id.clone(), counted) != Some(counted);
            if news || requests > 0 || usage != Usage::default() {
                let backend = target.id.clone();
                told.push(Told {
                    backend,
                    requests,
                    usage,
                    counted,
                });
            }
        }
        told
    }
}

impl Before {
    /// Forgets gateways' pods that are gone: they come and go. One that is away for a moment is kept.
    fn forget(&mut self, all: &Counting) {
        if self.sources.len() > all.gateways.len() * 2 + 16 {
            let stands: HashSet<String> = all.gateways.iter().map(Gateway::source).collect();
            let kept = |it: &String| it == PROMETHEUS || stands.contains(it);
            self.sources.retain(kept);
            self.totals.retain(|(source, _), _| kept(source));
        }
        let hosted = |id: &BackendId| all.hosted.iter().any(|it| it.id == *id);
        self.counted.retain(|id, _| hosted(id));
    }
}

impl Gateway {
    /// It as a source.
    fn source(&self) -> String {
        format!("{}/{}", self.pod.namespace, self.pod.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, model: &str, alone: bool) -> Target {
        Target {
            id: BackendId::from(name),
            backend: name.into(),
            model: model.into(),
            provider: "Azure OpenAI".into(),
            alone,
        }
    }

    fn page(source: &str, born: Option<DateTime<Utc>>, backend: &str, total: u32) -> Page {
        Page {
            source: source.to_owned(),
            born,
            text: format!(
                "gen_ai_client_token_usage_sum{{{backend}gen_ai_provider_name=\"azure.openai\",gen_ai_request_model=\"gpt\",gen_ai_token_type=\"output\"}} {total}\n"
            ),
        }
    }

    /// What is told of each reading: `name tokens`, with `?` where it is not known.
    fn told(all: &Counting, readings: &[Vec<Page>], began: DateTime<Utc>) -> Vec<String> {
        let mut before = Before::default();
        let mut said = Vec::new();
        for pages in readings {
            let told = before.take(all, pages, began);
            let words = told.iter().map(|it| {
                let mark = if it.counted { "" } else { "?" };
                format!("{} {}{mark}", it.backend, it.usage.output)
            });
            said.push(words.collect::<Vec<_>>().join(", "));
        }
        said
    }

    #[test]
    fn totals_become_what_was_used_since() {
        let began = Utc::now();
        let all = Counting {
            gateways: Vec::new(),
            hosted: vec![target("llm/gpt", "gpt", true)],
        };
        let old = Some(began - chrono::TimeDelta::hours(1));
        let new = Some(began + chrono::TimeDelta::seconds(1));
        let readings = vec![
            // What it had counted before is not of this time.
            vec![page("a", old, "", 100)],
            vec![page("a", old, "", 130)],
            // Nothing new is no news.
            vec![page("a", old, "", 130)],
            // It has begun anew; and another one has come.
            vec![page("a", old, "", 7), page("b", new, "", 5)],
            // Nobody can be read: what is used now is not known.
            vec![],
            vec![page("a", old, "", 9), page("b", new, "", 5)],
        ];
        assert_eq!(
            told(&all, &readings, began),
            [
                "llm/gpt 0",
                "llm/gpt 30",
                "",
                "llm/gpt 12",
                "llm/gpt 0?",
                "llm/gpt 2"
            ]
        );
    }

    #[test]
    fn pods_that_are_gone_are_forgotten() {
        let all = Counting {
            gateways: Vec::new(),
            hosted: vec![target("llm/gpt", "gpt", true)],
        };
        let mut before = Before::default();
        for i in 0..1000 {
            let page = page(&format!("llm/gateway-{i}"), None, "", 1);
            before.take(&all, &[page], Utc::now());
        }
        assert!(before.sources.len() <= 17 && before.totals.len() <= 17);
    }

    #[test]
    fn one_of_two_that_are_alike_is_told_by_its_name_or_not_at_all() {
        let began = Utc::now();
        let all = Counting {
            gateways: Vec::new(),
            hosted: vec![
                target("llm/east", "gpt", false),
                target("llm/west", "gpt", false),
            ],
        };
        let named = "ai_backend=\"llm/west\",";
        let readings = vec![
            vec![page("a", None, named, 1)],
            vec![page("a", None, named, 3)],
            vec![page("a", None, "", 9)],
        ];
        assert_eq!(
            told(&all, &readings, began),
            [
                "llm/east 0, llm/west 0",
                "llm/west 2",
                "llm/east 0?, llm/west 0?"
            ]
        );
    }
}

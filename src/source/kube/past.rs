//! What nobody watched, asked of a Prometheus that has what kube-state-metrics and the engines said meanwhile.
//!
//! A backend's machines are told by the GPUs that its pods asked for, on which node; what they cost, by the same table as
//! always. It is sampled, not watched: a step is a minute, or five where it is long ago.

mod asked;
mod roster;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use self::asked::Answers;
use self::roster::Roster;
use super::find::Findings;
use super::meters::more;
use super::page::Reader;
use super::settings::Settings;
use super::tokens::Counting;
use super::world::World;
use crate::fleet::cluster::PartState;
use crate::fleet::fill::{Spent, Told};
use crate::fleet::ledger::Span;
use crate::fleet::request::Usage;
use crate::fleet::{BackendId, Observation, Usd};
use crate::source::gen_ai::{self, What};
use crate::source::prometheus::Series;

/// Points of all series of an answer, about: some megabytes.
const POINTS: usize = 150_000;
/// What is younger than this is sampled by the minute.
const FINE: TimeDelta = TimeDelta::hours(24);

/// Everything that is needed to ask.
#[derive(Debug)]
pub(super) struct Past {
    reader: Reader,
    cluster: Arc<str>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    roster: Roster,
    counting: Counting,
}

impl Past {
    /// What is to be asked about the cluster as it stands; `None` where nobody is to be asked.
    pub(super) fn of(
        reader: &Reader,
        settings: &Settings,
        findings: &Findings,
        world: &World,
    ) -> Option<Self> {
        reader.prometheus.as_ref()?;
        let prefix = settings.prefix.as_deref().unwrap_or("");
        Some(Self {
            cluster: Arc::clone(&settings.cluster),
            from: settings.past?,
            to: reader.clock.now(),
            roster: Roster::of(findings, world, settings),
            counting: Counting::of(findings, world, prefix),
            reader: reader.clone(),
        })
    }

    /// Asks, and tells piece by piece; gives how that went.
    pub(super) async fn fill(self) -> PartState {
        match self.try_fill().await {
            Ok(()) => PartState::Followed,
            Err(why) => PartState::Forbidden {
                why: format!("what nobody watched stays unobserved: {why}"),
            },
        }
    }

    async fn try_fill(&self) -> Result<(), String> {
        let Some(begins) = self.begins().await? else {
            return Err(
                "Prometheus has no kube_pod_info; it is kube-state-metrics that exports it".into(),
            );
        };
        let from = self.from.max(begins);
        self.tell(Observation::PastBegins {
            cluster: Arc::clone(&self.cluster),
            from,
        })
        .await?;
        let mut at = from;
        while at < self.to {
            let (step, end) = self.piece(at);
            let told = self.ask(at, end, step).await?;
            self.tell(Observation::Past(Box::new(told))).await?;
            at = end;
        }
        Ok(())
    }

    /// The next piece: its step, and where it ends.
    fn piece(&self, at: DateTime<Utc>) -> (TimeDelta, DateTime<Utc>) {
        let steps = (POINTS / self.roster.len().max(16)).clamp(30, 720) as i32;
        let fine = self.to - FINE;
        let (step, end) = if at < fine {
            (TimeDelta::minutes(5), fine)
        } else {
            (TimeDelta::minutes(1), self.to)
        };
        (step, (at + step * steps).min(end))
    }

    /// Since when Prometheus knows anything of the cluster, within what is asked for.
    async fn begins(&self) -> Result<Option<DateTime<Utc>>, String> {
        let hour = TimeDelta::hours(1);
        let all = asked::series(&self.reader, asked::PRESENT, (self.from, self.to), hour).await?;
        let first = all.iter().flat_map(Series::points).map(|it| it.0).min();
        if let Some(first) = first {
            return Ok(DateTime::from_timestamp(first, 0));
        }
        // Between two full hours.
        let lately = (self.from.max(self.to - hour), self.to);
        let step = TimeDelta::minutes(1);
        let all = asked::series(&self.reader, asked::PRESENT, lately, step).await?;
        let first = all.iter().flat_map(Series::points).map(|it| it.0).min();
        Ok(first.and_then(|it| DateTime::from_timestamp(it, 0)))
    }

    async fn tell(&self, what: Observation) -> Result<(), String> {
        let told = self.reader.out.send(what).await;
        told.map_err(|_| "the fleet is ending".into())
    }

    async fn ask(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        step: TimeDelta,
    ) -> Result<Told, String> {
        let answers = Answers::ask(&self.reader, (from, to), step).await?;
        let mut pieces = Pieces {
            past: self,
            from,
            to,
            step: step.num_seconds(),
            watched: watched(&answers.present, from, to, step.num_seconds()),
            spent: BTreeMap::new(),
        };
        pieces.machines(&answers);
        pieces.engines(&answers);
        let untold = pieces.hosted(&answers);
        let spent = pieces.spent.into_iter().map(|((backend, at), it)| Spent {
            from: time(at),
            to: time(at + step.num_seconds()).min(to),
            rate: it.rate(),
            busy: it.busy,
            requests: it.requests,
            usage: it.usage,
            backend,
        });
        Ok(Told {
            cluster: Arc::clone(&self.cluster),
            spent: spent.collect(),
            watched: pieces.watched,
            untold,
        })
    }
}

fn time(at: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(at, 0).unwrap_or_default()
}

/// The spans in which Prometheus looked.
fn watched(present: &[Series], from: DateTime<Utc>, to: DateTime<Utc>, step: i64) -> Vec<Span> {
    let mut at: Vec<i64> = present
        .iter()
        .flat_map(Series::points)
        .map(|it| it.0)
        .collect();
    at.sort_unstable();
    at.dedup();
    let mut spans: Vec<Span> = Vec::new();
    for it in at {
        let (begin, end) = (time(it).max(from), time(it + step).min(to));
        match spans.last_mut() {
            Some(last) if last.1 >= begin => last.1 = end.max(last.1),
            _ if begin < end => spans.push((begin, end)),
            _ => {}
        }
    }
    spans
}

/// What a backend spent within one step.
#[derive(Debug, Default)]
struct Step {
    machines: Usd,
    /// The price of one of them is not known.
    unpriced: bool,
    busy: Option<bool>,
    requests: u64,
    usage: Usage,
}

impl Step {
    fn rate(&self) -> Option<Usd> {
        (!self.unpriced).then_some(self.machines)
    }
}

/// A piece of the past, step by step.
struct Pieces<'a> {
    past: &'a Past,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    step: i64,
    watched: Vec<Span>,
    spent: BTreeMap<(BackendId, i64), Step>,
}

impl Pieces<'_> {
    fn step(&mut self, backend: &BackendId, at: i64) -> &mut Step {
        self.spent.entry((backend.clone(), at)).or_default()
    }

    /// What the machines cost on which a backend's pods were, by the share of GPUs that these had.
    fn machines(&mut self, answers: &Answers) {
        let to = self.to;
        let has: HashMap<&str, f64> = answers.gpus.iter().filter_map(largest).collect();
        for held in &answers.held {
            let Some(backend) = self.past.roster.whose(held) else {
                continue;
            };
            let backend = backend.clone();
            let node = held.label("node");
            let price = self.past.roster.price(node, &answers.nodes);
            let has = has.get(node).map_or(0, |it| *it as i128);
            for (at, gpus) in held.points().filter(|(at, _)| time(*at) < to) {
                let share = price.and_then(|it| it.times(gpus as i128).split(has));
                let step = self.step(&backend, at);
                match share {
                    Some(share) => step.machines += share,
                    None => step.unpriced = true,
                }
            }
        }
    }

    /// Whether engines were busy, and what they produced.
    fn engines(&mut self, answers: &Answers) {
        let to = self.to;
        for load in &answers.load {
            let Some(backend) = self.past.roster.whose(load).cloned() else {
                continue;
            };
            for (at, n) in load.points().filter(|(at, _)| time(*at) < to) {
                let busy = &mut self.step(&backend, at).busy;
                *busy = Some(busy.unwrap_or(false) || n > 0.0);
            }
        }
        for (series, take) in [
            (&answers.requests, add_requests as fn(&mut Step, u64)),
            (&answers.input, add_input),
            (&answers.output, add_output),
        ] {
            for counter in series {
                let Some(backend) = self.past.roster.whose(counter).cloned() else {
                    continue;
                };
                for (at, n) in self.rises(counter) {
                    take(self.step(&backend, at), n);
                }
            }
        }
    }

    /// What hosted backends were used for; gives those of which nobody knows.
    fn hosted(&mut self, answers: &Answers) -> HashSet<BackendId> {
        let counting = &self.past.counting;
        let mut untold: HashSet<BackendId> = self.past.roster.hosted.iter().cloned().collect();
        if !answers.hosted.is_empty() {
            for id in counting.ids() {
                untold.remove(id);
            }
        }
        for series in &answers.hosted {
            let line = line(series);
            let read = gen_ai::read(&line);
            let Some(counted) = read.first() else {
                continue;
            };
            let backend = match counting.whose(counted) {
                Ok(target) => target.id.clone(),
                Err(of) => {
                    untold.extend(of.iter().map(|it| it.id.clone()));
                    continue;
                }
            };
            for (at, n) in self.rises(series) {
                let step = self.step(&backend, at);
                match counted.what {
                    What::Requests => step.requests += n,
                    What::Input => step.usage.input += n,
                    What::Cached => step.usage.cached += n,
                    What::Output => step.usage.output += n,
                }
            }
        }
        untold
    }

    /// Whether what appears now was not there a step before, when somebody looked.
    fn was_born_at(&self, at: i64) -> bool {
        let before = time(at - self.step);
        let looked = |it: &Span| it.0 <= before && before < it.1;
        before >= self.from && self.watched.iter().any(looked)
    }

    /// By how much a counter rose from each step to the next. One that appears where others already were began then.
    fn rises(&self, counter: &Series) -> Vec<(i64, u64)> {
        let mut out = Vec::new();
        let mut before = None;
        for (at, total) in counter.points() {
            if before.is_none() && self.was_born_at(at) {
                before = Some((at - self.step, 0.0));
            }
            if let Some((then, was)) = before {
                let rise = more(was, total);
                if rise > 0 {
                    // What happened while nobody looked is told of the first step after it.
                    let seen = then == at - self.step || time(at) >= self.to;
                    out.push((if seen { at - self.step } else { at }, rise));
                }
            }
            before = Some((at, total));
        }
        out
    }
}

fn add_requests(step: &mut Step, n: u64) {
    step.requests += n;
}

fn add_input(step: &mut Step, n: u64) {
    step.usage.input += n;
}

fn add_output(step: &mut Step, n: u64) {
    step.usage.output += n;
}

/// A node with the most GPUs that it had.
fn largest(series: &Series) -> Option<(&str, f64)> {
    let most = series.points().map(|it| it.1).fold(0.0, f64::max);
    (most > 0.0).then_some((series.label("node"), most))
}

/// A series as a line of a page.
fn line(series: &Series) -> String {
    let labels: Vec<String> = series
        .metric
        .iter()
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        })
        .collect();
    format!("{}{{{}}} 1\n", series.label("__name__"), labels.join(","))
}

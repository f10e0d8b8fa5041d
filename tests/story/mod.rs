//! A story: a fleet from a file, steps in time, and what must be true after each.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use fleetctl::fleet::backend::{
    Backend, Capacity, DrainMark, Hosted, Pin, Price, SelfHosted, SleepWay,
};
use fleetctl::fleet::change::Change;
use fleetctl::fleet::engine::EngineSample;
use fleetctl::fleet::group::Group;
use fleetctl::fleet::ledger::Ledger;
use fleetctl::fleet::live::Live;
use fleetctl::fleet::message::{Action, Actor, Command, Observation, StageMark};
use fleetctl::fleet::model::{ColdPolicy, DataPath, MAX_WAITING, Model};
use fleetctl::fleet::request::{Operation, RequestRecord, Route, Usage};
use fleetctl::fleet::schedule::Schedule;
use fleetctl::fleet::wake::{Failure, Stage, State};
use fleetctl::fleet::{Fleet, Kind, Usd, preview};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Story {
    #[expect(dead_code, reason = "for who reads the file")]
    about: String,
    #[serde(default)]
    fixed_per_month: Option<Usd>,
    #[serde(default)]
    self_hosted_only: bool,
    backend: Vec<Given>,
    step: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    id: String,
    #[serde(default = "model")]
    model: String,
    #[serde(default)]
    hosted: bool,
    rate: Option<Usd>,
    price: Option<Price>,
    #[serde(default)]
    weight: u32,
    #[serde(default = "asleep")]
    state: String,
    #[serde(default = "release")]
    sleep: SleepWay,
    #[serde(default)]
    capacity: Capacity,
    idle_after: Option<i64>,
    /// Hours in UTC; a story begins on a Friday at 22:00.
    keep_warm: Option<String>,
    /// With whom it shares its GPUs.
    group: Option<String>,
    #[serde(default = "one")]
    fits: u32,
    #[serde(default = "budget")]
    budget: i64,
    #[serde(default = "cap")]
    cap: i64,
    #[serde(default = "grace")]
    grace: i64,
    #[serde(default)]
    expected: Vec<(Stage, i64)>,
    pin: Option<String>,
    #[serde(default)]
    drained: bool,
}

fn model() -> String {
    "m".into()
}
fn asleep() -> String {
    "asleep".into()
}
fn release() -> SleepWay {
    SleepWay::Release
}
fn budget() -> i64 {
    480
}
fn cap() -> i64 {
    600
}
fn grace() -> i64 {
    120
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at: i64,
    #[serde(rename = "do")]
    order: Option<String>,
    #[serde(default = "operator")]
    by: String,
    see: Option<String>,
    /// It is seen before the order comes, and no tick between.
    #[serde(default)]
    see_first: bool,
    /// When a reading was made, where it arrives later than that.
    seen_at: Option<i64>,
    expect: Expect,
}

fn operator() -> String {
    "olga".into()
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Expect {
    state: BTreeMap<String, String>,
    /// Actions since the step before.
    actions: Option<Vec<String>>,
    refused: Option<String>,
    said: Option<String>,
    cost: BTreeMap<String, Usd>,
    idle_cost: BTreeMap<String, Usd>,
    burn: Option<Usd>,
    weights: Option<BTreeMap<String, u32>>,
    finding: Option<String>,
    no_findings: bool,
    audit: Option<String>,
    pinned: BTreeMap<String, bool>,
    takes_traffic: BTreeMap<String, bool>,
    idle_left: BTreeMap<String, i64>,
    left: BTreeMap<String, i64>,
    /// Of the step's own order, asked before it is carried out.
    preview_burn: Option<(Usd, Usd)>,
    preview_what: Option<String>,
    confirm: Option<bool>,
    affected: Option<u32>,
    warning: Option<String>,
}

impl Story {
    /// Plays it and says what was not as told.
    pub(crate) fn tell(&self) -> Vec<String> {
        let mut fleet = self.fleet();
        let mut wrong = Vec::new();
        let mut second = 0;
        // Whoever follows from elsewhere sees the same at every step.
        let mut last = fleet.clone();
        let mut afar = over_the_wire(&fleet);
        for (i, step) in self.step.iter().enumerate() {
            let place = format!("step {} at {} s", i + 1, step.at);
            if step.expect == Expect::default() {
                wrong.push(format!("{place}: it expects nothing"));
            }
            let mut actions = Vec::new();
            while second < step.at {
                second += 1;
                actions.extend(fleet.tick(at(second)));
            }
            let mut check = Check {
                place,
                wrong: &mut wrong,
            };
            let mut answer = None;
            if let Some(see) = step.see.as_ref().filter(|_| step.see_first) {
                actions.extend(fleet.observe(observation(see, at(step.at))));
            }
            if let Some(order) = &step.order {
                let command = command(order, &fleet);
                let seen = preview(&fleet, &command);
                if let Some(told) = &step.expect.preview_what {
                    check.contains("preview_what", &seen.what.join("\n"), told);
                }
                if let Some(burn) = step.expect.preview_burn {
                    check.same("preview_burn", &seen.burn, &Some(burn));
                }
                if let Some(confirm) = step.expect.confirm {
                    check.same("confirm", &seen.confirm, &confirm);
                }
                if let Some(affected) = step.expect.affected {
                    check.same("affected", &seen.affected, &affected);
                }
                if let Some(warning) = &step.expect.warning {
                    check.contains("warning", &seen.warnings.join("; "), warning);
                }
                let by = if step.by == "request" {
                    Actor::Request
                } else {
                    Actor::Operator(step.by.clone())
                };
                let (result, more) = fleet.order(&command, &by, at(step.at));
                check.same(
                    "the preview's refusal",
                    &seen.refused.is_some(),
                    &result.is_err(),
                );
                actions.extend(more);
                answer = Some(result);
            }
            if let Some(see) = step.see.as_ref().filter(|_| !step.see_first) {
                actions
                    .extend(fleet.observe(observation(see, at(step.seen_at.unwrap_or(step.at)))));
            }
            actions.extend(fleet.tick(at(step.at)));
            match answer {
                Some(Err(refusal)) => match &step.expect.refused {
                    Some(text) => check.contains("refused", &refusal.to_string(), text),
                    None => check.fail(format!("refused: {refusal}")),
                },
                Some(Ok(receipt)) => {
                    if let Some(text) = &step.expect.refused {
                        check.fail(format!("not refused ({text}): {}", receipt.said));
                    }
                    if let Some(text) = &step.expect.said {
                        check.contains("said", &receipt.said, text);
                    }
                }
                None => {}
            }
            check.all(&fleet, &actions, &step.expect);
            let change = over_the_wire(&Change::between(&last, &fleet));
            afar = change.apply(&afar).unwrap();
            let (sees, is) = (
                serde_json::to_value(&afar).unwrap(),
                serde_json::to_value(&fleet).unwrap(),
            );
            for (part, is) in is.as_object().unwrap() {
                check.same(&format!("seen from afar, {part}"), &&sees[part], &is);
            }
            last = fleet.clone();
        }
        wrong
    }

    fn fleet(&self) -> Fleet {
        let backends: Vec<_> = self.backend.iter().map(|g| Arc::new(g.build())).collect();
        let mut models: Vec<Arc<Model>> = Vec::new();
        for b in &backends {
            if !models.iter().any(|m| m.id == b.model) {
                models.push(Arc::new(Model {
                    id: b.model.clone(),
                    backends: backends
                        .iter()
                        .filter(|o| o.model == b.model)
                        .map(|o| o.id.clone())
                        .collect(),
                    cold: ColdPolicy::Wait,
                    data_path: if self.self_hosted_only {
                        DataPath::SelfHosted
                    } else {
                        DataPath::Any
                    },
                    rules: Vec::new(),
                    max_waiting: MAX_WAITING,
                    choose_backend: true,
                    evals: Vec::new(),
                    routes: Vec::new(),
                }));
            }
        }
        Fleet {
            name: "story".into(),
            speed: 1,
            started: at(0),
            now: at(0),
            gateway: None,
            fixed_per_month: self.fixed_per_month.unwrap_or_default(),
            models,
            backends,
            requests: VecDeque::new(),
            answered: 0,
            failed: 0,
            audit: VecDeque::new(),
            findings: Vec::new(),
            history: Arc::default(),
            undo: VecDeque::new(),
            not_recorded: None,
            config_refused: None,
            machine: None,
            clusters: Vec::new(),
            namespace: None,
            past: std::sync::Arc::default(),
            dropped: 0,
        }
    }
}

impl Given {
    fn build(&self) -> Backend {
        let since = at(0);
        let state = match self.state.as_str() {
            "asleep" => State::Asleep { since },
            "warm" => State::Warm { since },
            "ready" => State::Ready { since },
            "unknown" => State::Unknown { since },
            "failed" => State::Failed(Failure {
                since,
                reason: "as told".into(),
                stage: None,
                allocated: false,
            }),
            other => panic!("no state `{other}` to begin with"),
        };
        let kind = if self.hosted {
            Kind::Hosted(Hosted {
                provider: "p".into(),
                price: self.price,
            })
        } else {
            Kind::SelfHosted(SelfHosted {
                rate: self.rate,
                capacity: self.capacity,
                replicas: 1,
                sleep: self.sleep,
                startable: self.sleep == SleepWay::Release,
                idle_after: self.idle_after.map(TimeDelta::seconds),
                schedule: self.keep_warm.as_ref().map(|hours| Schedule {
                    zone: chrono_tz::UTC,
                    windows: vec![hours.parse().unwrap()],
                }),
                budget: TimeDelta::seconds(self.budget),
                cap: TimeDelta::seconds(self.cap),
                grace: TimeDelta::seconds(self.grace),
                group: self.group.as_deref().map(|name| Group {
                    name: name.into(),
                    fits: self.fits,
                }),
                hardware: "gpu".into(),
                expected: self
                    .expected
                    .iter()
                    .map(|(stage, s)| (*stage, TimeDelta::seconds(*s)))
                    .collect(),
                ceiling: None,
            })
        };
        Backend {
            id: self.id.as_str().into(),
            model: self.model.as_str().into(),
            kind,
            state,
            max_running: None,
            weight: self.weight,
            pin: self.pin.as_ref().map(|reason| Pin {
                until: None,
                exactly: None,
                reason: reason.clone(),
                by: "config".into(),
            }),
            scheduled: None,
            drained: self.drained.then(|| DrainMark {
                since,
                by: "config".into(),
            }),
            live: Live::default(),
            sample: None,
            gpus: Arc::new([]),
            ledger: Ledger {
                until: Some(since),
                ..Ledger::default()
            },
            wakes: VecDeque::new(),
            log: VecDeque::new(),
            place: None,
            doing: None,
            progress: None,
        }
    }
}

struct Check<'a> {
    place: String,
    wrong: &'a mut Vec<String>,
}

impl Check<'_> {
    fn fail(&mut self, what: impl std::fmt::Display) {
        self.wrong.push(format!("{}: {what}", self.place));
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, is: &T, told: &T) {
        if is != told {
            self.fail(format!("{what} is {is:?}, told {told:?}"));
        }
    }

    fn contains(&mut self, what: &str, is: &str, told: &str) {
        if !is.contains(told) {
            self.fail(format!("{what} is `{is}`, told `{told}`"));
        }
    }

    fn all(&mut self, fleet: &Fleet, actions: &[Action], expect: &Expect) {
        let of = |id: &str| {
            fleet
                .backend(&id.into())
                .unwrap_or_else(|| panic!("no backend {id}"))
        };
        for (id, told) in &expect.state {
            self.same(&format!("state.{id}"), &words(&of(id).state), told);
        }
        if let Some(told) = &expect.actions {
            let is: Vec<String> = actions
                .iter()
                .map(|a| match a {
                    Action::Start { backend } => format!("start {backend}"),
                    Action::Operate { plan } => format!("operate {}", plan.mark.of),
                    Action::Stop { backend } => format!("stop {backend}"),
                })
                .collect();
            self.same("actions", &is, told);
        }
        for (id, told) in &expect.cost {
            self.same(
                &format!("cost.{id}"),
                &of(id).ledger.total().nano(),
                &told.nano(),
            );
            let rows: i128 = of(id).ledger.minutes.iter().map(|m| m.cost.pico()).sum();
            if (rows - of(id).ledger.total().pico()).abs() > of(id).ledger.minutes.len() as i128 {
                self.fail(format!(
                    "the minutes of {id} do not add up: {rows} of {:?}",
                    of(id).ledger.total()
                ));
            }
        }
        for (id, told) in &expect.idle_cost {
            self.same(
                &format!("idle_cost.{id}"),
                &of(id).ledger.idle.total().nano(),
                &told.nano(),
            );
        }
        if let Some(told) = expect.burn {
            self.same("burn", &fleet.burn(), &Some(told));
        }
        if let Some(told) = &expect.weights {
            let is: BTreeMap<String, u32> = fleet
                .backends
                .iter()
                .map(|b| (b.id.to_string(), b.weight))
                .collect();
            self.same("weights", &is, told);
        }
        if let Some(told) = &expect.finding {
            let all: Vec<_> = fleet.findings.iter().map(|f| f.what.as_str()).collect();
            self.contains("findings", &all.join("; "), told);
        }
        if expect.no_findings && !fleet.findings.is_empty() {
            self.fail(format!("findings: {:?}", fleet.findings));
        }
        if let Some(told) = &expect.audit {
            let last = fleet.audit.back().map_or(String::new(), |e| {
                format!("{} {} {}: {}", e.by.name(), e.verb, e.target, e.result)
            });
            self.contains("audit", &last, told);
        }
        for (id, told) in &expect.pinned {
            self.same(&format!("pinned.{id}"), &of(id).pin.is_some(), told);
        }
        for (id, told) in &expect.takes_traffic {
            self.same(
                &format!("takes_traffic.{id}"),
                &of(id).takes_traffic(),
                told,
            );
        }
        for (id, told) in &expect.idle_left {
            let is = of(id).idle_left(fleet.now).map(|t| t.num_seconds());
            self.same(&format!("idle_left.{id}"), &is, &Some(*told));
        }
        for (id, told) in &expect.left {
            let is = of(id)
                .estimate(fleet.now)
                .map(|e| e.left_median.num_seconds());
            self.same(&format!("left.{id}"), &is, &Some(*told));
        }
    }
}

fn at(second: i64) -> DateTime<Utc> {
    "2026-11-20T22:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(second)
}

/// A state in words: `waking load 61%`, `draining`, `stopping`, `failed`.
fn words(state: &State) -> String {
    match state {
        State::Waking(wake) => wake.current().map_or("waking".into(), |s| match s.percent {
            Some(percent) => format!("waking {} {percent:.0}%", s.stage.word()),
            None => format!("waking {}", s.stage.word()),
        }),
        State::Draining(drain) if drain.stopping => "stopping".into(),
        State::Unknown { .. }
        | State::Asleep { .. }
        | State::Warm { .. }
        | State::Draining(_)
        | State::Failed(_)
        | State::Ready { .. }
        | State::Limited { .. }
        | State::Down { .. } => state.word().into(),
    }
}

/// `wake gpu`, `pin gpu 3600 launch`, `weights m gpu=50 api=50`, `undo`.
fn command(text: &str, fleet: &Fleet) -> Command {
    let words: Vec<&str> = text.split(' ').collect();
    let backend = || words[1].into();
    match words[0] {
        "wake" => Command::Wake { backend: backend() },
        "sleep" => Command::Sleep { backend: backend() },
        "drain" => Command::Drain { backend: backend() },
        "undrain" => Command::Undrain { backend: backend() },
        "unpin" => Command::Unpin { backend: backend() },
        "pin" => Command::Pin {
            backend: backend(),
            exactly: None,
            until: words[2]
                .parse()
                .ok()
                .map(|s| fleet.now + TimeDelta::seconds(s)),
            reason: words[3..].join(" "),
        },
        "weights" => Command::Weights {
            model: words[1].into(),
            weights: words[2..]
                .iter()
                .map(|pair| {
                    let (id, weight) = pair.split_once('=').unwrap();
                    (id.into(), weight.parse().unwrap())
                })
                .collect(),
        },
        "flip" => Command::Flip {
            model: words[1].into(),
        },
        "undo" => Command::Undo,
        other => panic!("no order `{other}`"),
    }
}

fn one() -> u32 {
    1
}

/// What arrives of it as JSON.
fn over_the_wire<T: serde::Serialize + serde::de::DeserializeOwned>(sent: &T) -> T {
    serde_json::from_str(&serde_json::to_string(sent).unwrap()).unwrap()
}

#[expect(clippy::too_many_lines, reason = "one arm an observation")]
/// `healthy gpu`, `mark gpu load 61`, `page gpu running=3 waiting=0`, `request gpu in=800 out=400`, …
fn observation(text: &str, at: DateTime<Utc>) -> Observation {
    let words: Vec<&str> = text.split(' ').collect();
    let backend = words[1].into();
    let rest = words[2..].join(" ");
    let number = |name: &str| -> Option<f64> {
        words
            .iter()
            .find_map(|w| w.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    match words[0] {
        "healthy" => Observation::Health {
            backend,
            ok: true,
            at,
        },
        "silent" => Observation::Health {
            backend,
            ok: false,
            at,
        },
        "unreachable" => Observation::Unreachable {
            backend,
            reason: rest,
            at,
        },
        "sleeping" => Observation::Sleeping {
            backend,
            asleep: true,
            at,
        },
        "mark" => Observation::Log {
            backend,
            line: fleetctl::fleet::backend::LogLine {
                at,
                text: text.into(),
            },
            stage: Some(StageMark {
                stage: Stage::ALL
                    .into_iter()
                    .find(|s| s.word() == words[2])
                    .unwrap(),
                percent: words.get(3).and_then(|p| p.parse().ok()),
                hot: match words.last() {
                    Some(&"hot") => Some(true),
                    Some(&"cold") => Some(false),
                    _ => None,
                },
            }),
        },
        "exited" => Observation::Exited {
            backend,
            status: Some(1),
            reason: rest,
            at,
        },
        "page" => Observation::Engine {
            backend,
            sample: Box::new(EngineSample {
                running: number("running"),
                waiting: number("waiting"),
                finished: number("finished"),
                generation_tokens: number("tokens"),
                ..EngineSample::default()
            }),
            at,
        },
        "gateway" => Observation::Gateway {
            in_flight: words[1..]
                .iter()
                .map(|pair| {
                    let (id, n) = pair.split_once('=').unwrap();
                    (id.into(), n.parse().unwrap())
                })
                .collect(),
            held: Vec::new(),
            at,
        },
        "held" => Observation::Gateway {
            in_flight: Vec::new(),
            held: words[1..]
                .iter()
                .map(|pair| {
                    let (id, n) = pair.split_once('=').unwrap();
                    (id.into(), n.parse().unwrap())
                })
                .collect(),
            at,
        },
        "started" | "stopped" => Observation::Performed {
            action: if words[0] == "started" {
                Action::Start { backend }
            } else {
                Action::Stop { backend }
            },
            result: if rest.is_empty() { Ok(()) } else { Err(rest) },
            at,
        },
        "request" => {
            let usage = Usage {
                reasoning: 0,
                input: number("in").unwrap_or(0.0) as u64,
                cached: number("cached").unwrap_or(0.0) as u64,
                output: number("out").unwrap_or(0.0) as u64,
            };
            Observation::Request(std::sync::Arc::new(RequestRecord {
                id: "r".into(),
                at,
                model: "m".into(),
                operation: Operation::Chat,
                key: None,
                backend: Some(backend),
                route: Route::Weight,
                status: 200,
                streamed: false,
                ttft: Some(TimeDelta::milliseconds(200)),
                took: TimeDelta::zero(),
                held: None,
                usage: Some(usage),
                partial: false,
                cost: words
                    .iter()
                    .find_map(|w| w.strip_prefix("cost=")?.parse().ok()),
                error: None,
            }))
        }
        "limited" => Observation::Limited {
            backend,
            until: at + TimeDelta::seconds(words[2].parse().unwrap()),
            at,
        },
        other => panic!("nothing to see: `{other}`"),
    }
}

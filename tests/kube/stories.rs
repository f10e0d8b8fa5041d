//! The runner of `tests/scenarios/kube`: each `NAME.toml` is what there is and what happens, `NAME.txt` what comes of it.
//!
//! With `BLESS=1` the texts are written anew; they are to be read then.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleetctl::fleet::{Actor, BackendId, Command, ModelId};
use fleetctl::source::kube::{Named, Settings};
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::bench::{Bench, Open};
use super::world::{Who, is_settled};
use super::{told, yard};
use crate::fake_kube::{Call, FaultGuard, on};

const PLACE: &str = "tests/scenarios/kube";
/// The picture is as it is told within this long.
const SETTLES: Duration = Duration::from_secs(20);
/// What operations change.
const CHANGED: [&str; 11] = [
    "deployments",
    "statefulsets",
    "leaderworkersets",
    "horizontalpodautoscalers",
    "scaledobjects",
    "inferencesets",
    "inferenceservices",
    "llminferenceservices",
    "revisions",
    "httproutes",
    "aigatewayroutes",
];
/// As many at a time: each is a cluster of its own.
const AT_ONCE: usize = 24;

/// One story.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    /// What it shows.
    #[expect(dead_code, reason = "for whoever reads it")]
    about: String,
    /// What stands on the cluster, see [`yard`].
    have: Vec<String>,
    /// What happens, in order, see [`Telling::step`].
    steps: Vec<String>,
    /// Who stands still.
    #[serde(default)]
    without: Vec<Who>,
    /// Waits are so many times shorter.
    #[serde(default)]
    pace: Option<u32>,
    /// These workloads sleep in their pods, as the config says.
    #[serde(default)]
    naps: Vec<String>,
}

/// A story as it is told.
struct Telling {
    bench: Bench,
    open: Open,
    /// What was told so far.
    text: String,
    /// What is to be told, where that is known.
    wanted: Option<String>,
    /// What is under way: its verb, and its turn among those of that name.
    under_way: Option<(&'static str, usize)>,
    blessing: bool,
    /// What is held up on its way.
    slow: Option<FaultGuard>,
    /// Who holds which lease: how often that is renewed depends on the machine that tells the story.
    holders: HashMap<String, String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_goes_as_it_is_told() {
    let blessing = std::env::var_os("BLESS").is_some();
    let only = std::env::var("STORY").unwrap_or_default();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(PLACE)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|it| it == "toml"))
        .filter(|it| it.to_string_lossy().contains(&only))
        .collect();
    paths.sort();
    assert!(
        paths.len() > 40 || !only.is_empty(),
        "only {} stories were found",
        paths.len()
    );
    let mut running = JoinSet::new();
    let mut wrong = Vec::new();
    for path in paths {
        if running.len() == AT_ONCE {
            wrong.extend(running.join_next().await.and_then(outcome));
        }
        running.spawn(async move {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let result = tokio::spawn(tell(path, blessing)).await;
            let why = match result {
                Ok(None) => return None,
                Ok(Some(why)) => why,
                Err(why) => format!("it broke off: {why}"),
            };
            Some(format!("=== {name}\n{why}"))
        });
    }
    while let Some(one) = running.join_next().await {
        wrong.extend(outcome(one));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn outcome(of: Result<Option<String>, tokio::task::JoinError>) -> Option<String> {
    of.unwrap()
}

/// Tells a story; what differs from what is written, or nothing.
async fn tell(path: PathBuf, blessing: bool) -> Option<String> {
    let text = std::fs::read_to_string(&path).unwrap();
    let story: Story = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let bench = Bench::start().await;
    yard::put(&bench.fake, "node gpu-0");
    for line in &story.have {
        yard::put(&bench.fake, line);
    }
    let _world = bench.live(&story.without);
    if !story.without.contains(&Who::Kubelet) {
        bench.until("pods that are ready", is_settled).await;
    }
    let naps = |settings: &mut Settings| {
        settings.named = story.naps.iter().map(|name| napping(name)).collect();
    };
    let open = bench.paced(story.pace.unwrap_or(20), naps).await;
    open.seen_whole().await;
    let asked = |fleet: &fleetctl::fleet::Fleet| !fleet.clusters[0].permits.is_empty();
    open.see("what one may do", asked).await;
    bench.fake.take_calls();
    let mut telling = Telling {
        bench,
        open,
        text: String::new(),
        wanted: std::fs::read_to_string(path.with_extension("txt")).ok(),
        under_way: None,
        blessing,
        slow: None,
        holders: HashMap::new(),
    };
    for step in &story.steps {
        telling.step(step).await;
    }
    telling.end(&path)
}

/// A workload whose engines sleep in their pods.
fn napping(name: &str) -> Named {
    Named {
        namespace: yard::HERE.into(),
        name: name.into(),
        model: None,
        ignore: false,
        naps: true,
    }
}

impl Telling {
    /// One step: an order (`drain llm/chat`, `force drain …`, `try drain …` to rehearse, `begin drain …` not to wait), or
    /// something that happens on the cluster.
    async fn step(&mut self, step: &str) {
        let (word, rest) = step.split_once(' ').unwrap_or((step, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        let fake = &self.bench.fake;
        match word {
            "begin" => self.order(rest, false, false).await,
            "try" => self.order(rest, true, false).await,
            "end" => self.ended().await,
            // What one is told to think about twice before the order.
            "plan" => {
                let by = Actor::Operator("ana".into());
                let plan = |fleet: &fleetctl::fleet::Fleet| {
                    let plan = fleet.plan(&command(rest), &by, chrono::Utc::now()).unwrap();
                    let warnings = plan.warnings.iter();
                    let told = format!("## plan {rest}\n");
                    warnings.fold(told, |told, it| format!("{told}warns: {it}\n")) + "\n"
                };
                self.settles(plan).await;
            }
            "gone" => {
                fake.delete(rest);
            }
            "merge" | "deny" => yard::put(fake, step),
            "shows" => {
                let (id, what) = rest.split_once(' ').unwrap();
                let has = |b: &fleetctl::fleet::Backend| told::backend(b).contains(what);
                self.open.sees(id, what, has).await;
            }
            // `fail PATCH httproutes 500`, so many times, with seconds for `Retry-After`.
            "fail" => {
                let n = |at: usize| words.get(at).map(|it| it.parse::<u32>().unwrap());
                for _ in 0..n(3).unwrap_or(1) {
                    let status = words[2].parse().unwrap();
                    fake.fail_next(on(words[0], words[1]), status, n(4));
                }
            }
            // Done, and the answer is lost on its way; or lost before it was done.
            "lose" => fake.lose_answer(on(words[0], words[1])),
            "hang-up" => fake.hang_up_next(on(words[0], words[1])),
            // For as long as nothing says `fast`.
            "ill" => {
                let status = words[2].parse().unwrap();
                self.slow = Some(fake.fail_while(on(words[0], words[1]), status, None));
            }
            // Held up on its way: what happens meanwhile happens before it.
            "slow" => {
                let time = Duration::from_millis(800);
                self.slow = Some(fake.delay(on(words[0], words[1]), time));
            }
            "fast" => self.slow = None,
            "await" => {
                let (method, resource) = (words[0].to_owned(), words[1].to_owned());
                let came = move |it: &crate::fake_kube::FakeKube| {
                    let mut calls = it.calls().into_iter();
                    calls.any(|call| call.method == method && call.resource == resource)
                };
                self.bench.until(step, came).await;
            }
            // So many on each of its pods; nothing goes on before that was read of all of them.
            "running" => {
                let n: u32 = words[1].parse().unwrap();
                self.bench
                    .engines
                    .set(words[0], |it| it.running = words[1].parse().unwrap());
                let read = |b: &fleetctl::fleet::Backend| {
                    let pods = b.place.as_ref().map_or(0, |it| it.serving.len() as u32);
                    pods == 0 || b.live.running == Some(n * pods)
                };
                self.open.sees(words[0], step, read).await;
            }
            "arriving" => self
                .bench
                .engines
                .set(words[0], |it| it.arriving = words[1].parse().unwrap()),
            "broken" => self.bench.engines.set(words[0], |it| it.broken = true),
            "mended" => self.bench.engines.set(words[0], |it| it.broken = false),
            "takes" => self
                .bench
                .engines
                .set(words[0], |it| it.takes = Some(words[1].parse().unwrap())),
            "level" => self
                .bench
                .engines
                .set(words[0], |it| it.level = words[1].parse().unwrap()),
            "mute" => self.bench.engines.set(words[0], |it| it.mute = true),
            _ => self.order(step, false, true).await,
        }
    }

    async fn order(&mut self, text: &str, rehearse: bool, wait: bool) {
        let command = command(text);
        let verb = command.inner().verb();
        // One of that name that is still under way ends before it.
        let before = self.under_way.filter(|(of, _)| *of == verb);
        let before = before.map_or(self.open.endings(verb), |(_, times)| times);
        self.under_way = Some((verb, before + 1));
        let heading = if rehearse { "try " } else { "" };
        let _ = writeln!(self.text, "## {heading}{text}");
        match self.open.order(command, "ana", rehearse).await {
            Ok(receipt) => {
                let _ = writeln!(self.text, "said: {}", told::unhurried(&receipt.said));
            }
            Err(refusal) => {
                self.under_way = None;
                self.calls();
                let line = format!("refused: {} ({})\n", refusal.what, refusal.hint);
                self.text.push_str(&told::timeless(&line));
                self.shows().await;
                return;
            }
        }
        if rehearse {
            self.under_way = None;
            self.calls();
            self.shows().await;
        } else if wait {
            self.ended().await;
        }
    }

    async fn ended(&mut self) {
        let (verb, times) = self.under_way.take().unwrap();
        let result = self.open.ended(verb, times).await;
        self.calls();
        let _ = writeln!(self.text, "end: {}", told::said(&result));
        self.shows().await;
    }

    /// Tells what was written. The lease is given back before the end of an operation is told, so every call is there.
    fn calls(&mut self) {
        for it in self.writes() {
            self.text.push_str(&told::call(&it));
            self.text.push('\n');
        }
    }

    /// What was written since the last time, but for renewals of a lease.
    ///
    /// Reads are not told: what is watched is in hand, so one object at a time is looked at, and only such as is needed.
    fn writes(&mut self) -> Vec<Call> {
        let calls = self.bench.fake.take_calls();
        let mut writes = Vec::new();
        for it in calls {
            // A request that wakes is no reading; whom a router knows is.
            let wakes = it.resource == "services/proxy" && !it.path.ends_with("/engines");
            if !it.is_write() && !wakes {
                assert!(is_needed(&it), "read without need: {it:?}");
                continue;
            }
            let body = it.body.as_ref().map(|it| &it["spec"]["holderIdentity"]);
            match body.and_then(serde_json::Value::as_str) {
                Some(holder) if it.resource == "leases" => {
                    let lease = it.path.rsplit('/').next().unwrap_or_default();
                    let name = it
                        .body
                        .as_ref()
                        .and_then(|it| it["metadata"]["name"].as_str());
                    let lease = name.unwrap_or(lease).to_owned();
                    let known = self.holders.insert(lease, holder.to_owned());
                    if known.as_deref() == Some(holder) && it.method != "POST" {
                        continue;
                    }
                }
                _ => {}
            }
            writes.push(it);
        }
        writes
    }

    /// Waits until the fleet is shown as it is written, or stands still.
    async fn shows(&mut self) {
        self.settles(|fleet| format!("{}\n", told::fleet(fleet)))
            .await;
    }

    /// The same of anything that is told of the fleet.
    async fn settles(&mut self, tell: impl Fn(&fleetctl::fleet::Fleet) -> String) {
        let mut snapshots = self.open.handle.snapshots.clone();
        let told = |fleet: &fleetctl::fleet::Fleet| format!("{}{}", self.text, tell(fleet));
        let mut last = told(&snapshots.borrow());
        let wanted = self.wanted.as_ref().filter(|_| !self.blessing);
        let is_right = |text: &str| wanted.is_some_and(|it| it.starts_with(text));
        let limit = if self.blessing { SETTLES / 7 } else { SETTLES };
        let _ = timeout(limit, async {
            while !is_right(&last) {
                snapshots.changed().await.unwrap();
                last = told(&snapshots.borrow_and_update());
            }
        })
        .await;
        self.text = last;
    }

    fn end(mut self, path: &Path) -> Option<String> {
        for it in self.writes() {
            let _ = writeln!(self.text, "late: {}", told::call(&it));
        }
        if self.blessing {
            std::fs::write(path.with_extension("txt"), &self.text).unwrap();
            return None;
        }
        let wanted = self.wanted.unwrap_or_default();
        if self.text == wanted {
            return None;
        }
        let mut differs = String::new();
        let lines = wanted.lines().map(Some).chain(std::iter::repeat(None));
        for (is, want) in self.text.lines().zip(lines) {
            if Some(is) != want {
                differs = format!("written: {}\nhappens: {is}\n", want.unwrap_or("the end"));
                break;
            }
        }
        Some(format!("{differs}--- all of it:\n{}", self.text))
    }
}

/// Whether an operation may read that: what it is about to change, its lease, and the pages and the log of its pods.
fn is_needed(call: &Call) -> bool {
    let pages = ["/metrics", "/health", "/v1/models", "/is_sleeping"];
    match (call.verb, &*call.resource) {
        // Whether the server is there.
        ("", _) => ["/version", "/readyz"].contains(&&*call.path),
        ("create", reviews) => reviews.ends_with("reviews"),
        ("get", "services/proxy") => call.path.ends_with("/engines"),
        ("get", "pods/proxy") => pages.iter().any(|page| call.path.ends_with(page)),
        // What is watched at all may be watched anew; nothing is listed.
        ("get", "pods/log" | "leases") | ("watch", _) => true,
        ("get", changed) => CHANGED.contains(&changed.trim_end_matches("/scale")),
        _ => false,
    }
}

/// `drain llm/chat`, `force …`, `pin llm/chat`, `weights chat llm/chat=1 llm/azure=9`, `flip chat`.
fn command(text: &str) -> Command {
    let (verb, rest) = text.split_once(' ').unwrap();
    let backend = BackendId::from(rest);
    match verb {
        "force" => Command::Force {
            command: Box::new(command(rest)),
        },
        "wake" => Command::Wake { backend },
        "sleep" => Command::Sleep { backend },
        "drain" => Command::Drain { backend },
        "undrain" => Command::Undrain { backend },
        // `pin llm/chat`, `pin llm/chat 3` for exactly so many, `pin llm/chat 2099-01-01T00:00:00Z` for so long.
        "pin" => Command::Pin {
            exactly: rest.split(' ').find_map(|it| it.parse().ok()),
            until: rest.split(' ').find_map(|it| it.parse().ok()),
            backend: rest.split(' ').next().unwrap().into(),
            reason: "demo".into(),
        },
        "unpin" => Command::Unpin { backend },
        "flip" => Command::Flip {
            model: ModelId::from(rest),
        },
        "weights" => {
            let mut words = rest.split_whitespace();
            let model = ModelId::from(words.next().unwrap());
            let weight = |it: &str| {
                let (id, weight) = it.split_once('=').unwrap();
                (BackendId::from(id), weight.parse().unwrap())
            };
            Command::Weights {
                model,
                weights: words.map(weight).collect(),
            }
        }
        other => panic!("nobody knows how to {other}"),
    }
}

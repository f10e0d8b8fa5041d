//! What stands in the way of pods, in plain words with what to do.

use chrono::TimeDelta;

use super::lost::Loss;
use super::object::{Claim, Container, Event, Node, Pod};
use super::stage::serving_of;
use crate::fleet::cluster::place::Trouble;
use crate::source::engine_log::clean;

/// Restarts of an engine that never was ready after which it does not get better by itself.
const HOPELESS: u32 = 2;
/// One that ran for this long had started.
const WELL: TimeDelta = TimeDelta::minutes(30);
/// What engines say when the GPU's memory does not suffice.
const MEMORY: [&str; 4] = [
    "CUDA out of memory",
    "No available memory for the cache",
    "GPU memory",
    "out of GPU memory",
];
/// Letters of what somebody else says that are passed on.
const QUOTED: usize = 160;

/// What is wrong, and whether it does not get better by itself.
pub(super) struct Wrong {
    pub trouble: Trouble,
    pub hopeless: bool,
}

/// What stands in the way of a pod that is not ready; `None` where nothing does.
pub(super) fn of(
    pod: &Pod,
    events: &[&Event],
    serving: &str,
    probe_allows: Option<u32>,
    said: Option<&str>,
) -> Option<Wrong> {
    for init in &pod.init {
        let who = format!("its init container {}", init.name);
        let found = of_container(init, &who, events, None, None);
        if let Some(found) = found.or_else(|| ended(init)) {
            return Some(found);
        }
    }
    let container = serving_of(pod, serving);
    let found = container.and_then(|it| of_container(it, ENGINE, events, probe_allows, said));
    if found.is_some() {
        return found;
    }
    // What goes on beside the engine is no part of it, but holds it up where it never comes up itself.
    let waits = container.is_none_or(|it| it.state.running.is_none());
    let held_up = pod.sidecars.iter().find_map(|it| {
        let who = format!("its sidecar {}", it.name);
        it.state.waiting.as_ref()?;
        of_container(it, &who, events, None, None)
    });
    held_up
        .filter(|_| waits)
        .map(|it| Wrong {
            hopeless: false,
            ..it
        })
        .or_else(|| unscheduled(pod, events))
}

/// Who ends, where it is the one that serves.
const ENGINE: &str = "its engine";

/// Its machine does not answer.
pub(super) fn unanswered(node: &Node) -> Wrong {
    let since = node.since.map_or(String::new(), |it| {
        format!(" since {}", it.format("%H:%M:%S"))
    });
    wrong(
        format!("its machine {} is NotReady{since}", node.meta.name),
        "take its weight off (r): its pods are made elsewhere about 5 minutes after that, where there is room",
        true,
    )
}

/// A pod that somebody ended: a machine that goes, the kubelet, the scheduler.
pub(super) fn taken_away(loss: &Loss) -> Wrong {
    let (from, hint) = match &loss.machine {
        Some((name, true)) => (
            format!(" from the spot machine {name}"),
            "spot machines are taken back at any time; the hosted side carries on until a new pod is ready",
        ),
        Some((_, false)) => (
            String::new(),
            "the hosted side carries on until a new pod is ready",
        ),
        None => (
            String::new(),
            "on spot machines this happens; the hosted side carries on until a new pod is ready",
        ),
    };
    let (reason, said) = (&loss.reason, quote(&loss.message));
    let what = format!("its pod was taken away{from} ({reason}): {said}");
    wrong(what, hint, false)
}

/// The same with what it came of.
pub(super) fn after(before: Option<Wrong>, now: Option<Wrong>) -> Option<Wrong> {
    match (before, now) {
        (Some(before), Some(now)) if before.trouble != now.trouble => Some(Wrong {
            trouble: Trouble {
                what: format!("{}; {}", now.trouble.what, before.trouble.what).into(),
                ..now.trouble
            },
            ..now
        }),
        (before, now) => now.or(before),
    }
}

/// A container that cannot start, or ended.
fn of_container(
    it: &Container,
    who: &str,
    events: &[&Event],
    probe_allows: Option<u32>,
    log: Option<&str>,
) -> Option<Wrong> {
    let waiting = it.state.waiting.as_ref();
    let reason = waiting.map_or("", |it| &*it.reason);
    let said = waiting.map_or("", |it| &*it.message);
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            Some(wrong(
                format!(
                    "{}image cannot be pulled ({reason}): {}",
                    whose(who),
                    quote(said)
                ),
                "check the image's name and tag, and the pull secret",
                false,
            ))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Some(wrong(
            format!(
                "{}container cannot be made ({reason}): {}",
                whose(who),
                quote(said)
            ),
            "check the Secrets, ConfigMaps and volumes that it names",
            false,
        )),
        _ => {
            let loops = reason == "CrashLoopBackOff" || it.restart_count >= 1;
            loops
                .then(|| crashed(it, who, events, probe_allows, log))
                .flatten()
        }
    }
}

/// An engine that ended and is started again.
fn crashed(
    it: &Container,
    who: &str,
    events: &[&Event],
    probe_allows: Option<u32>,
    log: Option<&str>,
) -> Option<Wrong> {
    let last = it
        .last_state
        .terminated
        .as_ref()
        .or(it.state.terminated.as_ref())?;
    let times = match it.restart_count {
        1 => "once".to_owned(),
        n => format!("{n} times"),
    };
    if last.was_lost() {
        return Some(wrong(
            format!(
                "{who} was lost with its machine or the container runtime there, and starts anew"
            ),
            "nothing, where that was meant: its stages say how far it is",
            false,
        ));
    }
    // Restarts are counted for as long as the pod stands: one that ran for long is not in a loop.
    let ran_well = last.lasted().is_some_and(|it| it > WELL);
    let hopeless = it.restart_count >= HOPELESS && !ran_well;
    let killed_by_probe = || {
        let of = |it: &Event| &*it.reason == "Killing" && it.note.contains("startup probe");
        who == ENGINE && events.iter().any(|it| of(it))
    };
    if last.exit_code == 137 && &*last.reason == "OOMKilled" {
        return Some(wrong(
            format!("{who} was killed for want of memory (OOMKilled), {times}"),
            "raise the memory limit: weights pass through it on their way to the GPU",
            hopeless,
        ));
    }
    if killed_by_probe() {
        let allows = probe_allows.map_or(String::new(), |s| {
            format!(" after {}:{:02}", s / 60, s % 60)
        });
        return Some(wrong(
            format!(
                "its startup probe kills it{allows}, {times}: it needs longer than that to load"
            ),
            "raise startupProbe.failureThreshold × periodSeconds past the time a start takes",
            hopeless,
        ));
    }
    let why = said_of_memory(&last.message).or_else(|| log.and_then(said_of_memory));
    if let (None, Some(log)) = (&why, log) {
        return Some(wrong(
            format!("{who} ended, {times}: {}", quote(log)),
            "its log has the rest (l)",
            hopeless,
        ));
    }
    Some(match why {
        Some(line) => wrong(
            format!("the GPU's memory does not suffice, {times}: {line}"),
            "lower --gpu-memory-utilization or --max-model-len, or use more GPUs",
            hopeless,
        ),
        None => wrong(
            format!(
                "{who} ended with status {} ({}), {times}{}",
                last.exit_code,
                last.reason,
                {
                    let message = quote(&last.message);
                    if message.is_empty() {
                        String::new()
                    } else {
                        format!(": {message}")
                    }
                }
            ),
            "its log says why (l)",
            hopeless,
        ),
    })
}

/// `its `, or `its sidecar istio-proxy: `.
fn whose(who: &str) -> String {
    if who == ENGINE {
        "its ".to_owned()
    } else {
        format!("{who}: its ")
    }
}

/// An init container that ended badly.
fn ended(it: &Container) -> Option<Wrong> {
    let terminated = it
        .state
        .terminated
        .as_ref()
        .filter(|it| it.exit_code != 0)?;
    Some(wrong(
        format!(
            "{} ended with status {}: {}",
            it.name,
            terminated.exit_code,
            quote(&terminated.message)
        ),
        "it fetches what the engine needs; its log says why",
        false,
    ))
}

fn said_of_memory(text: &str) -> Option<String> {
    let mut lines = text.lines();
    let line = lines.find(|it| MEMORY.iter().any(|words| it.contains(words)))?;
    Some(quote(line))
}

/// A pod that has no machine.
fn unscheduled(pod: &Pod, events: &[&Event]) -> Option<Wrong> {
    let condition = pod.condition("PodScheduled").filter(|it| !it.is_true())?;
    let newest = |reason: &str| events.iter().rev().find(|it| &*it.reason == reason);
    // An autoscaler that found nothing may find something later, and the other way round.
    let scaling = events.iter().rev().find(|it| {
        matches!(
            &*it.reason,
            "NotTriggerScaleUp" | "TriggeredScaleUp" | "Nominated"
        )
    });
    if let Some(event) = scaling.filter(|it| &*it.reason == "NotTriggerScaleUp") {
        return Some(wrong(
            format!("no machine fits and none will come: {}", quote(&event.note)),
            "check the node pool's limits, its quota, taints and the pod's node selector",
            false,
        ));
    }
    if scaling.is_some() {
        return None;
    }
    let said = newest("FailedScheduling").map_or(&*condition.message, |it| &*it.note);
    if said.is_empty() {
        return None;
    }
    Some(wrong(
        format!("no machine has room (FailedScheduling): {}", quote(said)),
        "wait for a machine to be made, or free one; `kubectl describe pod` has the whole list",
        false,
    ))
}

/// A machine that is asked for and does not come.
pub(super) fn of_claim(claim: &Claim) -> Option<Wrong> {
    let said = claim.failure()?;
    let quota = said.to_ascii_lowercase().contains("quota");
    Some(wrong(
        format!(
            "its machine {} does not come: {}",
            claim.meta.name,
            quote(said)
        ),
        if quota {
            "ask for more quota of that kind in that region, or choose another kind"
        } else {
            "choose another kind of machine or region, or wait"
        },
        false,
    ))
}

pub(super) fn wrong(what: impl AsRef<str>, hint: &str, hopeless: bool) -> Wrong {
    Wrong {
        trouble: Trouble {
            what: what.as_ref().trim_end_matches([' ', ':']).into(),
            hint: hint.into(),
        },
        hopeless,
    }
}

/// Somebody else's words: one line, not too long, nothing that a terminal obeys.
pub(super) fn quote(said: &str) -> String {
    let text = clean(said.lines().next().unwrap_or_default());
    let text = text.trim();
    if text.chars().count() <= QUOTED {
        return text.to_owned();
    }
    let cut: String = text.chars().take(QUOTED - 1).collect();
    format!("{cut}…")
}

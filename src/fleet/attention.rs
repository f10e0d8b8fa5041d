//! What needs attention now, each finding with what to do about it.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::backend::Backend;
use super::finding::{Finding, Severity};
use super::machine::span;
use super::wake::{State, Wake};
use super::{Fleet, ModelId, Usd};

/// A stage is stalled when it takes this many times what it usually does at the 95th percentile…
const STALLED: i32 = 2;
/// …and at least this long beyond it.
const STALLED_LEAST: TimeDelta = TimeDelta::seconds(20);
/// A busy engine that produced nothing for this long hangs.
const HUNG: TimeDelta = TimeDelta::seconds(60);
/// A full KV cache makes requests wait or start over.
const KV_FULL: f64 = 0.95;

impl Fleet {
    /// Since when an engine has had requests and produced nothing, where that has been too long. It may still answer its
    /// health check and its metrics page: a hung engine does.
    pub fn hangs_since(&self, b: &Backend) -> Option<DateTime<Utc>> {
        let patience = HUNG * i32::try_from(self.speed).unwrap_or(1).min(3);
        b.live
            .still_since
            .filter(|at| matches!(b.state, State::Warm { .. }) && self.now - *at >= patience)
    }
}

impl Fleet {
    /// Looks at everything again and says what needs attention, worst first.
    pub(super) fn review(&mut self) {
        let mut findings = self.look_at_clusters_first();
        findings.extend(self.backends.iter().filter_map(|b| self.look_at(b)));
        findings.extend(self.look_at_clusters());
        findings.extend(self.out_of_service());
        if let Some(why) = &self.not_recorded {
            // What happens on clusters stands there; only the account of this machine misses it.
            let severity = if self.is_on_clusters() {
                Severity::Notice
            } else {
                Severity::Critical
            };
            findings.push(Finding {
                severity,
                backend: None,
                what: why.clone(),
                keys: Vec::new(),
            });
        }
        if let Some(why) = &self.config_refused {
            findings.push(Finding {
                severity: Severity::Warning,
                backend: None,
                what: format!("the config on disk is refused, the one before is in force: {why}"),
                keys: Vec::new(),
            });
        }
        if self.dropped > 0 {
            let what = format!("{} readings were dropped: a queue was full", self.dropped);
            findings.push(Finding {
                severity: Severity::Notice,
                backend: None,
                what,
                keys: Vec::new(),
            });
        }
        findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
        self.findings = findings;
    }

    /// Models that nobody serves any more. There may be thousands of models, so backends are gone through once.
    fn out_of_service(&self) -> Vec<Finding> {
        if self.backends.iter().all(|b| b.drained.is_none()) {
            return Vec::new();
        }
        let mut drained: HashMap<&ModelId, bool> = HashMap::new();
        for b in &self.backends {
            *drained.entry(&b.model).or_insert(true) &= b.drained.is_some();
        }
        // On a cluster nobody asks for what no route leads to.
        let there = self.is_on_clusters();
        let models = self.models.iter();
        let models = models.filter(|it| !there || !it.routes.is_empty());
        let meets = if there { "fail" } else { "get 503" };
        let unserved = models.filter(|it| drained.get(&it.id).copied().unwrap_or(false));
        unserved
            .map(|model| Finding {
                severity: Severity::Critical,
                backend: model.backends.first().cloned(),
                what: format!(
                    "every backend of {} is out of service: its requests {meets}",
                    model.id
                ),
                keys: vec![('u', "undrain".into())],
            })
            .collect()
    }

    #[expect(clippy::too_many_lines, reason = "one arm a state, in one place")]
    fn look_at(&self, b: &Backend) -> Option<Finding> {
        let finding = |severity, what: String, keys: &[(char, &str)]| {
            let keys = keys
                .iter()
                .map(|(key, word)| (*key, (*word).to_owned()))
                .collect();
            Some(Finding {
                severity,
                backend: Some(b.id.clone()),
                what,
                keys,
            })
        };
        let held = if b.live.held > 0 {
            format!(", {} held", b.live.held)
        } else {
            String::new()
        };
        match &b.state {
            State::Waking(wake) if !wake.begun => {
                let blockers: Vec<String> = self
                    .in_the_way_of(b)
                    .into_iter()
                    .map(|(id, why)| format!("{id} ({why})"))
                    .collect();
                let whom = blockers.join(", ");
                finding(
                    Severity::Warning,
                    format!("waits for its GPUs: {whom} has them"),
                    &[('\n', "look")],
                )
            }
            // Why it does not go on is said with its place, and how late it is there as well.
            State::Waking(_) if b.place.as_ref().is_some_and(|it| it.trouble.is_some()) => None,
            State::Waking(wake) => self.look_at_wake(b, wake).and_then(|(severity, what)| {
                finding(
                    severity,
                    format!("{what}{held}"),
                    &[('\n', "look"), ('s', "call it off")],
                )
            }),
            State::Failed(failure) => {
                let stage = failure
                    .stage
                    .map_or(String::new(), |s| format!(" in {}", s.word()));
                let paid = match b.rate_now() {
                    Some(rate) if rate > Usd::ZERO => format!("; still billed ${rate}/h"),
                    Some(_) | None => String::new(),
                };
                let again = match (b.starts_again(), b.crash_loop()) {
                    (Some(at), _) => format!(
                        "; starts again in {}",
                        span((at - self.now).max(TimeDelta::zero()))
                    ),
                    (None, Some((times, within))) => {
                        format!(
                            "; crash loop: {times} ends in {}, not started again",
                            span(within)
                        )
                    }
                    (None, None) => String::new(),
                };
                let keys: &[(char, &str)] = if b
                    .self_hosted()
                    .is_some_and(|f| f.sleep != super::backend::SleepWay::Never)
                {
                    &[('w', "wake again"), ('l', "log")]
                } else {
                    &[('\n', "look")]
                };
                finding(
                    Severity::Critical,
                    format!("failed{stage}: {}{again}{paid}", failure.reason),
                    keys,
                )
            }
            State::Down { reason, .. } => finding(
                Severity::Critical,
                format!("down: {reason}"),
                &[('r', "routing")],
            ),
            State::Limited { until, .. } => finding(
                Severity::Warning,
                format!("limited (429) for another {}", span(*until - self.now)),
                &[('r', "routing")],
            ),
            State::Warm { .. } => {
                if let Some(at) = self.hangs_since(b) {
                    return finding(
                        Severity::Critical,
                        format!(
                            "{} running and no token for {}: it hangs",
                            b.live.running.unwrap_or(0),
                            span(self.now - at)
                        ),
                        &[('d', "drain")],
                    );
                }
                if b.live.kv.is_some_and(|kv| kv >= KV_FULL) && b.live.waiting.unwrap_or(0) > 0 {
                    let what = format!(
                        "KV cache {:.0} % full, {} waiting",
                        b.live.kv.unwrap_or(0.0) * 100.0,
                        b.live.waiting.unwrap_or(0)
                    );
                    return finding(Severity::Warning, what, &[('r', "routing")]);
                }
                if let Some(error) = &b.live.error {
                    return finding(
                        Severity::Warning,
                        format!("its figures are old: {error}"),
                        &[('\n', "look")],
                    );
                }
                None
            }
            State::Draining(drain)
                if !drain.stopping
                    && drain.deadline - self.now < TimeDelta::seconds(15)
                    && b.live.in_flight > 0 =>
            {
                finding(
                    Severity::Warning,
                    format!(
                        "{} requests are cut in {}",
                        b.live.in_flight,
                        span(drain.deadline - self.now)
                    ),
                    &[('u', "call it off")],
                )
            }
            State::Draining(_)
            | State::Unknown { .. }
            | State::Asleep { .. }
            | State::Ready { .. } => None,
        }
    }

    /// How long a wake has lasted where that is too long: `9:10, over its budget of 8:00: `.
    pub(super) fn how_late(&self, b: &Backend, wake: &Wake) -> String {
        let elapsed = self.now - wake.since;
        match b.self_hosted().filter(|_| wake.late) {
            Some(facts) => {
                let budget = span(facts.budget);
                format!("{}, over its budget of {budget}: ", span(elapsed))
            }
            None => String::new(),
        }
    }

    fn look_at_wake(&self, b: &Backend, wake: &Wake) -> Option<(Severity, String)> {
        let facts = b.self_hosted()?;
        let elapsed = self.now - wake.since;
        let of_budget = format!("{} of {} used", span(elapsed), span(facts.budget));
        let current = wake.current()?;
        let estimate = b.estimate(self.now);
        if wake.late {
            let what = format!(
                "over its budget: {} in {}, {} left to its cap",
                span(elapsed),
                current.stage.word(),
                span(facts.cap - elapsed)
            );
            return Some((Severity::Critical, what));
        }
        if let Some((median, p95)) = estimate.as_ref().and_then(|e| e.of(current.stage)) {
            let lasted = current.lasted(self.now);
            if lasted > p95 * STALLED && lasted > p95 + STALLED_LEAST {
                let what = format!(
                    "stalled {} in {}; it usually takes {}. {of_budget}",
                    span(lasted),
                    current.stage.word(),
                    span(median)
                );
                return Some((Severity::Warning, what));
            }
        }
        let left = estimate?.left_median;
        (elapsed + left > facts.budget).then(|| {
            (
                Severity::Notice,
                format!(
                    "expected over its budget: about {} left. {of_budget}",
                    span(left)
                ),
            )
        })
    }
}

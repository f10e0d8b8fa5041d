//! An operation on a cluster, as the picture shows it: begun, at a step, ended.

use chrono::{DateTime, Utc};

use super::follow::{LEAVES_WITHIN, follow};
use super::place::Place;
use super::plan::Plan;
use crate::fleet::backend::Progress;
use crate::fleet::message::{Action, Actor, Command, Receipt, Refusal};
use crate::fleet::wake::{Drain, Stage, StageSpan, State, Wake};
use crate::fleet::{BackendId, Fleet};

impl Fleet {
    /// Begins an operation on a cluster: the picture says so at once.
    pub(in crate::fleet) fn operate(
        &mut self,
        command: &Command,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<(String, Vec<Action>), Refusal> {
        let plan = self.plan(command, by, now)?;
        let gap = self.gap();
        let inner = command.inner();
        if let Some(id) = &plan.backend {
            let place = self.backend(id).and_then(|b| b.place.as_deref());
            let patience = place.map_or(super::DRAIN_PATIENCE, Place::patience);
            let state = match inner {
                Command::Wake { .. } => Some(State::Waking(asked(now, by))),
                Command::Sleep { .. } | Command::Drain { .. } => Some(State::Draining(Drain {
                    since: now,
                    by: by.name().to_owned(),
                    deadline: now + patience,
                    idle_reads: 0,
                    stopping: false,
                    was_warm: true,
                })),
                Command::Undrain { .. }
                | Command::Pin { .. }
                | Command::Unpin { .. }
                | Command::Weights { .. }
                | Command::Flip { .. }
                | Command::Undo
                | Command::Force { .. } => None,
            };
            let first = plan.steps.first().map(|it| it.step.words());
            let progress = first.as_ref().map(|_| Progress {
                op: inner.verb().to_owned(),
                step: 1,
                of: u32::try_from(plan.steps.len()).unwrap_or(u32::MAX),
                since: now,
                step_since: now,
                asks: false,
            });
            self.change(id, |b| {
                b.accrue(now, gap);
                let asleep = matches!(b.state, State::Asleep { .. } | State::Failed(_));
                match (state, inner) {
                    // One that sleeps has nothing to end.
                    (Some(_), Command::Sleep { .. } | Command::Drain { .. }) if asleep => {}
                    (Some(state), _) => b.state = state,
                    (None, _) => {}
                }
                b.doing = first;
                b.progress = progress;
            });
        }
        let said = if let Command::Wake { backend } = inner {
            format!("waking{}", self.expectation(backend))
        } else {
            let n = plan.writes().count();
            let calls = if n == 1 { "call" } else { "calls" };
            format!("begun: {n} {calls} on {}", plan.cluster)
        };
        Ok((
            said,
            vec![Action::Operate {
                plan: Box::new(plan),
            }],
        ))
    }

    /// An operation ended.
    pub(in crate::fleet) fn operated(
        &mut self,
        plan: &Plan,
        result: &Result<(), String>,
        at: DateTime<Utc>,
    ) {
        let now = self.now.max(at);
        self.now = now;
        let target = match &plan.backend {
            Some(id) => self
                .backend(id)
                .map_or_else(|| id.to_string(), |b| b.full_name()),
            None => plan.mark.of.clone(),
        };
        let (said, bad) = match result {
            Ok(()) => (format!("done on {}", plan.cluster), false),
            Err(why) => (why.clone(), true),
        };
        self.tell(&target, plan.command.inner().verb(), said, bad, now);
        if let Some(id) = &plan.backend {
            let gap = self.gap();
            self.change(id, |b| {
                b.accrue(now, gap);
                b.doing = None;
                b.progress = None;
                let command = plan.command.inner();
                if result.is_ok() && matches!(command, Command::Undrain { .. }) {
                    // Whatever drained it was ended for this.
                    if matches!(b.state, State::Draining(_)) {
                        b.state = State::Unknown { since: now };
                    }
                    if let Some(place) = b.place.clone() {
                        follow(b, &place, now);
                    }
                }
                if result.is_ok()
                    && matches!(command, Command::Sleep { .. } | Command::Drain { .. })
                    && let State::Draining(drain) = &mut b.state
                {
                    // What was written shows in the pods by then, or somebody else took it back.
                    drain.deadline = now + LEAVES_WITHIN;
                }
                if result.is_err() {
                    // What is, is what the pods say: nothing is known until they are looked at again. What another
                    // operation does meanwhile stays its own.
                    let mine = match &b.state {
                        State::Waking(wake) => {
                            wake.by == plan.mark.by
                                && matches!(plan.command.inner(), Command::Wake { .. })
                        }
                        State::Draining(drain) => {
                            drain.by == plan.mark.by
                                && !matches!(plan.command.inner(), Command::Wake { .. })
                        }
                        _ => false,
                    };
                    if mine {
                        b.state = State::Unknown { since: now };
                    }
                    if let Some(place) = b.place.clone() {
                        follow(b, &place, now);
                    }
                }
            });
        }
        self.review();
    }

    /// An operation came to its next step.
    pub(in crate::fleet) fn came_to(
        &mut self,
        id: &BackendId,
        words: String,
        (step, of): (u32, u32),
        stopping: bool,
        asks: bool,
    ) {
        let now = self.now;
        self.change(id, |b| {
            b.doing = Some(words);
            if let Some(progress) = &mut b.progress {
                if (progress.step, progress.of) != (step, of) {
                    progress.step = step;
                    progress.of = of;
                    progress.step_since = now;
                }
                progress.asks = asks;
            }
            if stopping && let State::Draining(drain) = &mut b.state {
                drain.stopping = true;
            }
        });
    }

    /// A receipt for what was only tried: the API took it and changed nothing.
    pub fn rehearsed(plan: &Plan) -> Receipt {
        let n = plan.writes().count();
        let calls = if n == 1 { "call" } else { "calls" };
        Receipt {
            said: format!("{} accepts it (dry run of {n} {calls})", plan.cluster),
            undoable: false,
        }
    }
}

fn asked(now: DateTime<Utc>, by: &Actor) -> Wake {
    Wake {
        since: now,
        by: by.name().to_owned(),
        stages: vec![StageSpan {
            stage: Stage::Queued,
            began: now,
            ended: None,
            percent: None,
        }],
        hot: None,
        late: false,
        begun: true,
    }
}

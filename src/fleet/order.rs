//! Commands: what an operator, a request or a policy asks for, carried out or refused.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::backend::{DrainMark, Pin, SleepWay};
use super::figures;
use super::machine::{self, Input};
use super::message::{Action, Actor, AuditEntry, Command, Receipt, Refusal, RefusalKind, Undoable};
use super::model::DataPath;
use super::wake::State;
use super::{AUDIT_KEPT, Backend, BackendId, Fleet, ModelId, UNDO_KEPT};

/// The largest weight: enough for a hundredth of a percent.
const MOST_WEIGHT: u32 = 10_000;

/// What came of a command: the answer for who asked, and what is to be performed.
pub type Ordered = (Result<Receipt, Refusal>, Vec<Action>);

/// Letters of a pin's reason: a line.
const LONGEST_REASON: usize = 200;

impl Fleet {
    /// A time of the next days by its weekday, a later one by its date.
    fn day(&self, at: DateTime<Utc>) -> String {
        let near = at - self.now < chrono::TimeDelta::days(6);
        at.format(if near { "%a %H:%M" } else { "%Y-%m-%d %H:%M" })
            .to_string()
    }

    /// Carries out a command at `now`, or refuses it and says why. Either way the audit knows.
    pub fn order(&mut self, command: &Command, by: &Actor, now: DateTime<Utc>) -> Ordered {
        self.now = self.now.max(now);
        let (verb, target) = (command.verb(), self.target_of(command));
        let restore = self.inverse(command);
        match self.carry_out(command, by, now) {
            Ok((said, actions)) => {
                self.write(AuditEntry {
                    at: now,
                    by: by.clone(),
                    verb: verb.into(),
                    target: target.clone(),
                    result: said.clone(),
                    bad: false,
                });
                let undoable = matches!(by, Actor::Operator(_)) && !restore.is_empty();
                if undoable {
                    if self.undo.len() == UNDO_KEPT {
                        self.undo.pop_front();
                    }
                    self.undo.push_back(Arc::new(Undoable {
                        at: now,
                        what: format!("{verb} of {target}"),
                        restore,
                    }));
                }
                self.review();
                (Ok(Receipt { said, undoable }), actions)
            }
            Err(refusal) => {
                // A held request asks again and again while a wake cannot begin; once is enough for the record.
                if *by != Actor::Request {
                    self.write(AuditEntry {
                        at: now,
                        by: by.clone(),
                        verb: verb.into(),
                        target,
                        result: format!("refused: {}", refusal.what),
                        bad: true,
                    });
                }
                (Err(refusal), Vec::new())
            }
        }
    }

    /// Why `command` would be refused now; `None` when it would not.
    pub fn refusal(&self, command: &Command) -> Option<Refusal> {
        if let Err(refusal) = self.check(command) {
            return Some(refusal);
        }
        if !self.is_on_clusters() || matches!(command.inner(), Command::Undo) {
            return None;
        }
        let nobody = Actor::Operator(String::new());
        self.plan(command, &nobody, self.now).err()
    }

    #[expect(clippy::too_many_lines, reason = "one arm a command, in one place")]
    fn carry_out(
        &mut self,
        command: &Command,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<(String, Vec<Action>), Refusal> {
        self.check(command)?;
        if self.is_on_clusters() && !matches!(command.inner(), Command::Undo) {
            return self.operate(command, by, now);
        }
        let name = by.name().to_owned();
        Ok(match command {
            Command::Wake { backend } => (
                format!("waking{}", self.expectation(backend)),
                self.feed(backend, Input::Wake { by: name }, now),
            ),
            Command::Sleep { backend } => {
                let lifted = self.change(backend, |b| b.pin.take()).flatten().is_some();
                let actions = self.feed(backend, Input::Drain { by: name }, now);
                (
                    format!(
                        "going to sleep{}{}",
                        self.left_of(backend),
                        if lifted { "; its pin is lifted" } else { "" }
                    ),
                    actions,
                )
            }
            Command::Drain { backend } => {
                let lifted = self.change(backend, |b| {
                    b.drained = Some(DrainMark {
                        since: now,
                        by: name.clone(),
                    });
                    b.pin.take()
                });
                let actions = self.feed(backend, Input::Drain { by: name }, now);
                let lifted = if lifted.flatten().is_some() {
                    "; its pin is lifted"
                } else {
                    ""
                };
                (
                    format!("out of service{}{lifted}", self.left_of(backend)),
                    actions,
                )
            }
            Command::Undrain { backend } => {
                self.change(backend, |b| b.drained = None);
                let asleep = self
                    .backend(backend)
                    .is_some_and(|b| matches!(b.state, State::Asleep { .. }));
                if asleep {
                    (
                        format!("back in service, waking{}", self.expectation(backend)),
                        self.feed(backend, Input::Wake { by: name }, now),
                    )
                } else {
                    (
                        "back in service".into(),
                        self.feed(backend, Input::Undrain, now),
                    )
                }
            }
            Command::Pin {
                backend,
                until,
                exactly,
                reason,
            } => {
                let pin = Pin {
                    until: *until,
                    exactly: *exactly,
                    reason: reason.clone(),
                    by: name,
                };
                let said = match until {
                    Some(until) => format!("pinned until {}: {reason}", self.day(*until)),
                    None => format!("pinned until it is lifted: {reason}"),
                };
                self.change(backend, |b| b.pin = Some(pin));
                let cold = self
                    .backend(backend)
                    .is_some_and(|b| matches!(b.state, State::Asleep { .. } | State::Failed(_)));
                let actions = if cold {
                    self.feed(backend, Input::Wake { by: "pin".into() }, now)
                } else {
                    Vec::new()
                };
                (said, actions)
            }
            Command::Unpin { backend } => {
                self.change(backend, |b| b.pin = None);
                ("pin lifted".into(), Vec::new())
            }
            Command::Weights { model, weights } => (self.set_weights(model, weights), Vec::new()),
            Command::Flip { model } => {
                let flipped = self.flipped(model);
                (self.set_weights(model, &flipped), Vec::new())
            }
            Command::Undo => {
                // Newer ones that can no longer be undone are moot: a pin that is over, a sleeper that was woken.
                let Some((at, entry)) = self.next_undo() else {
                    return Err(nothing_to_undo());
                };
                let entry = Arc::clone(entry);
                self.undo.truncate(at);
                let mut actions = Vec::new();
                for step in &entry.restore {
                    match self.carry_out(step, by, now) {
                        Ok((_, more)) => actions.extend(more),
                        Err(refusal) => {
                            return Err(Refusal {
                                what: format!("{} cannot be undone: {}", entry.what, refusal.what),
                                ..refusal
                            });
                        }
                    }
                }
                (format!("undid {}", entry.what), actions)
            }
            // Here nothing is refused that could be forced.
            Command::Force { command } => return self.carry_out(command, by, now),
        })
    }

    /// Every rule that refuses a command, in one place.
    #[expect(
        clippy::too_many_lines,
        reason = "every rule that refuses, in one place"
    )]
    fn check(&self, command: &Command) -> Result<(), Refusal> {
        let refuse = |what: String, hint: &str| {
            Err(Refusal {
                kind: RefusalKind::Refused,
                what,
                hint: hint.to_owned(),
            })
        };
        let own = |id: &BackendId, verb: &str| {
            let backend = self.find(id)?;
            if backend.is_hosted() {
                return Err(Refusal {
                    kind: RefusalKind::Refused,
                    what: format!("{id} is hosted and cannot {verb}"),
                    hint: if self.is_on_clusters() {
                        "r changes its weight".into()
                    } else {
                        "drain it, or change its weight".into()
                    },
                });
            }
            Ok(backend)
        };
        match command {
            Command::Wake { backend } => {
                let b = own(backend, "be woken")?;
                if b.drained.is_some() {
                    return refuse(
                        format!("{backend} is out of service"),
                        "undrain it first (u)",
                    );
                }
                match &b.state {
                    // Whoever began it is gone: its end is still to be made.
                    State::Warm { .. } | State::Waking(_) if b.is_left("wake") => Ok(()),
                    State::Warm { .. } => {
                        refuse(format!("{backend} is warm already"), "nothing to do")
                    }
                    State::Draining(drain) if drain.stopping => refuse(
                        format!("{backend} is on its way to sleep"),
                        "wake it when it sleeps",
                    ),
                    State::Waking(_) => refuse(
                        format!("{backend} is waking already"),
                        "its stages are on the Backend screen (enter) and in `fleetctl status`",
                    ),
                    _ if b.sleep_way() == SleepWay::Never => refuse(
                        format!("nothing here can start {backend}"),
                        "give it a launcher or a sleep level in the config",
                    ),
                    _ => Ok(()),
                }
            }
            Command::Sleep { backend } => {
                let b = own(backend, "sleep")?;
                match &b.state {
                    _ if b.sleep_way() == SleepWay::Never => refuse(
                        format!("nothing here can put {backend} to sleep"),
                        "drain it instead, or give it a launcher or a sleep level in the config",
                    ),
                    // What is told to keep it up would bring it back.
                    State::Asleep { .. } if b.is_forced_up() => Ok(()),
                    State::Asleep { .. } => {
                        refuse(format!("{backend} is asleep already"), "nothing to do")
                    }
                    State::Draining(_) => refuse(
                        format!("{backend} is draining already"),
                        "it sleeps when its requests have finished",
                    ),
                    State::Failed(f) if !f.allocated => refuse(
                        format!("{backend} failed and holds nothing"),
                        "wake it again (w)",
                    ),
                    _ => Ok(()),
                }
            }
            Command::Drain { backend } => {
                if self.find(backend)?.drained.is_some() {
                    return refuse(
                        format!("{backend} is out of service already"),
                        "undrain it first (u)",
                    );
                }
                Ok(())
            }
            Command::Undrain { backend } => {
                let b = self.find(backend)?;
                // One that somebody began and left on a cluster is rolled back the same way.
                let left = b.place.as_ref().and_then(|it| it.mark.as_ref());
                let left =
                    left.is_some_and(|it| matches!(&*it.op, "drain" | "undrain") && it.is_open());
                let begun = matches!(&b.state, State::Draining(d) if !d.stopping);
                if b.drained.is_none() && !begun && !left {
                    return refuse(format!("{backend} is not drained"), "nothing to do");
                }
                Ok(())
            }
            Command::Pin {
                backend,
                until,
                exactly,
                reason,
            } => {
                let b = own(backend, "be pinned")?;
                if reason.trim().is_empty() {
                    return refuse("a pin needs a reason".into(), "say why, for who finds it");
                }
                if reason.chars().any(char::is_control) || reason.chars().count() > LONGEST_REASON {
                    return refuse(
                        format!("the reason is no line of at most {LONGEST_REASON} letters"),
                        "say it shorter, without control characters",
                    );
                }
                if until.is_some_and(|until| until <= self.now) {
                    return refuse(
                        "the pin would end in the past".into(),
                        "give it a time to come",
                    );
                }
                if b.drained.is_some() {
                    return refuse(
                        format!("{backend} is out of service"),
                        "undrain it first (u), then pin it",
                    );
                }
                if exactly.is_some() && b.place.is_none() {
                    return refuse(
                        format!("{backend} has no number of replicas"),
                        "pin it without one: it is kept warm",
                    );
                }
                if b.sleep_way() == SleepWay::Never && matches!(b.state, State::Failed(_)) {
                    return refuse(
                        format!("nothing here can start {backend}"),
                        "give it a launcher or a sleep level in the config",
                    );
                }
                Ok(())
            }
            Command::Unpin { backend } => {
                if self.find(backend)?.pin.is_none() {
                    return refuse(format!("{backend} is not pinned"), "nothing to do");
                }
                Ok(())
            }
            Command::Weights { model, weights } => self.check_weights(model, weights),
            Command::Flip { model } => {
                let Some(m) = self.model(model) else {
                    return Err(no_model(model));
                };
                if m.data_path == DataPath::SelfHosted {
                    return refuse(
                        format!("{model} may only use self-hosted backends"),
                        "its data path is set in the config",
                    );
                }
                let hosted = self.backends_of(model).filter(|b| b.is_hosted()).count();
                if hosted == 0 || hosted == self.backends_of(model).count() {
                    return refuse(
                        format!("{model} has only one side"),
                        "a flip needs a hosted and a self-hosted backend",
                    );
                }
                self.check_weights(model, &self.flipped(model))
            }
            Command::Undo => match (self.next_undo(), self.undo.back()) {
                (Some(_), _) => Ok(()),
                (None, Some(entry)) => self.may_undo(entry),
                (None, None) => Err(nothing_to_undo()),
            },
            Command::Force { command } => self.check(command),
        }
    }

    /// Whether all that restores what stood before can be done. Each step may need the one before it: they are tried in
    /// order on a copy.
    fn may_undo(&self, entry: &Undoable) -> Result<(), Refusal> {
        let mut copy = self.clone();
        let nobody = Actor::Operator(String::new());
        let mut steps = entry.restore.iter();
        steps.try_for_each(|step| copy.carry_out(step, &nobody, self.now).map(|_| ()))
    }

    /// The newest that can be undone, and its place.
    pub(super) fn next_undo(&self) -> Option<(usize, &Arc<Undoable>)> {
        let mut newest_first = self.undo.iter().enumerate().rev();
        newest_first.find(|(_, entry)| self.may_undo(entry).is_ok())
    }

    fn check_weights(&self, model: &ModelId, weights: &[(BackendId, u32)]) -> Result<(), Refusal> {
        let refuse = |what: String, hint: &str| {
            Err(Refusal {
                kind: RefusalKind::Refused,
                what,
                hint: hint.to_owned(),
            })
        };
        let Some(m) = self.model(model) else {
            return Err(no_model(model));
        };
        if let Some((stranger, _)) = weights.iter().find(|(id, _)| !m.backends.contains(id)) {
            return refuse(
                format!("{stranger} does not answer for {model}"),
                "name one of its own backends",
            );
        }
        let after = |b: &Backend| {
            weights
                .iter()
                .find(|(id, _)| *id == b.id)
                .map_or(b.weight, |(_, w)| *w)
        };
        if let Some((id, weight)) = weights.iter().find(|(_, w)| *w > MOST_WEIGHT) {
            return refuse(
                format!("{weight} is too large a weight for {id}"),
                "weights are relative; use 0 to 10000",
            );
        }
        if self.backends_of(model).all(|b| after(b) == 0) {
            return refuse(
                format!("every weight of {model} would be zero"),
                "leave at least one above zero; drain a backend to take it out",
            );
        }
        if m.data_path == DataPath::SelfHosted
            && self
                .backends_of(model)
                .any(|b| b.is_hosted() && after(b) > 0)
        {
            return refuse(
                format!("{model} may only use self-hosted backends"),
                "its data path is set in the config",
            );
        }
        Ok(())
    }

    fn find(&self, id: &BackendId) -> Result<&Arc<Backend>, Refusal> {
        self.backend(id).ok_or_else(|| Refusal {
            kind: RefusalKind::NotFound,
            what: format!("no backend {id}"),
            hint: "the Fleet screen and `fleetctl status` list them".into(),
        })
    }

    /// The commands that restore what stands now, once `command` has been carried out. Empty where nothing can.
    fn inverse(&self, command: &Command) -> Vec<Command> {
        let pin_of = |id: &BackendId| self.backend(id).and_then(|b| b.pin.clone());
        let repin = |backend: &BackendId| {
            pin_of(backend).map(|p| Command::Pin {
                backend: backend.clone(),
                until: p.until,
                exactly: p.exactly,
                reason: p.reason,
            })
        };
        let was_up = |id: &BackendId| {
            self.backend(id)
                .is_some_and(|b| matches!(b.state, State::Warm { .. } | State::Waking(_)))
        };
        match command {
            Command::Wake { backend } => vec![Command::Sleep {
                backend: backend.clone(),
            }],
            Command::Sleep { backend } if was_up(backend) => [
                Some(Command::Wake {
                    backend: backend.clone(),
                }),
                repin(backend),
            ]
            .into_iter()
            .flatten()
            .collect(),
            Command::Sleep { .. } | Command::Undo => Vec::new(),
            Command::Force { command } => self.inverse(command),
            // Putting a sleeper back in service wakes it: that would not restore what stood.
            Command::Drain { backend }
                if self
                    .backend(backend)
                    .is_some_and(|b| matches!(b.state, State::Asleep { .. })) =>
            {
                Vec::new()
            }
            Command::Drain { backend } => [
                Some(Command::Undrain {
                    backend: backend.clone(),
                }),
                repin(backend),
            ]
            .into_iter()
            .flatten()
            .collect(),
            Command::Undrain { backend } => vec![Command::Drain {
                backend: backend.clone(),
            }],
            Command::Pin { backend, .. } => vec![repin(backend).unwrap_or(Command::Unpin {
                backend: backend.clone(),
            })],
            Command::Unpin { backend } => repin(backend).into_iter().collect(),
            Command::Weights { model, .. } | Command::Flip { model } => {
                vec![Command::Weights {
                    model: model.clone(),
                    weights: self
                        .backends_of(model)
                        .map(|b| (b.id.clone(), b.weight))
                        .collect(),
                }]
            }
        }
    }

    /// Weights of a model with its two sides swapped: what hosted backends had goes to the self-hosted ones and back,
    /// each side in its own proportions (equally where it had none), in whole percent that sum to 100.
    pub fn flipped(&self, model: &ModelId) -> Vec<(BackendId, u32)> {
        let side = |hosted: bool| {
            self.backends_of(model)
                .filter(move |b| b.is_hosted() == hosted)
        };
        let total = |hosted: bool| side(hosted).map(|b| b.weight).sum::<u32>();
        let all = total(true) + total(false);
        if all == 0 {
            return Vec::new();
        }
        let to_self = (f64::from(total(true)) * 100.0 / f64::from(all)).round() as u32;
        let mut out = Vec::new();
        for (hosted, points) in [(false, to_self), (true, 100 - to_self)] {
            let parts: Vec<u32> = side(hosted)
                .map(|b| if total(hosted) == 0 { 1 } else { b.weight })
                .collect();
            out.extend(
                side(hosted)
                    .map(|b| b.id.clone())
                    .zip(apportion(points, &parts)),
            );
        }
        out
    }

    fn set_weights(&mut self, model: &ModelId, weights: &[(BackendId, u32)]) -> String {
        for (id, weight) in weights {
            self.change(id, |b| b.weight = *weight);
        }
        let said: Vec<String> = self
            .backends_of(model)
            .map(|b| format!("{} {}", b.id, b.weight))
            .collect();
        said.join(", ")
    }

    pub(super) fn expectation(&self, id: &BackendId) -> String {
        let estimate = self.backend(id).and_then(|b| b.estimate(self.now));
        estimate.map_or(String::new(), |e| {
            format!(", about {} expected", machine::span(e.whole()))
        })
    }

    fn left_of(&self, id: &BackendId) -> String {
        match self
            .backend(id)
            .map(|b| b.live.in_flight.max(b.live.running.unwrap_or(0)))
        {
            Some(n) if n > 0 => format!("; {n} running to finish first"),
            _ => String::new(),
        }
    }

    /// To what a command is done, in words.
    pub fn target_of(&self, command: &Command) -> String {
        match command {
            Command::Wake { backend }
            | Command::Sleep { backend }
            | Command::Drain { backend }
            | Command::Undrain { backend }
            | Command::Pin { backend, .. }
            | Command::Unpin { backend } => self
                .backend(backend)
                .map_or_else(|| backend.to_string(), |b| b.full_name()),
            Command::Weights { model, .. } | Command::Flip { model } => model.to_string(),
            Command::Undo => self
                .next_undo()
                .map_or_else(|| "–".into(), |(_, entry)| entry.what.clone()),
            Command::Force { command } => self.target_of(command),
        }
    }

    /// Runs one input through a backend's machine: accrues first, keeps the notes, gives back the actions.
    pub(super) fn feed(&mut self, id: &BackendId, input: Input, now: DateTime<Utc>) -> Vec<Action> {
        match self.backends.iter().position(|b| b.id == *id) {
            Some(at) => self.feed_at(at, input, now),
            None => Vec::new(),
        }
    }

    /// The same by place, for loops over all of them.
    pub(super) fn feed_at(&mut self, at: usize, input: Input, now: DateTime<Utc>) -> Vec<Action> {
        let gap = self.gap();
        let backend = Arc::make_mut(&mut self.backends[at]);
        backend.accrue(now, gap);
        let outcome = machine::step(backend, input, now);
        for note in outcome.notes {
            let target = self.backends[at].full_name();
            self.write(AuditEntry {
                at: now,
                by: Actor::Policy("fleet".into()),
                verb: note.verb.into(),
                target,
                result: note.said,
                bad: note.bad,
            });
        }
        let mut actions = outcome.actions;
        let starts = matches!(actions[..], [Action::Start { .. }]);
        if starts && self.is_crowded(&self.backends[at]) {
            // Its start is asked for when there is room; whoever can leave is told to now.
            if let State::Waking(wake) = &mut Arc::make_mut(&mut self.backends[at]).state {
                wake.begun = false;
            }
            actions = self.make_room(now);
        }
        actions
    }

    /// Changes one backend in place; its neighbours stay shared with the published picture.
    pub(super) fn change<T>(
        &mut self,
        id: &BackendId,
        f: impl FnOnce(&mut Backend) -> T,
    ) -> Option<T> {
        self.backends
            .iter_mut()
            .find(|b| b.id == *id)
            .map(|b| f(Arc::make_mut(b)))
    }

    /// Keeps a line of the audit.
    pub(super) fn write(&mut self, entry: AuditEntry) {
        if self.audit.len() == AUDIT_KEPT {
            self.audit.pop_front();
        }
        self.audit.push_back(Arc::new(entry));
    }

    /// A span without any tick that is longer than this was not observed.
    pub(super) fn gap(&self) -> chrono::TimeDelta {
        figures::UNOBSERVED * i32::try_from(self.speed).unwrap_or(1)
    }
}

impl Command {
    /// The backend that it is about, where it is about one.
    pub fn backend(&self) -> Option<&BackendId> {
        match self {
            Self::Wake { backend }
            | Self::Sleep { backend }
            | Self::Drain { backend }
            | Self::Undrain { backend }
            | Self::Pin { backend, .. }
            | Self::Unpin { backend } => Some(backend),
            Self::Weights { .. } | Self::Flip { .. } | Self::Undo => None,
            Self::Force { command } => command.backend(),
        }
    }

    /// The word for it, the same everywhere.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Wake { .. } => "wake",
            Self::Sleep { .. } => "sleep",
            Self::Drain { .. } => "drain",
            Self::Undrain { .. } => "undrain",
            Self::Pin { .. } => "pin",
            Self::Unpin { .. } => "unpin",
            Self::Weights { .. } => "weights",
            Self::Flip { .. } => "flip",
            Self::Undo => "undo",
            Self::Force { command } => command.verb(),
        }
    }

    /// What it asks for, forced or not.
    pub fn inner(&self) -> &Self {
        match self {
            Self::Force { command } => command.inner(),
            other => other,
        }
    }
}

fn no_model(model: &ModelId) -> Refusal {
    Refusal {
        kind: RefusalKind::NotFound,
        what: format!("no model {model}"),
        hint: "the Fleet screen and `fleetctl status` list them".into(),
    }
}

fn nothing_to_undo() -> Refusal {
    Refusal {
        kind: RefusalKind::Refused,
        what: "there is nothing to undo".into(),
        hint: "the audit shows what was done".into(),
    }
}

/// `points` cut in proportion to `parts` by largest remainder, so that they sum to `points`.
fn apportion(points: u32, parts: &[u32]) -> Vec<u32> {
    let total: u64 = parts.iter().map(|p| u64::from(*p)).sum();
    if total == 0 {
        return vec![0; parts.len()];
    }
    let exact: Vec<u64> = parts
        .iter()
        .map(|p| u64::from(points) * u64::from(*p))
        .collect();
    let mut out: Vec<u32> = exact.iter().map(|e| (e / total) as u32).collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(exact[*i] % total));
    let missing = points - out.iter().sum::<u32>();
    for i in order.into_iter().take(missing as usize) {
        out[i] += 1;
    }
    out
}

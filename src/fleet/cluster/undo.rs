//! What an operator did last on clusters, by the marks on them, and what takes it back: whoever did it, from wherever.

use super::mark::Mark;
use super::place::Place;
use super::rule::{Rule, Weighted};
use crate::fleet::message::{Actor, Command, Refusal, RefusalKind};
use crate::fleet::{Backend, BackendId, Fleet};

/// What takes back what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Back {
    /// What is to be asked for.
    pub command: Command,
    /// `weights of llama by ana at 03:12:05`.
    pub what: String,
}

/// Something that was done and ended.
enum Done<'a> {
    ToBackend(&'a Backend, &'a Place),
    Weights,
    Pin(&'a Backend),
}

impl Fleet {
    /// What takes back what `by` did last on clusters; `None` where this program knows of something to undo itself.
    ///
    /// # Errors
    /// Where there is nothing, or somebody changed it since.
    pub fn undo_by_marks(&self, by: &Actor) -> Option<Result<Back, Refusal>> {
        (self.is_on_clusters() && self.next_undo().is_none()).then(|| self.newest_of(by.name()))
    }

    fn newest_of(&self, by: &str) -> Result<Back, Refusal> {
        let mut all: Vec<(&Mark, Done<'_>)> = Vec::new();
        for b in &self.backends {
            let Some(place) = b.place.as_deref() else {
                continue;
            };
            all.extend(
                place
                    .mark
                    .as_ref()
                    .map(|it| (it, Done::ToBackend(b, place))),
            );
            all.extend(place.pin.as_ref().map(|it| (it, Done::Pin(b))));
        }
        let rules = self.models.iter().flat_map(|it| it.routes.iter());
        let weights = rules.filter_map(|rule| rule.mark.as_ref());
        let weights = weights.filter(|it| matches!(&*it.op, "weights" | "flip"));
        all.extend(weights.map(|it| (it, Done::Weights)));
        let mine = all
            .into_iter()
            .filter(|(mark, _)| mark.by == by && mark.stands());
        let Some((mark, done)) = mine.max_by_key(|(mark, _)| mark.at) else {
            return Err(Refusal {
                kind: RefusalKind::Refused,
                what: format!("there is nothing to undo: no operation of {by} stands here"),
                hint: "`fleetctl audit` shows what was done; --operator says whose is meant".into(),
            });
        };
        let of = format!("{} of {} by {by}", mark.op, mark.of);
        let command = match done {
            Done::Weights => self.weights_of_before(mark, &of)?,
            Done::Pin(b) => Command::Unpin {
                backend: b.id.clone(),
            },
            Done::ToBackend(b, place) => back(mark, b, place, &of)?,
        };
        Ok(Back {
            command,
            what: format!("{of} at {} UTC", mark.at.format("%H:%M:%S")),
        })
    }

    fn weights_of_before(&self, mark: &Mark, of: &str) -> Result<Command, Refusal> {
        let mut wanted: Vec<(BackendId, u32)> = Vec::new();
        let mut model = None;
        for one in &self.models {
            let mine = |rule: &&Rule| rule.mark.as_ref().is_some_and(|it| it.id == mark.id);
            for rule in one.routes.iter().filter(mine) {
                let at = |all: &[Weighted]| {
                    let mut all = all.iter();
                    let found = all.find(|it| it.route == rule.route && it.rule == rule.at);
                    found.map(|it| it.weights.clone())
                };
                let now: Vec<(Box<str>, u32)> = rule
                    .refs
                    .iter()
                    .map(|it| (it.name.clone(), it.share()))
                    .collect();
                if let Some(set) = at(&mark.to).filter(|set| *set != now) {
                    let what = format!(
                        "{} is {} now, and was {}",
                        rule.route,
                        said(&now),
                        said(&set)
                    );
                    return Err(changed(of, &what));
                }
                let Some(before) = at(&mark.prev.weights) else {
                    continue;
                };
                model = Some(one.id.clone());
                let names = before.iter().map(|(name, _)| name);
                if !names.eq(rule.refs.iter().map(|it| &it.name)) {
                    let what = format!("{} leads elsewhere now", rule.route);
                    return Err(changed(of, &what));
                }
                for (it, (_, weight)) in rule.refs.iter().zip(before) {
                    let Some(id) = it.backend.clone() else {
                        continue;
                    };
                    if !wanted.iter().any(|(known, _)| *known == id) {
                        wanted.push((id, weight));
                    }
                }
            }
        }
        let model = model.ok_or_else(|| changed(of, "its rules are not what they were"))?;
        Ok(Command::Weights {
            model,
            weights: wanted,
        })
    }
}

fn back(mark: &Mark, b: &Backend, place: &Place, of: &str) -> Result<Command, Refusal> {
    let backend = b.id.clone();
    let up = place.wanted > 0 && !b.naps();
    let is = || format!("it is {} now", b.state.word());
    match &*mark.op {
        "drain" if b.drained.is_some() => Ok(Command::Undrain { backend }),
        "undrain" if b.drained.is_none() => Ok(Command::Drain { backend }),
        "sleep" if !up => Ok(Command::Wake { backend }),
        "wake" if up => Ok(Command::Sleep { backend }),
        _ => Err(changed(of, &is())),
    }
}

fn said(weights: &[(Box<str>, u32)]) -> String {
    let all: Vec<String> = weights.iter().map(|(of, n)| format!("{of} {n}")).collect();
    all.join(", ")
}

fn changed(of: &str, what: &str) -> Refusal {
    Refusal {
        kind: RefusalKind::Changed,
        what: format!("{of} was changed since: {what}"),
        hint: "look at what stands, and ask for what you want".into(),
    }
}

//! Where the traffic goes, and whether who gets it can carry it.

use std::sync::Arc;

use super::{Preview, RuleShares};
use crate::fleet::Fleet;
use crate::fleet::backend::Backend;
use crate::fleet::cluster::edit::{Edit, RuleEdit};
use crate::fleet::cluster::plan::{Plan, Step};
use crate::fleet::id::{BackendId, ModelId};
use crate::fleet::model::{ColdPolicy, DataPath};

fn edits(plan: &Plan) -> impl Iterator<Item = &Edit> {
    plan.steps.iter().filter_map(|it| match &it.step {
        Step::Weights { edit, .. } => Some(edit.as_ref()),
        _ => None,
    })
}

/// Gives the rules of `fleet` the weights that a plan writes, and the backends those of their first rule.
pub(super) fn weigh(fleet: &mut Fleet, plan: &Plan) {
    let cluster = &plan.cluster;
    for edit in edits(plan) {
        for model in &mut fleet.models {
            let mine = |at: usize| edit.rules.iter().find(move |it| it.at == at);
            let touched = |it: &crate::fleet::cluster::rule::Rule| {
                it.cluster == *cluster && it.route == edit.route && mine(it.at).is_some()
            };
            if !model.routes.iter().any(touched) {
                continue;
            }
            let model = Arc::make_mut(model);
            for rule in &mut model.routes {
                if rule.cluster != *cluster || rule.route != edit.route {
                    continue;
                }
                let Some(new) = mine(rule.at) else { continue };
                for it in &mut rule.refs {
                    let new = new.refs.iter().find(|(name, ..)| *name == it.name);
                    if let Some((_, _, weight)) = new {
                        it.weight = Some(*weight);
                    }
                }
            }
        }
    }
    let weighed: Vec<(BackendId, u32)> = fleet
        .backends
        .iter()
        .filter_map(|b| {
            let rule = fleet.rule_of(b)?;
            let mut refs = rule.refs.iter();
            let mine = refs.find(|it| it.backend.as_ref() == Some(&b.id))?;
            (mine.share() != b.weight).then(|| (b.id.clone(), mine.share()))
        })
        .collect();
    for (id, weight) in weighed {
        fleet.change(&id, |b| b.weight = weight);
    }
}

/// What a plan makes of the rules that it changes.
fn rules(plan: &Plan) -> impl Iterator<Item = RuleShares> {
    let each = |edit: &Edit| {
        let of = |rule: &RuleEdit| {
            let was = rule.refs.iter().map(|it| it.1.unwrap_or(1));
            let was: u64 = was.map(u64::from).sum();
            let is: u64 = rule.refs.iter().map(|it| u64::from(it.2)).sum();
            let part = |weight: u32, all: u64| {
                if all == 0 {
                    0.0
                } else {
                    f64::from(weight) / all as f64
                }
            };
            let shares = rule.refs.iter().map(|(name, before, after)| {
                let before = part(before.unwrap_or(1), was);
                (name.to_string(), before, part(*after, is))
            });
            RuleShares {
                rule: format!("{} rule {}", edit.route, rule.at),
                shares: shares.collect(),
            }
        };
        edit.rules.iter().map(of).collect::<Vec<_>>()
    };
    edits(plan).flat_map(each)
}

/// Which weights change, also where no share does because a sibling sleeps or is limited.
fn tell_weights(preview: &mut Preview, fleet: &Fleet, after: &Fleet, model: &ModelId) {
    let changed: Vec<String> = fleet
        .backends_of(model)
        .zip(after.backends_of(model))
        .filter(|(was, is)| was.weight != is.weight)
        .map(|(was, is)| format!("{} from {} to {}", was.id, was.weight, is.weight))
        .collect();
    if !changed.is_empty() {
        preview
            .what
            .push(format!("Weights: {}", changed.join(", ")));
    }
}

/// Where a model's traffic goes.
pub(super) fn tell(
    preview: &mut Preview,
    fleet: &Fleet,
    after: &Fleet,
    model: &ModelId,
    plans: &[Plan],
) {
    tell_weights(preview, fleet, after, model);
    preview.rules = plans.iter().flat_map(rules).collect();
    let (before, then) = if preview.rules.is_empty() {
        (fleet.expected_shares(model), after.expected_shares(model))
    } else {
        // A route sends by its weights, whoever sleeps behind it.
        let of = |fleet: &Fleet| {
            let all = fleet
                .backends_of(model)
                .filter(|b| fleet.rule_of(b).is_some());
            let all = all.map(|b| (b.id.clone(), fleet.share_asked(b)));
            all.filter(|(_, share)| *share > 0.0).collect::<Vec<_>>()
        };
        (of(fleet), of(after))
    };
    let of = |shares: &[(BackendId, f64)], id: &BackendId| {
        shares
            .iter()
            .find(|(b, _)| b == id)
            .map_or(0.0, |(_, s)| *s)
    };
    for b in fleet.backends_of(model) {
        let (was, is) = (of(&before, &b.id), of(&then, &b.id));
        if (was - is).abs() > 0.0005 {
            preview.shares.push((b.id.clone(), was, is));
        }
    }
    let facts = fleet.model(model);
    // Among those whose shares change: other rules and clusters have requests of their own.
    let gone = |b: &&Arc<Backend>| {
        preview
            .shares
            .iter()
            .any(|(id, was, _)| *id == b.id && *was > 0.0)
    };
    let peers: Vec<BackendId> = fleet
        .backends_of(model)
        .find(gone)
        .map(|b| fleet.peers(b).iter().map(|it| it.id.clone()).collect())
        .unwrap_or_default();
    let beside = |all: Vec<(BackendId, f64)>| -> Vec<(BackendId, f64)> {
        all.into_iter()
            .filter(|(id, _)| peers.is_empty() || peers.contains(id))
            .collect()
    };
    let (before, then) = (beside(before), beside(then));
    if then.is_empty() && !before.is_empty() {
        let meets = match facts.map_or(ColdPolicy::Wait, |m| m.cold) {
            // Nobody holds requests there.
            _ if fleet.is_on_clusters() => "its requests fail until one of its backends is up",
            _ if after.backends_of(model).all(|b| b.drained.is_some()) => "new requests get 503",
            ColdPolicy::Wait | ColdPolicy::Bridge { .. } => {
                "the next request is held while it wakes again"
            }
            ColdPolicy::Overflow | ColdPolicy::Reject => "new requests get 503",
        };
        preview
            .warnings
            .push(format!("nothing else answers for {model}: {meets}"));
    } else if let [(only, _)] = then.as_slice()
        && !preview.shares.is_empty()
    {
        preview.what.push(format!("All of {model} goes to {only}"));
    }
    if facts.is_some_and(|m| m.data_path == DataPath::SelfHosted) {
        preview
            .what
            .push(format!("{model} may only use self-hosted backends"));
    }
    let ttft = |picture: &[(BackendId, f64)]| {
        let known: Vec<_> = picture
            .iter()
            .filter_map(|(id, share)| Some((share, fleet.backend(id)?.live.ttft_p50?)))
            .collect();
        let covered: f64 = known.iter().map(|(share, _)| **share).sum();
        (covered > 0.8).then(|| known.iter().map(|(share, t)| **share * t).sum::<f64>() / covered)
    };
    if let (Some(was), Some(is)) = (ttft(&before), ttft(&then))
        && (was - is).abs() > 0.0005
    {
        preview.ttft = Some((was, is));
    }
    tell_capacity(preview, fleet, model, &then);
}

/// Warns where the self-hosted backends that remain cannot carry what they would get.
fn tell_capacity(preview: &mut Preview, fleet: &Fleet, model: &ModelId, then: &[(BackendId, f64)]) {
    let demand: f64 = fleet
        .backends_of(model)
        .filter_map(|b| b.live.tokens_per_s)
        .sum();
    for (id, share) in then {
        let Some(ceiling) = fleet.backend(id).and_then(|b| b.self_hosted()?.ceiling) else {
            continue;
        };
        let wanted = demand * share;
        if wanted > ceiling && preview.shares.iter().any(|(b, ..)| b == id) {
            preview.warnings.push(format!(
                "{id} would get {wanted:.0} tokens/s; it sustains {ceiling:.0}"
            ));
        }
    }
}

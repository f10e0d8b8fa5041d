use std::collections::HashSet;

use chrono::TimeDelta;

use super::{Gauges, Metrics};
use crate::fleet::request::{Operation, Route};
use crate::gateway::record::access_log::tests::record;
use crate::gateway::tests::fake;
use crate::gateway::upstream::circuit::Phase;

fn page() -> String {
    let metrics = Metrics::default();
    metrics.record(&record(None));
    metrics.record(&record(None));
    let mut fell = record(Some("no backend answered"));
    (fell.status, fell.backend, fell.route) = (502, None, Route::None);
    (fell.usage, fell.ttft, fell.cost) = (None, None, None);
    metrics.record(&fell);
    let mut held = record(None);
    (held.held, held.usage) = (Some(TimeDelta::seconds(152)), None);
    (held.operation, held.route) = (Operation::Responses, Route::Fallback);
    (held.partial, held.model) = (true, "a \"quoted\\ \n model".into());
    metrics.record(&held);
    let now = Gauges {
        in_flight: vec![("far".into(), 3)],
        held: vec![("m".into(), 0)],
        circuits: vec![("far".into(), Phase::Open)],
        connections: 7,
        log_dropped: 0,
        started: 1.5,
    };
    metrics.render(&now, &fake::far())
}

#[test]
fn the_page() {
    insta::assert_snapshot!(page());
}

/// The rules of the text format that a scraper stumbles over.
#[test]
fn the_page_keeps_to_the_format() {
    let page = page();
    let mut family = "";
    let mut families = HashSet::new();
    let mut series = HashSet::new();
    let mut bucket = 0_u64;
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} comes twice");
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(name.starts_with(family), "{line} is not of {family}");
        assert!(series.insert(name), "{name} comes twice");
        if name.contains("_bucket") {
            let count: u64 = value.parse().unwrap();
            let first = name.contains("le=\"0.01\"")
                || name.contains("le=\"0.001\"")
                || name.contains("le=\"1\"");
            assert!(first || count >= bucket, "{line} falls");
            bucket = count;
        }
        if name.contains("_count") {
            assert_eq!(value.parse::<u64>().unwrap(), bucket, "{line}");
        }
    }
    assert!(families.contains("gen_ai_server_request_duration_seconds"));
}

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

use super::{Journal, Keep, Kept, Row, Store, check, open, vacuum};
use crate::fleet::backend::{Hosted, Kind, Pin, Price};
use crate::fleet::cluster::{Cluster, Seen, SeenBackend, SeenModel};
use crate::fleet::ledger::{Ledger, Minute};
use crate::fleet::message::{Actor, AuditEntry};
use crate::fleet::request::Usage;
use crate::fleet::restore::Past;
use crate::fleet::{Fleet, Observation, Usd};
use crate::store::Desired;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn minute(start: i64, cost: i128) -> Minute {
    Minute {
        start: at(start),
        cost: Usd::from_pico(cost),
        ..Minute::default()
    }
}

fn desired(weight: u32) -> Desired {
    Desired {
        weight,
        configured: 65,
        pin: Some(Pin {
            until: Some(at(900)),
            exactly: None,
            reason: "demo".into(),
            by: "ann".into(),
        }),
        scheduled: None,
        drained: None,
    }
}

fn entry(result: &str) -> Arc<AuditEntry> {
    Arc::new(AuditEntry {
        at: Utc::now(),
        by: Actor::Operator("ann".into()),
        verb: "pin".into(),
        target: "m/gpu".into(),
        result: result.into(),
        bad: false,
    })
}

async fn flushed(store: &Store) -> bool {
    let done = tokio::time::timeout(Duration::from_secs(20), store.flush());
    done.await.unwrap().unwrap_or(false)
}

fn read(path: &std::path::Path) -> Kept {
    let (store, kept, _) = Store::start(path.to_owned(), Keep::default());
    assert_eq!(*store.trouble.borrow(), None);
    kept
}

#[tokio::test]
async fn what_was_kept_is_there_again_to_the_last_digit() {
    let for_ever = Keep {
        age: Duration::from_secs(100 * 365 * 24 * 3600),
        ..Keep::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.db");
    let (store, kept, writer) = Store::start(path.clone(), for_ever);
    assert!(kept.started.is_none() && kept.desired.is_empty());
    let ledger = Ledger {
        until: Some(at(130)),
        tokens: Usd::from_pico(1_234_567_890_123),
        requests: 7,
        ..Ledger::default()
    };
    store.record(Row::Started(at(1)));
    store.record(Row::Desired("gpu".into(), desired(50)));
    store.record(Row::Desired("gpu".into(), desired(35)));
    store.record(Row::Minute("gpu".into(), minute(60, 5)));
    store.record(Row::Minute("gpu".into(), minute(120, 1)));
    store.record(Row::Minute("gpu".into(), minute(120, 12_345)));
    store.record(Row::Ledger("gpu".into(), Box::new(ledger)));
    store.record(Row::Audit(entry("first")));
    store.record(Row::Audit(entry("second")));
    assert!(flushed(&store).await);
    store.record(Row::Started(at(99)));
    store.record(Row::Audit(entry("never sealed")));
    drop(store);
    writer.join().unwrap();

    let kept = read(&path);
    assert_eq!(kept.started, Some(at(1)), "the first time counts");
    assert_eq!(kept.desired[&"gpu".into()], desired(35));
    let ledger = &kept.ledgers[&"gpu".into()];
    assert_eq!(ledger.tokens, Usd::from_pico(1_234_567_890_123));
    assert_eq!((ledger.until, ledger.requests), (Some(at(130)), 7));
    let minutes: Vec<_> = ledger.minutes.iter().cloned().collect();
    assert_eq!(minutes, [minute(60, 5), minute(120, 12_345)]);
    let said: Vec<_> = kept
        .audit
        .iter()
        .map(|entry| entry.result.as_str())
        .collect();
    assert_eq!(
        said,
        ["first", "second"],
        "what belongs together is there together or not at all"
    );
    assert_eq!(check(&path).unwrap(), [""; 0]);
    vacuum(&path).unwrap();
}

#[tokio::test]
async fn a_file_that_is_none_is_said_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.db");
    std::fs::write(&path, "this was never a database, whatever it is called").unwrap();
    let (store, _, writer) = Store::start(path.clone(), Keep::default());
    let why = store.trouble.borrow().clone().unwrap();
    assert!(
        why.starts_with("not recording: ") && why.contains("fleet.db"),
        "{why}"
    );
    store.record(Row::Started(at(1)));
    assert!(!flushed(&store).await);
    let counted = store.trouble.borrow().clone().unwrap();
    assert!(counted.contains("1 rows lost"), "{counted}");
    drop(store);
    writer.join().unwrap();
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .starts_with("this was")
    );
}

#[tokio::test]
async fn a_disk_that_is_full_is_said_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.db");
    drop(open(&path).unwrap());
    // A table that takes nothing is as full as a disk, for whoever writes.
    let file = open(&path).unwrap();
    file.execute_batch("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END")
        .unwrap();
    let (store, _, writer) = Store::start(path, Keep::default());
    store.record(Row::Desired("gpu".into(), desired(1)));
    store.record(Row::Audit(entry("x")));
    assert!(!flushed(&store).await);
    let why = store.trouble.borrow().clone().unwrap();
    assert!(
        why.contains("disk is full") && why.contains("2 rows lost"),
        "{why}"
    );
    drop(store);
    writer.join().unwrap();
}

#[test]
fn a_newer_file_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.db");
    let file = open(&path).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let why = open(&path).unwrap_err().to_string();
    assert!(
        why.contains("newer fleetctl") && why.contains("99"),
        "{why}"
    );
}

#[tokio::test]
async fn what_is_old_or_too_much_is_given_up_and_the_accounts_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.db");
    let request = |at: DateTime<Utc>, id: String| {
        let text = format!(
            r#"{{"id":"{id}","at":"{}","model":"m","operation":"chat","key":null,"backend":"gpu","route":"weight","status":200,
                "streamed":false,"ttft":null,"took":[0,0],"held":null,"usage":null,"partial":false,"cost":null,"error":null}}"#,
            at.to_rfc3339()
        );
        Row::Request(Arc::new(serde_json::from_str(&text).unwrap()))
    };
    let keep = Keep {
        age: Duration::from_secs(3600),
        bytes: 1 << 20,
    };
    let (store, _, writer) = Store::start(path.clone(), keep);
    store.record(Row::Ledger("gpu".into(), Box::default()));
    store.record(request(Utc::now() - TimeDelta::hours(2), "old".into()));
    store.record(request(Utc::now(), "new".into()));
    assert!(flushed(&store).await);
    drop(store);
    writer.join().unwrap();
    let ids = || -> Vec<String> {
        read(&path)
            .requests
            .iter()
            .map(|it| it.id.clone())
            .collect()
    };
    assert_eq!(ids(), ["new"]);

    // More than fits, of which 20,000 rows go at a time.
    let (store, _, writer) = Store::start(path.clone(), Keep::default());
    for n in 0..30_000 {
        store.record(request(Utc::now(), n.to_string()));
    }
    assert!(flushed(&store).await);
    drop(store);
    writer.join().unwrap();
    let keep = Keep {
        bytes: 8 << 20,
        ..keep
    };
    let (store, _, writer) = Store::start(path.clone(), keep);
    for n in 30_000..30_003 {
        store.record(request(Utc::now(), n.to_string()));
        assert!(flushed(&store).await);
    }
    drop(store);
    writer.join().unwrap();
    let left = read(&path);
    assert_eq!(left.requests.back().unwrap().id, "30002", "the newest stay");
    assert!(left.ledgers.contains_key(&"gpu".into()));
    let file = open(&path).unwrap();
    let count: u32 = file
        .query_row("SELECT count(*) FROM request", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 10_004, "one piece was enough");
}

/// What a cluster says that has one hosted backend, or none.
fn seen(there: bool) -> Seen {
    let azure = SeenBackend {
        id: "llm/azure".into(),
        model: "chat".into(),
        kind: Kind::Hosted(Hosted {
            provider: "Azure OpenAI".into(),
            price: Some(Price {
                input: Usd::ZERO,
                cached: Usd::ZERO,
                output: "0.60".parse().unwrap(),
            }),
        }),
        weight: 1,
        place: None,
        down: None,
    };
    Seen {
        cluster: "prod".into(),
        facts: Some(Box::new(Cluster {
            name: "prod".into(),
            ..Cluster::default()
        })),
        models: Some(vec![SeenModel {
            id: "chat".into(),
            backends: if there {
                vec![azure.id.clone()]
            } else {
                Vec::new()
            },
            routes: Vec::new(),
        }]),
        backends: if there { vec![azure] } else { Vec::new() },
        whole: true,
    }
}

fn used(fleet: &mut Fleet, output: u64, at: DateTime<Utc>) {
    fleet.observe(Observation::Metered {
        backend: "llm/azure".into(),
        requests: 1,
        usage: Usage {
            output,
            ..Usage::default()
        },
        counted: true,
        at,
    });
}

#[tokio::test]
async fn a_console_goes_on_with_the_accounts_of_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.db");
    let now = Utc::now().duration_trunc(TimeDelta::hours(1)).unwrap();
    let begin = now - TimeDelta::hours(3);
    let (store, _, writer) = Store::start(path.clone(), Keep::default());
    let mut fleet = Fleet::new("prod", begin);
    let mut journal = Journal::of_clusters(store, &fleet);
    for (minute, output) in [(0, 1_000_000), (1, 1_000_000), (70, 500_000)] {
        let at = begin + TimeDelta::minutes(minute);
        let seen = Box::new(seen(true));
        fleet.observe(Observation::Cluster { seen, at });
        used(&mut fleet, output, at);
        assert!(journal.flush(&fleet).await.unwrap());
    }
    // It leaves: its account stays, here and in the next console.
    let at = begin + TimeDelta::minutes(75);
    let gone = Box::new(seen(false));
    fleet.observe(Observation::Cluster { seen: gone, at });
    assert_eq!(fleet.spent(), "1.5".parse().unwrap());
    assert!(journal.flush(&fleet).await.unwrap());
    drop(journal);
    writer.join().unwrap();

    let kept = read(&path);
    let ledger = &kept.ledgers[&"llm/azure".into()];
    let rows: Vec<_> = ledger
        .minutes
        .iter()
        .map(|it| (it.start - begin, it.tokens_out))
        .collect();
    assert_eq!(
        rows,
        [
            (TimeDelta::zero(), 2_000_000),
            (TimeDelta::hours(1), 500_000)
        ],
        "by the hour"
    );
    let past = Past {
        ledger: Some(ledger.clone()),
        ..Past::default()
    };
    let mut next = Fleet::new("prod", now);
    next.past = Arc::new([("llm/azure".into(), Arc::new(past))].into());
    next.restore(kept.started, kept.requests, kept.audit);
    assert_eq!(
        (next.started, next.spent()),
        (begin, "1.5".parse().unwrap())
    );
    let back = Box::new(seen(true));
    next.observe(Observation::Cluster {
        seen: back,
        at: now,
    });
    used(&mut next, 500_000, now);
    assert_eq!(next.spent(), "1.8".parse().unwrap());
    let ledger = &next.backend(&"llm/azure".into()).unwrap().ledger;
    assert_eq!(ledger.gaps, [(at, now)], "in between nobody watched");
    assert!(next.past.is_empty());
}

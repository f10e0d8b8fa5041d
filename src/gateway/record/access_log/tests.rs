use std::sync::Arc;

use chrono::{DateTime, TimeDelta};

use super::AccessLog;
use crate::fleet::request::{Operation, Route, Usage};
use crate::fleet::{RequestRecord, Usd};

pub(crate) fn record(error: Option<&str>) -> RequestRecord {
    RequestRecord {
        id: "req-1".to_owned(),
        at: DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_500),
        model: "m".into(),
        operation: Operation::Chat,
        key: Some("team-a".into()),
        backend: Some("far".into()),
        route: Route::Weight,
        status: 200,
        streamed: true,
        ttft: Some(TimeDelta::microseconds(12_345)),
        took: TimeDelta::milliseconds(250),
        held: None,
        usage: Some(Usage {
            input: 10,
            cached: 4,
            output: 5,
            reasoning: 1,
        }),
        partial: false,
        cost: Some(Usd::from_pico(360_000_000)),
        error: error.map(str::to_owned),
    }
}

#[test]
fn a_line_says_it_all_and_is_json_whatever_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.jsonl");
    let log = AccessLog::open(&path).unwrap();
    log.write(Arc::new(record(None)));
    log.write(Arc::new(record(Some("\u{1b}[31m \"no\"\n"))));
    drop(log);
    let text = std::fs::read_to_string(&path).unwrap();
    let (first, second) = text.trim_end().split_once('\n').unwrap();
    assert_eq!(
        first,
        r#"{"at":"1970-01-01T00:00:01.500Z","id":"req-1","key":"team-a","model":"m","operation":"chat/completions","backend":"far","route":"weight","status":200,"streamed":true,"ttft_ms":12.345,"took_ms":250.0,"held_ms":null,"input_tokens":10,"cached_tokens":4,"output_tokens":5,"reasoning_tokens":1,"partial":false,"cost":"0.000360000000","error":null}"#
    );
    assert!(!second.contains('\u{1b}'));
    let parsed: serde_json::Value = serde_json::from_str(second).unwrap();
    assert_eq!(parsed["error"], "\u{1b}[31m \"no\"\n");
}

#[test]
fn a_renamed_file_is_left_alone_and_a_new_one_begun() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
    let log = AccessLog::open(&path).unwrap();
    log.write(Arc::new(record(None)));
    std::fs::rename(&path, &old).unwrap();
    // The writer looks at the name now and then; it makes the file when it does.
    while !path.exists() {
        std::thread::yield_now();
    }
    log.write(Arc::new(record(None)));
    drop(log);
    for path in [old, path] {
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
    }
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let log = AccessLog::open(std::path::Path::new("/dev/full")).unwrap();
    for _ in 0..10 {
        log.write(Arc::new(record(None)));
    }
    while log.dropped() < 10 {
        std::thread::yield_now();
    }
    assert_eq!(log.dropped(), 10);
}

#[test]
fn a_file_that_cannot_be_opened_is_told() {
    assert!(AccessLog::open(std::path::Path::new("/no/such/folder/log")).is_err());
}

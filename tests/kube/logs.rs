//! Engines' logs are followed whatever happens to them on the way, and nothing is told twice.

use std::time::Duration;

use serde_json::json;

use super::bench::{Bench, Open};
use super::stages::{POD, at, begun, container};
use super::yard::put;

/// A model whose engine has begun to write.
async fn writing(lines: &[&str]) -> (Bench, Open) {
    let (bench, open) = begun().await;
    let running = json!({"running": {"startedAt": at("03:08:20")}});
    for line in lines {
        bench.fake.log(&pod(), line);
    }
    container(&bench, &running, 0, &json!({}), false);
    sees_lines(&open, lines).await;
    (bench, open)
}

fn pod() -> String {
    format!("llm/{POD}")
}

async fn sees_lines(open: &Open, wanted: &[&str]) {
    open.sees("llm/chat", &format!("{wanted:?}"), |b| {
        b.log.iter().map(|it| &*it.text).eq(wanted.iter().copied())
    })
    .await;
}

/// So much later.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn asked(bench: &Bench) -> usize {
    let calls = bench.fake.calls();
    let of = calls.iter().filter(|it| it.resource == "pods/log");
    of.filter(|it| it.param("previous").is_empty()).count()
}

#[tokio::test]
async fn a_log_that_falls_silent_is_asked_for_again_from_where_it_was() {
    let (bench, open) = writing(&["one", "two"]).await;
    bench.fake.log(&pod(), "three");
    sees_lines(&open, &["one", "two", "three"]).await;
    bench.fake.log_unheard(&pod(), "four");
    later(Duration::from_secs(121)).await;
    sees_lines(&open, &["one", "two", "three", "four"]).await;
    bench.fake.log(&pod(), "five");
    sees_lines(&open, &["one", "two", "three", "four", "five"]).await;
    let calls = bench.fake.calls();
    let of = calls.iter().rfind(|it| it.resource == "pods/log").unwrap();
    assert!(!of.param("sinceTime").is_empty(), "all of it came again");
}

#[tokio::test]
async fn a_log_goes_on_over_a_restart_of_its_container() {
    let (bench, open) = writing(&["one"]).await;
    bench.fake.restart_log(&pod());
    let ended =
        json!({"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": at("03:10:00")}});
    let running = json!({"running": {"startedAt": at("03:11:00")}});
    bench.fake.log(&pod(), "once more");
    container(&bench, &running, 1, &ended, false);
    sees_lines(&open, &["one", "once more"]).await;
    bench.fake.log(&pod(), "and on");
    sees_lines(&open, &["one", "once more", "and on"]).await;
}

#[tokio::test]
async fn a_log_that_ends_at_once_is_asked_for_less_and_less() {
    let (bench, open) = writing(&["one"]).await;
    bench.fake.end_log(&pod());
    // What is under way is done once something that is newer is seen.
    let settled = async |name: &str| {
        put(&bench.fake, &format!("deployment {name} 0"));
        open.sees(&format!("llm/{name}"), "is there", |_| true)
            .await;
    };
    for (wait, name) in [(2, "second"), (4, "third")] {
        settled(name).await;
        let before = asked(&bench);
        later(Duration::from_secs(wait)).await;
        bench
            .until("the log again", |_| asked(&bench) > before)
            .await;
    }
    settled("fourth").await;
    let before = asked(&bench);
    later(Duration::from_secs(3)).await;
    settled("fifth").await;
    assert_eq!(asked(&bench), before, "it was asked for again after 3 s");
    sees_lines(&open, &["one"]).await;
}

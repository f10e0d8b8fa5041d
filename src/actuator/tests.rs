//! Orders against a small fake on the loopback.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use tokio::net::TcpListener;

use super::*;

/// What it was asked, and what it answers by the beginning of the path.
#[derive(Clone, Default)]
struct Fake {
    asked: Arc<Mutex<Vec<String>>>,
    answers: Arc<Vec<(&'static str, u16, &'static str)>>,
}

async fn answer(State(fake): State<Fake>, request: Request) -> (StatusCode, String) {
    let mut asked = fake.asked.lock().unwrap();
    let key = request.headers().get(header::AUTHORIZATION);
    let key = key.map_or("", |_| " with key");
    asked.push(format!("{} {}{key}", request.method(), request.uri()));
    let path = request.uri().path();
    if let Some((_, status, body)) = fake.answers.iter().find(|(known, ..)| *known == path) {
        return (StatusCode::from_u16(*status).unwrap(), (*body).to_owned());
    }
    if path == "/is_sleeping" {
        // Asleep at the second question.
        let asks = asked.iter().filter(|it| it.contains("is_sleeping")).count();
        let body = format!("{{\"is_sleeping\":{}}}", asks > 1);
        return (StatusCode::OK, body);
    }
    (StatusCode::OK, String::new())
}

async fn perform(
    action: &str,
    sleep: SleepWay,
    launched: bool,
    key: Option<&str>,
    answers: &[(&'static str, u16, &'static str)],
) -> (Result<(), String>, Vec<String>) {
    let fake = Fake {
        answers: Arc::new(answers.to_vec()),
        ..Fake::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(fake.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let reach = Reach {
        launcher: launched.then(|| format!("{url}l")),
        process: None,
        url,
        sleep,
        key: key.map(str::to_owned),
    };
    let backend = BackendId::from("b");
    let actuator = Actuator::new(
        HashMap::from([(backend.clone(), reach)]),
        web::client().unwrap(),
    );
    let action = match action {
        "start" => Action::Start { backend },
        _ => Action::Stop { backend },
    };
    let result = actuator.perform(&action).await;
    let asked = fake.asked.lock().unwrap().clone();
    (result, asked)
}

#[tokio::test]
async fn what_each_way_asks() {
    use SleepWay::{Level1, Level2, Release};
    let cases: &[(&str, SleepWay, Option<&str>, &[&str])] = &[
        ("start", Release, Some("k"), &["POST /l/start"]),
        ("stop", Release, None, &["POST /l/stop"]),
        ("start", Level1, Some("k"), &["POST /wake_up with key"]),
        (
            "start",
            Level2,
            None,
            &[
                "POST /wake_up?tags=weights",
                "POST /collective_rpc",
                "POST /wake_up?tags=kv_cache",
            ],
        ),
        (
            "stop",
            Level1,
            None,
            &[
                "POST /sleep?level=1&mode=wait",
                "GET /is_sleeping",
                "GET /is_sleeping",
            ],
        ),
        (
            "stop",
            Level2,
            Some("k"),
            &[
                "POST /sleep?level=2&mode=wait with key",
                "GET /is_sleeping with key",
                "GET /is_sleeping with key",
            ],
        ),
    ];
    for (action, sleep, key, expected) in cases {
        let (result, asked) = perform(action, *sleep, true, *key, &[]).await;
        assert_eq!(result, Ok(()), "{action} {sleep:?}");
        assert_eq!(asked, *expected, "{action} {sleep:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_said_in_plain_words() {
    use SleepWay::{Level1, Level2, Never, Release};
    type Answers = &'static [(&'static str, u16, &'static str)];
    let cases: &[(&str, SleepWay, bool, Answers, &str)] = &[
        (
            "stop",
            Never,
            true,
            &[],
            "cannot put b to sleep: its `sleep` is `never`; set it to `level1`, `level2` or `release` in the config",
        ),
        (
            "start",
            Never,
            true,
            &[],
            "cannot start b: fleetctl has no way to start it; start it by hand, or give it `sleep` in the config",
        ),
        (
            "start",
            Release,
            false,
            &[],
            "cannot start b: its `sleep` is `release` and it has no `launcher` in the config",
        ),
        (
            "start",
            Release,
            true,
            &[("/l/start", 503, "\u{1b}[31mno quota\nmore")],
            "cannot start b: 503 Service Unavailable: no quota",
        ),
        (
            "stop",
            Level1,
            true,
            &[("/sleep", 404, "{\"detail\":\"Not Found\"}")],
            "cannot put b to sleep: 404 Not Found: {\"detail\":\"Not Found\"}; start vLLM with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1",
        ),
        (
            "start",
            Level2,
            true,
            &[("/collective_rpc", 500, "boom")],
            "cannot start b: its weights were not loaded again: 500 Internal Server Error: boom",
        ),
    ];
    for (action, sleep, launched, answers, expected) in cases {
        let (result, _) = perform(action, *sleep, *launched, None, answers).await;
        assert_eq!(result, Err((*expected).to_owned()));
    }
}

#[tokio::test]
async fn nobody_there_and_nobody_known() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let reach = Reach {
        url,
        launcher: None,
        process: None,
        sleep: SleepWay::Level1,
        key: Some("secret".into()),
    };
    assert!(!format!("{reach:?}").contains("secret"));
    let actuator = Actuator::new(HashMap::from([("b".into(), reach)]), web::client().unwrap());
    let start = |backend: &str| Action::Start {
        backend: backend.into(),
    };
    assert_eq!(
        actuator.perform(&start("b")).await,
        Err("cannot start b: nothing listens there (connection refused); check that it runs and that its address is right".into())
    );
    assert_eq!(
        actuator.perform(&start("c")).await,
        Err("c is not in this fleet; check its name".into())
    );
}

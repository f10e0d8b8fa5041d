//! The admin API of `fleetctl serve` over HTTP: who may do what, what is refused, and two consoles on one fleet.

#![expect(
    clippy::unwrap_used,
    reason = "a program that cannot be tried has failed"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command as Program, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fleetctl::fleet::message::RefusalKind;
use fleetctl::fleet::{Actor, Command, Fleet, Receipt, Refusal};
use fleetctl::handle::{FleetHandle, Order, Reach};
use fleetctl::remote::{Address, Unreachable, attach};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Longer than any of this takes; what hangs fails.
const PATIENCE: Duration = Duration::from_secs(30);
const OPERATE: &str = "operate-token";
const VIEW: &str = "view-token";

const CONFIG: &str = "listen = \"127.0.0.1:0\"\n[[admin.token]]\nname = \"ops\"\nrole = \"operate\"\nenv = \"OPS\"\n\
             [[admin.token]]\nname = \"screen\"\nrole = \"view\"\nenv = \"SCREEN\"\n\
             [[model]]\nname = \"m\"\n[[model.backend]]\nname = \"a\"\nurl = \"http://127.0.0.1:9\"\nhosted = true\nweight = 65\n\
             [[model.backend]]\nname = \"b\"\nurl = \"http://127.0.0.1:9\"\nhosted = true\nweight = 35\n";

/// A `fleetctl serve` of two backends that are not there.
struct Serve {
    child: Child,
    admin: String,
    folder: tempfile::TempDir,
}

impl Serve {
    fn start(admin: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("fleet.toml"), CONFIG).unwrap();
        Self::on(folder, admin)
    }

    fn on(folder: tempfile::TempDir, admin: &str) -> Self {
        let mut child = Program::new(env!("CARGO_BIN_EXE_fleetctl"))
            .args(["serve", "--admin", admin, "--config"])
            .arg(folder.path().join("fleet.toml"))
            .arg("--state")
            .arg(folder.path().join("state"))
            .env("OPS", OPERATE)
            .env("SCREEN", VIEW)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let admin = said
            .lines()
            .find_map(|line| line.unwrap().strip_prefix("admin on ").map(str::to_owned))
            .unwrap();
        Self {
            child,
            admin,
            folder,
        }
    }

    /// Ends it at once and gives back what it leaves.
    fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    fn address(&self, token: Option<&str>) -> Address {
        Address {
            url: self.admin.clone(),
            token: token.map(str::to_owned),
            authority: None,
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn within<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(PATIENCE, what).await.unwrap()
}

async fn until(handle: &mut FleetHandle, wanted: impl FnMut(&Arc<Fleet>) -> bool) -> Arc<Fleet> {
    within(handle.snapshots.wait_for(wanted))
        .await
        .unwrap()
        .clone()
}

/// Sends a command that was decided on by this picture.
async fn order(handle: &FleetHandle, seen: &Fleet, command: Command) -> Result<Receipt, Refusal> {
    let (reply, answer) = oneshot::channel();
    let order = Order {
        expects: Some(seen.version(&command)),
        rehearse: false,
        command,
        by: Actor::Operator("ann".to_owned()),
        reply: Some(reply),
    };
    handle.orders.send(order).await.unwrap();
    within(answer).await.unwrap()
}

fn weights(a: u32, b: u32) -> Command {
    Command::Weights {
        model: "m".into(),
        weights: vec![("a".into(), a), ("b".into(), b)],
    }
}

#[tokio::test]
async fn who_may_do_what() {
    let serve = Serve::start("127.0.0.1:0");
    let http = Client::new();
    let drain = json!({"command": "drain", "backend": "a"});
    let reads = [
        "status",
        "fleet",
        "events",
        "requests",
        "audit",
        "wakes",
        "ledger",
        "backends/a/log",
    ];
    for path in reads {
        for (token, status) in [
            (None, 401),
            (Some("wrong"), 401),
            (Some(VIEW), 200),
            (Some(OPERATE), 200),
        ] {
            let url = format!("{}/fleet/v1/{path}", serve.admin);
            let mut request = http.get(url);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = within(request.send()).await.unwrap();
            assert_eq!(answer.status(), status, "{path} with {token:?}");
        }
    }
    for (token, status, kind) in [
        (None, 401, "forbidden"),
        (Some("wrong"), 401, "forbidden"),
        (Some(VIEW), 403, "forbidden"),
    ] {
        let mut request = http
            .post(format!("{}/fleet/v1/commands", serve.admin))
            .json(&drain);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = within(request.send()).await.unwrap();
        assert_eq!(answer.status(), status, "{token:?}");
        let told: Value = answer.json().await.unwrap();
        assert_eq!(told["error"]["kind"], kind);
        assert!(!told.to_string().contains(OPERATE) && !told.to_string().contains(VIEW));
    }
    let open = within(
        http.get(format!("{}/fleet/v1/openapi.json", serve.admin))
            .send(),
    )
    .await
    .unwrap();
    let document: Value = open.json().await.unwrap();
    let paths = document["paths"].as_object().unwrap();
    for path in reads {
        let path = format!("/fleet/v1/{path}").replace("/a/", "/{backend}/");
        assert!(paths.contains_key(&path), "{path} is not described");
    }
}

/// Path, tag, body; status, kind, and what is told.
type Case = (
    &'static str,
    Option<&'static str>,
    &'static str,
    u16,
    &'static str,
    &'static str,
);

const DRAIN: &str = r#"{"command":"drain","backend":"a"}"#;
const REFUSED: [Case; 11] = [
    ("commands", None, "nonsense", 400, "usage", "no command"),
    ("commands", None, "{}", 400, "usage", "command"),
    (
        "commands",
        None,
        r#"{"command":"wak"}"#,
        400,
        "usage",
        "unknown variant `wak`",
    ),
    (
        "commands",
        None,
        r#"{"command":"wake"}"#,
        400,
        "usage",
        "missing field `backend`",
    ),
    (
        "commands",
        None,
        r#"{"command":"wake","backend":"zz"}"#,
        404,
        "not-found",
        "no backend zz",
    ),
    (
        "commands",
        None,
        r#"{"command":"flip","model":"zz"}"#,
        404,
        "not-found",
        "no model zz",
    ),
    (
        "commands",
        None,
        r#"{"command":"wake","backend":"a"}"#,
        409,
        "refused",
        "hosted",
    ),
    (
        "commands",
        None,
        r#"{"command":"undo"}"#,
        409,
        "refused",
        "nothing to undo",
    ),
    ("commands", Some("\"0\""), DRAIN, 412, "changed", "ready"),
    (
        "commands",
        Some("bare"),
        DRAIN,
        400,
        "usage",
        "no tag in quotes",
    ),
    ("nowhere", None, "", 404, "not-found", "no such path"),
];

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_to_do() {
    let serve = Serve::start("127.0.0.1:0");
    let http = Client::new();
    let post = |path: &str, tag: Option<&str>, body: String| {
        let mut request = http
            .request(Method::POST, format!("{}/fleet/v1/{path}", serve.admin))
            .bearer_auth(OPERATE)
            .body(body);
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        async move { within(request.send()).await.unwrap() }
    };
    for (path, tag, body, status, kind, told) in REFUSED {
        let answer = post(path, tag, body.to_owned()).await;
        assert_eq!(answer.status(), status, "{body}");
        let said: Value = answer.json().await.unwrap();
        assert_eq!(said["error"]["kind"], kind, "{body}");
        let what = said["error"]["what"].as_str().unwrap();
        assert!(what.contains(told), "{body}: {what}");
        assert!(!said["error"]["hint"].as_str().unwrap().is_empty());
    }
    for path in [
        "requests?n=many",
        "audit?limit=-1",
        "backends/a/log?follow=perhaps",
    ] {
        let url = format!("{}/fleet/v1/{path}", serve.admin);
        let answer = within(http.get(url).bearer_auth(VIEW).send())
            .await
            .unwrap();
        assert_eq!(answer.status(), 400, "{path}");
        let said: Value = answer.json().await.unwrap();
        assert_eq!(said["error"]["kind"], "usage", "{path}");
    }
    let long = post("commands", None, "x".repeat(100_000)).await;
    assert_eq!(long.status(), 413);
    let wrong = Client::new()
        .delete(format!("{}/fleet/v1/status", serve.admin))
        .send();
    assert_eq!(within(wrong).await.unwrap().status(), 405);

    // A dry run changes nothing, and its tag lets the command through.
    let dry = post("commands?dry_run=true", None, DRAIN.to_owned()).await;
    let tag = dry.headers()["etag"].to_str().unwrap().to_owned();
    let told: Value = dry.json().await.unwrap();
    assert_eq!(told["preview"]["verb"], "Drain");
    assert_eq!(
        post("commands", Some(&tag), DRAIN.to_owned())
            .await
            .status(),
        200
    );
    assert_eq!(
        post("commands", Some(&tag), DRAIN.to_owned())
            .await
            .status(),
        412
    );
}

#[tokio::test]
async fn two_consoles_see_the_same_and_one_wins() {
    let serve = Serve::start("127.0.0.1:0");
    let shutdown = CancellationToken::new();
    let console = |token| within(attach(serve.address(Some(token)), shutdown.clone()));
    let mut one = console(OPERATE).await.unwrap();
    let two = console(OPERATE).await.unwrap();
    let screen = console(VIEW).await.unwrap();
    let seen = one.snapshots.borrow().clone();
    assert_eq!(
        serde_json::to_value(&seen.models).unwrap(),
        serde_json::to_value(&two.snapshots.borrow().models).unwrap()
    );

    // Both decide by the same picture.
    let (first, second) = tokio::join!(
        order(&one, &seen, weights(50, 50)),
        order(&two, &seen, weights(10, 90)),
    );
    let (won, lost) = match (first, second) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        both => panic!("one wins, the other does not: {both:?}"),
    };
    assert!(won.undoable);
    assert_eq!(lost.kind, RefusalKind::Changed);
    assert!(lost.what.contains(&won.said), "{lost}: {won:?}");
    let fleet = until(&mut one, |fleet| fleet.backends[0].weight != 65).await;
    let entry = fleet
        .audit
        .iter()
        .find(|entry| entry.verb == "weights")
        .unwrap();
    assert_eq!(
        entry.by.name(),
        "ann (ops)",
        "the operator's own name, and whose token it was"
    );

    // A screen may look.
    let seen = screen.snapshots.borrow().clone();
    let refused = order(&screen, &seen, weights(1, 1)).await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::Forbidden);
    shutdown.cancel();
}

#[tokio::test]
async fn a_console_waits_for_a_fleet_that_goes_away() {
    let serve = Serve::start("127.0.0.1:0");
    let shutdown = CancellationToken::new();
    let console = attach(serve.address(Some(OPERATE)), shutdown.clone());
    let mut handle = within(console).await.unwrap();
    let before = handle.snapshots.borrow().clone();
    let address = serve.admin.strip_prefix("http://").unwrap().to_owned();
    let folder = serve.kill();
    within(
        handle
            .reach
            .wait_for(|reach| matches!(reach, Reach::Lost(_))),
    )
    .await
    .unwrap();
    let unanswered = order(&handle, &before, weights(1, 1)).await.unwrap_err();
    assert_eq!(unanswered.kind, RefusalKind::Unanswered);
    let _again = Serve::on(folder, &address);
    within(handle.reach.wait_for(|reach| *reach == Reach::Near))
        .await
        .unwrap();
    let seen = handle.snapshots.borrow().clone();
    order(&handle, &seen, weights(1, 1)).await.unwrap();
    shutdown.cancel();
}

#[tokio::test]
async fn over_tls_with_the_certificate_that_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let config = CONFIG.replace(
        "[[admin.token]]\nname = \"ops\"",
        &format!(
            "[admin]\ncert_file = {chain:?}\nkey_file = {key:?}\n[[admin.token]]\nname = \"ops\""
        ),
    );
    std::fs::write(folder.path().join("fleet.toml"), config).unwrap();
    let serve = Serve::on(folder, "127.0.0.1:0");
    let port = serve.admin.strip_prefix("https://127.0.0.1").unwrap();
    let address = |authority: Option<&str>| Address {
        url: format!("https://localhost{port}"),
        token: Some(OPERATE.to_owned()),
        authority: authority.map(|pem| pem.as_bytes().to_vec()),
    };
    let shutdown = CancellationToken::new();
    let trusted = address(Some(&made.cert.pem()));
    let console = within(attach(trusted, shutdown.clone())).await.unwrap();
    let seen = console.snapshots.borrow().clone();
    order(&console, &seen, weights(1, 1)).await.unwrap();
    let Err(Unreachable::Away(why)) = within(attach(address(None), shutdown.clone())).await else {
        panic!("a certificate that nobody vouches for");
    };
    assert!(why.contains("certificate"), "{why}");
    let plain = reqwest::get(format!("http://localhost{port}/fleet/v1/status")).await;
    assert!(plain.is_err());
    shutdown.cancel();
}

#[tokio::test]
async fn what_is_no_fleet_says_so() {
    let serve = Serve::start("127.0.0.1:0");
    let shutdown = CancellationToken::new();
    let wrong = attach(serve.address(Some("wrong")), shutdown.clone()).await;
    assert!(
        matches!(wrong, Err(Unreachable::Forbidden(why)) if why.contains("none of this fleet's"))
    );
    let nobody = Address {
        url: "http://127.0.0.1:9".to_owned(),
        token: None,
        authority: None,
    };
    assert!(matches!(
        attach(nobody, shutdown).await,
        Err(Unreachable::Away(_))
    ));
}

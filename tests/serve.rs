//! `fleetctl serve` with engines of this machine: woken by a request, asleep when idle, found again after a kill.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program that cannot be tried has failed"
)]
#![cfg(target_os = "linux")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use fleetctl::fleet::Fleet;
use fleetctl::remote::{Address, attach};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Longer than any of this takes; what hangs fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `fleetctl serve` and what it says.
struct Serve {
    child: Child,
    said: BufReader<ChildStdout>,
    gateway: String,
    admin: String,
}

impl Serve {
    /// Starts it on a fleet of one simulated engine.
    fn start(folder: &Path, backend: &str) -> Self {
        let engine = env!("CARGO_BIN_EXE_fleetctl");
        let config = format!(
            "listen = \"127.0.0.1:0\"\n[[model]]\nname = \"phi-4\"\n[[model.backend]]\nname = \"gpu0\"\nrate = \"2.00\"\n\
             command = [\"{engine}\", \"simulate\", \"--port\", \"{{port}}\", \"--model\", \"phi-4\", \"--start\", \"300ms\"]\n{backend}"
        );
        let path = folder.join("fleet.toml");
        std::fs::write(&path, config).unwrap();
        let mut child = serve(&path, folder).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        said.read_line(&mut first).unwrap();
        let gateway = first
            .trim()
            .strip_prefix("gateway on ")
            .unwrap_or_else(|| panic!("{first}"));
        let gateway = gateway.to_owned();
        let mut second = String::new();
        said.read_line(&mut second).unwrap();
        let admin = second.trim().strip_prefix("admin on ").unwrap().to_owned();
        Self {
            child,
            said,
            gateway,
            admin,
        }
    }

    /// Reads on until a line says this.
    fn until(&mut self, wanted: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            let read = self.said.read_line(&mut line).unwrap();
            assert!(read > 0, "it ended without `{wanted}`:\n{all}");
            if line.contains(wanted) {
                return line;
            }
            all += &line;
        }
    }

    fn signal(&self, signal: Signal) {
        kill(pid(self.child.id()), signal).unwrap();
    }

    /// What is left to say, and its end.
    fn end(mut self) -> String {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        rest
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends the engines that a killed `serve` left to us.
struct Leftovers<'a>(&'a Path);

impl Drop for Leftovers<'_> {
    fn drop(&mut self) {
        if let Some(engine) = engine(self.0) {
            let _ = kill(pid(engine), Signal::SIGKILL);
        }
    }
}

fn serve(config: &Path, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetctl"));
    command
        .arg("serve")
        .arg("--config")
        .arg(config)
        .args(["--admin", "127.0.0.1:0"])
        .arg("--state")
        .arg(folder.join("state"));
    command
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap())
}

/// The engine's process, as its record has it; `None` where it is gone.
fn engine(folder: &Path) -> Option<u32> {
    let record = std::fs::read(folder.join("state/engines/gpu0/run.json")).ok()?;
    let record: Value = serde_json::from_slice(&record).unwrap();
    let id = u32::try_from(record["process"]["pid"].as_u64()?).unwrap();
    // One that nobody has waited for yet is gone as well.
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    (!status.contains("State:\tZ")).then_some(id)
}

async fn ask(serve: &Serve) -> reqwest::Response {
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .build()
        .unwrap();
    let body = r#"{"model":"phi-4","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}"#;
    client
        .post(format!("{}/chat/completions", serve.gateway))
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_request_wakes_an_engine_and_the_idle_timer_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = Serve::start(folder.path(), "idle_after = \"1s\"\n");
    let answer = ask(&serve).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("x-fleet-wake-ms"));
    serve.until("request  wake  phi-4/gpu0: waking");
    serve.until("warm after");
    serve.until("idle timer  sleep  phi-4/gpu0");
    serve.until("asleep  phi-4/gpu0: asleep, machine released");
    assert_eq!(engine(folder.path()), None);
    let log = std::fs::read_to_string(folder.path().join("state/engines/gpu0/engine.log")).unwrap();
    assert!(log.contains("Application startup complete."));
    // A second request wakes it again.
    assert_eq!(ask(&serve).await.status(), 200);
    serve.until("warm after");
    serve.signal(Signal::SIGTERM);
    serve.end();
    assert_eq!(engine(folder.path()), None, "no engine outlives it");
}

#[tokio::test]
async fn an_engine_that_sleeps_by_level_keeps_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = Serve::start(folder.path(), "idle_after = \"1s\"\nsleep = \"level1\"\n");
    assert_eq!(ask(&serve).await.status(), 200, "started");
    serve.until("warm after");
    let running = engine(folder.path()).unwrap();
    serve.until("asleep  phi-4/gpu0: asleep");
    assert_eq!(ask(&serve).await.status(), 200, "woken");
    serve.until("warm after");
    assert_eq!(engine(folder.path()), Some(running));
    kill(pid(running), Signal::SIGKILL).unwrap();
    serve.until("restart  wake  phi-4/gpu0: ended while it served");
    serve.until("warm after");
    serve.signal(Signal::SIGTERM);
    serve.end();
}

#[tokio::test]
async fn a_killed_serve_finds_its_engine_again() {
    let folder = tempfile::tempdir().unwrap();
    let _leftovers = Leftovers(folder.path());
    let mut first = Serve::start(folder.path(), "");
    assert_eq!(ask(&first).await.status(), 200);
    first.until("warm after");
    let running = engine(folder.path()).unwrap();
    first.signal(Signal::SIGKILL);
    drop(first);
    assert_eq!(engine(folder.path()), Some(running));

    let mut second = Serve::start(folder.path(), "");
    second.until("its process was found running");
    second.until("warm after");
    let answer = ask(&second).await;
    assert_eq!(answer.status(), 200);
    assert!(
        !answer.headers().contains_key("x-fleet-wake-ms"),
        "nobody waited"
    );
    assert_eq!(engine(folder.path()), Some(running));

    // Two would end each other's engines.
    let config = folder.path().join("fleet.toml");
    let third = serve(&config, folder.path()).output().unwrap();
    let said = String::from_utf8(third.stderr).unwrap();
    assert!(said.contains("another `fleetctl serve` works in"), "{said}");
    assert_eq!(third.status.code(), Some(1));

    second.signal(Signal::SIGINT);
    second.end();
    assert_eq!(engine(folder.path()), None);
}

#[tokio::test]
async fn an_engine_that_dies_is_told_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = Serve::start(folder.path(), "");
    assert_eq!(ask(&serve).await.status(), 200);
    serve.until("warm after");
    kill(pid(engine(folder.path()).unwrap()), Signal::SIGKILL).unwrap();
    let told = serve.until("failed  phi-4/gpu0");
    assert!(told.contains("it was killed (SIGKILL)"), "{told}");
    // It served: it is started again, and whoever asks meanwhile is held.
    assert_eq!(ask(&serve).await.status(), 200);
    serve.until("restart  wake  phi-4/gpu0: ended while it served");
    serve.until("warm after");
    serve.signal(Signal::SIGTERM);
    serve.end();

    let wrong = "env = { X = \"1\" }\n".to_owned();
    let mut serve = Serve::start(folder.path(), &wrong);
    std::fs::write(folder.path().join("taken"), "").unwrap();
    assert_eq!(
        ask(&serve).await.status(),
        200,
        "one that is run otherwise is started anew"
    );
    serve.until("warm after");
    serve.signal(Signal::SIGINT);
    serve.end();
}

async fn command(serve: &Serve, command: Value) {
    let url = format!("{}/fleet/v1/commands", serve.admin);
    let answer = reqwest::Client::new().post(url).json(&command).send();
    assert_eq!(answer.await.unwrap().status(), 200, "{command}");
}

async fn backends(serve: &Serve) -> Value {
    let url = format!("{}/fleet/v1/status", serve.admin);
    let told: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    told["backends"].clone()
}

#[tokio::test]
async fn what_operators_want_and_what_was_spent_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let _leftovers = Leftovers(folder.path());
    let more = "[[model.backend]]\nname = \"api\"\nurl = \"http://127.0.0.1:9\"\nhosted = true\nweight = 35\n";
    let mut first = Serve::start(folder.path(), more);
    command(&first, json!({"command": "wake", "backend": "gpu0"})).await;
    first.until("warm after");
    assert_eq!(ask(&first).await.status(), 200);
    command(
        &first,
        json!({"command": "pin", "backend": "gpu0", "reason": "demo"}),
    )
    .await;
    command(
        &first,
        json!({"command": "weights", "model": "phi-4", "weights": [["gpu0", 20], ["api", 80]]}),
    )
    .await;
    command(&first, json!({"command": "drain", "backend": "api"})).await;
    first.signal(Signal::SIGKILL);
    drop(first);

    let second = Serve::start(folder.path(), more);
    let now = backends(&second).await;
    assert_eq!(
        (&now[0]["weight"], &now[1]["weight"]),
        (&json!(20), &json!(80))
    );
    assert_eq!(now[0]["pin"]["reason"], "demo");
    assert!(now[1]["drained"]["since"].is_string());
    let ledger: Value = reqwest::get(format!("{}/fleet/v1/ledger", second.admin))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let ledger = &ledger["backends"][0]["ledger"];
    // It was asked once; what was recorded with the commands is there.
    assert_eq!(ledger["requests"], 1);
    let minutes = ledger["minutes"].as_array().unwrap();
    let unobserved: u64 = minutes
        .iter()
        .map(|m| m["unobserved_ms"].as_u64().unwrap())
        .sum();
    assert!(unobserved > 0, "nobody watched while it was gone");
    let requests: Value = reqwest::get(format!("{}/fleet/v1/requests", second.admin))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(requests["requests"].as_array().unwrap().len(), 1);
    second.signal(Signal::SIGTERM);
    second.end();
}

#[tokio::test]
async fn a_changed_config_is_taken_as_a_whole_or_refused_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let more = "weight = 65\nidle_after = \"1h\"\n[[model.backend]]\nname = \"api\"\nurl = \"http://127.0.0.1:9\"\nhosted = true\nweight = 35\n";
    let mut serve = Serve::start(folder.path(), more);
    command(&serve, json!({"command": "wake", "backend": "gpu0"})).await;
    serve.until("warm after");
    let weights = json!([["gpu0", 80], ["api", 20]]);
    command(
        &serve,
        json!({"command": "weights", "model": "phi-4", "weights": weights}),
    )
    .await;
    let shutdown = CancellationToken::new();
    let address = Address {
        url: serve.admin.clone(),
        token: None,
        authority: None,
    };
    let mut console = attach(address, shutdown.clone()).await.unwrap().snapshots;
    let path = folder.path().join("fleet.toml");
    let first = std::fs::read_to_string(&path).unwrap();

    // One weight changes, and a backend comes: the file alone is enough.
    let second = first.replace("weight = 65", "weight = 10")
        + "[[model.backend]]\nname = \"other\"\nurl = \"http://127.0.0.1:9\"\nweight = 0\n";
    std::fs::write(&path, &second).unwrap();
    serve.until("config  reload  model phi-4, backend other: added");
    serve.until("config  reload  model phi-4, backend gpu0: weight 65 → 10");
    let now = backends(&serve).await;
    assert_eq!(now[0]["weight"], 10, "what the config changed");
    assert_eq!(now[1]["weight"], 20, "what only an operator changed");
    assert_eq!(now[0]["state"], "warm");
    assert_eq!(now[2]["backend"], "other");
    assert_eq!(ask(&serve).await.status(), 200);

    // Wrong in one place, nothing of it counts.
    let wrong = second
        .replace("weight = 10", "weight = 11")
        .replace("name = \"other\"", "name = \"api\"");
    std::fs::write(&path, &wrong).unwrap();
    let told = serve.until("refused; the one before stays in force");
    assert!(
        told.contains("backend `api`: that name stands twice"),
        "{told}"
    );
    assert_eq!(backends(&serve).await[0]["weight"], 10);
    let moved = second.replace("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:1\"");
    std::fs::write(&path, &moved).unwrap();
    serve.until("`listen` cannot change while `serve` runs");

    // Without its process in the config, the process ends; and with it, the account goes on.
    let spent = |told: Value| told["backends"][0]["ledger"]["requests"].clone();
    let engineless = format!(
        "listen = \"127.0.0.1:0\"\n[[model]]\nname = \"phi-4\"\n{}",
        &second[second.find("[[model.backend]]\nname = \"api\"").unwrap()..]
    );
    std::fs::write(&path, engineless).unwrap();
    serve.signal(Signal::SIGHUP);
    serve.until("backend gpu0: removed");
    let names = |fleet: &Fleet| -> Vec<String> {
        let names = fleet.backends.iter().map(|b| b.id.to_string());
        names.collect()
    };
    let without = console.wait_for(|fleet| names(fleet) == ["api", "other"]);
    drop(
        tokio::time::timeout(PATIENCE, without)
            .await
            .unwrap()
            .unwrap(),
    );
    let running = engine(folder.path());
    while running.is_some() && engine(folder.path()).is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    std::fs::write(&path, &second).unwrap();
    serve.signal(Signal::SIGHUP);
    serve.until("backend gpu0: added");
    let back = console.wait_for(|fleet| names(fleet) == ["gpu0", "api", "other"]);
    let back = tokio::time::timeout(PATIENCE, back)
        .await
        .unwrap()
        .unwrap()
        .clone();
    assert_eq!(back.backends[0].ledger.requests, 1);
    shutdown.cancel();
    let url = format!("{}/fleet/v1/ledger", serve.admin);
    let ledger: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    assert_eq!(spent(ledger), 1);
    command(&serve, json!({"command": "wake", "backend": "gpu0"})).await;
    serve.until("warm after");
    assert_eq!(ask(&serve).await.status(), 200);
    serve.signal(Signal::SIGHUP);
    serve.until("read again; nothing in it changed");
    serve.signal(Signal::SIGTERM);
    serve.end();
}

//! Logins by a plugin of the kubeconfig: a small script that does what a file says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use chrono::{TimeDelta, Utc};
use fleetctl::fleet::cluster::PartState;
use serde_json::{Value, json};

use super::bench::{Bench, Open};
use super::yard::put;

/// A plugin beside a kubeconfig that names it.
struct Plugin {
    dir: PathBuf,
}

impl Plugin {
    fn new(bench: &Bench) -> Self {
        let dir = bench.dir().to_owned();
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$KUBERNETES_EXEC_INFO\" >> {dir}/asked\n. {dir}/does\n",
            dir = dir.display()
        );
        let path = dir.join("plugin");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let all = bench.fake.kubeconfig();
        let (before, _) = all.split_once("users:").unwrap();
        let user = format!(
            "users:\n- name: fake\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: {}\n      interactiveMode: IfAvailable\n",
            path.display()
        );
        fs::write(dir.join("config"), format!("{before}{user}")).unwrap();
        Self { dir }
    }

    fn does(&self, what: &str) {
        fs::write(self.dir.join("does"), what).unwrap();
    }

    /// It gives a token that is good for so long.
    fn gives(&self, token: &str, lasts: TimeDelta) {
        self.does(&format!("printf '%s' '{}'\n", credential(token, lasts)));
    }

    /// What it was asked each time.
    fn asked(&self) -> Vec<Value> {
        let all = fs::read_to_string(self.dir.join("asked")).unwrap();
        all.lines()
            .map(|it| serde_json::from_str(it).unwrap())
            .collect()
    }
}

fn credential(token: &str, lasts: TimeDelta) -> Value {
    json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": token, "expirationTimestamp": (Utc::now() + lasts).to_rfc3339()},
    })
}

/// A fleet whose login is good for so long, and is not taken any more.
async fn outdated(lasts: TimeDelta) -> (Bench, Plugin, Open) {
    let bench = Bench::start().await;
    let plugin = Plugin::new(&bench);
    plugin.gives("first", lasts);
    bench.fake.require_token(Some("first"));
    put(&bench.fake, "deployment chat 0");
    let open = bench.fleet().await;
    bench.fake.require_token(Some("second"));
    (bench, plugin, open)
}

/// Why Deployments are not seen.
async fn sees_why(open: &Open, what: &str, wanted: impl Fn(&str) -> bool) {
    open.see(what, |fleet| {
        let mut parts = fleet.clusters[0].parts.iter();
        parts.any(|it| {
            let PartState::Stale { why, .. } = &it.state else {
                return false;
            };
            *it.resource == *"deployments.apps" && wanted(why)
        })
    })
    .await;
}

async fn sees_next(bench: &Bench, open: &Open) {
    put(&bench.fake, "deployment next 0");
    open.see("what came since", |fleet| {
        let mut all = fleet.backends.iter();
        all.any(|b| b.id.as_str() == "llm/next")
    })
    .await;
}

#[tokio::test]
async fn a_login_that_ends_is_renewed_and_asks_nobody() {
    let (bench, plugin, open) = outdated(TimeDelta::seconds(-1)).await;
    plugin.gives("second", TimeDelta::hours(1));
    bench.fake.end_watches();
    sees_next(&bench, &open).await;
    let asked = plugin.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[1]["spec"]["interactive"], false);
}

#[tokio::test]
async fn a_login_that_is_over_says_what_to_do() {
    let (bench, plugin, open) = outdated(TimeDelta::hours(1)).await;
    plugin.does("echo 'the refresh token has expired' >&2; exit 1\n");
    bench.fake.end_watches();
    let wanted = format!(
        "your login has expired: run `kubectl --context fake get namespaces` in another terminal; it is tried again every 30 s ({}: the refresh token has expired)",
        plugin.dir.join("plugin").display()
    );
    sees_why(&open, "what to do", |why| why == wanted).await;
}

#[tokio::test]
async fn a_slow_plugin_holds_up_nobody_and_is_run_once() {
    let (bench, plugin, open) = outdated(TimeDelta::hours(1)).await;
    let pipe = plugin.dir.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    plugin.does(&format!("cat {}\n", pipe.display()));
    bench.fake.end_watches();
    // Everything here runs on one thread: it goes on only if the plugin does not hold it.
    let text = credential("second", TimeDelta::hours(1)).to_string();
    let gives = tokio::task::spawn_blocking(move || fs::write(pipe, text));
    gives.await.unwrap().unwrap();
    sees_next(&bench, &open).await;
    assert_eq!(plugin.asked().len(), 2);
}

#[tokio::test]
async fn a_plugin_that_fails_at_the_start_says_why() {
    let bench = Bench::start().await;
    let plugin = Plugin::new(&bench);
    plugin.does("exit 3\n");
    let said = bench.reached().connect().await.unwrap_err();
    assert!(said.starts_with("there is no login: "), "{said}");
    assert!(said.ends_with("ended with exit status: 3"), "{said}");
}

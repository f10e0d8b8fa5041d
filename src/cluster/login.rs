//! Logging in with a plugin (`exec` in a kubeconfig), as `kubectl` does it.
//!
//! It is run here and not by the client library, which would let it write over the screen and read its keys, would hold
//! up a thread of the runtime meanwhile, and would start another one for every call that waits.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::config::{ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

/// How long a plugin may take that cannot ask anybody anything.
const LIMIT: Duration = Duration::from_secs(30);
/// A plugin that failed is run again this late: some open a browser each time.
pub(super) const AGAIN: Duration = Duration::from_secs(30);
/// The most that is repeated of what a plugin says.
const WORDS: usize = 200;

/// What a plugin gave.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Login {
    pub token: Option<String>,
    #[serde(rename = "clientCertificateData")]
    pub certificate: Option<String>,
    #[serde(rename = "clientKeyData")]
    pub key: Option<String>,
    /// Until when it is good for.
    #[serde(rename = "expirationTimestamp")]
    pub until: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Answer {
    status: Option<Login>,
}

/// Runs the plugin. Where it `may_ask` it has the terminal, as far as its `interactiveMode` goes; else it has nothing.
///
/// # Errors
/// What it said instead, in plain words.
pub(super) async fn log_in(exec: &ExecConfig, may_ask: bool) -> Result<Login, String> {
    let name = exec.command.as_deref().unwrap_or_default();
    let never = matches!(exec.interactive_mode, Some(ExecInteractiveMode::Never));
    let always = matches!(exec.interactive_mode, Some(ExecInteractiveMode::Always));
    let asks = may_ask && !never && std::io::stdin().is_terminal();
    if may_ask && always && !asks {
        return Err(format!(
            "{name} has to ask for something, and there is no terminal"
        ));
    }
    let mut spec = json!({"interactive": asks});
    if exec.provide_cluster_info {
        spec["cluster"] = serde_json::to_value(&exec.cluster).map_err(|why| why.to_string())?;
    }
    let asked = json!({"apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec});
    let mut command = Command::new(name);
    command
        .args(exec.args.iter().flatten())
        .env("KUBERNETES_EXEC_INFO", asked.to_string())
        .stdin(if asks {
            Stdio::inherit()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        // What it says is for whoever started this; once there is a screen it is said there.
        .stderr(if may_ask {
            Stdio::inherit()
        } else {
            Stdio::piped()
        })
        .kill_on_drop(true);
    for env in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (env.get("name"), env.get("value")) {
            command.env(name, value);
        }
    }
    for name in exec.drop_env.iter().flatten() {
        command.env_remove(name);
    }
    let runs = command.output();
    let output = if may_ask {
        runs.await
    } else {
        // Dropped, it is ended: the next one does not find it still at work.
        let late = |_| format!("{name} gave no answer within {} s", LIMIT.as_secs());
        timeout(LIMIT, runs).await.map_err(late)?
    };
    let output = output.map_err(|why| {
        let hint = exec.install_hint.as_deref().unwrap_or_default();
        format!("{name} cannot be run: {why} {}", words(hint))
            .trim_end()
            .to_owned()
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|it| !it.trim().is_empty());
        return Err(match last {
            Some(last) => format!("{name}: {}", words(last)),
            None => format!("{name} ended with {}", output.status),
        });
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|why| format!("{name} gave what nobody understands: {why}"))?;
    answer
        .status
        .ok_or_else(|| format!("{name} gave no credentials"))
}

/// What somebody enters who has to log in anew. Arguments may hold secrets: only what is known is repeated.
pub(super) fn by_hand(exec: &ExecConfig, context: Option<&str>) -> String {
    let command = exec.command.as_deref().unwrap_or_default();
    let name = Path::new(command).file_stem().and_then(|it| it.to_str());
    let args = || exec.args.iter().flatten();
    match name.unwrap_or_default() {
        "aws" => {
            let mut after = args().skip_while(|it| *it != "--profile").skip(1);
            let mut env = exec.env.iter().flatten();
            let set = env.find(|it| it.get("name").is_some_and(|it| it == "AWS_PROFILE"));
            let profile = after.next().or(set.and_then(|it| it.get("value")));
            profile.map_or_else(
                || "aws sso login".to_owned(),
                |it| format!("aws sso login --profile {}", words(it)),
            )
        }
        "gke-gcloud-auth-plugin" => "gcloud auth login".to_owned(),
        "kubelogin" if args().any(|it| it == "azurecli") => "az login".to_owned(),
        _ => context.map_or_else(
            || "kubectl get namespaces".to_owned(),
            |it| format!("kubectl --context {it} get namespaces"),
        ),
    }
}

/// As much of a text as is repeated, without what a terminal would obey.
fn words(text: &str) -> String {
    let plain = text.trim().chars().filter(|c| !c.is_control());
    plain.take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_to_log_in_by_hand_is_told_without_secrets() {
        let told = |text: &str| {
            let exec: ExecConfig = serde_json::from_str(text).unwrap();
            by_hand(&exec, Some("prod"))
        };
        for (exec, wanted) in [
            (
                r#"{"command":"aws","args":["eks","get-token","--profile","ml"]}"#,
                "aws sso login --profile ml",
            ),
            (
                r#"{"command":"/usr/bin/aws","env":[{"name":"AWS_PROFILE","value":"x"}]}"#,
                "aws sso login --profile x",
            ),
            (
                r#"{"command":"kubelogin","args":["get-token","--login","azurecli"]}"#,
                "az login",
            ),
            (
                r#"{"command":"gke-gcloud-auth-plugin"}"#,
                "gcloud auth login",
            ),
            (
                r#"{"command":"kubectl","args":["oidc-login","get-token","--oidc-client-secret=x"]}"#,
                "kubectl --context prod get namespaces",
            ),
        ] {
            assert_eq!(told(exec), wanted, "{exec}");
        }
    }
}

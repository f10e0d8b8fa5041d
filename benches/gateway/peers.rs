//! What stands between the clients and the engine: nothing, nginx, fleetctl, LiteLLM.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::Options;
use crate::process::{Process, free_port, wait_for};

/// The model that clients ask for.
pub(crate) const MODEL: &str = "bench-model";

/// Someone who takes requests.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Host and port.
    pub(crate) address: String,
    /// The process whose cost counts; `None` for the engine itself.
    pub(crate) process: Option<Process>,
    _dir: Option<TempDir>,
}

impl Peer {
    /// User and system time so far, seconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.process.as_ref().map_or(0.0, Process::cpu)
    }

    /// KiB.
    pub(crate) fn memory(&self) -> f64 {
        self.process.as_ref().map_or(0.0, Process::memory)
    }
}

/// The fake engine, in a process of its own.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) process: Process,
    pub(crate) address: String,
}

impl Engine {
    /// `warm`, or `cold`: nobody is answered before it is told `up`. After that, its threads.
    pub(crate) fn start(state: &str, backlog: u32) -> Self {
        let mut process = Process::role("role-engine", &format!("{state} {backlog}"));
        let address = process.line();
        Self { process, address }
    }
}

/// Everybody who takes part, the engine itself first.
pub(crate) fn all(options: &Options, engine: &Engine, buffering: bool) -> Vec<Peer> {
    let mut peers = vec![
        Peer {
            name: "direct",
            address: engine.address.clone(),
            process: None,
            _dir: None,
        },
        nginx(&engine.address, buffering, false),
        fleetctl(&options.fleetctl, &engine.address, false),
    ];
    if let Some(venv) = &options.litellm {
        peers.push(litellm(venv, &engine.address));
    }
    peers
}

/// nginx as a reverse proxy with two workers and a pool of connections; `spread` has the kernel share clients out evenly.
pub(crate) fn nginx(engine: &str, buffering: bool, spread: bool) -> Peer {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    let address = format!("127.0.0.1:{}", free_port());
    let spread = if spread { " reuseport" } else { "" };
    let buffering = if buffering { "on" } else { "off" };
    let config = format!(
        "daemon off;
worker_processes 2;
pid {at}/pid;
error_log {at}/error.log warn;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  client_body_temp_path {at}/a;
  proxy_temp_path {at}/b;
  fastcgi_temp_path {at}/c;
  uwsgi_temp_path {at}/d;
  scgi_temp_path {at}/e;
  keepalive_timeout 3600s;
  keepalive_requests 100000000;
  upstream engine {{
    server {engine};
    keepalive 256;
    keepalive_requests 100000000;
  }}
  server {{
    listen {address} backlog=4096{spread};
    location / {{
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffering {buffering};
      proxy_read_timeout 3600s;
    }}
  }}
}}
"
    );
    let file = dir.path().join("nginx.conf");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir.path()).arg("-c").arg(&file);
    command.arg("-e").arg(dir.path().join("error.log"));
    let process = Process::start(&mut command);
    wait_for(&address, Duration::from_secs(5));
    Peer {
        name: "nginx",
        address,
        process: Some(process),
        _dir: Some(dir),
    }
}

/// fleetctl before one engine, which has a launcher where it is `cold`.
pub(crate) fn fleetctl(program: &Path, engine: &str, cold: bool) -> Peer {
    let dir = tempfile::tempdir().unwrap();
    let sleep = if cold {
        format!("sleep = \"release\"\nlauncher = \"http://{engine}/launcher\"\n")
    } else {
        String::new()
    };
    let config = format!(
        "name = \"bench\"
[[model]]
name = \"{MODEL}\"
[[model.backend]]
name = \"engine\"
url = \"http://{engine}\"
rate = \"1.00\"
{sleep}"
    );
    let file = dir.path().join("fleet.toml");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(program);
    command.args(["--headless", "--listen", "127.0.0.1:0", "--config"]);
    let mut process = Process::start(command.arg(&file));
    let said = process.line();
    let address = said
        .split_once("http://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map_or_else(
            || panic!("fleetctl said `{said}`"),
            |(address, _)| address.to_owned(),
        );
    process.mute();
    // Its first readings of the engine.
    std::thread::sleep(Duration::from_secs(2));
    Peer {
        name: "fleetctl",
        address,
        process: Some(process),
        _dir: Some(dir),
    }
}

/// LiteLLM's proxy with one worker, without keys or a database.
fn litellm(venv: &Path, engine: &str) -> Peer {
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "model_list:
  - model_name: {MODEL}
    litellm_params: {{model: openai/{MODEL}, api_base: \"http://{engine}/v1\", api_key: none}}
litellm_settings: {{num_retries: 0}}
"
    );
    let file = dir.path().join("litellm.yaml");
    fs::write(&file, config).unwrap();
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(venv.join("bin/litellm"));
    command
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .env("LITELLM_LOG", "ERROR")
        // Nobody here asks for a key, and only this machine is listened to.
        .env(
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY",
            "true",
        )
        .current_dir(dir.path())
        .arg("--config")
        .arg(&file)
        .args(["--host", "127.0.0.1", "--telemetry", "False", "--port"])
        .arg(port.to_string())
        .stderr(Stdio::null());
    let mut process = Process::start(&mut command);
    process.mute();
    wait_for(&address, Duration::from_secs(120));
    Peer {
        name: "LiteLLM",
        address,
        process: Some(process),
        _dir: Some(dir),
    }
}

/// As it says itself.
pub(crate) fn nginx_version() -> String {
    let said = Command::new("nginx").arg("-v").output();
    said.map_or_else(
        |_| "no nginx".to_owned(),
        |it| {
            let text = String::from_utf8_lossy(&it.stderr);
            text.trim().trim_start_matches("nginx version: ").to_owned()
        },
    )
}

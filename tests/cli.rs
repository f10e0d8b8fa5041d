//! Every verb of the command line against a running `fleetctl serve`: what it says, and the status that scripts go by.

#![expect(
    clippy::unwrap_used,
    reason = "a program that cannot be tried has failed"
)]
#![cfg(target_os = "linux")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A `fleetctl serve` with one engine of this machine and a hosted API.
struct Serve {
    child: Child,
    admin: String,
    folder: tempfile::TempDir,
}

impl Serve {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = env!("CARGO_BIN_EXE_fleetctl");
        let engine = |port: &str, more: &str| {
            format!(
                "command = [\"{program}\", \"simulate\", \"--port\", \"{port}\", \"--model\", \"phi-4\", \"--start\", \"100ms\"{more}]\n"
            )
        };
        let config = format!(
            "listen = \"127.0.0.1:0\"\n[[admin.token]]\nname = \"ops\"\nrole = \"operate\"\nenv = \"OPS\"\n\
             [[admin.token]]\nname = \"screen\"\nrole = \"view\"\nenv = \"SCREEN\"\n\
             [[model]]\nname = \"phi-4\"\n[[model.backend]]\nname = \"gpu0\"\nrate = \"2.00\"\nweight = 65\n{}\
             [[model.backend]]\nname = \"api\"\nurl = \"http://127.0.0.1:9\"\nhosted = true\nweight = 35\nprice = {{ input = \"0.15\", output = \"0.60\" }}\n\
             [[model]]\nname = \"broken\"\n[[model.backend]]\nname = \"gpu1\"\nrate = \"2.00\"\n{}\
             [[model]]\nname = \"slow\"\n[[model.backend]]\nname = \"gpu2\"\nrate = \"2.00\"\n{}",
            engine("{port}", ""),
            engine("{port}", ", \"--fail\", \"memory-taken\""),
            engine("{port}", "").replace("100ms", "10m"),
        );
        std::fs::write(folder.path().join("fleet.toml"), config).unwrap();
        let mut child = Command::new(program)
            .args(["serve", "--admin", "127.0.0.1:0", "--config"])
            .arg(folder.path().join("fleet.toml"))
            .arg("--state")
            .arg(folder.path().join("state"))
            .env("OPS", "operate-token")
            .env("SCREEN", "view-token")
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

    /// Runs a verb; its status, what it says, and what it says is wrong.
    fn run(&self, token: &str, line: &str) -> (i32, String, String) {
        let out = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
            .args(["--connect", &self.admin, "--operator", "ann"])
            .args(line.split(' ').map(|word| word.replace('_', " ")))
            .env("FLEETCTL_TOKEN", token)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (
            out.status.code().unwrap(),
            String::from_utf8(out.stdout).unwrap(),
            String::from_utf8(out.stderr).unwrap(),
        )
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // In peace, so that it takes its engines along.
        let id = i32::try_from(self.child.id()).unwrap();
        let pid = nix::unistd::Pid::from_raw(id);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
        assert!(Path::new(self.folder.path()).exists());
    }
}

/// The line, its status, and parts of what it says (standard output and error together), one after the other. `_` is a space within a word.
const STORY: &[(&str, i32, &[&str])] = &[
    ("status", 0, &["gpu0", "api", "ready", "since"]),
    (
        "wake nobody",
        3,
        &["no backend nobody", "hint: ", "fleetctl status"],
    ),
    ("wake api --yes", 4, &["hosted and cannot be woken"]),
    (
        "wake gpu0 --dry-run",
        0,
        &["Wake phi-4/gpu0", "It wakes", "$0.00/h -> $2.00/h"],
    ),
    (
        "wake gpu0",
        4,
        &[
            "$0.00/h -> $2.00/h",
            "nobody is here to be asked",
            "hint: add --yes",
        ],
    ),
    (
        "wake gpu0 --yes --wait=1m",
        0,
        &["waking", "gpu0: warm", "load"],
    ),
    ("wake gpu0 --yes", 0, &["gpu0 is warm already"]),
    ("wake phi-4/gpu0 --wait=1m", 0, &["gpu0 is warm already"]),
    (
        "wake gpu1 --yes --wait=1m",
        1,
        &[
            "gpu1: the GPU's memory is already taken",
            "fleetctl logs gpu1",
        ],
    ),
    (
        "wake gpu2 --yes --wait=100ms",
        5,
        &["gpu2 is not there after 100ms", "it goes on by itself"],
    ),
    ("sleep gpu2 --yes --wait=1m", 0, &["gpu2: asleep"]),
    ("sleep gpu2 --yes", 0, &["asleep already"]),
    ("sleep nobody", 3, &["no backend nobody"]),
    (
        "pin gpu0 --for 2h --reason the_demo --yes",
        0,
        &["pinned until", "the demo"],
    ),
    ("pin gpu0", 2, &["--reason"]),
    ("pin gpu0 --reason _", 4, &["a pin needs a reason"]),
    ("pin gpu0 --for soon --reason x", 2, &["soon"]),
    (
        "pin api --reason x --yes",
        4,
        &["hosted and cannot be pinned"],
    ),
    ("pin nobody --reason x", 3, &["no backend nobody"]),
    ("status", 0, &["the demo (ann (ops), until"]),
    ("unpin gpu0 --yes", 0, &["pin lifted"]),
    ("unpin gpu0", 4, &["is not pinned"]),
    ("unpin nobody", 3, &["no backend nobody"]),
    (
        "weights phi-4 gpu0=50 api=50 --yes",
        0,
        &["gpu0 50, api 50", "fleetctl undo"],
    ),
    (
        "weights phi-4 gpu0",
        2,
        &["`gpu0` is no weight; write it like gpu-box=65"],
    ),
    (
        "weights phi-4 gpu0=0 api=0",
        4,
        &["every weight of phi-4 would be zero"],
    ),
    (
        "weights phi-4 other=1",
        4,
        &["other does not answer for phi-4"],
    ),
    ("weights nothing a=1", 3, &["no model nothing"]),
    ("undo --yes", 0, &["undid weights of phi-4"]),
    ("flip phi-4 --yes", 0, &["gpu0 35, api 65"]),
    ("flip broken", 4, &["broken has only one side"]),
    ("flip nothing", 3, &["no model nothing"]),
    ("drain gpu0", 4, &["Drain phi-4/gpu0", "hint: add --yes"]),
    (
        "drain gpu0 --yes --wait=1m",
        0,
        &["out of service", "gpu0: asleep"],
    ),
    ("drain gpu0 --yes", 4, &["out of service already"]),
    ("drain nobody", 3, &["no backend nobody"]),
    ("wake gpu0 --yes", 4, &["gpu0 is out of service"]),
    (
        "undrain gpu0 --yes --wait=1m",
        0,
        &["back in service", "gpu0: warm"],
    ),
    ("undrain gpu0", 4, &["gpu0 is not drained"]),
    ("undrain nobody", 3, &["no backend nobody"]),
    ("logs gpu0", 0, &["Application startup complete."]),
    ("logs gpu0 -n 2", 0, &["INFO"]),
    ("logs gpu0 -n few", 2, &["few"]),
    (
        "logs nobody",
        3,
        &["no backend nobody", "this fleet has gpu0, api, gpu1, gpu2"],
    ),
    ("requests", 0, &["TIME", "MODEL"]),
    ("requests -n many", 2, &["many"]),
    ("audit -n 3", 0, &["ann (ops)", "undrain", "warm after"]),
    ("wakes gpu0", 0, &["phi-4/gpu0", "warm", "load"]),
    ("wakes", 0, &["broken/gpu1", "the GPU's memory"]),
    ("wakes nobody", 3, &["no backend nobody"]),
    ("cost", 0, &["phi-4/gpu0", "since"]),
    ("status --output xml", 2, &["xml"]),
    ("dance", 2, &["dance"]),
];

#[test]
fn every_verb_says_what_it_did_and_ends_as_it_should() {
    let serve = Serve::start();
    for (line, status, told) in STORY {
        let (code, out, wrong) = serve.run("operate-token", line);
        let said = format!("{out}{wrong}");
        assert_eq!(code, *status, "{line}:\n{said}");
        for part in *told {
            assert!(said.contains(part), "{line}: `{part}` is not in:\n{said}");
        }
        // What is wrong goes where it does not spoil what programs read.
        assert!(
            *status == 0 || out.lines().all(|l| !l.contains("hint:")),
            "{line}:\n{out}"
        );
    }
    for verb in ["status", "requests", "audit", "wakes", "cost"] {
        let (code, out, _) = serve.run("operate-token", &format!("{verb} -o json"));
        let told: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &told["schema_version"]), (0, &1.into()), "{verb}");
    }
    let (code, _, wrong) = serve.run("view-token", "undo --yes");
    assert_eq!(
        (code, wrong.contains("may look and not act")),
        (4, true),
        "{wrong}"
    );
    let (code, _, wrong) = serve.run("no-token", "status");
    assert_eq!(
        (code, wrong.contains("none of this fleet's")),
        (4, true),
        "{wrong}"
    );
}

#[test]
fn where_there_is_no_fleet_it_says_so() {
    let out = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
        .args(["--connect", "http://127.0.0.1:9", "status"])
        .output()
        .unwrap();
    let wrong = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(
        wrong.contains("no fleet there") && wrong.contains("hint: start one with `fleetctl serve`"),
        "{wrong}"
    );
}

/// Runs the program; its status, what it says, and what it says is wrong.
fn run(words: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
        .args(words)
        .output()
        .unwrap();
    (
        out.status.code().unwrap(),
        String::from_utf8(out.stdout).unwrap(),
        String::from_utf8(out.stderr).unwrap(),
    )
}

#[test]
fn a_config_is_checked_before_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.toml");
    let file = path.to_str().unwrap();
    let (code, example, _) = run(&["config", "example"]);
    assert_eq!(code, 0);
    std::fs::write(&path, example).unwrap();
    let (code, said, _) = run(&["config", "check", file]);
    assert_eq!(
        (code, said.contains("is good: 1 model, 2 backends")),
        (0, true),
        "{said}"
    );
    for group in ["", "group = \"box\"\n"] {
        let engine = "[[model]]\nname = \"m\"\n[[model.backend]]\nname = \"a\"\ncommand = [\"vllm\"]\nport = 8000\n";
        std::fs::write(
            &path,
            format!("{engine}{group}env = {{ HF_TOKEN = \"hidden\", X = \"seen\" }}\n"),
        )
        .unwrap();
        let (code, said, wrong) = run(&["config", "check", file]);
        assert_eq!(code, 0, "{said}{wrong}");
    }
    // What is shown is a config again, with all that was left out, and without secrets.
    let (code, shown, _) = run(&["config", "show", file]);
    assert_eq!(code, 0);
    assert!(
        shown.contains("weight = 100") && shown.contains("X = \"seen\""),
        "{shown}"
    );
    assert!(!shown.contains("hidden"));
    std::fs::write(&path, &shown).unwrap();
    assert_eq!(run(&["config", "show", file]).1, shown);
    // Every key is explained to editors.
    let (code, schema, _) = run(&["config", "schema"]);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(code, 0);
    let kinds = schema["$defs"].as_object().unwrap().values();
    for kind in kinds.chain([&schema]) {
        for (key, value) in kind["properties"].as_object().into_iter().flatten() {
            assert!(value["description"].is_string(), "{key}");
        }
    }
    assert_eq!(run(&["config", "check"]).0, 1);
    assert_eq!(run(&["config", "check", "/no/such/file"]).0, 1);
}

#[test]
fn the_store_is_looked_after() {
    let serve = Serve::start();
    assert_eq!(serve.run("operate-token", "pin gpu2 --reason x --yes").0, 0);
    let state = serve.folder.path().join("state");
    let at = state.to_str().unwrap();
    // While serve runs, and of what it has acknowledged.
    let (code, said, wrong) = run(&["db", "--state", at, "check"]);
    assert_eq!((code, said.contains("is sound")), (0, true), "{wrong}");
    let (code, said, _) = run(&["db", "--state", at, "export", "audit"]);
    let entry: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!((code, &entry["verb"]), (0, &"pin".into()));
    let (code, said, _) = run(&["db", "--state", at, "export", "ledger"]);
    assert_eq!(
        (code, said.contains("\"backend\":\"gpu2\"")),
        (0, true),
        "{said}"
    );
    assert_eq!(run(&["db", "--state", at, "vacuum"]).0, 0);
    drop(serve);
    let (code, _, wrong) = run(&["db", "--state", "/no/such/state", "check"]);
    assert_eq!(
        (code, wrong.contains("there is no store at")),
        (3, true),
        "{wrong}"
    );
    let broken = tempfile::tempdir().unwrap();
    std::fs::write(broken.path().join("fleet.db"), "no database".repeat(100)).unwrap();
    let (code, _, wrong) = run(&["db", "--state", broken.path().to_str().unwrap(), "check"]);
    assert_eq!((code, wrong.contains("fleet.db")), (1, true), "{wrong}");
}

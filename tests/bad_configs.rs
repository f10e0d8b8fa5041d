//! Wrong configurations, each with its exact message: file, line, the text at fault, and what to do.

use std::path::Path;
use std::process::Command;

/// `FLEETCTL_UPDATE=1 cargo test --test bad_configs` writes the messages anew; read what changed before it is kept.
#[test]
fn every_bad_config_is_refused_with_its_own_message() {
    let update = std::env::var_os("FLEETCTL_UPDATE").is_some();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in std::fs::read_dir("tests/bad_configs").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        seen += 1;
        let out = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
            .args(["config", "check"])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        if out.status.code() != Some(1) || !out.stdout.is_empty() {
            wrong.push(format!("{}: it was accepted", path.display()));
            continue;
        }
        let expected = path.with_extension("txt");
        if update {
            std::fs::write(&expected, &said).unwrap();
        }
        let told = std::fs::read_to_string(&expected).unwrap_or_default();
        if said != told {
            let name = path.display();
            wrong.push(format!("{name}: expected\n{told}\nand it said\n{said}"));
        }
    }
    assert!(seen >= 50, "only {seen} cases were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_example_is_good() {
    fleetctl::config::load(Path::new("examples/fleet.toml")).unwrap();
    fleetctl::config::load(Path::new("examples/kubernetes/fleet.toml")).unwrap();
}

/// What is wrong is said before the terminal is touched; without `serve`, nobody runs a command.
#[test]
fn a_console_alone_runs_no_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.toml");
    let config = "[[model]]\nname = \"m\"\n[[model.backend]]\nname = \"c\"\ncommand = [\"vllm\"]\n";
    std::fs::write(&path, format!("listen = \"127.0.0.1:0\"\n{config}")).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
        .arg("--config")
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(
        said.contains("line 5: model `m`, backend `c`: its `command` is run by `fleetctl serve`"),
        "{said}"
    );
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(out.stdout.is_empty(), "nothing reaches the terminal");
}

/// Whoever can be reached from elsewhere asks for a key.
#[test]
fn an_address_beyond_loopback_needs_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.toml");
    let config = "listen = \"0.0.0.0:0\"\n[[model]]\nname = \"m\"\n[[model.backend]]\nname = \"b\"\nurl = \"http://127.0.0.1:9\"\n";
    std::fs::write(&path, config).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
        .args(["--headless", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(
        said.contains("add a [[gateway.key]], or listen on 127.0.0.1"),
        "{said}"
    );
    assert_eq!(out.status.code(), Some(1));
}

//! Wrong configurations, each with what its message must say: file, line, the text at fault.

use std::path::Path;
use std::process::Command;

#[test]
fn every_bad_config_is_refused_with_what_is_wrong() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in std::fs::read_dir("tests/bad_configs").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        seen += 1;
        let told = std::fs::read_to_string(path.with_extension("txt")).unwrap();
        match fleetctl::config::load(&path) {
            Ok(_) => wrong.push(format!("{}: it was accepted", path.display())),
            Err(error) => {
                let said = error.to_string();
                let name = path.display().to_string();
                wrong.extend(
                    told.lines()
                        .chain([name.as_str()])
                        .filter(|part| !said.contains(part))
                        .map(|part| format!("{name}: `{part}` is not in:\n{said}")),
                );
            }
        }
    }
    assert!(seen >= 7, "only {seen} cases were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_example_is_good() {
    fleetctl::config::load(Path::new("examples/fleet.toml")).unwrap();
}

/// What the file alone cannot show is refused by the program, with the place at fault, before it touches the terminal.
#[test]
fn what_contradicts_itself_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let head = "listen = \"127.0.0.1:0\"\n[[model]]\nname = \"m\"\n[[model.backend]]\nname = \"b\"\nurl = \"http://127.0.0.1:9\"\n";
    let cases = [
        ("weight = 0\n", "model `m`: every weight is zero"),
        (
            "[[model.backend]]\nname = \"c\"\n",
            "model `m`, backend `c`: it has neither a url nor a command",
        ),
        (
            "command = [\"vllm\"]\n",
            "it has a url and a command; leave one of them",
        ),
        (
            "[[model.backend]]\nname = \"c\"\ncommand = [\"vllm\"]\n",
            "its `command` is run by `fleetctl serve`",
        ),
        ("port = 8000\n", "env, dir and port go with a command"),
        (
            "rate = \"a lot\"\n",
            "model `m`, backend `b`: rate: `a lot` is not an amount of dollars",
        ),
        ("rate = \"0.0000001\"\n", "more than 6 digits"),
        ("sleep = \"release\"\n", "needs a launcher"),
        ("budget = \"20m\"\n", "longer than its cap"),
        (
            "hosted = true\nrate = \"1\"\n",
            "a price by the token, not a rate by the hour",
        ),
        (
            "api_key_env = \"FLEETCTL_TEST_NO_SUCH_KEY\"\n",
            "the environment variable FLEETCTL_TEST_NO_SUCH_KEY is not set",
        ),
        (
            "api_key_env = \"A\"\napi_key_file = \"b\"\n",
            "it has api_key_env and api_key_file; leave one of them",
        ),
        (
            "api_key_file = \"/no/such/file\"\n",
            "cannot read /no/such/file",
        ),
        (
            "api_version = \"2024-10-21\"\n",
            "api_version goes with api = \"azure\"",
        ),
        ("max_running = 0\n", "would send it nothing"),
        (
            "[[model.rule]]\nto = [\"b\"]\n",
            "model `m`: rule 1: it looks at 0 things; give it exactly one of header, json_schema, tools and prompt_over",
        ),
        (
            "[[model.rule]]\ntools = true\njson_schema = true\nto = [\"b\"]\n",
            "it looks at 2 things",
        ),
        (
            "[[model.rule]]\nheader = \"x-class\"\nto = [\"b\"]\n",
            "`header` needs the `value`",
        ),
        (
            "[[model.rule]]\ntools = true\nto = [\"c\"]\n",
            "`c` is no backend of this model; it has b",
        ),
        (
            "[[gateway.key]]\nname = \"team\"\n",
            "[[gateway.key]] 1 (`team`): it has neither `env` nor `file`",
        ),
        (
            "[[gateway.key]]\nname = \"team\"\nenv = \"PATH\"\nmodels = [\"n\"]\n",
            "`n` is no model of this fleet",
        ),
        (
            "[[gateway.key]]\nname = \"t\"\nenv = \"PATH\"\n[[gateway.key]]\nname = \"t\"\nenv = \"HOME\"\n",
            "that name stands twice",
        ),
        (
            "expected = [{ stage = \"nap\", takes = \"1s\" }]\n",
            "`nap` is no stage of a wake",
        ),
    ];
    for (line, told) in cases {
        let path = folder.path().join("fleet.toml");
        std::fs::write(&path, format!("{head}{line}")).unwrap();
        let out = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
            .arg("--config")
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(said.contains(told), "{line}: {said}");
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(out.stdout.is_empty(), "nothing reaches the terminal");
    }
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

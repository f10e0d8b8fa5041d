//! How an engine is begun: its port, its log, its process.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::{Engine, MARK, Spec};

/// Logs of past runs that are kept.
const OLD_LOGS: u32 = 3;

impl Engine {
    /// Begins the process, in a group of its own, with its output going to `log`.
    pub(super) fn spawn(&self, spec: &Spec, log: File) -> Result<Child, String> {
        let port = self.port.to_string();
        let filled = |text: &str| text.replace("{port}", &port);
        let (program, arguments) = spec.command.split_first().ok_or("its command is empty")?;
        let again = log.try_clone().map_err(|error| error.to_string())?;
        let mut command = Command::new(filled(program));
        command
            .args(arguments.iter().map(|it| filled(it)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again)
            .env(MARK, self.mark())
            .process_group(0);
        if !spec.gpus.is_empty() {
            let list: Vec<_> = spec.gpus.iter().map(u32::to_string).collect();
            // The order of nvidia-smi, which is the one that people mean.
            command.env("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
            command.env("CUDA_VISIBLE_DEVICES", list.join(","));
        }
        for (name, value) in &spec.env {
            command.env(name, filled(value));
        }
        if let Some(dir) = &spec.dir {
            command.current_dir(dir);
        }
        command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let dir = spec.dir.as_deref().filter(|dir| !dir.is_dir());
                match dir {
                    Some(dir) => format!("its folder {} is not there", dir.display()),
                    None => format!("`{program}` is not there; give its whole path, or install it"),
                }
            }
            io::ErrorKind::PermissionDenied => {
                format!("`{program}` may not be run; check its permissions")
            }
            _ => format!("`{program}` cannot be run: {error}"),
        })
    }

    /// Somebody else on its port would answer in its place.
    pub(super) fn look_at_port(&self) -> Result<(), String> {
        let port = self.port;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_free) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(format!(
                "port {port} is taken by another program; end it (`ss -ltnp` names it), or give this engine another `port`"
            )),
            Err(error) => Err(format!("port {port} cannot be used: {error}")),
        }
    }

    /// An empty log; those of the runs before go down one place.
    pub(super) fn new_log(&self) -> io::Result<File> {
        let current = self.log();
        let old = |n: u32| self.folder.join(format!("engine.{n}.log"));
        for n in (1..OLD_LOGS).rev() {
            moved(&old(n), &old(n + 1))?;
        }
        moved(&current, &old(1))?;
        File::options().create(true).append(true).open(current)
    }
}

/// A port that nobody listens on now.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn moved(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

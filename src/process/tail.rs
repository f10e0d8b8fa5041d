//! An engine's log as it grows.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// A log that has grown past this is emptied once it was read: the engine goes on at its beginning.
const MOST: u64 = 64 << 20;
/// Read in one go at most.
const PIECE: usize = 256 << 10;

/// Reads a file that somebody else appends to, from its beginning.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    file: Option<File>,
    at: u64,
}

impl Tail {
    /// Of this file, which may not be there yet.
    pub fn of(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            at: 0,
        }
    }

    /// What has come since; empty where nothing has.
    ///
    /// What an engine writes between our reading to the end of a very long log and our emptying it is lost: the time of
    /// one system call, once in 64 MiB. The newest part before that is kept beside the log.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
        }
        let Some(file) = &mut self.file else {
            return Ok(Vec::new());
        };
        let length = file.metadata()?.size();
        if length < self.at {
            self.at = 0;
        }
        if length == self.at {
            if self.at > MOST {
                fs::copy(&self.path, self.path.with_extension("full.log"))?;
                File::options().write(true).open(&self.path)?.set_len(0)?;
                self.at = 0;
            }
            return Ok(Vec::new());
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut piece = Vec::new();
        let read = file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        self.at += read as u64;
        Ok(piece)
    }
}

//! The command line from end to end, run as its users run it.

#[cfg(unix)]
mod browser;
mod cli;
mod compare_command;
#[cfg(unix)]
mod compare_page;
mod replay_model;
mod simulate;
mod suggest;

use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A path from where users run it: the root of the clone.
pub(crate) fn in_clone(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// How a run ended: its exit code, and what it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code().expect("it ends by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(args).current_dir(in_clone("."));
    command
}

/// A path for the file that calls, in a folder of its own.
#[track_caller]
pub(crate) fn scratch(name: &str) -> PathBuf {
    let room = Path::new(Location::caller().file()).file_stem().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(room);
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

//! [`WatchError`]: why the watcher did not take a policy file.
//!
//! Contains the texts of these errors. Problems within a policy are formatted by `policy`.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::policy::PolicyError;

use super::file::{MAX_FILE, Unread};

/// Why the watcher did not take a policy file. The previous policy stays in force.
///
/// The `Display` text says what is wrong and where; the error's source is the [`PolicyError`] if
/// the policy is invalid.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchError {
    path: PathBuf,
    why: Why,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Why {
    Unread(Unread),
    Policy(PolicyError),
}

impl WatchError {
    pub(super) fn new(path: &Path, why: Why) -> WatchError {
        WatchError { path: path.to_owned(), why }
    }

    /// The path of the file, as passed to the watcher.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "the policy in force stays: ")?;
        match &self.why {
            Why::Unread(Unread::Io(_, error)) => {
                write!(f, "{path} cannot be read: {error}; is it there, and may it be read?")
            }
            Why::Unread(Unread::NoFile) => {
                write!(f, "{path} is no file; give the path of the policy file itself")
            }
            Why::Unread(Unread::TooLarge) => {
                write!(f, "{path} has more than {MAX_FILE} bytes; is it a policy file?")
            }
            Why::Unread(Unread::Empty) => write!(
                f,
                "{path} is empty, which would admit everything; if that is meant, say so in a \
                 comment in the file"
            ),
            Why::Unread(Unread::NoText(bytes)) => {
                write!(f, "{path} is not UTF-8 after {bytes} bytes; save it as UTF-8")
            }
            Why::Policy(error) => {
                let count = error.problems().len();
                write!(f, "{path} has {count} problem{}", if count == 1 { "" } else { "s" })?;
                for (nth, problem) in error.problems().iter().enumerate() {
                    // An empty line separates problems, which have several lines.
                    let apart = if nth == 0 { "\n" } else { "\n\n" };
                    write!(f, "{apart}{path}:{problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl Error for WatchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.why {
            Why::Policy(error) => Some(error),
            Why::Unread(_) => None,
        }
    }
}

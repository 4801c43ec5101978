//! Reads a policy file, with a limit on its size.
//!
//! Parsing the text is up to `policy`.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The largest file that is read, in bytes. A policy of 10,000 limits has about 1 MiB.
pub(super) const MAX_FILE: u64 = 4 << 20;

pub(super) type Contents = Vec<u8>;

/// Why a file could not be read as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    Io(ErrorKind, String),
    NoFile,
    TooLarge,
    Empty,
    /// The number of bytes before the first that is not UTF-8.
    NoText(usize),
}

pub(super) fn read(path: &Path) -> Result<Contents, Unread> {
    // Opening a pipe would block until a process writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(Unread::NoFile);
    }
    let mut contents = Vec::new();
    // Does not rely on the reported size: some files report 0, and others grow meanwhile.
    fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > MAX_FILE { Err(Unread::TooLarge) } else { Ok(contents) }
}

/// The text of a file that is not empty.
pub(super) fn text(contents: &[u8]) -> Result<&str, Unread> {
    let text =
        std::str::from_utf8(contents).map_err(|error| Unread::NoText(error.valid_up_to()))?;
    if text.trim().is_empty() { Err(Unread::Empty) } else { Ok(text) }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        Unread::Io(error.kind(), error.to_string())
    }
}

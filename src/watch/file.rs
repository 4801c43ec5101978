//! What a policy file holds, or why that is not known.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The largest file that is read, in bytes. A policy of 10,000 limits has about 1 MiB.
pub(super) const MAX_FILE: u64 = 4 << 20;

pub(super) type Contents = Vec<u8>;

/// Why a file was not read as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    Io(ErrorKind, String),
    NoFile,
    TooLarge,
    Empty,
    /// After so many bytes that are text.
    NoText(usize),
}

pub(super) fn read(path: &Path) -> Result<Contents, Unread> {
    // A pipe would let the look wait for whoever writes there.
    if !fs::metadata(path)?.is_file() {
        return Err(Unread::NoFile);
    }
    let mut contents = Vec::new();
    // Not by the size it says: some files say 0, and others grow meanwhile.
    fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > MAX_FILE { Err(Unread::TooLarge) } else { Ok(contents) }
}

/// The text of a file in which there is something.
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

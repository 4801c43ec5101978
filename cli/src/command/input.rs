//! Opens logs before the long run: plain or gzip, from files or standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::command::exit::Failure;

const BUFFER_BYTES: usize = 1 << 17;

/// The first bytes of a gzip stream.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The text of a small file; `what` names it in errors.
pub(crate) fn text(what: &str, path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::Usage(format!("cannot read the {what} {}: {error}", path.display()))
    })
}

/// A log that is open.
pub(crate) struct Input {
    pub(crate) name: String,
    /// The bytes that will be read from it, if known.
    pub(crate) size: Option<u64>,
    source: Box<dyn Read>,
}

impl Input {
    /// Opens a log, or standard input for `-`.
    pub(crate) fn open(path: &Path) -> Result<Input, Failure> {
        if path == Path::new("-") {
            let (name, source) = ("standard input".to_owned(), Box::new(io::stdin()));
            return Ok(Input { name, size: None, source });
        }
        let name = path.display().to_string();
        let failed = |what: &dyn std::fmt::Display| {
            Failure::Usage(format!("cannot read the log {name}: {what}"))
        };
        let file = File::open(path).map_err(|error| failed(&error))?;
        let metadata = file.metadata().map_err(|error| failed(&error))?;
        if metadata.is_dir() {
            return Err(failed(&"it is a directory; name the files in it"));
        }
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Input { name, size, source: Box::new(file) })
    }

    /// A reader of its text, decompressed if it is gzip. All bytes read from the file go through
    /// `watched`.
    pub(crate) fn text<R: Read + 'static>(
        self,
        watched: impl FnOnce(Box<dyn Read>) -> R,
    ) -> io::Result<Box<dyn BufRead>> {
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, watched(self.source));
        if reader.fill_buf()?.starts_with(&GZIP) {
            let text = MultiGzDecoder::new(reader);
            return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, text)));
        }
        Ok(Box::new(reader))
    }
}

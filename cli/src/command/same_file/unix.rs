//! Whether two paths lead to one file, on Unix. Follows symbolic links and recognizes hard links.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A path to nothing is no file, and a device does not count as one.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

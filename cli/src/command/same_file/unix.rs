//! Whether two paths lead to one file, links of both kinds followed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A path that leads nowhere leads to no file, and a device is none.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

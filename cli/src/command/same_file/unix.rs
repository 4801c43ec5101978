//! Whether two paths lead to the same file, on Unix. Compares device and inode, so that symbolic
//! links and hard links count. `other.rs` does without inodes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// False if a path does not exist or is not a regular file.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

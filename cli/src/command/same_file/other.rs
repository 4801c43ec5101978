//! Whether two paths lead to one file, symbolic links followed.

use std::fs;
use std::path::Path;

/// A path that leads nowhere leads to no file.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

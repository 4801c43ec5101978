//! Whether two paths lead to one file, for systems other than Unix. Follows symbolic links only.

use std::fs;
use std::path::Path;

/// A path to nothing is no file.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

//! Whether two paths lead to the same file, on systems other than Unix.
//! Follows symbolic links, but does not see hard links; `unix.rs` sees both.

use std::fs;
use std::path::Path;

/// False if a path does not exist.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

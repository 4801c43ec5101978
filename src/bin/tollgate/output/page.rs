//! The page of a comparison.

use tollgate::compare::Report;

/// TODO: the page.
pub(crate) fn page(report: &Report) -> String {
    format!("<!doctype html><title>{}</title>\n", report.quota)
}

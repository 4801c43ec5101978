//! The pages that people read: a link leads to a file that is there.

use std::path::{Path, PathBuf};

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let others = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "verify/README.md",
        "benches/instructions.md",
    ];
    docs.chain(others.map(|page| root.join(page))).collect()
}

/// The text between `](` and `)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn every_link_leads_to_a_file() {
    let mut links_seen = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        // Elsewhere, and the names of items, which rustdoc checks.
        let here = |link: &&str| !link.contains("://") && !link.contains("::");
        for link in links(&text).filter(here) {
            let file = link.split('#').next().unwrap_or(link);
            let target = page.parent().unwrap().join(file);
            assert!(target.exists(), "{}: {link}", page.display());
            links_seen += 1;
        }
    }
    assert!(links_seen > 15, "only {links_seen} links were seen");
}

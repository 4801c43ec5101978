//! A fuzz target over its corpus, without the tools of fuzzing.

use std::path::Path;

/// Runs `target` over each file of its corpus, cut short at some places, and with bytes changed.
pub(crate) fn replay(name: &str, target: fn(&[u8])) {
    // Packages at the root and below it run this.
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let corpora =
        folders.find_map(|folder| Some(folder.join("fuzz/corpus")).filter(|it| it.is_dir()));
    let corpus = corpora.expect("the corpora stand in the clone").join(name);
    let files = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{corpus:?}: {error}"));
    let mut seeds = 0;
    for file in files {
        let mut data = std::fs::read(file.unwrap().path()).unwrap();
        seeds += 1;
        target(&data);
        for nth in 0..data.len().min(64) {
            let at = nth * data.len() / data.len().min(64);
            target(&data[..at]);
            let kept = data[at];
            data[at] = kept.wrapping_mul(31).wrapping_add(nth as u8 | 1);
            target(&data);
            data[at] = kept;
        }
    }
    assert!(seeds >= 5, "{name} has {seeds} seeds");
}

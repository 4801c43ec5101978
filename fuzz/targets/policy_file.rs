//! A policy file is read or refused with reasons, whatever it holds.

use tollgate::Policy;

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Policy::from_toml(&text) {
        Ok(policy) => policy.check().expect("what parses checks"),
        Err(error) => {
            let problems = error.problems();
            let places: Vec<_> = problems.iter().map(|p| (p.line(), p.column())).collect();
            assert!(!places.is_empty());
            assert!(places.iter().all(|(line, column)| *line > Some(0) && *column > Some(0)));
            assert!(places.is_sorted(), "{error}");
            assert!(problems.iter().all(|problem| !problem.what().is_empty()));
        }
    }
}

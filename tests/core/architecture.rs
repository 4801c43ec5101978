//! The house rules that a compiler does not check: floors, doors, no unsafe code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// The library's sources, and those of the command line.
const PACKAGES: [&str; 2] = ["src", "cli/src"];

/// Each source file of a package by its path there, without what only tests see.
fn files(package: &str) -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join(package);
    let mut found = Vec::new();
    sources(&src, &mut found);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("").to_string();
        (name, code)
    };
    found.into_iter().map(read).collect()
}

/// The floor of each room, as the comments of lib.rs list them.
fn floors(lib: &str) -> BTreeMap<String, u32> {
    let mut floors = BTreeMap::new();
    let mut floor = None;
    for line in lib.lines().map(str::trim) {
        if let Some(number) = line.strip_prefix("// Floor ") {
            floor = Some(number.split_whitespace().next().unwrap().parse().unwrap());
        } else if let Some(room) = line.strip_prefix("mod ").or(line.strip_prefix("pub mod ")) {
            let floor = floor.expect("every room stands on a floor");
            floors.insert(room.trim_end_matches([';', ' ']).to_string(), floor);
        }
    }
    floors
}

/// The room a file belongs to: `cells/table.rs` to `cells`.
fn room(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// The rooms that follow `crate::` in a line, in a group of imports too.
fn imported(line: &str) -> Vec<String> {
    let ident = |text: &str| {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    let mut rooms = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(group.split(',').map(|part| ident(part.trim()))),
            None => rooms.push(ident(rest)),
        }
    }
    rooms
}

#[test]
fn a_room_imports_from_its_own_floor_or_below() {
    for package in PACKAGES {
        let files = files(package);
        let lib = &files.iter().find(|(name, _)| name == "lib.rs").unwrap().1;
        let floors = floors(lib);
        assert!(floors.len() > 5, "{floors:?}");
        let mut imports = 0;
        let outside = |file: &str| file == "lib.rs" || file.starts_with("bin/");
        for (file, code) in files.iter().filter(|(file, _)| !outside(file)) {
            let floor = floors.get(room(file)).unwrap_or_else(|| panic!("{file} is on no floor"));
            let code: String = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .map(|line| format!("{line} "))
                .collect();
            for other in imported(&code) {
                // Re-exports at the crate's root are for users.
                let below = floors
                    .get(&other)
                    .unwrap_or_else(|| panic!("{file}: crate::{other} is no room"));
                assert!(
                    below <= floor,
                    "{file} on floor {floor} imports {other} from floor {below}"
                );
                imports += 1;
            }
        }
        assert!(imports > 30, "only {imports} imports were seen in {package}");
    }
}

#[test]
fn threads_and_clocks_have_one_door_each() {
    let doors: [(&str, &[&str]); 6] = [
        ("std::sync", &["sync.rs", "sync/modelled.rs"]),
        ("std::thread", &["sync.rs", "sync/modelled.rs"]),
        ("parking_lot", &["sync.rs", "sync/modelled.rs"]),
        ("crossbeam_utils", &["sync.rs"]),
        ("Instant::now", &["time.rs"]),
        ("SystemTime", &["time.rs"]),
    ];
    for (word, allowed) in doors {
        let mut used = Vec::new();
        // The command line may look at real time to show progress.
        for (file, code) in files("src") {
            let comment = |line: &&str| !line.trim_start().starts_with("//");
            if code.lines().filter(comment).any(|line| line.contains(word)) {
                used.push(file);
            }
        }
        assert!(used.iter().all(|file| allowed.contains(&file.as_str())), "{word} in {used:?}");
        assert!(!used.is_empty(), "{word} is used nowhere: what does this test see?");
    }
}

#[test]
fn there_is_no_unsafe_code() {
    for (file, code) in PACKAGES.into_iter().flat_map(files) {
        let words = |line: &str| {
            let code = line.split("//").next().unwrap_or("");
            code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
        };
        assert!(!code.lines().any(words), "{file}");
        if file == "lib.rs" {
            assert!(code.contains("#![forbid(unsafe_code)]"));
        }
    }
}

//! The house rules that a compiler does not check: floors, doors, no unsafe code.

use std::collections::{BTreeMap, BTreeSet};
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

/// A file by its path of modules: `cells/table.rs` is `["cells", "table"]`.
type Module = Vec<String>;

/// The files of a package by module, without comments.
fn modules(package: &str) -> BTreeMap<Module, String> {
    let outside = |file: &str| file == "lib.rs" || file.starts_with("bin/");
    let files = files(package).into_iter().filter(|(file, _)| !outside(file));
    let module = |(file, code): (String, String)| {
        let path = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        let code = code.lines().map(|line| line.split("//").next().unwrap_or(""));
        (path, code.collect::<Vec<_>>().join("\n"))
    };
    files.map(module).collect()
}

/// The paths of the tree that `text` begins with, and the rest: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn tree(text: &str) -> (Vec<Module>, &str) {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        let mut paths = Vec::new();
        while !rest.trim_start().starts_with('}') && !rest.is_empty() {
            let (some, after) = tree(rest);
            paths.extend(some);
            let after = after.find([',', '}']).map_or("", |end| &after[end..]);
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        return (paths, rest.trim_start().strip_prefix('}').unwrap_or(""));
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(rest) if !rest.starts_with('<') => {
            let (paths, rest) = tree(rest);
            let name = name.to_owned();
            (paths.into_iter().map(|path| [vec![name.clone()], path].concat()).collect(), rest)
        }
        _ => (vec![vec![name.to_owned()]], rest),
    }
}

/// Where `path` leads from `module`: through modules, and through what they export again.
fn resolve(files: &BTreeMap<Module, String>, mut module: Module, path: &[String]) -> Module {
    let mut path = path;
    while let Some((first, rest)) = path.split_first() {
        let child = [&*module, std::slice::from_ref(first)].concat();
        match &**first {
            "crate" => module.clear(),
            "super" => drop(module.pop()),
            "self" => {}
            _ if files.contains_key(&child) => module = child,
            _ => break,
        }
        path = rest;
    }
    let (Some(name), Some(code)) = (path.first(), files.get(&module)) else { return module };
    let exports = code.match_indices("use ").filter_map(|(at, _)| {
        let before = code[..at].trim_end();
        let is_public = before.ends_with("pub") || before.ends_with("pub(crate)");
        is_public.then(|| tree(&code[at + "use ".len()..]).0)
    });
    match exports.flatten().find(|path| path.len() > 1 && path.last() == Some(name)) {
        Some(path) => resolve(files, module, &path),
        None => module,
    }
}

/// Which other files each file imports from. A front file and its own parts are one.
fn imports(files: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let imports = |(module, code): (&Module, &String)| {
        let ident = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let starts = ["crate::", "super::"].into_iter().flat_map(|word| code.match_indices(word));
        let starts = starts.filter(|(at, _)| !code[..*at].ends_with(ident));
        let paths = starts.flat_map(|(at, _)| tree(&code[at..]).0);
        let found = paths.map(|path| resolve(files, module.clone(), &path));
        let other = |found: &Module| !found.starts_with(module) && !module.starts_with(found);
        (module.clone(), found.filter(other).collect())
    };
    files.iter().map(imports).collect()
}

/// The files that import each other, and those between two such groups.
fn in_cycles(mut imports: BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    loop {
        let imported: BTreeSet<_> = imports.values().flatten().cloned().collect();
        let free = imports.iter().find(|(from, to)| to.is_empty() || !imported.contains(*from));
        let Some(free) = free.map(|(from, _)| from.clone()) else { break };
        imports.remove(&free);
        for to in imports.values_mut() {
            to.remove(&free);
        }
    }
    let list =
        |to: &BTreeSet<Module>| to.iter().map(|to| to.join("/")).collect::<Vec<_>>().join(", ");
    imports.iter().map(|(from, to)| format!("{} imports {}", from.join("/"), list(to))).collect()
}

#[test]
fn no_two_files_import_each_other() {
    for package in PACKAGES {
        let imports = imports(&modules(package));
        let seen: usize = imports.values().map(BTreeSet::len).sum();
        assert!(seen > imports.len(), "only {seen} imports were seen in {package}");
        let left = in_cycles(imports);
        assert!(left.is_empty(), "{package}: {left:#?}");
    }
}

#[test]
fn a_cycle_is_seen_through_what_a_front_file_exports() {
    let file = |path: &str, code: &str| {
        (path.split('/').map(str::to_owned).collect::<Module>(), code.to_owned())
    };
    let files = |second: &str| {
        BTreeMap::from([
            file("a", "mod b;\nmod c;\npub(crate) use b::{B, Other};"),
            file("a/b", second),
            file("a/c", "use crate::{\n    a::B,\n    d::D,\n};\nstruct C;"),
            file("d", "struct D;"),
        ])
    };
    let cycle = in_cycles(imports(&files("use super::c::C;\nstruct B;")));
    assert_eq!(cycle, ["a/b imports a/c", "a/c imports a/b"]);
    assert_eq!(in_cycles(imports(&files("use super::c;\nfn f() -> super::d::D {}"))).len(), 2);
    assert!(in_cycles(imports(&files("struct B;"))).is_empty());
}

/// A newcomer reads the root's page from top to bottom.
#[test]
fn the_root_has_few_names() {
    let files = files("src");
    let lib = &files.iter().find(|(name, _)| name == "lib.rs").unwrap().1;
    // Names in modules are indented.
    let modules = lib.lines().filter(|line| line.starts_with("pub mod ")).count();
    let exports =
        lib.match_indices("\npub use ").flat_map(|(at, text)| tree(&lib[at + text.len()..]).0);
    let names =
        modules + exports.filter(|path| path.last().is_some_and(|name| !name.is_empty())).count();
    assert!((40..=55).contains(&names), "{names}");
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

/// They are patches in `verify/bugs`, so that nobody reads them with the code, nor runs them.
#[test]
fn there_is_no_seeded_bug_in_the_sources() {
    for (file, code) in files("src") {
        assert!(!code.contains("mutant"), "{file}");
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

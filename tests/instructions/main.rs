//! How many instructions a decision takes, which is repeatable where time is not: counted by
//! valgrind, and held to the table in `benches/instructions.md`.
//!
//! Each path (`paths`) is walked twice under valgrind, the second time twice as far: the difference
//! is what the path takes, and neither the start of the process nor the filling of the tables is in
//! it. `TOLLGATE_COUNT=write` writes the table instead.

#[allow(dead_code, reason = "the benches use the rest")]
#[path = "../../benches/contenders/mod.rs"]
mod contenders;
mod paths;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use contenders::{Keys, WALK};
use paths::{KEYS, ROWS};

/// By how much a path of Tollgate's may grow under the same compiler.
const GROWTH: f64 = 1.1;
/// Steps of the shorter walk.
const STEPS: usize = 20_000;
/// The place of Tollgate among a row's contenders.
const TOLLGATE: usize = 0;

/// What valgrind runs: a walk, if the arguments name one.
#[test]
fn walk() {
    let Ok(asked) = std::env::var(WALK) else { return };
    let asked: Vec<usize> = asked.split(' ').map(|number| number.parse().unwrap()).collect();
    let [row, contender, steps] = asked[..] else { panic!("{asked:?}") };
    // Both walks prepare the same.
    let keys = Keys::new().batch(KEYS, 2 * STEPS);
    let walk = ROWS[row].1[contender].expect("a contender that is there");
    walk(&keys[..steps]);
}

/// A whole process that walks so many steps, for the given row and contender.
fn process(row: usize, contender: usize, steps: usize) -> Child {
    Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().expect("a path of this test"))
        .args(["--exact", "walk", "--test-threads=1"])
        .env(WALK, format!("{row} {contender} {steps}"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("valgrind starts")
}

/// Instructions of one step.
fn count(row: usize, contender: usize) -> f64 {
    let walks = [1, 2].map(|times| process(row, contender, times * STEPS));
    let [once, twice] = walks.map(|walk| {
        let output = walk.wait_with_output().expect("valgrind ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", ROWS[row].0);
        let collected = said.lines().find_map(|line| line.split_once("Collected :"));
        let count = collected.and_then(|(_, count)| count.trim().parse::<f64>().ok());
        count.unwrap_or_else(|| panic!("no count: {said}"))
    });
    (twice - once) / STEPS as f64
}

/// The compiler and its options, as the table names them.
fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().expect("a compiler that runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let of = |name: &str| {
        let value = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or("unknown").to_owned()
    };
    let first = said.lines().next().unwrap_or("unknown");
    // Those that add to what a decision does.
    let features = [
        ("metrics", cfg!(feature = "metrics")),
        ("tracing", cfg!(feature = "tracing")),
        ("tokio", cfg!(feature = "tokio")),
        ("tsc", cfg!(feature = "tsc")),
    ];
    let on: Vec<_> = features.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let with = if on.is_empty() { "no features".to_owned() } else { on.join(", ") };
    format!("{first}, {}, LLVM {}, {with}", of("host"), of("LLVM version"))
}

/// Why nothing can be counted.
fn hindrance() -> Option<&'static str> {
    if cfg!(debug_assertions) {
        return Some("this build is not optimized: `cargo test --release --test instructions`");
    }
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    match version {
        Ok(status) if status.success() => None,
        _ => Some("there is no valgrind to count them"),
    }
}

/// Heard without `--nocapture` too.
fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

fn page() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "benches", "instructions.md"].iter().collect()
}

/// Heads the counts of a compiler.
const SECTION: &str = "\n## ";

/// The section of `compiler`, from its heading to the next.
fn section<'p>(page: &'p str, compiler: &str) -> Option<&'p str> {
    let start = page.find(&format!("{SECTION}{compiler}\n"))?;
    let after = start + SECTION.len();
    let end = page[after..].find(SECTION).map_or(page.len(), |end| after + end);
    Some(&page[start..end])
}

/// Tollgate's count in the row called `name`.
fn committed(section: &str, name: &str) -> Option<f64> {
    let start = format!("| {name} | ");
    section.lines().find_map(|line| line.strip_prefix(&start))?.split(' ').next()?.parse().ok()
}

/// The counts of every contender, as a section.
fn measured(compiler: &str) -> String {
    let mut section = format!("{SECTION}{compiler}\n\n");
    section += "| path | tollgate | governor | floor |\n|---|---|---|---|\n";
    for (row, (name, contenders)) in ROWS.iter().enumerate() {
        let counts = contenders.iter().enumerate().map(|(contender, walk)| {
            walk.map_or(String::new(), |_| format!("{:.0}", count(row, contender)))
        });
        section += &format!("| {name} | {} |\n", counts.collect::<Vec<_>>().join(" | "));
    }
    section
}

#[test]
fn no_path_has_grown() {
    if let Some(why) = hindrance() {
        return say(&format!("LEFT OUT: instructions are not counted: {why}"));
    }
    let compiler = compiler();
    let page = page();
    let text = std::fs::read_to_string(&page).expect("the page of the benches");
    let known = section(&text, &compiler);
    if std::env::var("TOLLGATE_COUNT").is_ok_and(|what| what == "write") {
        let new = measured(&compiler);
        let text = match known {
            Some(known) => text.replace(known, &new),
            None => text + &new,
        };
        return std::fs::write(page, text).expect("a page that can be written");
    }
    let Some(known) = known else {
        say(&format!("LEFT OUT: no counts to hold these to, of {compiler}"));
        return say(&measured(&compiler));
    };
    let mut grown = Vec::new();
    for (row, (name, _)) in ROWS.iter().enumerate() {
        let now = count(row, TOLLGATE);
        match committed(known, name) {
            Some(before) => {
                println!("{name}: {now:.0}, was {before}");
                if now > before * GROWTH {
                    grown.push(format!("{name}: {now:.0} instructions, were {before}"));
                }
            }
            None => say(&format!("LEFT OUT: no count to hold this to: {name}: {now:.0}")),
        }
    }
    assert!(grown.is_empty(), "{}", grown.join("\n"));
}

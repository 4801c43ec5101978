//! The page of the policy file: each example is a policy, and each mistake is refused with the
//! error beside it.
//!
//! A block `toml,wrong` is followed by its error in a block `text`. In a table whose header begins
//! with `| key | example`, the second cell holds lines of a section as code, one line per span.
//! Where the header begins with `| written |`, the first cell holds them, or `no` and the missing
//! key, and the second cell holds the error and the hint.

use std::fmt::Write;

use tollgate::{Policy, PolicyError};

const PAGE: &str = include_str!("../../docs/policy-file.md");
const MIGRATING: &str = include_str!("../../docs/migrating.md");

/// What an override needs besides.
const TWO_LIMITS: &str = r#"[[limit]]
name = "user"
key = ["user", "method"]
rate = "50/s"
[[limit]]
name = "queries"
key = ["user"]
concurrent = 50
[[override]]
"#;

/// What each fence opens with, and the text up to where it closes.
fn blocks(page: &'static str) -> Vec<(&'static str, String)> {
    let mut blocks: Vec<(&str, String)> = Vec::new();
    let mut is_open = false;
    for line in page.lines() {
        match (line.strip_prefix("```"), blocks.last_mut()) {
            (Some(_), _) if is_open => is_open = false,
            (Some(info), _) => {
                blocks.push((info, String::new()));
                is_open = true;
            }
            (None, Some((_, text))) if is_open => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

/// The rows of the tables whose header begins with `header`, each with the heading above it.
fn rows(header: &str) -> Vec<(&'static str, Vec<String>)> {
    let (mut heading, mut is_meant) = ("", false);
    let mut rows = Vec::new();
    for line in PAGE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title;
        } else if !line.starts_with("| ") {
            // The line of dashes is within a table.
            is_meant &= line.starts_with("|-");
        } else if is_meant {
            let cells = line.trim_matches('|').replace("\\|", "\0");
            let cells = cells.split('|').map(|cell| cell.trim().replace('\0', "|")).collect();
            rows.push((heading, cells));
        } else {
            is_meant = line.starts_with(header);
        }
    }
    rows
}

/// The file for a cell: its lines, and what a file needs besides.
fn file(heading: &str, cell: &str) -> String {
    let spans: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
    let (lines, left_out) = match cell.strip_prefix("no ") {
        Some(_) => (&[][..], spans.first()),
        None => (&spans[..], None),
    };
    let says = |key: &str| lines.iter().any(|line| line.split(' ').next() == Some(key));
    let is_section = lines.first().is_some_and(|line| line.starts_with("[["));
    let amount = if heading.contains("only with `concurrent`") {
        ("concurrent", "50")
    } else {
        ("rate", "\"50/s\"")
    };
    let mut needed = vec![("name", "\"user\"")];
    let mut text = String::new();
    if heading.contains("override") {
        text.push_str(TWO_LIMITS);
        needed = vec![("limit", "\"user\""), ("match", "{ user = \"1017\" }")];
        if !["rate", "burst", "concurrent", "exempt"].into_iter().any(says) {
            needed.push(("rate", "\"500/s\""));
        }
    } else if heading == "The file" && !is_section {
        text = lines.join("\n") + "\n";
        if !says("limit") {
            text.push_str("[[limit]]\nname = \"user\"\nrate = \"50/s\"\n");
        }
        return text;
    } else {
        text.push_str("[[limit]]\n");
        needed.push(("key", "[\"user\"]"));
        if is_section || !["rate", "concurrent"].into_iter().any(says) {
            needed.push(amount);
        }
    }
    for (key, value) in needed {
        if (is_section || !says(key)) && left_out != Some(&key) {
            writeln!(text, "{key} = {value}").expect("a string has room");
        }
    }
    lines.iter().for_each(|line| text.extend([line, "\n"]));
    text
}

/// Each error and its hint, as a cell has them.
fn in_a_cell(error: &PolicyError) -> String {
    let problems = error.problems().iter().map(|problem| {
        let hint = problem.hint().map_or(String::new(), |hint| format!("<br>hint: {hint}"));
        format!("{}{hint}", problem.what())
    });
    problems.collect::<Vec<_>>().join("<br>")
}

#[test]
fn each_example_is_a_policy() {
    let blocks = blocks(PAGE).into_iter().chain(blocks(MIGRATING));
    let blocks = blocks.filter(|(info, _)| *info == "toml").map(|(_, text)| text);
    let rows =
        rows("| key | example |").into_iter().map(|(heading, cells)| file(heading, &cells[1]));
    let examples: Vec<String> = blocks.chain(rows).collect();
    assert!(examples.len() > 25, "only {} examples were seen", examples.len());
    for text in examples {
        if let Err(error) = Policy::from_toml(&text) {
            panic!("{error}\n\nof\n{text}");
        }
    }
}

#[test]
fn each_wrong_file_is_refused_in_the_words_beside_it() {
    let blocks = blocks(PAGE);
    let wrong =
        blocks.iter().zip(blocks.iter().skip(1)).filter(|((info, _), _)| *info == "toml,wrong");
    let mut pairs = 0;
    for ((_, text), (info, said)) in wrong {
        let error = Policy::from_toml(text).expect_err(text).to_string();
        assert_eq!((*info, said), ("text", &format!("{error}\n")), "of\n{text}");
        pairs += 1;
    }
    let errors = blocks.iter().filter(|(info, _)| *info == "text").count();
    assert!(errors > 0 && errors == pairs, "each error has its file");
}

#[test]
fn each_mistake_has_the_words_beside_it() {
    let rows = rows("| written |");
    assert!(rows.len() > 50, "only {} mistakes were seen", rows.len());
    for (heading, cells) in rows {
        let text = file(heading, &cells[0]);
        let error = Policy::from_toml(&text).expect_err(&text);
        assert_eq!(in_a_cell(&error), cells[1], "of\n{text}");
    }
}

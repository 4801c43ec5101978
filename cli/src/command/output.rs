//! The outputs of the command, one file each, and the screen that text is written to.
//! What the numbers mean is decided elsewhere; these files only lay them out.

pub(crate) mod chart;
pub(crate) mod comparison;
pub(crate) mod decisions;
pub(crate) mod limits;
pub(crate) mod page;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod simulation;
pub(crate) mod suggestion;
pub(crate) mod svg;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::command::exit::Failure;

/// Text output for a terminal or a pipe. Collects lines, and writes all of them in `finish`.
pub(crate) struct Screen {
    text: String,
    to: Box<dyn Write>,
    name: &'static str,
    styled: bool,
}

impl Screen {
    pub(crate) fn stdout() -> Screen {
        let styled = wants_style(&io::stdout());
        Screen { text: String::new(), to: Box::new(io::stdout()), name: "standard output", styled }
    }

    pub(crate) fn stderr() -> Screen {
        let styled = wants_style(&io::stderr());
        Screen { text: String::new(), to: Box::new(io::stderr()), name: "standard error", styled }
    }

    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Adds a report as one line of JSON.
    pub(crate) fn json(&mut self, report: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(report)
            .map_err(|error| Failure::Usage(format!("the report cannot be written: {error}")))?;
        self.line(&text);
        Ok(())
    }

    /// Bold text, for what should catch the eye, if the output is styled.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.style("1", text)
    }

    /// Faint text, for what is less important, if the output is styled.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.style("2", text)
    }

    fn style(&self, code: &str, text: &str) -> String {
        if self.styled { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Writes all collected lines.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let written = self.to.write_all(self.text.as_bytes()).and_then(|()| self.to.flush());
        written.map_err(|error| Failure::writing(self.name, &error))
    }
}

/// Whether to style the output: a terminal that is not dumb, without `NO_COLOR`. See
/// <https://no-color.org>.
fn wants_style(to: &impl IsTerminal) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    to.is_terminal() && !set("NO_COLOR") && !dumb
}

//! Writes each decision as a line of JSON.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use crate::replay::Decision;

use crate::command::exit::Failure;

/// The destination of the decisions, if there is any.
pub(crate) struct Decisions {
    to: Option<BufWriter<Box<dyn Write>>>,
    name: String,
    is_on_stdout: bool,
}

impl Decisions {
    /// Opens a file, or standard output for `-`.
    pub(crate) fn open(path: Option<&Path>) -> Result<Decisions, Failure> {
        let is_on_stdout = path == Some(Path::new("-"));
        let name = path.map_or_else(String::new, |path| path.display().to_string());
        let to: Option<Box<dyn Write>> = match path {
            None => None,
            Some(_) if is_on_stdout => Some(Box::new(io::stdout())),
            Some(path) => match File::create(path) {
                Ok(file) => Some(Box::new(file)),
                Err(error) => return Err(Failure::writing(&name, &error)),
            },
        };
        Ok(Decisions { to: to.map(BufWriter::new), name, is_on_stdout })
    }

    pub(crate) fn is_on_stdout(&self) -> bool {
        self.is_on_stdout
    }

    pub(crate) fn is_on_terminal(&self) -> bool {
        self.is_on_stdout && io::stdout().is_terminal()
    }

    pub(crate) fn write(&mut self, decision: &Decision<'_>) -> Result<(), Failure> {
        let Some(to) = &mut self.to else { return Ok(()) };
        writeln!(to, "{decision}").map_err(|error| Failure::writing(&self.name, &error))
    }

    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        let Some(to) = &mut self.to else { return Ok(()) };
        to.flush().map_err(|error| Failure::writing(&self.name, &error))
    }
}

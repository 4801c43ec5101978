//! What can be asked for.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use tollgate::replay::{Format, Took};

/// Rate limits, all or nothing, on real or virtual time.
#[derive(Parser)]
#[command(name = "tollgate", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Check(Check),
    Replay(Replay),
}

/// Print the limits of a policy as a table, or all that is wrong with it.
#[derive(clap::Args)]
pub(crate) struct Check {
    /// The policy, a TOML file.
    #[arg(value_name = "POLICY")]
    pub(crate) policy: PathBuf,
}

/// Run a policy over access logs: who would have been refused, by which limit, when.
///
/// Lines are taken in file order, on virtual time: a line stamped earlier than one before it counts
/// at the latest time there was. Where lines tell how long requests took, they are first put in the
/// order in which the requests began, and decided in that order. `path` is the request target as logged, query included; `-` is a
/// missing fact.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Replay {
    /// The policy, a TOML file.
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: PathBuf,

    /// The logs, in order, plain or gzip. `-` is standard input.
    #[arg(required = true, value_name = "LOG")]
    pub(crate) logs: Vec<PathBuf>,

    /// Their format: auto (found out for each log from its first readable lines), common, combined
    /// or jsonl.
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = parse_format)]
    pub(crate) format: Auto,

    /// The last field of an access log line is how long the request took: microseconds (or %D),
    /// milliseconds or seconds (or %T) after the line's stamp, as Apache has it; or request_time,
    /// seconds before the stamp, as nginx has it. Stamps of whole seconds make the requests of a
    /// second begin (or end) at once.
    #[arg(long, value_name = "UNIT", value_parser = Took::from_str)]
    pub(crate) duration: Option<Took>,

    /// Print the summary as one line of JSON instead of the report.
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a line of JSON for each request. `-` is standard output; then the report goes to
    /// standard error, and a summary asked for by --json is the last line.
    #[arg(long, value_name = "FILE")]
    pub(crate) decisions: Option<PathBuf>,

    /// How many of the lines may be unreadable before the exit code is 3.
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = Percent::from_str)]
    pub(crate) max_unreadable: Percent,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 a threshold you set was broken, \
    2 usage or policy error, 3 too many unreadable lines.";

/// A format, or none: to be found out.
pub(crate) type Auto = Option<Format>;

fn parse_format(name: &str) -> Result<Auto, String> {
    match name {
        "auto" => Ok(None),
        _ => name.parse().map(Some).map_err(|error| format!("{error}, or `auto`")),
    }
}

/// A percentage from 0 to 100.
#[derive(Clone, Copy)]
pub(crate) struct Percent(f64);

impl Percent {
    /// Whether `part` is more than this of `whole`.
    pub(crate) fn is_exceeded_by(self, part: u64, whole: u64) -> bool {
        part as f64 * 100.0 > self.0 * whole as f64
    }
}

impl FromStr for Percent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Percent, &'static str> {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        match number.parse() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Percent(percent)),
            _ => Err("a percentage goes from 0% to 100%"),
        }
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", self.0)
    }
}

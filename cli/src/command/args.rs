//! The arguments of the command, parsed by clap. The comments of the fields are its help texts.

use std::path::PathBuf;
use std::str::FromStr;

use crate::replay::{Format, Took};
use crate::suggest::Of;
use clap::Parser;
use tollgate::Quota;
use tollgate::policy::Share;

use crate::command::simulate::expect::Expectation;

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
    Simulate(Simulate),
    Compare(Compare),
    Suggest(Suggest),
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
/// order in which the requests began, and decided in that order; whom a limit with a `wait` does not
/// admit at once counts as refused. `path` is the request target as logged, query included; `-` is a
/// missing fact.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Replay {
    /// The policy, a TOML file.
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: PathBuf,

    #[command(flatten)]
    pub(crate) logs: Logs,

    /// Print the summary as one line of JSON instead of the report.
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a line of JSON for each request. `-` is standard output; then the report goes to
    /// standard error, and a summary asked for by --json is the last line.
    #[arg(long, value_name = "FILE")]
    pub(crate) decisions: Option<PathBuf>,
}

// No doc comment: clap would print it above every command that reads logs.
#[derive(clap::Args)]
pub(crate) struct Logs {
    /// The logs, in order, plain or gzip. `-` is standard input.
    #[arg(required = true, value_name = "LOG")]
    pub(crate) paths: Vec<PathBuf>,

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

    /// How many of the lines may be unreadable before the exit code is 3.
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = Percent::from_str)]
    pub(crate) max_unreadable: Percent,
}

/// Run load against a policy on virtual time: without its limits, and with them.
///
/// A scenario says who asks for what and when, how long the back end works on it, and how many
/// requests at once the back end stands: one that makes more of them fails, and takes its time
/// nevertheless. The same seed gives the same report, byte for byte.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES, after_long_help = SCENARIO)]
pub(crate) struct Simulate {
    /// The scenario, a TOML file.
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: PathBuf,

    /// Draw from this seed instead of the scenario's.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Print the report as one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Draw both runs over time.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// What a number of the JSON has to be, as 'peak_in_flight<=50' or 'skipped_share<5%'; of the
    /// run with limits, or 'without.peak_in_flight>100'. If it is not, the exit code is 1. Can be
    /// given more than once.
    #[arg(long, value_name = "EXPECTATION")]
    pub(crate) expect: Vec<Expectation>,
}

/// Put limiting algorithms side by side on the same arrivals: what each really admits, and costs.
///
/// Every algorithm of Tollgate, and limiters of other crates where they are compiled in, through
/// usual arrivals and through the worst case of each. Excess is what the worst window as long as
/// the period admits above the count; a denial is wrongful if that window had room; a wait is
/// exact if a nanosecond less would have been too little.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Compare {
    /// What to compare them at.
    #[arg(long, value_name = "QUOTA", default_value = "100/m")]
    pub(crate) quota: Quota,

    /// What is random follows from it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Also the requests of this access log, by client address. Plain or gzip.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,

    /// Only this scenario. Can be given more than once.
    #[arg(long, value_name = "NAME")]
    pub(crate) scenario: Vec<String>,

    /// Print the report as one line of JSON; without speed, unless asked for, so that the same
    /// seed gives the same bytes.
    #[arg(long)]
    pub(crate) json: bool,

    /// Draw a page of it, in one file.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Measure speed and memory too: the default, except with --json.
    #[arg(long, conflicts_with = "no_speed")]
    pub(crate) speed: bool,

    /// Measure neither.
    #[arg(long)]
    pub(crate) no_speed: bool,

    /// How many keys speed and memory are measured with. Can be given more than once.
    #[arg(long, value_name = "N", default_values_t = [1_000, 100_000],
        value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    pub(crate) keys: Vec<u64>,
}

/// Suggest limits from logs: the tightest that would have refused no more than a share of them.
///
/// Prints a policy: one limit a fact, as GCRA has it, with what was observed in its comments. All
/// limits together refuse no more than --refuse says, which a replay of the policy has confirmed.
/// Lines are taken as replay takes them; a request without the fact of a limit is none of its
/// business. A limit is for a minute, ten seconds or, if stamps are as fine as a tenth of one,
/// a second: for whichever lets the least through in its worst minute. A million requests take some
/// ten seconds.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Suggest {
    #[command(flatten)]
    pub(crate) logs: Logs,

    /// What to limit by: a fact that requests of the logs have. Can be given more than once.
    #[arg(long, value_name = "FACT", default_values = ["ip", "user", "path"])]
    pub(crate) by: Vec<String>,

    /// How much of what the logs have may be refused. 0% refuses nobody.
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = Share::from_str)]
    pub(crate) refuse: Share,

    /// Of what: of all requests; or of the callers of each fact, its different values, so that no
    /// more of them ever have a request refused.
    #[arg(long, value_name = "requests|callers", default_value = "requests",
        value_parser = parse_of)]
    pub(crate) of: Of,

    /// Print what was observed and is suggested as one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

const SCENARIO: &str = r#"The scenario:
  duration = "600s"                   how long clients arrive; the run ends when all are done
  seed     = 1                        what is random follows from it
  policy   = "FILE"                   a policy, from the folder of the scenario; or instead, here,
  [[limit]], [[override]], facts      what a policy has

  [[clients]]                         any number of groups; each request is a client of its own
  name     = "dashboards"
  arrivals = { kind = "bursts", size = 159, every = "60s" }
             { kind = "constant", rate = "10/s" }           evenly spaced
             { kind = "poisson", rate = "10/s" }
             { kind = "ramp", from = "1/s", to = "50/s" }   evenly spaced at a rate that grows
  service  = { kind = "lognormal", median = "8s", p99 = "60s" }
             { kind = "exponential", mean = "8s" }
             { kind = "constant", time = "8s" }
  facts    = { view = "/a",                        the same for all
               region = ["eu", "us"],              one of these, at random
               org = { from = 1, to = 40 } }       a whole number, at random; or pick = "in-turn"
  start    = "0s"                     when the first arrives
  end      = "600s"                   they arrive before this; default: the duration
  requests = 1000                     at most so many; default: as many as arrive
  patience = "20s"                    who waits as long gives up; default: nobody
  crash    = "5%"                     this share, or the first so many (crash = 10), never give
                                      back what they were admitted with

  [[change]]                          from then on a limit is different
  at    = "300s"
  limit = "queries"
  mode, concurrent, rate, burst as in the limit, share as in its rollout

  [backend]
  limit = 100                         a request that makes more than this at once fails; it runs
                                      as long as if it did not

Exit codes: 0 done, 1 a threshold you set was broken, 2 usage or policy error."#;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 a threshold you set was broken, \
    2 usage or policy error, 3 too many unreadable lines.";

/// Parses a format; `None` for `auto`.
pub(crate) type Auto = Option<Format>;

fn parse_format(name: &str) -> Result<Auto, String> {
    match name {
        "auto" => Ok(None),
        _ => name.parse().map(Some).map_err(|error| format!("{error}, or `auto`")),
    }
}

fn parse_of(name: &str) -> Result<Of, &'static str> {
    match name {
        "requests" => Ok(Of::Requests),
        "callers" => Ok(Of::Callers),
        _ => Err("a share is of `requests` or of `callers`"),
    }
}

/// Parses a percentage from 0 to 100.
#[derive(Clone, Copy)]
pub(crate) struct Percent(f64);

impl Percent {
    /// Whether `part` is more than this percentage of `whole`.
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

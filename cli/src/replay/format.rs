//! The formats of logs, and the detection of a log's format.

use std::fmt;
use std::str::FromStr;

use super::event::{Event, Unreadable};
use super::took::Took;
use super::{access_log, json_lines};

/// The longest line that is read, in bytes. A longer line is unreadable, and is never held whole in
/// memory.
pub const MAX_LINE: usize = 64 * 1024;

/// The format of a log.
///
/// ```
/// use tollgate_cli::replay::Format;
///
/// let line = br#"{"t": 12.5, "facts": {"user": 7}}"#;
/// let event = Format::Jsonl.event(line)?.expect("it is not blank");
/// assert_eq!(event.at.as_nanos(), 12_500_000_000);
/// assert_eq!(event.facts, [("user".into(), "7".into())]);
/// # Ok::<(), tollgate_cli::replay::Unreadable>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Event lines: `{"t": 12.5, "id": "r1", "op": "admit", "facts": {"user": "7"}, "cost": 1}`.
    ///
    /// `"took": 0.25` in its line, in seconds like `t`, or a later line `{"t": 12.75, "id": "r1",
    /// "op": "finish"}` says when an admitted request ends.
    Jsonl,
    /// [`Common`](Self::Common), followed by `"referer" "user agent"`.
    Combined,
    /// `ip ident user [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.0" 200 2326`.
    ///
    /// The facts are `ip user method path status bytes`; `-` marks a missing fact. The address may
    /// be preceded by a virtual host, `host:port`, which is the fact `host`.
    Common,
}

impl Format {
    /// All formats. A line that an earlier one can read may be readable in a later one too.
    const ALL: [Format; 3] = [Format::Jsonl, Format::Combined, Format::Common];

    /// The event of `line`, or `None` for a blank line.
    pub fn event(self, line: &[u8]) -> Result<Option<Event<'_>>, Unreadable> {
        self.timed_event(line, None)
    }

    /// The event of `line`. If `took` is given, a line of an access log also says how long the
    /// request took.
    pub fn timed_event(
        self,
        line: &[u8],
        took: Option<Took>,
    ) -> Result<Option<Event<'_>>, Unreadable> {
        if line.len() > MAX_LINE {
            return Err(Unreadable::because(format!("longer than {} KiB", MAX_LINE / 1024)));
        }
        let line = line.trim_ascii_end();
        if line.is_empty() {
            return Ok(None);
        }
        if line.contains(&0) {
            return Err(Unreadable::because("has NUL bytes; this is not text"));
        }
        let (mut event, rest) = match self {
            Format::Jsonl => return json_lines::event(line).map(Some),
            Format::Combined => access_log::combined(line)?,
            Format::Common => access_log::common(line)?,
        };
        if let Some(took) = took {
            took.read(&mut event, rest)?;
        }
        Ok(Some(event))
    }
}

/// Detects the format of a log from its first readable lines: the format that reads the most of
/// them.
#[derive(Default)]
pub(super) struct Detector {
    votes: [usize; Format::ALL.len()],
}

impl Detector {
    /// Counts a line.
    pub(super) fn see(&mut self, line: &[u8]) {
        let reads = |format: &Format| matches!(format.event(line), Ok(Some(_)));
        if let Some(first) = Format::ALL.iter().position(reads) {
            self.votes[first] += 1;
        }
    }

    /// How many lines were readable.
    pub(super) fn readable(&self) -> usize {
        self.votes.iter().sum()
    }

    /// The format that read the most lines, if any line was readable.
    pub(super) fn format(&self) -> Option<Format> {
        let most = *self.votes.iter().max()?;
        let format = self.votes.iter().position(|votes| *votes == most && most > 0)?;
        Format::ALL.get(format).copied()
    }
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Format, &'static str> {
        let format = Format::ALL.into_iter().find(|format| format.to_string() == name);
        format.ok_or("a log's format is `common`, `combined` or `jsonl`")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Jsonl => "jsonl",
            Format::Combined => "combined",
            Format::Common => "common",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str = r#"a - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1"#;
    const COMBINED: &str = r#"a - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1 "-" "x""#;
    const EVENT: &str = r#"{"t": 1}"#;

    fn detected(lines: &[&str]) -> Option<Format> {
        let mut detector = Detector::default();
        lines.iter().for_each(|line| detector.see(line.as_bytes()));
        detector.format()
    }

    #[test]
    fn the_format_of_most_lines_is_found() {
        assert_eq!(detected(&[]), None);
        assert_eq!(detected(&["", "what?"]), None);
        assert_eq!(detected(&["", EVENT]), Some(Format::Jsonl));
        assert_eq!(detected(&["what?", COMMON]), Some(Format::Common));
        assert_eq!(detected(&[COMMON, COMBINED]), Some(Format::Combined));
        assert_eq!(detected(&[COMBINED, COMMON, COMMON]), Some(Format::Common));
    }

    #[test]
    fn lines_that_are_no_text() {
        for (line, why) in [
            (vec![b'x'; MAX_LINE + 1], "longer than 64 KiB"),
            (b"\0\0\0".to_vec(), "NUL"),
            ([COMMON.as_bytes(), b"\0"].concat(), "NUL"),
        ] {
            assert!(Format::Common.event(&line).unwrap_err().to_string().contains(why));
        }
        for blank in ["", " ", "\r", "\t \r"] {
            assert_eq!(Format::Jsonl.event(blank.as_bytes()), Ok(None));
        }
        let crlf = format!("{COMBINED}\r");
        assert!(Format::Combined.event(crlf.as_bytes()).unwrap().is_some());
    }

    #[test]
    fn names_are_read_as_they_print() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("combine".parse::<Format>().is_err());
    }
}

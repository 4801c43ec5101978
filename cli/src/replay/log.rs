//! Reads a log: splits bytes into lines, detects their format, and parses them as events. The
//! formats themselves are in `format`.

use std::collections::VecDeque;
use std::io::{self, BufRead, ErrorKind};

use super::event::{Event, Unreadable};
use super::format::{Detector, Format, MAX_LINE};
use super::took::Took;

/// The number of readable lines after which the format is clear.
const READABLE_SAMPLE: usize = 32;

/// The most bytes that are held back to detect the format.
const SAMPLE_BYTES: usize = 1 << 20;

/// Reads the events of a log, one line at a time.
///
/// ```
/// use tollgate_cli::replay::Log;
///
/// let text = "192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] \"GET /a HTTP/1.0\" 200 2326\nwhat?\n";
/// let mut log = Log::new(text.as_bytes(), None);
/// let mut requests = 0;
/// while let Some(line) = log.next_line()? {
///     match line.event {
///         Ok(_) => requests += 1,
///         Err(why) => println!("line {} {why}", line.number),
///     }
/// }
/// assert_eq!(requests, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Log<R> {
    reader: R,
    format: Option<Format>,
    took: Option<Took>,
    /// Lines read to detect the format; `failure` is the error that ended that reading.
    sample: VecDeque<Vec<u8>>,
    failure: Option<io::Error>,
    line: Vec<u8>,
    number: u64,
}

/// A line of a log that is not blank.
#[derive(Debug)]
#[non_exhaustive]
pub struct Line<'a> {
    /// The line number, from 1. Blank lines are counted too.
    pub number: u64,
    /// The event, or why the line has none.
    pub event: Result<Event<'a>, Unreadable>,
}

impl<R: BufRead> Log<R> {
    /// A log in `format`. Without a format, reads some lines ahead to detect it.
    pub fn new(reader: R, format: Option<Format>) -> Log<R> {
        let (sample, line) = (VecDeque::new(), Vec::new());
        let mut log = Log { reader, format, took: None, sample, failure: None, line, number: 0 };
        if format.is_none() {
            log.find_format();
        }
        log
    }

    /// Takes the last field of an access log line for the time that the request took. A line
    /// without that field is unreadable.
    pub fn took(mut self, took: Took) -> Log<R> {
        self.took = Some(took);
        self
    }

    /// The format; `None` if no line was readable in any format.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// The next line that is not blank.
    ///
    /// # Errors
    /// The errors of the reader. Lines read before an error are not lost.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        // Without a known format the line is unreadable in every format; the combined format is the
        // best known, so its error is reported.
        let format = self.format.unwrap_or(Format::Combined);
        while self.advance()? {
            self.number += 1;
            if !self.line.trim_ascii().is_empty() {
                let event = format.timed_event(&self.line, self.took).transpose();
                return Ok(event.map(|event| Line { number: self.number, event }));
            }
        }
        Ok(None)
    }

    fn find_format(&mut self) {
        let mut detector = Detector::default();
        let mut held = 0;
        while detector.readable() < READABLE_SAMPLE && held < SAMPLE_BYTES {
            match read_line(&mut self.reader, &mut self.line) {
                Ok(true) => {
                    detector.see(&self.line);
                    held += self.line.len() + 1;
                    self.sample.push_back(self.line.clone());
                }
                Ok(false) => break,
                Err(error) => {
                    self.failure = Some(error);
                    break;
                }
            }
        }
        self.format = detector.format();
    }

    /// Puts the next line into `line`. False at the end of the log.
    fn advance(&mut self) -> io::Result<bool> {
        if let Some(line) = self.sample.pop_front() {
            self.line = line;
            return Ok(true);
        }
        match self.failure.take() {
            Some(error) => Err(error),
            None => read_line(&mut self.reader, &mut self.line),
        }
    }
}

/// Puts the next line into `line`, without its line end; of a line that is too long only the first
/// bytes, just enough to exceed the bound. False at the end of the log.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let chunk = match reader.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if chunk.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let piece = &chunk[..end.unwrap_or(chunk.len())];
        let room = MAX_LINE + 1 - line.len();
        line.extend_from_slice(&piece[..piece.len().min(room)]);
        let used = piece.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read};

    const LINE: &str = r#"a - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1"#;

    /// Line numbers, and whether the line was readable.
    fn read<R: BufRead>(mut log: Log<R>) -> (Vec<(u64, bool)>, Option<io::Error>) {
        let mut lines = Vec::new();
        loop {
            match log.next_line() {
                Ok(Some(line)) => lines.push((line.number, line.event.is_ok())),
                Ok(None) => return (lines, None),
                Err(error) => return (lines, Some(error)),
            }
        }
    }

    #[test]
    fn every_line_is_read_once_however_the_bytes_come() {
        let long = "x".repeat(3 * MAX_LINE);
        let text = format!("\n{LINE}\n{long}\n  \n{LINE}\nwhat?\n{LINE}");
        let expected = [(2, true), (3, false), (5, true), (6, false), (7, true)];
        for format in [None, Some(Format::Common)] {
            for capacity in [1, 7, 1 << 20] {
                let reader = BufReader::with_capacity(capacity, text.as_bytes());
                let (lines, error) = read(Log::new(reader, format));
                assert_eq!(lines, expected, "{format:?} {capacity}");
                assert!(error.is_none());
            }
        }
    }

    #[test]
    fn a_long_line_is_never_held_whole() {
        let text = "x".repeat(10 * MAX_LINE);
        let mut log = Log::new(text.as_bytes(), Some(Format::Common));
        assert!(log.next_line().unwrap().unwrap().event.is_err());
        assert!(log.line.capacity() <= 4 * MAX_LINE, "{}", log.line.capacity());
        assert!(log.next_line().unwrap().is_none());
    }

    #[test]
    fn the_longest_line_is_read() {
        let line = LINE.replace("GET /", &format!("GET /{}", "a".repeat(MAX_LINE - LINE.len())));
        assert_eq!(line.len(), MAX_LINE);
        assert_eq!(read(Log::new(line.as_bytes(), None)).0, [(1, true)]);
        let longer = line.replace("GET", "HEAD");
        assert_eq!(read(Log::new(longer.as_bytes(), None)).0, [(1, false)]);
    }

    #[test]
    fn the_format_is_found_after_lines_that_cannot_be_read() {
        let text = format!("{}{LINE}\n", "what?\n".repeat(1000));
        let log = Log::new(text.as_bytes(), None);
        assert_eq!(log.format(), Some(Format::Common));
        assert_eq!(read(log).0.len(), 1001);
    }

    #[test]
    fn the_sample_has_a_bound() {
        let log = Log::new(BufReader::new(io::repeat(b'\n')), None);
        assert_eq!(log.format(), None);
        assert!(log.sample.len() <= SAMPLE_BYTES);
    }

    #[test]
    fn what_was_read_before_an_error_is_not_lost() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("torn"))
            }
        }
        for format in [None, Some(Format::Common)] {
            let text = format!("{LINE}\n{LINE}\n");
            let (lines, error) =
                read(Log::new(BufReader::new(text.as_bytes().chain(Fails)), format));
            assert_eq!(lines, [(1, true), (2, true)]);
            assert_eq!(error.unwrap().to_string(), "torn");
        }
    }
}

//! The decision about an event, printed as a line of JSON.

use std::fmt;

use tollgate::Timestamp;
use tollgate::{Allowed, Refused, Retry};

/// The decision about an event. Prints as a line of JSON.
///
/// ```json
/// {"t": 12.5, "id": "r1", "allowed": false, "limit": "user", "retry_after_ns": 20000000, "remaining": 0}
/// ```
///
/// `t` is the event's own timestamp, in seconds. `limit` and `retry_after_ns` are null if the event
/// is allowed; then `remaining` is what remains in the tightest limit, or null if no limit applies.
/// `retry_after_ns` is also null if no wait helps, and then `"retry": "never"` follows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Decision<'a> {
    /// When the event happened, according to the log.
    pub at: Timestamp,
    /// The id of the event in the log.
    pub id: Option<&'a str>,
    /// The answer.
    pub answer: Result<Allowed, Refused>,
}

/// Prints a timestamp as decimal seconds, exactly.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(pub Timestamp);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) =
            (self.0.as_nanos() / 1_000_000_000, self.0.as_nanos() % 1_000_000_000);
        if nanos == 0 {
            return write!(f, "{seconds}");
        }
        write!(f, "{seconds}.{}", format!("{nanos:09}").trim_end_matches('0'))
    }
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = json(self.id);
        write!(
            f,
            r#"{{"t": {}, "id": {id}, "allowed": {}"#,
            Seconds(self.at),
            self.answer.is_ok()
        )?;
        match &self.answer {
            Ok(allowed) => {
                f.write_str(r#", "limit": null, "retry_after_ns": null, "remaining": "#)?;
                if *allowed == Allowed::UNLIMITED {
                    return f.write_str("null}");
                }
                write!(f, "{}}}", allowed.remaining())
            }
            Err(refused) => {
                write!(f, r#", "limit": {}, "retry_after_ns": "#, json(Some(refused.limit())))?;
                match refused.retry() {
                    Retry::After(wait) => write!(f, "{}", wait.as_nanos())?,
                    Retry::Never => f.write_str(r#"null, "retry": "never""#)?,
                    _ => f.write_str(r#"null, "retry": "unknown""#)?,
                }
                write!(f, r#", "remaining": {}}}"#, refused.denied().remaining())
            }
        }
    }
}

/// The text as a JSON string, or null.
fn json(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), |text| serde_json::Value::from(text).to_string())
}

//! Reads `rate` and `burst` into a [`Quota`]. The syntax of a rate is parsed by `quota`; whether
//! the algorithm has a burst is checked in `policy::check`.

use std::ops::Range;

use toml::de::DeValue;

use super::{Reader, TomlValue};
use crate::policy::problem::Shown;
use crate::quota::{Quota, QuotaError};

/// Stands in for a rate that could not be read.
pub(super) const STAND_IN: Quota = Quota::per_second(1);

/// A number of units and its position.
pub(super) type Burst = (u64, Range<usize>);

impl Reader<'_> {
    /// Reads the rate and the burst, which comes with the position of its key, as one quota.
    pub(super) fn quota(
        &mut self,
        rate: &TomlValue<'_>,
        burst: Option<(Range<usize>, Option<Burst>)>,
    ) -> Option<Quota> {
        let text = match rate.get_ref() {
            DeValue::String(text) => text,
            other => {
                let example = match other {
                    DeValue::Integer(count) => {
                        format!("rate = \"{}/s\"", Shown(count.as_str()))
                    }
                    _ => "rate = \"50/s\"".to_owned(),
                };
                self.mistyped("rate", rate, "a string", &example);
                return None;
            }
        };
        let has_burst = text.split_whitespace().nth(1) == Some("burst");
        let mut whole = text.to_string();
        let mut burst_at = None;
        match burst {
            Some((key_at, _)) if has_burst => {
                let what = "the burst is given twice: here and in `rate`".to_owned();
                self.report(key_at, what, Some("leave one of them out".to_owned()));
            }
            Some((_, Some((burst, span)))) => {
                whole = format!("{text} burst {burst}");
                burst_at = Some(span);
            }
            Some((_, None)) | None => {}
        }
        // Parsed as a whole: some rates are possible only with a burst below their count.
        let error = match whole.parse() {
            Ok(quota) => return Some(quota),
            Err(error) => error,
        };
        let about_burst = matches!(error, QuotaError::BurstTooLarge | QuotaError::TooSlow);
        match burst_at {
            Some(span) if about_burst => self.report(span, error.to_string(), None),
            _ => {
                let what = format!("`{}` is no rate: {error}", Shown(text));
                self.report(rate.span(), what, None);
            }
        }
        None
    }

    pub(super) fn burst(&mut self, value: &TomlValue<'_>) -> Option<Burst> {
        self.whole("burst", value, "from 0 to 2^64 - 1").map(|burst| (burst, value.span()))
    }
}

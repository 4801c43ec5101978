//! Reads numbers of slots (`concurrent`, `weight`) and durations (`lease`, `wait`). Whether they
//! fit each other is checked in `policy::check`.

use std::time::Duration;

use toml::de::DeValue;

use super::{Reader, TomlValue};
use crate::policy::problem::Shown;
use crate::quota::period_nanos;
use crate::slots::MAX_SLOTS;

impl Reader<'_> {
    pub(super) fn slots(&mut self, key: &str, value: &TomlValue<'_>, least: u32) -> Option<u32> {
        let number = self.whole(key, value, &format!("from {least} to {MAX_SLOTS}"))?;
        // A number above `u32::MAX` is also above the maximum, which `Policy::check` reports.
        Some(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// A duration: a whole number and a unit, as in the period of a `rate`.
    pub(super) fn duration(&mut self, key: &str, value: &TomlValue<'_>) -> Option<Duration> {
        let example = match value.get_ref() {
            DeValue::Integer(number) => format!("{key} = \"{}s\"", Shown(number.as_str())),
            _ => format!("{key} = \"60s\""),
        };
        let text = self.string(key, value, &example)?;
        let is_digit = |c: char| c.is_ascii_digit();
        match period_nanos(text) {
            // A unit without a number is a period, but not a duration.
            Ok(nanos) if text.starts_with(is_digit) => return Some(Duration::from_nanos(nanos)),
            _ => {}
        }
        let what = format!(
            "`{}` is no duration: a duration is a whole number of ns us ms s m h d, up to 584 \
             years: write `60s`",
            Shown(text)
        );
        let is_number = !text.is_empty() && text.chars().all(is_digit);
        let hint = is_number.then(|| format!("write `{key} = \"{}s\"`", Shown(text)));
        self.report(value.span(), what, hint);
        None
    }
}

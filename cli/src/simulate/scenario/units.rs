//! Parses lengths of time, rates and shares as a scenario file writes them.

use std::time::Duration;

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// `60s`, `1.5h`: up to 584 years, the range of a timestamp.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let unit = unit_nanos(unit.trim_start())?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 {
        return None;
    }
    let part = part.parse::<u64>().ok()?.checked_mul(10_u64.pow(9 - part.len() as u32))?;
    let part = u128::from(part) * u128::from(unit) / 1_000_000_000;
    let nanos = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    Some(Duration::from_nanos(nanos.checked_add(u64::try_from(part).ok()?)?))
}

/// `50/s`, `2.5/m`, `100/10s`, in requests a second.
pub(crate) fn rate(text: &str) -> Option<f64> {
    let (count, period) = text.split_once('/')?;
    let count = decimal(count.trim())?;
    let period = period.trim();
    let period = match unit_nanos(period) {
        Some(nanos) => Duration::from_nanos(nanos),
        None => duration(period)?,
    };
    let rate = count / period.as_secs_f64();
    rate.is_finite().then_some(rate)
}

/// `25%`, as a fraction of 1.
pub(crate) fn share(text: &str) -> Option<f64> {
    let percent = decimal(text.strip_suffix('%')?.trim_end())?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

fn decimal(text: &str) -> Option<f64> {
    let plain = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    text.bytes().all(plain).then(|| text.parse().ok()).flatten()
}

fn unit_nanos(unit: &str) -> Option<u64> {
    UNITS.iter().find(|(name, _)| *name == unit).map(|(_, nanos)| *nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (text, nanos) in [
            ("60s", Some(60_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("0.000000001s", Some(1)),
            ("2 m", Some(120_000_000_000)),
            ("0s", Some(0)),
            ("18446744073709551615ns", Some(u64::MAX)),
            ("18446744073709551616ns", None),
            ("213503d", Some(213_503 * 86_400_000_000_000)),
            ("213504d", None),
            ("60", None),
            ("s", None),
            (".5s", None),
            ("1.s", None),
            ("1.2.3s", None),
            ("-1s", None),
            ("1w", None),
            ("1s ", None),
            ("", None),
            ("5µs", None),
        ] {
            assert_eq!(duration(text), nanos.map(Duration::from_nanos), "{text}");
        }
    }

    #[test]
    fn rates_and_shares() {
        for (text, expected) in [
            ("50/s", Some(50.0)),
            ("100/10s", Some(10.0)),
            ("0.5 / m", Some(0.5 / 60.0)),
            ("0/s", Some(0.0)),
            ("1/0s", None),
            ("0/0s", None),
            ("-1/s", None),
            ("inf/s", None),
            ("nan/s", None),
            ("5", None),
            ("/s", None),
            ("1/s/s", None),
        ] {
            assert_eq!(rate(text), expected, "{text}");
        }
        for (text, expected) in [
            ("25%", Some(0.25)),
            ("0 %", Some(0.0)),
            ("100%", Some(1.0)),
            ("101%", None),
            ("5", None),
        ] {
            assert_eq!(share(text), expected, "{text}");
        }
    }
}

//! Parses decimal numbers to whole nanoseconds without rounding through a float.

/// Parses a decimal number of units of `10^power` nanoseconds each. Digits below a nanosecond are
/// cut off.
pub(super) fn nanos(text: &[u8], power: i64) -> Option<u64> {
    let find = |text: &[u8], marks: &[u8]| text.iter().position(|byte| marks.contains(byte));
    let (number, exponent) = match find(text, b"eE") {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, part) = match find(number, b".") {
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number, &b"0"[..]),
    };
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if !digits(whole) || !digits(part) {
        return None;
    }
    // The digits that make whole nanoseconds, padded with zeros.
    let wanted = i64::try_from(whole.len()).ok()? + i64::from(exponent) + power;
    let mut digits = whole.iter().chain(part);
    let mut nanos = 0_u64;
    for _ in 0..wanted {
        let digit = match digits.next() {
            Some(digit) => u64::from(digit - b'0'),
            None if nanos == 0 => break,
            None => 0,
        };
        nanos = nanos.checked_mul(10)?.checked_add(digit)?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_to_the_nanosecond() {
        for (text, power, expected) in [
            ("12.5", 9, Some(12_500_000_000)),
            ("0.003", 9, Some(3_000_000)),
            ("1500", 6, Some(1_500_000_000)),
            ("0.25", 6, Some(250_000)),
            ("1834", 3, Some(1_834_000)),
            ("0.0019", 3, Some(1)),
            ("18446744073709551.615", 3, Some(u64::MAX)),
            ("18446744073709551.616", 3, None),
            ("1e5.5", 9, None),
            ("1.2.3", 9, None),
            ("1.e5", 9, None),
            (".e5", 9, None),
            ("e", 9, None),
            ("", 9, None),
            ("-1", 9, None),
        ] {
            assert_eq!(nanos(text.as_bytes(), power), expected, "{text} {power}");
        }
    }
}

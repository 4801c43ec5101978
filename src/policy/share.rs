//! [`Share`]: a share of all requests, written as a percentage. Which request is in a share is
//! decided by the enforcer's `rollout`, which computes the hash.

use std::fmt;

/// A share of all requests, from 0 to 100 percent, in steps of 10^-9 percent.
///
/// ```
/// use tollgate::policy::Share;
/// assert_eq!("12.5%".parse::<Share>()?.to_string(), "12.5%");
/// # Ok::<(), tollgate::policy::ShareError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Billionths of a percent: 100 % is 10^11.
    billionths: u64,
}

/// The error of text that is not a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareError;

const HUNDRED_PERCENT: u64 = 100_000_000_000;

impl Share {
    /// The share of `percent` percent. More than 100 counts as 100.
    pub const fn percent(percent: u64) -> Share {
        let percent = if percent > 100 { 100 } else { percent };
        Share { billionths: percent * 1_000_000_000 }
    }

    /// The share of `whole`, rounded down.
    ///
    /// ```
    /// use tollgate::policy::Share;
    /// assert_eq!("0.5%".parse::<Share>()?.of(999), 4);
    /// # Ok::<(), tollgate::policy::ShareError>(())
    /// ```
    pub const fn of(self, whole: u64) -> u64 {
        // At most `whole`, so the cast keeps the value.
        (whole as u128 * self.billionths as u128 / HUNDRED_PERCENT as u128) as u64
    }

    /// Whether a request with this hash is in the share: if `hash < floor(p * 2^64 / 100)`.
    pub(crate) fn includes(self, hash: u64) -> bool {
        let threshold = (u128::from(self.billionths) << 64) / u128::from(HUNDRED_PERCENT);
        u128::from(hash) < threshold
    }
}

impl std::str::FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Share, ShareError> {
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let number = text.trim().strip_suffix('%').ok_or(ShareError)?.trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || part.is_empty() || part.len() > 9 || !digits(whole) || !digits(part)
        {
            return Err(ShareError);
        }
        let parse = |text: &str| text.parse::<u64>().map_err(|_| ShareError);
        let billionths = parse(whole)?
            .checked_mul(1_000_000_000)
            .and_then(|whole| whole.checked_add(parse(&format!("{part:0<9}")).ok()?))
            .filter(|billionths| *billionths <= HUNDRED_PERCENT)
            .ok_or(ShareError)?;
        Ok(Share { billionths })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.billionths / 1_000_000_000, self.billionths % 1_000_000_000);
        let part = format!(".{part:09}");
        write!(f, "{whole}{}%", part.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share is a percentage from 0% to 100%, with up to 9 decimals: \"25%\"")
    }
}

impl std::error::Error for ShareError {}

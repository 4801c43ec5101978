//! Prints the limits of a policy as a table.

use tollgate::policy::{Amount, LimitInWords};
use tollgate::{Mode, Policy, Quota};

use super::Screen;
use crate::text::{Align, count, duration, table};

pub(crate) fn print(policy: &Policy, screen: &mut Screen) {
    let limits = policy.in_words();
    if limits.is_empty() {
        screen.line("no limits: every request is admitted");
        return;
    }
    let heads = ["limit", "key", "when", "quota", "bound", "mode", "also"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for limit in &limits {
        rows.push(row(limit));
        rows.extend(limit.overrides.iter().map(|(key, amount)| override_row(key, *amount)));
    }
    let lines = table(&rows, &[Align::Left; 7]);
    for (index, line) in lines.iter().enumerate() {
        screen.line(&if index == 0 { screen.bold(line) } else { line.clone() });
    }
}

fn row(limit: &LimitInWords) -> Vec<String> {
    vec![
        limit.name.clone(),
        limit.key.clone(),
        limit.when.clone(),
        limit.amount.to_string(),
        bound(limit.amount),
        mode(limit.mode).to_owned(),
        limit.notes.join(", "),
    ]
}

fn override_row(key: &str, amount: Option<Amount>) -> Vec<String> {
    let (amount, bound) = match amount {
        Some(amount) => (amount.to_string(), bound(amount)),
        None => ("exempt".to_owned(), "no limit".to_owned()),
    };
    vec![String::new(), format!("└ {key}"), String::new(), amount, bound]
}

pub(crate) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow",
        Mode::Off => "off",
    }
}

/// What an amount lets through, in plain words.
fn bound(amount: Amount) -> String {
    match amount {
        Amount::Quota(quota) => bound_of_quota(quota),
        Amount::Cap(0) => "none at all".to_owned(),
        Amount::Cap(cap) => format!("up to {} at once", count(cap.into())),
    }
}

fn bound_of_quota(quota: Quota) -> String {
    let every = |duration_of: std::time::Duration| duration(duration_of, usize::MAX);
    let (units, period) = (quota.count(), quota.period());
    let refill = match u128::from(units) {
        units if period.as_nanos() % units == 0 => {
            let nanos = u64::try_from(period.as_nanos() / units).unwrap_or(u64::MAX);
            format!("one every {}", every(std::time::Duration::from_nanos(nanos)))
        }
        _ => format!("{} every {}", count(units), every(period)),
    };
    match quota.burst_size() {
        0 => "none at all".to_owned(),
        1 => refill,
        burst => format!("up to {} at once, then {refill}", count(burst)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_in_plain_words() {
        for (quota, words) in [
            ("50/s burst 100", "up to 100 at once, then one every 20ms"),
            ("1/s", "one every 1s"),
            ("7/m", "up to 7 at once, then 7 every 1m"),
            ("90/h burst 1", "one every 40s"),
            ("10000000000/s burst 5", "up to 5 at once, then 10,000,000,000 every 1s"),
            ("5/s burst 0", "none at all"),
        ] {
            assert_eq!(bound(Amount::Quota(quota.parse().unwrap())), words);
        }
        assert_eq!(bound(Amount::Cap(5000)), "up to 5,000 at once");
        assert_eq!(bound(Amount::Cap(0)), "none at all");
    }
}

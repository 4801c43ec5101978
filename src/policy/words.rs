//! [`Policy::in_words`]: a policy as text for people. What a running enforcer knows of its limits
//! is in `enforcer::inspect`.

use std::fmt;
use std::time::Duration;

use super::{AlgorithmName, CarryOver, Change, Condition, Limit, Missing, Mode, Policy, What};
use crate::cells::Overflow;
use crate::quota::{Quota, in_units};

/// A limit in words. Returned by [`Policy::in_words`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LimitInWords {
    /// The limit's name.
    pub name: String,
    /// What the limit counts by: `view user|project`, or `everything`.
    pub key: String,
    /// When the limit applies: `method=POST|PUT view=/webhooks/*`, or `always`.
    pub when: String,
    /// The quota or cap, where no override changes it.
    pub amount: Amount,
    /// What the limit does with its decisions.
    pub mode: Mode,
    /// Settings that differ from the defaults, as in `25% by org`.
    pub notes: Vec<String>,
    /// The overrides, in order: the keys they are for, and the amount; `None` if the keys are
    /// exempt.
    pub overrides: Vec<(String, Option<Amount>)>,
}

/// How much a limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Units per period.
    Quota(Quota),
    /// Slots that may be taken at the same time.
    Cap(u32),
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Quota(quota) => quota.fmt(f),
            Amount::Cap(cap) => write!(f, "concurrent {cap}"),
        }
    }
}

impl Policy {
    /// Each limit in words, in order.
    pub fn in_words(&self) -> Vec<LimitInWords> {
        self.limits.iter().map(|limit| self.limit_in_words(limit)).collect()
    }

    fn limit_in_words(&self, limit: &Limit) -> LimitInWords {
        let parts: Vec<String> = limit.key.iter().map(|part| part.facts.join("|")).collect();
        let overrides = self.overrides.iter().filter(|change| change.limit == limit.name);
        let amount = match limit.what {
            What::Rate(quota) => Amount::Quota(quota),
            What::Slots { cap, .. } => Amount::Cap(cap),
        };
        LimitInWords {
            name: limit.name.clone(),
            key: or(parts.join(" "), "everything"),
            when: or(in_words(&limit.when), "always"),
            amount,
            mode: limit.mode,
            notes: notes(limit, &parts),
            overrides: overrides
                .map(|change| {
                    let amount = match (change.change, limit.quota()) {
                        (Change::Quota { quota }, _) => Some(Amount::Quota(quota)),
                        // The check of the policy ensures that the burst is possible and that the
                        // limit has a quota.
                        (Change::Burst { burst }, Some(quota)) => {
                            Some(Amount::Quota(quota.with_burst(burst).unwrap_or(quota)))
                        }
                        (Change::Concurrent { cap }, _) => Some(Amount::Cap(cap)),
                        (Change::Nothing | Change::Burst { .. }, _) => Some(amount),
                        (Change::Exempt, _) => None,
                    };
                    (in_words(&change.matches), amount)
                })
                .collect(),
        }
    }
}

fn notes(limit: &Limit, parts: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if let What::Slots { lease, weight, .. } = limit.what {
        notes.extend(lease.map(|lease| format!("lease {}", duration(lease))));
        notes.extend((weight != 1).then(|| format!("weight {weight}")));
    }
    if let Some(wait) = limit.wait {
        notes.push(format!("up to {} wait up to {}", limit.most_waiters(), duration(wait)));
    }
    if let Some(rollout) = &limit.rollout {
        let by = if rollout.by.is_empty() { parts } else { &rollout.by };
        notes.push(format!("{} by {}", rollout.share, by.join(" ")));
    }
    if limit.algorithm != AlgorithmName::default() {
        notes.push(format!("by {}", limit.algorithm));
    }
    if let Some(fact) = &limit.cost {
        notes.push(format!("costs `{fact}`"));
    }
    match limit.missing {
        Missing::Marker => {}
        Missing::Skip => notes.push("skipped without its key".to_owned()),
        Missing::Refuse => notes.push("refuses without its key".to_owned()),
    }
    match limit.overflow {
        Overflow::Pool => {}
        Overflow::Deny => notes.push("denies newcomers when full".to_owned()),
        Overflow::Allow => notes.push("allows newcomers when full".to_owned()),
    }
    if limit.carry_over == CarryOver::Reset {
        notes.push("starts anew with another quota".to_owned());
    }
    notes
}

/// A duration as written in a policy file.
fn duration(duration: Duration) -> String {
    let (number, unit) = in_units(duration.as_nanos());
    format!("{number}{unit}")
}

fn in_words(conditions: &[Condition]) -> String {
    let condition =
        |condition: &Condition| format!("{}={}", condition.fact, condition.patterns.join("|"));
    conditions.iter().map(condition).collect::<Vec<_>>().join(" ")
}

fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text }
}

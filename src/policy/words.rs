//! A policy in words, for people who look at what runs.

use crate::quota::Quota;

use super::{Change, Condition, Limit, Missing, Mode, Policy};
use crate::cells::Overflow;

/// A limit in words: [`Policy::in_words`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LimitInWords {
    /// Its name.
    pub name: String,
    /// What it counts by: `view user|project`, or `everything`.
    pub key: String,
    /// When it applies: `method=POST|PUT view=/webhooks/*`, or `always`.
    pub when: String,
    /// Its quota, where no override says otherwise.
    pub quota: Quota,
    /// What it does with its decisions.
    pub mode: Mode,
    /// What else is unlike the defaults, as `25% by org`.
    pub notes: Vec<String>,
    /// Its overrides, in order: for which keys, and the quota; none if these are exempt.
    pub overrides: Vec<(String, Option<Quota>)>,
}

impl Policy {
    /// Each limit in words, in order.
    pub fn in_words(&self) -> Vec<LimitInWords> {
        self.limits.iter().map(|limit| self.limit_in_words(limit)).collect()
    }

    fn limit_in_words(&self, limit: &Limit) -> LimitInWords {
        let parts: Vec<String> = limit.key.iter().map(|part| part.facts.join("|")).collect();
        let overrides = self.overrides.iter().filter(|change| change.limit == limit.name);
        LimitInWords {
            name: limit.name.clone(),
            key: or(parts.join(" "), "everything"),
            when: or(in_words(&limit.when), "always"),
            quota: limit.quota,
            mode: limit.mode,
            notes: notes(limit, &parts),
            overrides: overrides
                .map(|change| {
                    let quota = match change.change {
                        Change::Quota { quota } => Some(quota),
                        Change::Burst { burst } => limit.quota.with_burst(burst).ok(),
                        Change::Nothing => Some(limit.quota),
                        Change::Exempt => None,
                    };
                    (in_words(&change.matches), quota)
                })
                .collect(),
        }
    }
}

fn notes(limit: &Limit, parts: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(rollout) = &limit.rollout {
        let by = if rollout.by.is_empty() { parts } else { &rollout.by };
        notes.push(format!("{} by {}", rollout.share, by.join(" ")));
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
    notes
}

fn in_words(conditions: &[Condition]) -> String {
    let condition =
        |condition: &Condition| format!("{}={}", condition.fact, condition.patterns.join("|"));
    conditions.iter().map(condition).collect::<Vec<_>>().join(" ")
}

fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text }
}

//! Reads an `[[override]]`. Its `match` is read in `super::applies`. `policy::check` checks whether the
//! override fits its limit.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::value::given;
use super::{LIMIT, OVERRIDE, Reader, entries};
use crate::policy::problem::{Field, PolicyPlace};
use crate::policy::{Change, Override};

impl Reader<'_> {
    pub(super) fn change(&mut self, header: Range<usize>, table: &DeTable<'_>) {
        let index = self.policy.overrides.len();
        let at = |field| PolicyPlace::Override(index, field);
        self.spans.insert(at(Field::Whole), header.clone());
        let mut change = Override::new("");
        let mut seen = Vec::new();
        let mut rate = None;
        let mut burst = None;
        let mut concurrent = None;
        let mut exempt = None;
        for (key, key_at, value) in entries(table) {
            seen.push(key);
            match key {
                "limit" => match self.string(key, value, "limit = \"user\"") {
                    Some(name) => {
                        self.spans.insert(at(Field::Name), value.span());
                        change.limit = name.to_owned();
                    }
                    None => self.skip(at(Field::Name)),
                },
                "match" => change.matches = self.conditions(key, value, at),
                "rate" => rate = Some((key_at, value)),
                "burst" => burst = Some((key_at, self.burst(value))),
                "concurrent" => {
                    self.spans.insert(at(Field::Concurrent), value.span());
                    concurrent = Some((key_at, self.slots(key, value, 0)));
                }
                "exempt" => match value.get_ref() {
                    DeValue::Boolean(true) => exempt = Some(key_at),
                    DeValue::Boolean(false) => {}
                    other => {
                        let what = format!("`exempt` is true or false, not {}", given(other));
                        self.report(value.span(), what, None);
                        self.skip(at(Field::Change));
                    }
                },
                _ if LIMIT.contains(&key) && !(key == "when" || key == "key") => {
                    let what = format!("an override cannot change `{key}`");
                    let hint = "only `rate`, `burst`, `concurrent` and `exempt`".to_owned();
                    self.report(key_at, what, Some(hint));
                    self.skip(at(Field::Change));
                }
                _ => seen.extend(self.unknown("an override", key, key_at, OVERRIDE)),
            }
        }
        let partial = self.gaps.in_section(header.start);
        if !table.contains_key("limit") {
            if !partial && !seen.contains(&"limit") {
                let hint = "say of which: `limit = \"user\"`".to_owned();
                self.report(header, "the override names no limit".to_owned(), Some(hint));
            }
            self.skip(at(Field::Name));
        }
        if !table.contains_key("match") && (partial || seen.contains(&"match")) {
            self.skip(at(Field::Conditions));
        }
        let meant = ["rate", "burst", "concurrent", "exempt"]
            .iter()
            .any(|key| seen.contains(key) && !table.contains_key(*key));
        if partial || meant {
            self.skip(at(Field::Change));
        }
        if let (Some(exempt), true) = (&exempt, rate.is_some() || burst.is_some()) {
            let what = "an exempt key has no rate and no burst".to_owned();
            let hint = "leave out `exempt`, or `rate` and `burst`".to_owned();
            self.report(exempt.clone(), what, Some(hint));
        } else if let (Some(exempt), Some(_)) = (&exempt, &concurrent) {
            let what = "an exempt key has no cap".to_owned();
            let hint = "leave out `exempt`, or `concurrent`".to_owned();
            self.report(exempt.clone(), what, Some(hint));
        }
        let of_rate = rate.as_ref().map(|(at, _)| at).or(burst.as_ref().map(|(at, _)| at));
        let of_both = of_rate.zip(concurrent.as_ref().map(|(at, _)| at));
        if let Some((one, other)) = of_both {
            let later = if one.start > other.start { one } else { other };
            let what = "an override changes a rate or a cap, not both".to_owned();
            let hint = "leave out `concurrent`, or `rate` and `burst`".to_owned();
            self.report(later.clone(), what, Some(hint));
            self.skip(at(Field::Change));
        }
        let has_both = of_both.is_some();
        let changed = match (exempt, rate, burst, concurrent) {
            (Some(_), ..) => Some(Change::Exempt),
            (None, Some((_, rate)), burst, _) => {
                self.spans.insert(at(Field::Rate), rate.span());
                self.quota(rate, burst).map(|quota| Change::Quota { quota })
            }
            (None, None, Some((_, burst)), _) => burst.map(|(burst, span)| {
                self.spans.insert(at(Field::Burst), span);
                Change::Burst { burst }
            }),
            (None, None, None, Some((_, cap))) => cap.map(|cap| Change::Concurrent { cap }),
            (None, None, None, None) => Some(Change::Nothing),
        };
        match changed {
            Some(changed) if !has_both => change.change = changed,
            _ => self.skip(at(Field::Change)),
        }
        self.policy.overrides.push(change);
    }
}

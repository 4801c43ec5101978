//! An `[[override]]`, key by key.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::value::given;
use super::{LATER, LIMIT, OVERRIDE, Reader, entries};
use crate::policy::problem::{Field, Place};
use crate::policy::{Change, Override};

impl Reader<'_> {
    pub(super) fn change(&mut self, header: Range<usize>, table: &DeTable<'_>) {
        let index = self.policy.overrides.len();
        let at = |field| Place::Override(index, field);
        self.spans.insert(at(Field::Whole), header.clone());
        let mut change = Override::new("");
        let mut seen = Vec::new();
        let mut rate = None;
        let mut burst = None;
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
                "rate" => rate = Some(value),
                "burst" => burst = Some((key_at, self.burst(value))),
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
                    let hint = "only `rate`, `burst` and `exempt`".to_owned();
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
        let meant = ["rate", "burst", "exempt"]
            .iter()
            .any(|key| seen.contains(key) && !table.contains_key(*key));
        if partial || meant || seen.iter().any(|key| LATER.contains(key)) {
            self.skip(at(Field::Change));
        }
        if let (Some(exempt), true) = (&exempt, rate.is_some() || burst.is_some()) {
            let what = "an exempt key has no rate and no burst".to_owned();
            let hint = "leave out `exempt`, or `rate` and `burst`".to_owned();
            self.report(exempt.clone(), what, Some(hint));
        }
        change.change = match (exempt, rate, burst) {
            (Some(_), ..) => Change::Exempt,
            (None, Some(rate), burst) => match self.quota(rate, burst) {
                Some(quota) => Change::Quota { quota },
                None => {
                    self.skip(at(Field::Change));
                    Change::Nothing
                }
            },
            (None, None, Some((_, Some((burst, span))))) => {
                self.spans.insert(at(Field::Burst), span);
                Change::Burst { burst }
            }
            (None, None, Some((_, None))) => {
                self.skip(at(Field::Change));
                Change::Nothing
            }
            (None, None, None) => Change::Nothing,
        };
        self.policy.overrides.push(change);
    }
}

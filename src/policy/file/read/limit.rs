//! Reads a `[[limit]]`, key by key. Its conditions are read in `applies`, its rate in `rate`, and
//! whether it limits a rate or slots is decided in `what`.

use std::ops::Range;

use toml::de::DeTable;

use super::rate::STAND_IN;
use super::what::{self, LimitFields};
use super::{LIMIT, Reader, entries};
use crate::cells::Overflow;
use crate::policy::limit::KeyPart;
use crate::policy::problem::{Field, PolicyPlace};
use crate::policy::{AlgorithmName, CarryOver, Limit, Missing, Mode};

impl Reader<'_> {
    pub(super) fn limit(&mut self, header: Range<usize>, table: &DeTable<'_>) {
        let index = self.policy.limits.len();
        let at = |field| PolicyPlace::Limit(index, field);
        self.spans.insert(at(Field::Whole), header.clone());
        let mut limit = Limit::new("", STAND_IN);
        // Keys that are there, and keys that were probably meant by unknown ones.
        let mut seen = Vec::new();
        let mut numbers = LimitFields::default();
        let unfit = what::unfit(table);
        for (key, key_at, value) in entries(table) {
            seen.push(key);
            if let Some((_, field)) = unfit.iter().find(|(other, _)| *other == key) {
                self.spans.insert(at(*field), key_at);
                limit.unfit.push(*field);
                continue;
            }
            match key {
                "name" => match self.string(key, value, "name = \"user\"") {
                    Some(name) => {
                        self.spans.insert(at(Field::Name), value.span());
                        limit.name = name.to_owned();
                    }
                    None => self.skip(at(Field::Name)),
                },
                "key" => {
                    let fact = |part| at(Field::KeyFact(part, 0));
                    let before = self.found.len();
                    let parts = self.names(key, value, "key = [\"user\"]", fact);
                    self.spans.insert(at(Field::Key), value.span());
                    limit.key = parts.iter().flatten().map(|part| KeyPart::new(part)).collect();
                    if self.found.len() > before {
                        self.skip(at(Field::Key));
                    }
                    self.alternatives(index, &limit.key);
                }
                "rate" => {
                    self.spans.insert(at(Field::Rate), value.span());
                    self.spans.entry(at(Field::Burst)).or_insert(value.span());
                    numbers.rate = Some((key_at, value));
                }
                "burst" => {
                    self.spans.insert(at(Field::Burst), value.span());
                    numbers.burst = Some((key_at, self.burst(value)));
                }
                "when" => limit.when = self.conditions(key, value, at),
                "missing" => {
                    let choices = [
                        ("marker", Missing::Marker),
                        ("skip", Missing::Skip),
                        ("refuse", Missing::Refuse),
                    ];
                    limit.missing = self.choice(key, value, &choices).unwrap_or_default();
                }
                "mode" => {
                    let choices =
                        [("enforce", Mode::Enforce), ("shadow", Mode::Shadow), ("off", Mode::Off)];
                    limit.mode = self.choice(key, value, &choices).unwrap_or_default();
                }
                "rollout" => {
                    self.spans.insert(at(Field::Rollout), value.span());
                    limit.rollout = self.rollout(index, value);
                }
                "cost" => {
                    self.spans.insert(at(Field::Cost), value.span());
                    limit.cost = self.string(key, value, "cost = \"tokens\"").map(str::to_owned);
                }
                "algorithm" => {
                    self.spans.insert(at(Field::Algorithm), value.span());
                    let names: Vec<_> =
                        AlgorithmName::ALL.iter().map(|name| (name.name(), *name)).collect();
                    match self.choice(key, value, &names) {
                        Some(algorithm) => limit.algorithm = algorithm,
                        None => self.skip(at(Field::Algorithm)),
                    }
                }
                "max_keys" => {
                    self.spans.insert(at(Field::MaxKeys), value.span());
                    let keys = self.whole(key, value, "from 1 to 2^64 - 1");
                    // A number above `usize::MAX` is as good as no bound.
                    limit.max_keys = keys
                        .map_or(limit.max_keys, |keys| usize::try_from(keys).unwrap_or(usize::MAX));
                }
                "overflow" => {
                    let choices = [
                        ("pool", Overflow::Pool),
                        ("deny", Overflow::Deny),
                        ("allow", Overflow::Allow),
                    ];
                    limit.overflow = self.choice(key, value, &choices).unwrap_or_default();
                }
                "carry_over" => {
                    self.spans.insert(at(Field::CarryOver), value.span());
                    let choices = [("debt", CarryOver::Debt), ("reset", CarryOver::Reset)];
                    limit.carry_over = self.choice(key, value, &choices).unwrap_or_default();
                }
                "concurrent" => {
                    self.spans.insert(at(Field::Concurrent), value.span());
                    numbers.concurrent = Some((key_at, self.slots(key, value, 0)));
                }
                "lease" => {
                    self.spans.insert(at(Field::Lease), value.span());
                    numbers.lease = self.duration(key, value);
                }
                "weight" => {
                    self.spans.insert(at(Field::Weight), value.span());
                    numbers.weight = self.slots(key, value, 1);
                }
                "wait" => match self.duration(key, value) {
                    Some(wait) => limit = limit.wait(wait),
                    None => self.skip(at(Field::Wait)),
                },
                "max_waiters" => {
                    self.spans.insert(at(Field::MaxWaiters), value.span());
                    let waiters = self.whole(key, value, "from 1 to 2^64 - 1");
                    // As for `max_keys`.
                    limit.max_waiters =
                        waiters.map(|waiters| usize::try_from(waiters).unwrap_or(usize::MAX));
                }
                _ => seen.extend(self.unknown("a limit", key, key_at, LIMIT)),
            }
        }
        let partial = self.gaps.in_section(header.start);
        if !table.contains_key("name") {
            if !partial && !seen.contains(&"name") {
                let hint = "refusals name it: `name = \"user\"`".to_owned();
                self.report(header.clone(), "the limit has no name".to_owned(), Some(hint));
            }
            self.skip(at(Field::Name));
        }
        if !table.contains_key("key") && (partial || seen.contains(&"key")) {
            self.skip(at(Field::Key));
        }
        if !table.contains_key("wait") && (partial || seen.contains(&"wait")) {
            self.skip(at(Field::Wait));
        }
        limit.what = self.what(index, header, numbers, &seen, partial);
        self.policy.limits.push(limit);
    }

    /// Notes the position of each alternative of each key part, if the text has no escapes.
    fn alternatives(&mut self, index: usize, parts: &[KeyPart]) {
        for (nth, part) in parts.iter().enumerate() {
            let Some(span) =
                self.spans.get(&PolicyPlace::Limit(index, Field::KeyFact(nth, 0))).cloned()
            else {
                continue;
            };
            let plain = self.text.get(span.start + 1..span.end.saturating_sub(1));
            let is_plain = plain.is_some_and(|text| text.split('|').eq(part.facts.iter()));
            let mut start = span.start + 1;
            for (which, fact) in part.facts.iter().enumerate() {
                let end = start + fact.len();
                // A single fact is marked with its quotes, and so is a part with escapes.
                let at = if is_plain && part.facts.len() > 1 { start..end } else { span.clone() };
                self.spans.insert(PolicyPlace::Limit(index, Field::KeyFact(nth, which)), at);
                start = end + 1;
            }
        }
    }
}

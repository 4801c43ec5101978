//! The checks of [`Policy::check`](super::Policy::check), for policies from code and from files.
//! `amount` checks rates, caps and waits; this file checks everything else.

mod amount;

use std::collections::{HashMap, HashSet};

use super::problem::{Field, PolicyPlace, Problem, Shown, did_you_mean, nearest};
use super::{Change, Condition, MAX_FACTS, Policy};

/// How many problems may be found before no more guesses are made: a guess takes longer than a
/// check.
const MOST_GUESSES: usize = 100;

/// All problems of `policy`, except those that only follow from what could not be read.
///
/// `unread`: the places for which a file has unusable text. It includes `PolicyPlace::Policy` if
/// whole limits may be missing.
pub(super) fn problems(policy: &Policy, unread: &HashSet<PolicyPlace>) -> Vec<Problem> {
    let mut limits = HashMap::new();
    for (index, limit) in policy.limits.iter().enumerate() {
        limits.entry(limit.name.as_str()).or_insert(index);
    }
    let declared = policy.facts.as_ref().filter(|_| !unread.contains(&PolicyPlace::Facts));
    let declared = declared.map(|facts| facts.iter().map(String::as_str).collect());
    let nameless = unread
        .iter()
        .any(|place| matches!(place, PolicyPlace::Policy | PolicyPlace::Limit(_, Field::Name)));
    let mut checker = Checker { policy, unread, limits, nameless, declared, problems: Vec::new() };
    checker.facts();
    for index in 0..policy.limits.len() {
        checker.limit(index);
    }
    for index in 0..policy.overrides.len() {
        checker.change(index);
    }
    checker.problems
}

struct Checker<'a> {
    policy: &'a Policy,
    unread: &'a HashSet<PolicyPlace>,
    /// The index of the first limit with each name.
    limits: HashMap<&'a str, usize>,
    /// Whether there may be limits whose names are not known.
    nameless: bool,
    declared: Option<HashSet<&'a str>>,
    problems: Vec<Problem>,
}

impl<'a> Checker<'a> {
    fn report(&mut self, place: PolicyPlace, what: String, hint: Option<String>) {
        self.problems.push(Problem { place, what, hint, spot: None });
    }

    fn guess(&self, given: &str, among: impl IntoIterator<Item = &'a str>) -> Option<String> {
        if self.problems.len() >= MOST_GUESSES {
            return None;
        }
        nearest(given, among).map(did_you_mean)
    }

    fn is_unread(&self, place: PolicyPlace) -> bool {
        self.unread.contains(&place)
    }

    fn facts(&mut self) {
        let policy = self.policy;
        let mut seen = HashSet::new();
        for (index, fact) in policy.facts.iter().flatten().enumerate() {
            let at = PolicyPlace::Fact(index);
            if fact.contains('|') {
                let hint = "declare each fact by itself; `a|b` is for keys".to_owned();
                self.report(at, format!("`{}` is no name for a fact", Shown(fact)), Some(hint));
            } else if !self.misnamed(at, fact) && !seen.insert(fact) {
                self.report(at, format!("fact `{}` is declared twice", Shown(fact)), None);
            }
        }
        let named = policy.named_facts().len();
        if named > MAX_FACTS {
            let what = format!("the policy names {named} facts; at most {MAX_FACTS} are possible");
            self.report(PolicyPlace::Policy, what, None);
        }
    }

    fn limit(&mut self, index: usize) {
        let policy = self.policy;
        let Some(limit) = policy.limits.get(index) else { return };
        let name = Shown(&limit.name);
        let at = |field| PolicyPlace::Limit(index, field);
        if !self.is_unread(at(Field::Name)) {
            if limit.name.is_empty() {
                let hint = "refusals name it: `name = \"user\"`".to_owned();
                self.report(at(Field::Name), "the limit has no name".to_owned(), Some(hint));
            } else if self.limits.get(limit.name.as_str()) != Some(&index) {
                let hint = "give each limit its own name".to_owned();
                self.report(at(Field::Name), format!("limit `{name}` is there twice"), Some(hint));
            }
        }
        for (part, facts) in limit.key.iter().enumerate() {
            for (nth, fact) in facts.facts.iter().enumerate() {
                self.fact(at(Field::KeyFact(part, nth)), fact);
            }
        }
        let named: usize = limit.key.iter().map(|part| part.facts.len()).sum();
        if named > MAX_FACTS && policy.named_facts().len() <= MAX_FACTS {
            let what = format!("the key names {named} facts; at most {MAX_FACTS} are possible");
            self.report(at(Field::Key), what, None);
        }
        for (nth, condition) in limit.when.iter().enumerate() {
            self.fact(at(Field::Condition(nth)), &condition.fact);
        }
        self.patterns(&at, &limit.when);
        if let Some(rollout) = &limit.rollout {
            for (nth, fact) in rollout.by.iter().enumerate() {
                self.fact(at(Field::By(nth)), fact);
            }
            let read = !self.is_unread(at(Field::Key)) && !self.is_unread(at(Field::Rollout));
            if read && rollout.by.is_empty() && limit.key.is_empty() {
                let what = format!("the rollout of `{name}` has nothing to choose by");
                let hint = "its key is empty: give `by`, as `by = [\"org\"]`".to_owned();
                self.report(at(Field::Rollout), what, Some(hint));
            }
        }
        if let Some(fact) = &limit.cost {
            self.fact(at(Field::Cost), fact);
        }
        if limit.max_keys == 0 {
            let hint = "`mode = \"off\"` switches a limit off".to_owned();
            self.report(at(Field::MaxKeys), "`max_keys` is at least 1".to_owned(), Some(hint));
        }
        self.amount(index, limit);
    }

    fn change(&mut self, index: usize) {
        let policy = self.policy;
        let Some(change) = policy.overrides.get(index) else { return };
        let at = |field| PolicyPlace::Override(index, field);
        self.patterns(&at, &change.matches);
        if change.matches.is_empty() && !self.is_unread(at(Field::Conditions)) {
            let hint = "say for which keys: `match = { user = \"1017\" }`".to_owned();
            let what = "the override matches nothing".to_owned();
            self.report(at(Field::Conditions), what, Some(hint));
        }
        let twice = policy
            .overrides
            .iter()
            .take(index)
            .any(|other| other.limit == change.limit && other.matches == change.matches);
        if twice && !change.matches.is_empty() && !self.is_unread(at(Field::Conditions)) {
            let hint = "the first that matches counts, so this one never would".to_owned();
            self.report(
                at(Field::Conditions),
                "the override is there twice".to_owned(),
                Some(hint),
            );
        }
        if change.change == Change::Nothing && !self.is_unread(at(Field::Change)) {
            let hint = "give `rate`, `burst`, `concurrent` or `exempt = true`".to_owned();
            let what = "the override changes nothing".to_owned();
            self.report(at(Field::Whole), what, Some(hint));
        }

        if let Change::Concurrent { cap } = change.change {
            self.cap(at(Field::Concurrent), cap);
        }

        if self.is_unread(at(Field::Name)) {
            return;
        }
        let found = self.limits.get(change.limit.as_str());
        let Some((limit_index, limit)) =
            found.and_then(|index| Some((*index, policy.limits.get(*index)?)))
        else {
            if !self.nameless {
                let what = format!("there is no limit `{}`", Shown(&change.limit));
                let names = policy.limits.iter().map(|limit| limit.name.as_str());
                let hint = self.guess(&change.limit, names);
                self.report(at(Field::Name), what, hint);
            }
            return;
        };
        if !self.is_unread(PolicyPlace::Limit(limit_index, Field::Key)) {
            let facts = || limit.key.iter().flat_map(|part| &part.facts);
            let key = || facts().take(MAX_FACTS).map(String::as_str);
            for (nth, condition) in change.matches.iter().enumerate() {
                if !key().any(|fact| fact == condition.fact) {
                    let (fact, name) = (Shown(&condition.fact), Shown(&limit.name));
                    let what = format!("`{fact}` is not in the key of limit `{name}`");
                    let hint = self.guess(&condition.fact, key()).unwrap_or_else(|| {
                        "an override is for some of the limit's keys; with other conditions \
                         write another limit"
                            .to_owned()
                    });
                    self.report(at(Field::Condition(nth)), what, Some(hint));
                }
            }
        }
        self.other_amount(index, change.change, limit_index, limit);
    }

    fn patterns(&mut self, at: &impl Fn(Field) -> PolicyPlace, conditions: &[Condition]) {
        for (nth, condition) in conditions.iter().enumerate() {
            let fact = Shown(&condition.fact);
            if condition.patterns.is_empty() && !self.is_unread(at(Field::Condition(nth))) {
                let what = format!("`{fact}` is to match one of no patterns");
                let hint = "it never would; leave the condition out".to_owned();
                self.report(at(Field::Condition(nth)), what, Some(hint));
            }
            for (which, pattern) in condition.patterns.iter().enumerate() {
                if pattern.is_empty() {
                    let what = format!("`{fact}` is to match an empty pattern");
                    let hint = "an empty value is a missing fact, so it never would".to_owned();
                    self.report(at(Field::Pattern(nth, which)), what, Some(hint));
                }
            }
        }
    }

    /// Checks the name of a fact that a limit uses.
    fn fact(&mut self, place: PolicyPlace, fact: &str) {
        if self.misnamed(place, fact) {
            return;
        }
        let policy = self.policy;
        if self.declared.as_ref().is_some_and(|declared| !declared.contains(fact)) {
            let declared = policy.facts.iter().flatten().map(String::as_str);
            let hint = self
                .guess(fact, declared)
                .unwrap_or_else(|| "add it to `facts`, or name one that is there".to_owned());
            self.report(place, format!("fact `{}` is not declared", Shown(fact)), Some(hint));
        }
    }

    fn misnamed(&mut self, place: PolicyPlace, fact: &str) -> bool {
        let (what, hint) = if fact.is_empty() {
            ("a fact has no name".to_owned(), "write `user` or `user|project`, no part empty")
        } else if fact.trim() != fact {
            let what = format!("fact `{}` begins or ends with a space", Shown(fact));
            (what, "write `user|project`, without spaces")
        } else {
            return false;
        };
        self.report(place, what, Some(hint.to_owned()));
        true
    }
}

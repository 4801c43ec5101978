//! A policy decides requests: which limits apply, by which key, and what is charged.

use std::time::Duration;

use tollgate::policy::{Missing, Override};
use tollgate::status::{SkipReason, Verdict};
use tollgate::{Enforcer, Limit, Mode, Overflow, Policy, Quota, Retry, VirtualClock};

fn enforcer(policy: Policy) -> (Enforcer, VirtualClock) {
    let time = VirtualClock::new();
    (Enforcer::builder(policy).clock(time.clock()).build().unwrap(), time)
}

/// A limit of two a second.
fn two(name: &str) -> Limit {
    Limit::new(name, Quota::per_second(2))
}

fn admitted(enforcer: &Enforcer, facts: &[(&str, &str)], tries: usize) -> usize {
    (0..tries).filter(|_| enforcer.admit(facts, 1).is_ok()).count()
}

fn refuser(enforcer: &Enforcer, facts: &[(&str, &str)]) -> String {
    enforcer.admit(facts, 1).unwrap_err().limit().to_owned()
}

#[test]
fn a_refusal_names_the_first_limit_and_charges_none() {
    let (enforcer, time) = enforcer(
        Policy::new()
            .limit(two("user").key(["user"]))
            .limit(Limit::new("all", Quota::per_second(3))),
    );
    assert_eq!(admitted(&enforcer, &[("user", "a")], 9), 2);
    assert_eq!(refuser(&enforcer, &[("user", "a")]), "user");
    assert_eq!(admitted(&enforcer, &[("user", "b")], 9), 1);
    let refused = enforcer.admit(&[("user", "b")], 1).unwrap_err();
    assert_eq!((refused.limit(), refused.index()), ("all", 1));
    // The wait is for the whole call, and exact.
    let refused = enforcer.admit(&[("user", "a")], 2).unwrap_err();
    assert_eq!(refused.limit(), "user");
    assert_eq!(refused.retry(), Retry::After(Duration::from_secs(1)));
    time.advance(Duration::from_nanos(999_999_999));
    assert!(enforcer.peek(&[("user", "a")], 2).is_err());
    time.advance(Duration::from_nanos(1));
    assert!(enforcer.admit(&[("user", "a")], 2).is_ok());
}

#[test]
fn key_parts_are_framed_with_the_name_of_their_fact() {
    let (enforcer, _) = enforcer(Policy::new().limit(two("l").key(["a", "user|project"])));
    let empty = |facts: &[(&str, &str)]| enforcer.admit(facts, 2).is_ok();
    assert!(empty(&[("a", "ab"), ("user", "c")]));
    assert!(empty(&[("a", "a"), ("user", "bc")]));
    assert!(empty(&[("a", "ab"), ("project", "c")]), "user c is not project c");
    assert!(!empty(&[("a", "ab"), ("user", "c"), ("project", "x")]), "the first fact counts");
}

#[test]
fn integers_count_as_their_decimal_text() {
    let (enforcer, _) = enforcer(Policy::new().limit(two("l").key(["user"])));
    assert!(enforcer.admit(&[("user", 42_u64)], 2).is_ok());
    assert!(enforcer.admit(&[("user", "42")], 1).is_err());
}

#[test]
fn a_missing_fact_is_marked_skipped_or_refused() {
    let policy = |missing| Policy::new().limit(two("l").key(["org", "user"]).missing(missing));
    let (marker, _) = enforcer(policy(Missing::Marker));
    assert_eq!(admitted(&marker, &[("org", "1")], 9), 2);
    assert_eq!(admitted(&marker, &[("org", "2"), ("user", "")], 9), 2, "other parts separate");
    let (skip, _) = enforcer(policy(Missing::Skip));
    assert_eq!(admitted(&skip, &[("org", "1")], 9), 9);
    let (refuse, _) = enforcer(policy(Missing::Refuse));
    let refused = refuse.admit(&[("org", "1")], 1).unwrap_err();
    assert_eq!((refused.limit(), refused.retry()), ("l", Retry::Never));
    assert_eq!(refuse.limits()[0].refused, 1);
}

#[test]
fn conditions_must_all_match_and_patterns_take_slashes() {
    let (enforcer, _) = enforcer(
        Policy::new().limit(two("l").when("method", ["POST", "PUT"]).when("view", ["/webhooks/*"])),
    );
    let tries = |method, view| admitted(&enforcer, &[("method", method), ("view", view)], 5);
    assert_eq!(tries("GET", "/webhooks/a"), 5);
    assert_eq!(tries("POST", "/users"), 5);
    assert_eq!(tries("post", "/webhooks/a"), 5, "case counts");
    assert_eq!(tries("POST", "/webhooks/a/b"), 2);
    assert_eq!(tries("PUT", "/webhooks/"), 0);
    assert_eq!(admitted(&enforcer, &[("method", "POST")], 5), 5, "without the fact: no match");
}

#[test]
fn shadow_never_changes_an_answer() {
    // Peer bug 36: a shadow limit that short-circuits an enforced one.
    let (enforcer, _) = enforcer(
        Policy::new()
            .limit(Limit::new("trial", Quota::per_second(1)).mode(Mode::Shadow))
            .limit(Limit::new("real", Quota::per_second(3))),
    );
    assert_eq!(admitted(&enforcer, &[], 5), 3);
    let limits = enforcer.limits();
    assert_eq!((limits[0].refused, limits[0].shadow_refused), (0, 4));
    assert_eq!((limits[1].refused, limits[1].shadow_refused), (2, 0));
}

#[test]
fn shadow_is_charged_only_when_it_agrees_and_the_request_is_admitted() {
    let (enforcer, _) = enforcer(
        Policy::new()
            .limit(Limit::new("trial", Quota::per_second(5)).mode(Mode::Shadow))
            .limit(Limit::new("real", Quota::per_second(2))),
    );
    assert_eq!(admitted(&enforcer, &[], 9), 2);
    let trial = &enforcer.explain(&[("", "")], 0)[0];
    let Verdict::Decided { answer: Ok(allowed), .. } = trial.verdict else { panic!("{trial:?}") };
    assert_eq!(allowed.remaining(), 3);
}

#[test]
fn off_counts_nothing_and_modes_change_live() {
    let (enforcer, _) = enforcer(Policy::new().limit(two("l")));
    enforcer.set_mode("l", Mode::Off).unwrap();
    assert_eq!(admitted(&enforcer, &[], 9), 9);
    assert_eq!(enforcer.limits()[0].checked, 0);
    enforcer.set_mode("l", Mode::Enforce).unwrap();
    assert_eq!(admitted(&enforcer, &[], 9), 2);
    let error = enforcer.set_mode("ll", Mode::Off).unwrap_err().to_string();
    assert_eq!(error, "there is no limit `ll`; did you mean `l`?");
}

#[test]
fn the_first_override_that_matches_counts() {
    let (enforcer, _) = enforcer(
        Policy::new()
            .limit(two("user").key(["user"]))
            .with_override(Override::new("user").when("user", ["big"]).quota(Quota::per_second(5)))
            .with_override(Override::new("user").when("user", ["b*"]).burst(1))
            .with_override(Override::new("user").when("user", ["robot"]).exempt())
            .with_override(Override::new("user").when("user", ["evil"]).burst(0)),
    );
    let tries = |user| admitted(&enforcer, &[("user", user)], 9);
    assert_eq!(
        [tries("a"), tries("big"), tries("bob"), tries("robot"), tries("evil")],
        [2, 5, 1, 9, 0]
    );
}

#[test]
fn a_fact_can_say_the_cost_and_settling_corrects_those_limits_alone() {
    let (enforcer, _) = enforcer(
        Policy::new()
            .limit(Limit::new("requests", Quota::per_minute(10)).key(["user"]))
            .limit(Limit::new("tokens", Quota::per_minute(1000)).key(["user"]).cost("tokens")),
    );
    let facts = |tokens| [("user", "a"), ("tokens", tokens)];
    enforcer.admit(&facts("600"), 1).unwrap().settle(100);
    let explained = enforcer.explain(&facts("900"), 9);
    for limit in explained {
        let Verdict::Decided { answer, .. } = limit.verdict else { panic!() };
        assert_eq!(answer.unwrap().remaining(), 0, "{}", limit.limit);
    }
    assert_eq!(refuser(&enforcer, &facts("901")), "tokens");
    assert_eq!(refuser(&enforcer, &facts("many")), "tokens", "unreadable");
    assert_eq!(refuser(&enforcer, &facts("-1")), "tokens", "unreadable");
    drop(enforcer.admit(&[("user", "b")], 1).unwrap());
    let remaining = |user| {
        let Verdict::Decided { answer, .. } = &enforcer.explain(&[("user", user)], 0)[1].verdict
        else {
            panic!()
        };
        answer.unwrap().remaining()
    };
    assert_eq!(remaining("b"), 999, "without the fact a request costs 1");
}

#[test]
fn cancelling_gives_back_what_was_charged() {
    let (enforcer, _) = enforcer(Policy::new().limit(two("a")).limit(two("b").key(["user"])));
    enforcer.admit(&[("user", "x")], 2).unwrap().cancel();
    assert_eq!(admitted(&enforcer, &[("user", "x")], 5), 2);
}

#[test]
fn a_reload_keeps_debt_in_units_and_a_bad_one_keeps_the_policy() {
    let policy = |quota| Policy::new().limit(Limit::new("user", quota).key(["user"]));
    let (enforcer, time) = enforcer(policy(Quota::per_hour(100)));
    assert_eq!(admitted(&enforcer, &[("user", "a")], 200), 100);
    let reload = enforcer.reload(policy(Quota::per_second(500))).unwrap();
    assert_eq!((reload.kept, reload.fresh, reload.dropped), (1, 0, 0));
    assert!(enforcer.peek(&[("user", "a")], 500).is_err());
    time.advance(Duration::from_nanos(199_999_999));
    assert!(enforcer.peek(&[("user", "a")], 500).is_err());
    time.advance(Duration::from_nanos(1));
    assert!(enforcer.peek(&[("user", "a")], 500).is_ok());

    let twice = policy(Quota::per_second(1)).limit(two("user"));
    assert!(enforcer.reload(twice).unwrap_err().to_string().contains("twice"));
    assert!(enforcer.peek(&[("user", "a")], 500).is_ok());
}

#[test]
fn a_permit_settles_where_it_was_charged_also_after_a_reload() {
    // Peer bug 30: limits changed between start and finish.
    let (enforcer, _) = enforcer(Policy::new().limit(two("a")));
    let permit = enforcer.admit(&[("", "")], 2).unwrap();
    enforcer.reload(Policy::new().limit(two("b")).limit(two("a"))).unwrap();
    permit.cancel();
    assert_eq!(admitted(&enforcer, &[], 5), 2);
}

#[test]
fn rollout_takes_the_same_requests_every_time_and_needs_its_facts() {
    let share = "50%".parse().unwrap();
    let (enforcer, _) =
        enforcer(Policy::new().limit(two("l").key(["user"]).rollout(share, ["org"])));
    let in_share: Vec<u64> = (0..1000)
        .filter(|org| enforcer.admit(&[("user", *org), ("org", *org)], 3).is_err())
        .collect();
    assert!((400..600).contains(&in_share.len()), "{}", in_share.len());
    assert!(enforcer.admit(&[("user", "x")], 3).is_ok(), "without `org` the limit is not there");
    assert_eq!(enforcer.limits()[0].checked, in_share.len() as u64);
}

#[test]
fn bypass_admits_everything_and_counts_nothing() {
    let (enforcer, _) = enforcer(Policy::new().limit(two("l")));
    enforcer.bypass(true);
    assert_eq!(admitted(&enforcer, &[], 9), 9);
    enforcer.bypass(false);
    assert_eq!(admitted(&enforcer, &[], 9), 2);
    assert_eq!(enforcer.limits()[0].checked, 9);
}

#[test]
fn resetting_forgets_one_key_or_all() {
    let (enforcer, _) = enforcer(Policy::new().limit(two("l").key(["user"])));
    let tries = |user| admitted(&enforcer, &[("user", user)], 5);
    assert_eq!([tries("a"), tries("b")], [2, 2]);
    enforcer.reset_key("l", &[("user", "a")]).unwrap();
    assert_eq!([tries("a"), tries("b")], [2, 0]);
    enforcer.reset("l").unwrap();
    assert_eq!([tries("a"), tries("b")], [2, 2]);
    assert!(enforcer.reset("x").is_err());
}

#[test]
fn explanations_say_why_a_limit_does_not_apply() {
    let (enforcer, _) = enforcer(
        Policy::new()
            .limit(two("off").mode(Mode::Off))
            .limit(two("when").when("method", ["POST"]))
            .limit(two("skip").key(["user"]).missing(Missing::Skip))
            .limit(two("key").key(["ip", "user|org"])),
    );
    let explained = enforcer.explain(&[("ip", "::1"), ("method", "GET")], 1);
    let why = |index: usize| match &explained[index].verdict {
        Verdict::Skipped(why) => Some(*why),
        _ => None,
    };
    assert_eq!(why(0), Some(SkipReason::Off));
    assert_eq!(why(1), Some(SkipReason::When));
    assert_eq!(why(2), Some(SkipReason::Missing));
    assert_eq!(explained[3].key, "ip=::1 no user|org");
}

#[test]
fn undeclared_facts_are_errors_in_a_policy_and_counted_in_requests() {
    let policy = Policy::new().facts(["user"]).limit(two("l").key(["usr"]));
    let error = policy.check().unwrap_err().to_string();
    assert!(error.contains("`usr` is not declared; did you mean `user`?"), "{error}");
    let (enforcer, _) = enforcer(Policy::new().facts(["user", "ip"]).limit(two("l").key(["user"])));
    drop(enforcer.admit(&[("usr", "1"), ("ip", "::1")], 1).unwrap());
    assert_eq!(enforcer.undeclared_facts(), 1);
}

#[test]
fn more_limits_than_fit_on_the_stack_still_decide_as_one() {
    let policy = (0..40).fold(Policy::new(), |policy, index| {
        policy.limit(Limit::new(format!("l{index}"), Quota::per_second(40 - index)))
    });
    let (enforcer, _) = enforcer(policy);
    let refused = (0..2).map(|_| enforcer.admit(&[("", "")], 1)).last().unwrap().unwrap_err();
    assert_eq!((refused.limit(), refused.index()), ("l39", 39));
}

#[test]
fn a_full_table_counts_its_overflows() {
    let limit = two("l").key(["user"]).max_keys(1).overflow(Overflow::Deny);
    let (enforcer, _) = enforcer(Policy::new().limit(limit));
    let denied = (0..100_u64).filter(|user| enforcer.admit(&[("user", *user)], 1).is_err());
    assert_eq!(denied.count() as u64, enforcer.limits()[0].overflows);
}

#[test]
fn routes_find_the_limits_that_apply_among_many() {
    let policy = (0..1000).fold(Policy::new(), |policy, index| {
        let view = format!("/view/{index}");
        policy.limit(two(&view).key(["user"]).when("view", [view.as_str()]))
    });
    let (enforcer, _) = enforcer(policy.limit(Limit::new("all", Quota::per_second(100))));
    assert_eq!(admitted(&enforcer, &[("user", "a"), ("view", "/view/7")], 5), 2);
    assert_eq!(admitted(&enforcer, &[("user", "a"), ("view", "/view/8")], 5), 2);
    assert_eq!(refuser(&enforcer, &[("user", "a"), ("view", "/view/8")]), "/view/8");
    assert_eq!(admitted(&enforcer, &[("user", "a"), ("view", "/else")], 5), 5);
}

/// Limits that are found by the value of a fact keep their place among those that are always
/// checked.
#[test]
fn limits_are_asked_in_the_order_of_the_policy_however_they_are_found() {
    let routed = |name: &str, fact: &str| two(name).when(fact, ["x"]);
    let limits = [two("1"), routed("2", "a"), routed("3", "b"), two("4"), routed("5", "a")];
    let policy = limits.into_iter().fold(Policy::new(), Policy::limit);
    let (enforcer, _) = enforcer(policy);
    let facts = [("a", "x"), ("b", "x")];
    for asked in 0..4 {
        let (admitted, answers) = enforcer.admit_with_answers(&facts, 1);
        let order: Vec<_> = answers.limits.iter().map(|limit| limit.limit).collect();
        assert_eq!(order, ["1", "2", "3", "4", "5"]);
        assert_eq!(admitted.is_ok(), asked < 2);
    }
    // All refuse: the first names itself, though facts lead to others.
    assert_eq!(refuser(&enforcer, &facts), "1");
    for (reset, refuses) in [("1", "2"), ("2", "3"), ("3", "4"), ("4", "5")] {
        enforcer.reset(reset).unwrap();
        assert_eq!(refuser(&enforcer, &facts), refuses);
    }
}

#[test]
fn the_same_override_twice_is_an_error() {
    let change = || Override::new("l").when("user", ["a"]).burst(1);
    let policy = Policy::new().limit(two("l").key(["user"]));
    let policy = policy.with_override(change()).with_override(change());
    assert!(policy.check().unwrap_err().to_string().contains("twice"));
}

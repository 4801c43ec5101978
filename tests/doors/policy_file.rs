//! The policy file: what it means, and every mistake in it with line, column, words and hint.

use std::time::Duration;

use proptest::prelude::*;
use tollgate::policy::{Amount, Missing, Override, Share};
use tollgate::{Limit, Mode, Overflow, Policy, Quota};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Asserts all problems of `text`, each as `line:column what | hint`.
#[track_caller]
fn says(text: &str, expected: &[&str]) {
    let error = Policy::from_toml(text).expect_err("this has problems");
    let said = error.problems().iter().map(|problem| {
        let (line, column) = problem.line().zip(problem.column()).expect("it is from a file");
        let hint = problem.hint().map_or(String::new(), |hint| format!(" | {hint}"));
        format!("{line}:{column} {}{hint}", problem.what())
    });
    assert_eq!(said.collect::<Vec<_>>(), expected, "of\n{text}");
}

#[test]
fn unknown_keys_are_named_with_what_was_meant() {
    says("extra = 1\n", &["1:1 a policy has no key `extra` | it has `facts`, `limit`, `override`"]);
    says(
        r#"[[limits]]
name = "a"
[[override]]
limit = "a"
match = { u = "1" }
exempt = true
"#,
        &["1:3 a policy has no key `limits` | did you mean `limit`?"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
Max-Keys = 5
colour = "red"
"#,
        &[
            "4:1 a limit has no key `Max-Keys` | did you mean `max_keys`?",
            "5:1 a limit has no key `colour` | it has `name`, `key`, `rate`, `burst`, `when`, `missing`, `mode`, `rollout`, `cost`, `algorithm`, `max_keys`, `overflow`, `carry_over`, `concurrent`, `lease`, `weight`, `wait`, `max_waiters`",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
rollout = { share = "5%", bye = ["org"] }
"#,
        &["4:27 a rollout has no key `bye` | did you mean `by`?"],
    );
    says(
        r#"[[limit]]
name = "a"
quota = "5/s"
"#,
        &["3:1 a limit has no key `quota` | did you mean `rate`?"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
[[override]]
limit = "a"
when = { user = "1" }
burts = 5
"#,
        &[
            "6:1 an override has no key `when` | did you mean `match`?",
            "7:1 an override has no key `burts` | did you mean `burst`?",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
key = ["u"]
[[override]]
limit = "a"
match = { u = "1" }
mode = "off"
"#,
        &["8:1 an override cannot change `mode` | only `rate`, `burst`, `concurrent` and `exempt`"],
    );
}

#[test]
fn an_algorithm_is_one_of_those_there_are() {
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
algorithm = "gcar"
"#,
        &[
            "4:13 `algorithm` is `gcra` or `leaky-bucket` or `fixed-window` or `fixed-window-from-first-hit` or `fixed-window-shifted-per-key` or `fixed-window-counting-denied` or `sliding-window` or `sliding-granules` or `sliding-granules-strict` or `sliding-log`, not `gcar` | did you mean `gcra`?",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
algorithm = 1
"#,
        &["4:13 `algorithm` is a string, not the number 1 | write `algorithm = \"gcra\"`"],
    );
}

#[test]
fn a_burst_where_the_algorithm_has_none_is_an_error() {
    says(
        r#"[[limit]]
name = "a"
algorithm = "sliding-log"
burst = 3
rate = "5/s"
[[limit]]
name = "b"
key = ["u"]
rate = "5/s burst 3"
algorithm = "sliding-window"
[[limit]]
name = "c"
key = ["u"]
rate = "5/s"
algorithm = "sliding-granules"
[[limit]]
name = "d"
rate = "5/s"
burst = 3
algorithm = "fixed-window"
[[override]]
limit = "c"
match = { u = "1" }
burst = 7
[[override]]
limit = "b"
match = { u = "1" }
rate = "7/s burst 9"
[[override]]
limit = "b"
match = { u = "2" }
rate = "7/s"
"#,
        &[
            "4:9 `sliding-log` has no burst: its count is the most at once | leave the burst out, or decide by `gcra`",
            "9:8 `sliding-window` has no burst: its count is the most at once | leave the burst out, or decide by `gcra`",
            "24:9 `sliding-granules` has no burst: its count is the most at once | leave the burst out, or decide by `gcra`",
            "28:8 `sliding-window` has no burst: its count is the most at once | leave the burst out, or decide by `gcra`",
        ],
    );
}

#[test]
fn a_wrong_type_says_what_was_given_and_what_is_expected() {
    says(
        r#"facts = "ip"
limit = 5
override = "x"
"#,
        &[
            "1:9 `facts` is a list of facts, not the string \"ip\" | write `facts = [\"ip\"]`",
            "2:9 `limit` is a list of tables, not the number 5 | write `[[limit]]`, in double brackets, above each",
            "3:12 `override` is a list of tables, not the string \"x\" | write `[[override]]`, in double brackets, above each",
        ],
    );
    says(
        r#"limit = [1, { name = "a", rate = "5/s" }]
"#,
        &[
            "1:10 each `limit` is a table, not the number 1 | write `[[limit]]`, in double brackets, above each",
        ],
    );
    says(
        r#"[limit]
name = "a"
rate = "5/s"
[[limit]]
name = "b"
rate = "5/s"
"#,
        &["1:1 `limit` is a list of tables | write `[[limit]]`, in double brackets, above each"],
    );
    says(
        r#"[[limit]]
name = 5
key = [1, "a"]
rate = 50
burst = "5"
when = "x"
missing = true
mode = 1979-05-27
rollout = "25%"
cost = 1
max_keys = 1.5
overflow = []
"#,
        &[
            "2:8 `name` is a string, not the number 5 | write `name = \"user\"`",
            "3:8 a fact is a string, not the number 1 | write `key = [\"user\"]`",
            "4:8 `rate` is a string, not the number 50 | write `rate = \"50/s\"`",
            "5:9 `burst` is a whole number from 0 to 2^64 - 1, not the string \"5\"",
            "6:8 `when` is a table of facts and patterns, not the string \"x\" | write `when = { user = \"1017\" }`",
            "7:11 `missing` is a string, not true | write `missing = \"marker\"`",
            "8:8 `mode` is a string, not a date or time | write `mode = \"enforce\"`",
            "9:11 `rollout` is a table, not the string \"25%\" | write `rollout = { share = \"25%\", by = [\"org\"] }`",
            "10:8 `cost` is a string, not the number 1 | write `cost = \"tokens\"`",
            "11:12 `max_keys` is a whole number from 1 to 2^64 - 1, not the number 1.5",
            "12:12 `overflow` is a string, not a list | write `overflow = \"pool\"`",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
key = ["u"]
[[override]]
limit = 1
match = []
rate = {}
burst = -0.5
exempt = "yes"
"#,
        &[
            "6:9 `limit` is a string, not the number 1 | write `limit = \"user\"`",
            "7:9 `match` is a table of facts and patterns, not a list | write `match = { user = \"1017\" }`",
            "8:8 `rate` is a string, not a table | write `rate = \"50/s\"`",
            "9:9 `burst` is a whole number from 0 to 2^64 - 1, not the number -0.5",
            "10:10 `exempt` is true or false, not the string \"yes\"",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
when = { status = [200, 0x10, "3*", 4.0], path = { a = 1 }, ok = true }
"#,
        &[
            "4:37 a pattern for `status` is a string, not the number 4.0 | write one pattern, or several in one list",
            "4:50 a pattern for `path` is a string, not a table | write one pattern, or several in one list",
            "4:66 a pattern for `ok` is a string, not true | write one pattern, or several in one list",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
rollout = { share = 12.5, by = "org" }
"#,
        &[
            "4:21 `share` is a string, not the number 12.5 | write `share = \"12.5%\"`",
            "4:32 `by` is a list of facts, not the string \"org\" | write `by = [\"org\"]`",
        ],
    );
}

#[test]
fn a_bad_number_is_told_in_the_words_of_the_quota() {
    says(
        r#"[[limit]]
name = "a"
rate = "50"
"#,
        &["3:8 `50` is no rate: a rate is a count per period: write `50/s` or `100/10s`"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "0/s"
"#,
        &["3:8 `0/s` is no rate: a count of 0 would never refill; a burst of 0 denies everything"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/0s"
"#,
        &["3:8 `5/0s` is no rate: a period of 0 is no rate"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "-5/s"
"#,
        &["3:8 `-5/s` is no rate: the count is a whole number up to 2^64 - 1"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "1.5/s"
"#,
        &["3:8 `1.5/s` is no rate: the count is a whole number up to 2^64 - 1"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "NaN/s"
"#,
        &["3:8 `NaN/s` is no rate: the count is a whole number up to 2^64 - 1"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/fortnight"
"#,
        &[
            "3:8 `5/fortnight` is no rate: a period is one of ns us ms s m h d, perhaps with a whole number before it",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s bust 3"
"#,
        &[
            "3:8 `5/s bust 3` is no rate: after the rate only `burst n` may follow: write `50/s burst 100`",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "99999999999999999999/s"
"#,
        &["3:8 `99999999999999999999/s` is no rate: the count is a whole number up to 2^64 - 1"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "18446744073709551615/s"
"#,
        &[
            "3:8 `18446744073709551615/s` is no rate: more than 2^36 units a second cannot be counted exactly; count in larger units",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "1/99999999999d"
"#,
        &[
            "3:8 `1/99999999999d` is no rate: a period is at most 584 years, as long as a clock runs",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "1/s burst 18446744073709551615"
"#,
        &[
            "3:8 `1/s burst 18446744073709551615` is no rate: a burst is at most 2^60 units; count in larger units",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "1/d burst 576460752303423488"
"#,
        &[
            "3:8 `1/d burst 576460752303423488` is no rate: a full bucket takes too long to refill: its ticks would be coarser than 1 ms; lower the burst or shorten the period",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = ""
"#,
        &["3:8 `` is no rate: a rate is a count per period: write `50/s` or `100/10s`"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
burst = -1
"#,
        &["4:9 `burst` is a whole number from 0 to 2^64 - 1, not the number -1"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
burst = 1.5
"#,
        &["4:9 `burst` is a whole number from 0 to 2^64 - 1, not the number 1.5"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
burst = nan
"#,
        &["4:9 `burst` is a whole number from 0 to 2^64 - 1, not the number nan"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
burst = 18446744073709551616
"#,
        &["4:9 `burst` is a whole number from 0 to 2^64 - 1, not the number 18446744073709551616"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
burst = 18446744073709551615
"#,
        &["4:9 a burst is at most 2^60 units; count in larger units"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
burst = -0x1
"#,
        &["4:9 this is no TOML: integers with a radix cannot be signed, expected nothing"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s burst 3"
burst = 4
"#,
        &["4:1 the burst is given twice: here and in `rate` | leave one of them out"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
max_keys = 0
"#,
        &["4:12 `max_keys` is at least 1 | `mode = \"off\"` switches a limit off"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
max_keys = -1
"#,
        &["4:12 `max_keys` is a whole number from 1 to 2^64 - 1, not the number -1"],
    );
}

#[test]
fn a_bad_share() {
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
rollout = { share = "101%", by = ["u"] }
"#,
        &[
            "4:21 `101%` is no share: a share is a percentage from 0% to 100%, with up to 9 decimals: \"25%\"",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
rollout = { share = "-1%", by = ["u"] }
"#,
        &[
            "4:21 `-1%` is no share: a share is a percentage from 0% to 100%, with up to 9 decimals: \"25%\"",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
rollout = { share = "x", by = ["u"] }
"#,
        &[
            "4:21 `x` is no share: a share is a percentage from 0% to 100%, with up to 9 decimals: \"25%\"",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
rollout = { share = "25", by = ["u"] }
"#,
        &[
            "4:21 `25` is no share: a share is a percentage from 0% to 100%, with up to 9 decimals: \"25%\"",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
rollout = { share = "1.0000000001%", by = ["u"] }
"#,
        &[
            "4:21 `1.0000000001%` is no share: a share is a percentage from 0% to 100%, with up to 9 decimals: \"25%\"",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
rollout = { share = "", by = ["u"] }
"#,
        &[
            "4:21 `` is no share: a share is a percentage from 0% to 100%, with up to 9 decimals: \"25%\"",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
rollout = {}
"#,
        &[
            "4:11 the rollout has no share | write `rollout = { share = \"25%\", by = [\"org\"] }`",
            "4:11 the rollout of `a` has nothing to choose by | its key is empty: give `by`, as `by = [\"org\"]`",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
rollout = { share = "5%" }
"#,
        &[
            "4:11 the rollout of `a` has nothing to choose by | its key is empty: give `by`, as `by = [\"org\"]`",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
rollout = { by = ["u"] }
"#,
        &["4:11 the rollout has no share | write `rollout = { share = \"25%\", by = [\"org\"] }`"],
    );
}

#[test]
fn a_wrong_word() {
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
missing = "Skip"
mode = "shadows"
overflow = "refuse"
"#,
        &[
            "4:11 `missing` is `marker` or `skip` or `refuse`, not `Skip` | did you mean `skip`?",
            "5:8 `mode` is `enforce` or `shadow` or `off`, not `shadows` | did you mean `shadow`?",
            "6:12 `overflow` is `pool` or `deny` or `allow`, not `refuse`",
        ],
    );
}

#[test]
fn a_limit_needs_a_name_and_a_rate() {
    says(
        r#"[[limit]]
rate = "5/s"
"#,
        &["1:1 the limit has no name | refusals name it: `name = \"user\"`"],
    );
    says(
        r#"[[limit]]
name = ""
rate = "5/s"
"#,
        &["2:8 the limit has no name | refusals name it: `name = \"user\"`"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
[[limit]]
name = "a"
rate = "5/s"
"#,
        &["5:8 limit `a` is there twice | give each limit its own name"],
    );
    says(
        "[[limit]]\n",
        &[
            "1:1 the limit has no name | refusals name it: `name = \"user\"`",
            "1:1 the limit has no rate and no cap | give it one: `rate = \"50/s\"` or `concurrent = 50`",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
[[limit]]
name = "a"
"#,
        &[
            "4:1 the limit has no rate and no cap | give it one: `rate = \"50/s\"` or `concurrent = 50`",
            "5:8 limit `a` is there twice | give each limit its own name",
        ],
    );
}

#[test]
fn facts_and_patterns() {
    says(
        r#"facts = ["ip", "ip", "a|b", "", " x", 5]
[[limit]]
name = "a"
rate = "5/s"
key = ["other"]
"#,
        &[
            "1:16 fact `ip` is declared twice",
            "1:22 `a|b` is no name for a fact | declare each fact by itself; `a|b` is for keys",
            "1:29 a fact has no name | write `user` or `user|project`, no part empty",
            "1:33 fact ` x` begins or ends with a space | write `user|project`, without spaces",
            "1:39 a fact is a string, not the number 5 | write `facts = [\"ip\", \"user\"]`",
        ],
    );
    says(
        r#"facts = ["ip", "user", "org"]
[[limit]]
name = "a"
rate = "5/s"
key = ["usr|ip", "\u0075ser|rog", "orgs"]
when = { usr = "1" }
rollout = { share = "1%", by = ["ip", "orgg"] }
cost = "token"
"#,
        &[
            "5:9 fact `usr` is not declared | did you mean `user`?",
            "5:18 fact `rog` is not declared | did you mean `org`?",
            "5:35 fact `orgs` is not declared | did you mean `org`?",
            "6:10 fact `usr` is not declared | did you mean `user`?",
            "7:39 fact `orgg` is not declared | did you mean `org`?",
            "8:8 fact `token` is not declared | add it to `facts`, or name one that is there",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
key = ["a||b", "user |ip"]
when = { "" = "x" }
"#,
        &[
            "4:11 a fact has no name | write `user` or `user|project`, no part empty",
            "4:17 fact `user ` begins or ends with a space | write `user|project`, without spaces",
            "5:10 a fact has no name | write `user` or `user|project`, no part empty",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
when = { method = ["GET", "", "PUT"], ip = [] }
"#,
        &[
            "4:27 `method` is to match an empty pattern | an empty value is a missing fact, so it never would",
            "4:39 `ip` is to match one of no patterns | it never would; leave the condition out",
        ],
    );
    let facts: Vec<String> = (0..65).map(|nth| format!("\"f{nth}\"")).collect();
    let many = format!("[[limit]]\nname = \"a\"\nrate = \"5/s\"\nkey = [{}]\n", facts.join(", "));
    says(&many, &["1:1 the policy names 65 facts; at most 64 are possible"]);
}

#[test]
fn overrides() {
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
key = ["user"]
[[override]]
[[override]]
limit = "b"
match = { user = "1" }
exempt = true
[[override]]
limit = "a"
match = { usr = "1", ip = "2" }
burst = 1
[[override]]
limit = "a"
match = {}
exempt = false
[[override]]
limit = "a"
match = { user = ["", "1"] }
rate = "5/s"
exempt = true
[[override]]
limit = "a"
match = { user = [] }
burst = 1152921504606846977
"#,
        &[
            "5:1 the override names no limit | say of which: `limit = \"user\"`",
            "5:1 the override matches nothing | say for which keys: `match = { user = \"1017\" }`",
            "5:1 the override changes nothing | give `rate`, `burst`, `concurrent` or `exempt = true`",
            "7:9 there is no limit `b`",
            "12:11 `usr` is not in the key of limit `a` | did you mean `user`?",
            "12:22 `ip` is not in the key of limit `a` | an override is for some of the limit's keys; with other conditions write another limit",
            "14:1 the override changes nothing | give `rate`, `burst`, `concurrent` or `exempt = true`",
            "16:9 the override matches nothing | say for which keys: `match = { user = \"1017\" }`",
            "20:19 `user` is to match an empty pattern | an empty value is a missing fact, so it never would",
            "22:1 an exempt key has no rate and no burst | leave out `exempt`, or `rate` and `burst`",
            "25:11 `user` is to match one of no patterns | it never would; leave the condition out",
            "26:9 a burst is at most 2^60 units; count in larger units",
        ],
    );
    says(
        r#"[[limit]]
name = "user"
rate = "5/s"
key = ["user"]
[[override]]
limit = "usr"
match = { user = "1" }
rate = "0/s"
"#,
        &[
            "6:9 there is no limit `usr` | did you mean `user`?",
            "8:8 `0/s` is no rate: a count of 0 would never refill; a burst of 0 denies everything",
        ],
    );
}

#[test]
fn a_limit_has_a_rate_or_a_cap() {
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
concurrent = 5
[[limit]]
name = "b"
lease = "5s"
weight = 2
burst = 3
concurrent = 5
rate = "5"
"#,
        &[
            "4:1 a limit has `rate` or `concurrent`, not both | write two limits: a request needs the consent of both",
            "11:1 a limit has `rate` or `concurrent`, not both | write two limits: a request needs the consent of both",
            "11:8 `5` is no rate: a rate is a count per period: write `50/s` or `100/10s`",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
key = ["u"]
[[limit]]
name = "b"
lease = "5s"
[[limit]]
name = "c"
weight = 2
wait = "5"
"#,
        &[
            "1:1 the limit has no rate and no cap | give it one: `rate = \"50/s\"` or `concurrent = 50`",
            "4:1 the limit has no rate and no cap | `lease` and `weight` go with `concurrent = 50`",
            "7:1 the limit has no rate and no cap | `lease` and `weight` go with `concurrent = 50`",
            "10:8 `5` is no duration: a duration is a whole number of ns us ms s m h d, up to 584 years: write `60s` | write `wait = \"5s\"`",
        ],
    );
    // Nothing follows from a key that was misspelt or could not be read.
    says(
        r#"[[limit]]
name = "a"
concurent = 5
lease = "5s"
[[limit]]
name = "b"
cap = 5
max_keys = 5
[[limit]]
name = "c"
concurrent = 5O
weight = 7
[[override]]
limit = "c"
match = { u = "1" }
burst = 2
"#,
        &[
            "3:1 a limit has no key `concurent` | did you mean `concurrent`?",
            "7:1 a limit has no key `cap` | did you mean `concurrent`?",
            "11:14 `5O` is neither a number nor in quotes | write `\"5O\"`",
        ],
    );
}

#[test]
fn a_bad_number_of_slots() {
    says(
        r#"[[limit]]
name = "a"
concurrent = -1
weight = 1.5
[[limit]]
name = "b"
concurrent = "50"
weight = "2"
wait = "1s"
max_waiters = -1
[[limit]]
name = "c"
concurrent = 16777216
weight = 16777216
[[limit]]
name = "d"
concurrent = 18446744073709551615
weight = 18446744073709551615
[[limit]]
name = "e"
concurrent = 18446744073709551616
weight = 0
wait = "1s"
max_waiters = 0
[[limit]]
name = "f"
concurrent = 5
weight = 6
[[limit]]
name = "g"
concurrent = 0
weight = 16777216
[[limit]]
name = "h"
concurrent = 4294967295
"#,
        &[
            "3:14 `concurrent` is a whole number from 0 to 16777215, not the number -1",
            "4:10 `weight` is a whole number from 1 to 16777215, not the number 1.5",
            "7:14 `concurrent` is a whole number from 0 to 16777215, not the string \"50\"",
            "8:10 `weight` is a whole number from 1 to 16777215, not the string \"2\"",
            "10:15 `max_waiters` is a whole number from 1 to 2^64 - 1, not the number -1",
            "13:14 a cap is at most 16777215 slots",
            "14:10 a weight is at most 16777215 slots",
            "17:14 a cap is at most 16777215 slots",
            "18:10 a weight is at most 16777215 slots",
            "21:14 `concurrent` is a whole number from 0 to 16777215, not the number 18446744073709551616",
            "22:10 `weight` is at least 1 | `mode = \"off\"` switches a limit off",
            "24:15 `max_waiters` is at least 1 | leave `wait` out, and nobody waits",
            "28:10 weight 6 is above the cap 5: no request could ever be admitted | lower `weight`, or raise `concurrent`; 0 refuses every request",
            "32:10 a weight is at most 16777215 slots",
            "35:14 a cap is at most 16777215 slots",
        ],
    );
    let slots = |numbers: &str| {
        let text = format!("[[limit]]\nname = \"q\"\n{numbers}");
        let policy = Policy::from_toml(&text).unwrap();
        (policy.limits()[0].cap(), policy.limits()[0].quota())
    };
    assert_eq!(slots("concurrent = 0\nweight = 16_777_215"), (Some(0), None));
    assert_eq!(slots("concurrent = 16_777_215\nweight = 16_777_215"), (Some(16_777_215), None));
    assert_eq!(slots("rate = \"5/s\""), (None, Some(Quota::per_second(5))));
}

#[test]
fn durations() {
    let limit = |text: &str| {
        let text = format!("[[limit]]\nname = \"q\"\nconcurrent = 1\n{text}\n");
        Policy::from_toml(&text).map(|policy| policy.limits()[0].clone())
    };
    let q = || Limit::concurrent("q", 1);
    for (text, time) in [
        ("300s", secs(300)),
        ("60s", secs(60)),
        ("5m", secs(300)),
        ("1500ms", Duration::from_millis(1500)),
        ("7us", Duration::from_micros(7)),
        ("1ns", Duration::from_nanos(1)),
        ("2h", secs(7200)),
        ("1d", secs(86_400)),
    ] {
        assert_eq!(limit(&format!("lease = \"{text}\"")), Ok(q().lease(time)));
        assert_eq!(limit(&format!("wait = \"{text}\"")), Ok(q().wait(time)));
    }
    assert_eq!(limit("wait = \"0s\""), Ok(q()));
    assert_eq!(limit("wait = \"0s\""), limit(""));

    says(
        r#"[[limit]]
name = "a"
concurrent = 5
lease = 300
wait = 60
[[limit]]
name = "b"
concurrent = 5
lease = "300"
wait = "1.5s"
[[limit]]
name = "c"
rate = "5/s"
wait = "5 s"
[[limit]]
name = "d"
concurrent = 5
lease = "0s"
wait = ""
[[limit]]
name = "e"
concurrent = 5
lease = "s"
wait = "-1s"
[[limit]]
name = "f"
concurrent = 5
lease = "1m30s"
wait = "99999999999d"
[[limit]]
name = "g"
concurrent = 5
lease = "99999999999999999999s"
wait = true
"#,
        &[
            "4:9 `lease` is a string, not the number 300 | write `lease = \"300s\"`",
            "5:8 `wait` is a string, not the number 60 | write `wait = \"60s\"`",
            "9:9 `300` is no duration: a duration is a whole number of ns us ms s m h d, up to 584 years: write `60s` | write `lease = \"300s\"`",
            "10:8 `1.5s` is no duration: a duration is a whole number of ns us ms s m h d, up to 584 years: write `60s`",
            "14:8 `5 s` is no duration: a duration is a whole number of ns us ms s m h d, up to 584 years: write `60s`",
            "18:9 a lease of 0s would end when it begins | leave it out, and a slot comes back only when it is given back",
            "19:8 `` is no duration: a duration is a whole number of ns us ms s m h d, up to 584 years: write `60s`",
            "23:9 `s` is no duration: a duration is a whole number of ns us ms s m h d, up to 584 years: write `60s`",
            "24:8 `-1s` is no duration: a duration is a whole number of ns us ms s m h d, up to 584 years: write `60s`",
            "28:9 `1m30s` is no duration: a duration is a whole number of ns us ms s m h d, up to 584 years: write `60s`",
            "29:8 `99999999999d` is no duration: a duration is a whole number of ns us ms s m h d, up to 584 years: write `60s`",
            "33:9 `99999999999999999999s` is no duration: a duration is a whole number of ns us ms s m h d, up to 584 years: write `60s`",
            "34:8 `wait` is a string, not true | write `wait = \"60s\"`",
        ],
    );
}

#[test]
fn waiters_need_a_wait() {
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
max_waiters = 5
[[limit]]
name = "b"
concurrent = 5
wait = "0s"
max_waiters = 0
[[limit]]
name = "c"
concurrent = 5
wait = "x"
max_waiters = 5
[[limit]]
name = "d"
concurrent = 5
timeout = "5s"
max_waiters = 5
[[limit]]
name = "e"
concurrent = 5
wait = 5s
max_waiters = 5
"#,
        &[
            "4:15 `max_waiters` without `wait`: nobody waits | give `wait = \"60s\"`, or leave `max_waiters` out",
            "9:15 `max_waiters` without `wait`: nobody waits | give `wait = \"60s\"`, or leave `max_waiters` out",
            "13:8 `x` is no duration: a duration is a whole number of ns us ms s m h d, up to 584 years: write `60s`",
            "18:1 a limit has no key `timeout` | did you mean `wait`?",
            "23:8 `5s` is neither a number nor in quotes | write `\"5s\"`",
        ],
    );
    let waits = "[[limit]]\nname = \"a\"\nrate = \"5/s\"\nwait = \"5s\"\nmax_waiters = 7\n";
    let limit = Limit::new("a", Quota::per_second(5)).wait(secs(5)).max_waiters(7);
    assert_eq!(Policy::from_toml(waits), Ok(Policy::new().limit(limit)));
}

#[test]
fn what_a_limit_of_the_other_kind_has() {
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
lease = 0
weight = 0
[[limit]]
name = "b"
concurrent = 5
burst = -1
cost = 1
algorithm = "sliding-log"
max_keys = 0
overflow = "x"
"#,
        &[
            "4:1 a rate limit has no `lease` | `lease` goes with `concurrent`",
            "5:1 a rate limit has no `weight` | `weight` goes with `concurrent`; of a rate a request takes its `cost`",
            "9:1 a concurrency limit has no `burst` | `concurrent` is the most at once; for a rate write another limit",
            "10:1 a concurrency limit has no `cost` | `weight` says how many slots a request takes",
            "11:1 a concurrency limit has no `algorithm` | leave it out",
            "12:1 a concurrency limit has no `max_keys`: keys that hold no slot are forgotten | leave it out; there is always room",
            "13:1 a concurrency limit has no `overflow`: keys that hold no slot are forgotten | leave it out; there is always room",
        ],
    );
    // The kind is known though its number could not be read.
    says(
        r#"[[limit]]
name = "a"
rate = "x"
lease = "5s"
[[limit]]
name = "b"
concurrent = []
max_keys = 5
weight = 7
"#,
        &[
            "3:8 `x` is no rate: a rate is a count per period: write `50/s` or `100/10s`",
            "4:1 a rate limit has no `lease` | `lease` goes with `concurrent`",
            "7:14 `concurrent` is a whole number from 0 to 16777215, not a list",
            "8:1 a concurrency limit has no `max_keys`: keys that hold no slot are forgotten | leave it out; there is always room",
        ],
    );
}

#[test]
fn overrides_of_slots() {
    let limits = r#"[[limit]]
name = "q"
key = ["u"]
concurrent = 5
weight = 3
[[limit]]
name = "r"
key = ["u"]
rate = "5/s"
"#;
    let with = |overrides: &[(&str, &str)]| {
        let of = |(nth, (limit, change)): (usize, &(&str, &str))| {
            format!("[[override]]\nlimit = \"{limit}\"\nmatch = {{ u = \"{nth}\" }}\n{change}\n")
        };
        limits.to_owned() + &overrides.iter().enumerate().map(of).collect::<String>()
    };
    says(
        &with(&[
            ("q", "rate = \"5/s\""),
            ("q", "burst = 5"),
            ("r", "concurrent = 5"),
            ("q", "concurrent = 2"),
            ("q", "concurrent = 16777216"),
            ("q", "concurrent = \"5\""),
            ("q", "concurrent = 5\nexempt = true"),
            ("r", "rate = \"5/s\"\nconcurrent = 5"),
            ("q", "concurrent = 5\nburst = 5"),
            ("q", "lease = \"5s\""),
            ("q", "concurent = 5"),
            ("s", "concurrent = 16777216"),
            ("q", "concurrent = 4294967296"),
        ]),
        &[
            "13:8 `q` is a concurrency limit: it has no `rate` | give `concurrent`, or `exempt = true`",
            "17:9 `q` is a concurrency limit: it has no `burst` | give `concurrent`, or `exempt = true`",
            "21:14 `r` is a rate limit: it has no `concurrent` | give `rate` or `burst`, or `exempt = true`",
            "25:14 weight 3 is above the cap 2: no request could ever be admitted | lower `weight`, or raise `concurrent`; 0 refuses every request",
            "29:14 a cap is at most 16777215 slots",
            "33:14 `concurrent` is a whole number from 0 to 16777215, not the string \"5\"",
            "38:1 an exempt key has no cap | leave out `exempt`, or `concurrent`",
            "43:1 an override changes a rate or a cap, not both | leave out `concurrent`, or `rate` and `burst`",
            "48:1 an override changes a rate or a cap, not both | leave out `concurrent`, or `rate` and `burst`",
            "52:1 an override cannot change `lease` | only `rate`, `burst`, `concurrent` and `exempt`",
            "56:1 an override has no key `concurent` | did you mean `concurrent`?",
            "58:9 there is no limit `s`",
            "60:14 a cap is at most 16777215 slots",
            "64:14 a cap is at most 16777215 slots",
        ],
    );
    assert!(Policy::from_toml(&with(&[("q", "concurrent = 0"), ("q", "concurrent = 3")])).is_ok());
    // What the limit is could not be read, so nothing is said against its overrides.
    says(
        r#"[[limit]]
name = "q"
key = ["u"]
concurrnt = 5
[[override]]
limit = "q"
match = { u = "1" }
concurrent = 3
[[override]]
limit = "q"
match = { u = "2" }
burst = 1152921504606846977
"#,
        &["4:1 a limit has no key `concurrnt` | did you mean `concurrent`?"],
    );
}

#[test]
fn slots_in_words() {
    let policy = Policy::from_toml(
        r#"[[limit]]
name = "queries"
key = ["org"]
concurrent = 50
lease = "300s"
wait = "90s"
max_waiters = 20
weight = 2
missing = "skip"
[[override]]
limit = "queries"
match = { org = "7" }
concurrent = 60
[[override]]
limit = "queries"
match = { org = "8" }
exempt = true
[[limit]]
name = "all"
concurrent = 0
[[limit]]
name = "slow"
rate = "5/s"
wait = "1500ms"
"#,
    );
    let words = policy.unwrap().in_words();
    assert_eq!(words[0].amount, Amount::Cap(50));
    assert_eq!(words[0].amount.to_string(), "concurrent 50");
    assert_eq!(
        words[0].notes,
        ["lease 5m", "weight 2", "up to 20 wait up to 90s", "skipped without its key"]
    );
    assert_eq!(
        words[0].overrides,
        [("org=7".to_owned(), Some(Amount::Cap(60))), ("org=8".to_owned(), None)]
    );
    assert_eq!((words[1].amount, &words[1].notes), (Amount::Cap(0), &vec![]));
    assert_eq!(words[2].amount, Amount::Quota(Quota::per_second(5)));
    assert_eq!(words[2].notes, ["up to 1000 wait up to 1500ms"]);
}

#[test]
fn one_mistake_is_one_problem() {
    says(
        r#"[[limit]]
name = "a"
rate = "x"
key = 5
[[override]]
limit = "a"
match = { user = "1" }
burst = 1152921504606846977
"#,
        &[
            "3:8 `x` is no rate: a rate is a count per period: write `50/s` or `100/10s`",
            "4:7 `key` is a list of facts, not the number 5 | write `key = [\"user\"]`",
        ],
    );
    says(
        r#"[[limit]]
name = 5
rate = "5/s"
[[override]]
limit = "a"
match = { user = "1" }
rate = "x"
"#,
        &[
            "2:8 `name` is a string, not the number 5 | write `name = \"user\"`",
            "7:8 `x` is no rate: a rate is a count per period: write `50/s` or `100/10s`",
        ],
    );
    says(
        r#"[[limit]]
nmae = "a"
rate = "5/s"
keys = ["u"]
[[override]]
limit = "a"
match = { u = "1" }
exempt = true
"#,
        &[
            "2:1 a limit has no key `nmae` | did you mean `name`?",
            "4:1 a limit has no key `keys` | did you mean `key`?",
        ],
    );
    says(
        r#"[[limit]
name = "a"
rate = "5/s"
[[override]]
limit = "a"
match = { u = "1" }
exempt = true
"#,
        &["1:9 this is no TOML: unclosed array table, expected `]`"],
    );
    says(
        r#"[[limit]]
name = "a
rate = 5/s
key = ["u"
[[override]]
limit = "a"
match = { u = }
exempt = tru
"#,
        &[
            "2:10 this is no TOML: invalid basic string, expected `\"`",
            "3:8 `5/s` is neither a number nor in quotes | write `\"5/s\"`",
            "4:11 this is no TOML: unclosed array, expected `]`",
            "7:15 this is no TOML: invalid literal string, expected `'`",
            "8:10 this is no TOML: invalid boolean, expected `true`",
        ],
    );
}

#[test]
fn what_is_no_toml_hides_nothing_else() {
    says(
        r#"[[limit]]
name = "a"
name = "b"
rate = "5/s"
"#,
        &["3:1 `name` is there twice | leave one of them out"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = 50/s
"#,
        &["3:8 `50/s` is neither a number nor in quotes | write `\"50/s\"`"],
    );
    says(
        r#"[[limit]]
name = "a"
rate =
"#,
        &["3:7 a value is missing"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s
burst = -1
"#,
        &[
            "3:12 this is no TOML: invalid basic string, expected `\"`",
            "4:9 `burst` is a whole number from 0 to 2^64 - 1, not the number -1",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
key = ["u",
  "v"
burst = -1
"#,
        &[
            "5:6 this is no TOML: unclosed array, expected `]`",
            "6:9 `burst` is a whole number from 0 to 2^64 - 1, not the number -1",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
key = ["u" "v"]
"#,
        &["4:12 this is no TOML: missing comma between array elements, expected `,`"],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s" burst = 5
"#,
        &["3:14 this is no TOML: unexpected key or value, expected newline, `#`"],
    );
    says(
        r#"= 5
[[limit]]
name = "a"
rate = "5/s"
"#,
        &[
            "1:1 this is no TOML: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`",
        ],
    );
    says(
        r#"foo
[[limit]]
name = "a"
rate = "5/s"
burst = -1
"#,
        &[
            "1:4 this is no TOML: key with no value, expected `=`",
            "5:9 `burst` is a whole number from 0 to 2^64 - 1, not the number -1",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
when = { a = "b"
[[limit]]
name = "b"
"#,
        &[
            "4:17 this is no TOML: unclosed inline table, expected `}`",
            "5:1 the limit has no rate and no cap | give it one: `rate = \"50/s\"` or `concurrent = 50`",
        ],
    );
    says(
        r#"[[limit]]
name = "\q"
rate = "5/s"
"#,
        &[
            "2:10 this is no TOML: missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\\`, `\"`, `x`, `u`, `U`",
        ],
    );
    says(
        "[[limit]]\nname = \"a\0\"\nrate = \"5/s\"\n",
        &[
            "2:10 this is no TOML: invalid basic string, expected non-double-quote visible characters, `\\`",
        ],
    );
    says(
        "naïve = 1\n",
        &["1:3 this is no TOML: invalid unquoted key, expected letters, numbers, `-`, `_`"],
    );
    says(
        r#"[[limit]]
name = """a
"#,
        &["2:12 this is no TOML: invalid multi-line basic string, expected `\"`"],
    );
    says(
        r#"[limit.when]
[[limit]]
name = "a"
rate = "5/s"
"#,
        &["1:2 `limit` is a list of tables | write `[[limit]]`, in double brackets, above each"],
    );
}

#[test]
fn columns_count_characters_and_lines_end_as_they_may() {
    says(
        "\u{feff}extra = 1\n",
        &["1:1 a policy has no key `extra` | it has `facts`, `limit`, `override`"],
    );
    says(
        "[[limit]]\r\nname = \"a\"\r\nrate = \"x\"\r\nburst = -1\r\n",
        &[
            "3:8 `x` is no rate: a rate is a count per period: write `50/s` or `100/10s`",
            "4:9 `burst` is a whole number from 0 to 2^64 - 1, not the number -1",
        ],
    );
    says(
        r#"[[limit]]
name = "ü日"
when = { "ü" = "x", '日' = "" }
rate = "5/s"
"#,
        &[
            "3:27 `日` is to match an empty pattern | an empty value is a missing fact, so it never would",
        ],
    );
    says(
        "[[limit]]\nname = \"a\"\nrate = \"5/s\"\nwhen = { path = [\n  \"a\",\n  \"\",\n\tfalse, # no\n] }\n",
        &[
            "6:3 `path` is to match an empty pattern | an empty value is a missing fact, so it never would",
            "7:2 a pattern for `path` is a string, not false | write one pattern, or several in one list",
        ],
    );
    says(
        r#"[[limit]]
name = "a"
rate = "5/s"
when.path = ""
[limit.rollout]
share = "x"
"#,
        &[
            "4:13 `path` is to match an empty pattern | an empty value is a missing fact, so it never would",
            "5:1 the rollout of `a` has nothing to choose by | its key is empty: give `by`, as `by = [\"org\"]`",
            "6:9 `x` is no share: a share is a percentage from 0% to 100%, with up to 9 decimals: \"25%\"",
        ],
    );
}

/// The rates of the design's own example.
const GOOD: &str = r#"
facts = ["ip", "user", "project", "org", "group", "view", "method", "referrer", "tokens"]

# narrowest first, the global one last
[[limit]]
name      = "user"
key       = ["group", "view", "method", "user|project"]
rate      = "50/s"
burst     = 100
when      = { method = ["POST", "PUT"], view = "/webhooks/*" }
missing   = "marker"
mode      = "enforce"
rollout   = { share = "25%", by = ["org"] }
cost      = "tokens"
algorithm = "gcra"
max_keys  = 1_000_000
overflow  = "pool"

[[limit]]
name = "global"
key  = []
rate = "5000/s burst 100"
when = {}
mode = "shadow"
missing = "refuse"
overflow = "deny"

[[override]]
limit = "user"
match = { user = "1017" }
rate  = "500/s"

[[override]]
limit = "user"
match = { user = [7, 0x10, -1], group = "int*" }
burst = 0

[[override]]
limit = "user"
match = { view = "/health" }
exempt = true
"#;

/// Its slots.
const SLOTS: &str = r#"
[[limit]]
name       = "queries"
key        = ["referrer"]
concurrent = 50
lease      = "300s"
wait       = "60s"
max_waiters = 1000
weight     = 2

[[override]]
limit = "queries"
match = { referrer = "api.*" }
concurrent = 0x14
"#;

#[test]
fn a_file_is_the_policy_that_code_builds() {
    let user = Limit::new("user", Quota::per_second(50).burst(100))
        .key(["group", "view", "method", "user|project"])
        .when("method", ["POST", "PUT"])
        .when("view", ["/webhooks/*"])
        .rollout("25%".parse().unwrap(), ["org"])
        .cost("tokens")
        .max_keys(1_000_000);
    let global = Limit::new("global", Quota::per_second(5000).burst(100))
        .mode(Mode::Shadow)
        .missing(Missing::Refuse)
        .overflow(Overflow::Deny);
    let queries = Limit::concurrent("queries", 50)
        .key(["referrer"])
        .lease(secs(300))
        .wait(secs(60))
        .max_waiters(1000)
        .weight(2);
    let policy = Policy::new()
        .facts(["ip", "user", "project", "org", "group", "view", "method", "referrer", "tokens"])
        .limit(user)
        .limit(global)
        .limit(queries)
        .with_override(Override::new("user").when("user", ["1017"]).quota(Quota::per_second(500)))
        .with_override(
            Override::new("user").burst(0).when("user", ["7", "16", "-1"]).when("group", ["int*"]),
        )
        .with_override(Override::new("user").exempt().when("view", ["/health"]))
        .with_override(Override::new("queries").concurrent(20).when("referrer", ["api.*"]));
    assert_eq!(Policy::from_toml(&format!("{GOOD}{SLOTS}")), Ok(policy));
}

#[test]
fn defaults_are_those_of_code() {
    let policy = Policy::from_toml("[[limit]]\nname = \"a\"\nrate = \"5/s\"\n");
    assert_eq!(policy, Ok(Policy::new().limit(Limit::new("a", Quota::per_second(5)))));
    let policy = Policy::from_toml("[[limit]]\nname = \"q\"\nconcurrent = 5\n");
    assert_eq!(policy, Ok(Policy::new().limit(Limit::concurrent("q", 5))));
    for empty in ["", "\u{feff}", "# nothing\r\n", "\n\n", "facts = []", "limit = []"] {
        assert!(Policy::from_toml(empty).unwrap().limits().is_empty(), "{empty:?}");
    }
}

#[test]
fn other_spellings_of_toml_mean_the_same() {
    let policy = Policy::new().limit(
        Limit::new("a", Quota::per_second(5))
            .when("path", ["/x"])
            .rollout(Share::percent(5), ["u"]),
    );
    for text in [
        "limit = [{ name = 'a', rate = '5/s', when.path = '/x', rollout = { share = '5%', by = ['u'] } }]",
        "[[limit]]\nname = 'a'\nrate = '5/s'\n[limit.rollout]\nshare = '5%'\nby = ['u']\n[limit.when]\npath = ['/x']",
        "[[limit]]\r\nname = \"\"\"a\"\"\"\r\nrate = '''5/s'''\r\nwhen.path = '/x'\r\nrollout.share = '5%'\r\nrollout.by = ['u',]",
    ] {
        assert_eq!(Policy::from_toml(text).as_ref(), Ok(&policy), "{text}");
    }
}

#[test]
fn a_burst_may_make_a_rate_possible() {
    let slow = "[[limit]]\nname = \"a\"\nrate = \"2305843009213693952/200000d\"\n";
    assert!(Policy::from_toml(&format!("{slow}burst = 1000")).is_ok());
    let quota =
        |text: &str| Policy::from_toml(text).unwrap().limits()[0].quota().unwrap().burst_size();
    assert_eq!(quota("[[limit]]\nname = \"a\"\nrate = \"5/s\"\nburst = 0\n"), 0);
    assert_eq!(quota("[[limit]]\nname = \"a\"\nrate = \"5/s burst 7\"\n"), 7);
}

#[test]
fn a_problem_prints_with_its_line_and_a_mark_below() {
    let text = "[[limit]]\nname = \"a\"\n\tkey = [\"ü||b\"]\nrate = \"x\"\n";
    assert_eq!(
        Policy::from_toml(text).unwrap_err().to_string(),
        "\
3:12: a fact has no name
  |
3 |  key = [\"ü||b\"]
  |            ^
  = hint: write `user` or `user|project`, no part empty

4:8: `x` is no rate: a rate is a count per period: write `50/s` or `100/10s`
  |
4 | rate = \"x\"
  |        ^^^"
    );
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let text = format!("facts = [{}5, {}]", "\"a\", ".repeat(100), "\"b\", ".repeat(100));
    let error = Policy::from_toml(&text).unwrap_err();
    let problem = error.problems().iter().find(|problem| problem.what().contains('5')).unwrap();
    let shown = problem.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    let mark = lines[3].chars().position(|c| c == '^').unwrap();
    assert_eq!(lines[2].chars().nth(mark), Some('5'));
    assert!(lines[2].chars().count() < 120 && lines[2].ends_with('…'), "{shown}");
    assert_eq!(problem.column(), Some(510));
}

#[test]
fn what_is_shown_has_no_control_characters() {
    let text = "\"\\u001b[31m\" = 1\n[[limit]]\nname = \"\\u0007\"\nrate = \"\\u001b\"\n\u{1b}";
    let shown = Policy::from_toml(text).unwrap_err().to_string();
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
}

#[test]
fn a_policy_in_code_has_the_same_rules_without_lines() {
    let policy = Policy::new()
        .facts(["user"])
        .limit(Limit::new("a", Quota::per_second(5)).key(["usr"]))
        .with_override(Override::new("b").exempt().when("user", [""]));
    assert_eq!(
        policy.check().unwrap_err().to_string(),
        "limit 1, key: fact `usr` is not declared; did you mean `user`?\n\
         override 1, match: `user` is to match an empty pattern; \
         an empty value is a missing fact, so it never would\n\
         override 1, limit: there is no limit `b`"
    );
}

#[test]
fn slots_in_code_have_the_same_rules() {
    let u = |change: Override, value: &'static str| change.when("u", [value]);
    let policy = Policy::new()
        .limit(
            Limit::concurrent("q", 16_777_216)
                .key(["u"])
                .lease(Duration::ZERO)
                .weight(0)
                .cost("tokens")
                .max_keys(5)
                .max_keys(6)
                .overflow(Overflow::Deny)
                .wait(Duration::ZERO)
                .max_waiters(5),
        )
        .limit(
            Limit::new("r", Quota::per_second(5))
                .key(["u"])
                .lease(secs(5))
                .weight(1)
                .wait(secs(5))
                .max_waiters(0),
        )
        .limit(Limit::concurrent("w", 5).weight(6).key(["u"]))
        .with_override(u(Override::new("q").quota(Quota::per_second(5)), "1"))
        .with_override(u(Override::new("q").burst(5), "2"))
        .with_override(u(Override::new("r").concurrent(5), "1"))
        .with_override(u(Override::new("q").concurrent(16_777_216), "3"))
        .with_override(u(Override::new("w").concurrent(3), "1"))
        .with_override(u(Override::new("w").concurrent(0), "2"));
    let fits = "no request could ever be admitted; lower `weight`, or raise `concurrent`; \
                0 refuses every request";
    let expected = [
        "limit 1, cost: a concurrency limit has no `cost`; `weight` says how many slots a request takes",
        "limit 1, max_keys: a concurrency limit has no `max_keys`: keys that hold no slot are forgotten; leave it out; there is always room",
        "limit 1, overflow: a concurrency limit has no `overflow`: keys that hold no slot are forgotten; leave it out; there is always room",
        "limit 1, concurrent: a cap is at most 16777215 slots",
        "limit 1, lease: a lease of 0s would end when it begins; leave it out, and a slot comes back only when it is given back",
        "limit 1, weight: `weight` is at least 1; `mode = \"off\"` switches a limit off",
        "limit 1, max_waiters: `max_waiters` without `wait`: nobody waits; give `wait = \"60s\"`, or leave `max_waiters` out",
        "limit 2, lease: a rate limit has no `lease`; `lease` goes with `concurrent`",
        "limit 2, weight: a rate limit has no `weight`; `weight` goes with `concurrent`; of a rate a request takes its `cost`",
        "limit 2, max_waiters: `max_waiters` is at least 1; leave `wait` out, and nobody waits",
        &format!("limit 3, weight: weight 6 is above the cap 5: {fits}"),
        "override 1, rate: `q` is a concurrency limit: it has no `rate`; give `concurrent`, or `exempt = true`",
        "override 2, burst: `q` is a concurrency limit: it has no `burst`; give `concurrent`, or `exempt = true`",
        "override 3, concurrent: `r` is a rate limit: it has no `concurrent`; give `rate` or `burst`, or `exempt = true`",
        "override 4, concurrent: a cap is at most 16777215 slots",
        &format!("override 5, concurrent: weight 6 is above the cap 3: {fits}"),
    ];
    let said = policy.check().unwrap_err().to_string();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn all_mistakes_at_once_in_the_order_of_the_file() {
    let text = r#"
facts = ["ip", "user"]
colour = "red"
[[limit]]
name = "user"
key = ["user|org"]
rate = 50/s
burst = -1
missing = "never"
rollout = { share = "120%" }
cost = 5
max_keys = 0
wait = 60
[[limit]]
name = "user"
rate = "50/s"
rate = "60/s"
when = { path = ["/a", "/b", ""] }
[[override]]
limit = "users"
match = { ip = "1" }
exempt = 1
"#;
    let error = Policy::from_toml(text).unwrap_err();
    let at =
        |problem: &tollgate::policy::Problem| (problem.line().unwrap(), problem.column().unwrap());
    assert_eq!(
        error.problems().iter().map(at).collect::<Vec<_>>(),
        [
            (3, 1),
            (6, 14),
            (7, 8),
            (8, 9),
            (9, 11),
            (10, 21),
            (11, 8),
            (12, 12),
            (13, 8),
            (15, 8),
            (17, 1),
            (18, 10),
            (18, 30),
            (20, 9),
            (22, 10),
        ],
        "{error}"
    );
}

#[test]
fn a_flood_of_mistakes_is_cut() {
    let error = Policy::from_toml(&"x = \n".repeat(5000)).unwrap_err();
    assert_eq!(error.problems().len(), 1001);
    assert_eq!(error.problems()[1000].what(), "more problems follow from here on");
}

#[test]
fn huge_and_hostile_files_end() {
    let limit = "[[limit]]\nname = \"a\"\nrate = \"5/s\"\n";
    let big = 1 << 18;
    for text in [
        "[".repeat(big),
        "=\n".repeat(big / 2),
        "\"".repeat(big),
        "\0".repeat(big),
        "a.".repeat(big / 2),
        format!("a = {}", "[".repeat(big)),
        "a = {".repeat(big / 5),
        "a = 1\n".repeat(big / 6),
        format!("facts = [{}]", "\"a\", ".repeat(big / 5)),
        format!("facts = [{}]", "5,".repeat(big / 2)),
        limit.repeat(big / limit.len()),
        format!("{limit}{}", "[[override]]\nlimit = \"b\"\n".repeat(big / 25)),
        format!("{limit}key = [{}]", "\"u\",".repeat(big / 4)),
        "é".repeat(17 << 19),
    ] {
        let error = Policy::from_toml(&text).unwrap_err();
        assert!((1..=1001).contains(&error.problems().len()));
        let shown = error.to_string();
        assert!(shown.len() < 1_000_000, "{}", shown.len());
    }
    let comment = format!("# {}\n{limit}", "x".repeat(10_000_000));
    assert_eq!(Policy::from_toml(&comment).unwrap().limits().len(), 1);
}

/// What parses must check, and what does not must say where.
fn read(text: &str) {
    match Policy::from_toml(text) {
        Ok(policy) => assert_eq!(policy.check(), Ok(()), "{text}"),
        Err(error) => {
            assert!(!error.problems().is_empty());
            let lines = text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').count();
            for problem in error.problems() {
                assert!((1..=lines).contains(&problem.line().unwrap()), "{problem}\nof\n{text}");
            }
            let _ = error.to_string();
        }
    }
}

#[test]
fn no_single_change_of_a_good_file_panics() {
    let words = ["-1", "0", "\"\"", "[]", "{}", "true", "1.5", "é", "\0", "]", "}", "\"\"\"", "'"];
    for good in [GOOD, SLOTS] {
        for (at, c) in good.char_indices() {
            read(&good[..at]);
            read(&good[at..]);
            read(&format!("{}{}", &good[..at], &good[at + c.len_utf8()..]));
            for other in ['"', '[', '\n'] {
                read(&format!("{}{other}{}", &good[..at], &good[at + c.len_utf8()..]));
            }
        }
        for line in good.lines().filter(|line| line.contains('=')) {
            let key = line.split('=').next().unwrap();
            for word in words {
                read(&good.replace(line, &format!("{key}= {word}")));
            }
        }
    }
}

/// The pieces from which policies are made.
fn like_a_policy() -> impl Strategy<Value = String> {
    let words = [
        "[[limit]]",
        "[[override]]",
        "[limit.when]",
        "[",
        "]",
        "{",
        "}",
        "=",
        ",",
        "\n",
        "\n",
        " ",
        "\"",
        "'",
        "\"\"\"",
        "name",
        "rate",
        "burst",
        "key",
        "when",
        "match",
        "limit",
        "rollout",
        "share",
        "by",
        "exempt",
        "facts",
        "max_keys",
        "concurrent",
        "lease",
        "weight",
        "wait",
        "max_waiters",
        "\"60s\"",
        "\"a\"",
        "\"5/s\"",
        "\"5%\"",
        "[\"u|v\"]",
        "{ u = \"1\" }",
        "5",
        "-1",
        "1.5",
        "true",
        "#",
        ".",
        "\\",
        "é",
        "\u{feff}",
        "\r\n",
        "\0",
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..60)
        .prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn nothing_panics(text in ".{0,200}", like in like_a_policy(), bytes: Vec<u8>) {
        read(&text);
        read(&like);
        read(&String::from_utf8_lossy(&bytes));
    }
}

//! Measures ratios of decisions to the floor and to peers, each within one run; `harness` has the
//! method.
//!
//! `cargo bench --bench ratios` runs everything (a few minutes, 3 GB); arguments select parts:
//! `cargo bench --bench ratios -- keyed set 1k 1M`. Prints Markdown.
//!
//! In most rows keys are in debt: what a request takes does not come back while the bench runs. In
//! the rows marked "again" the bucket of a key is full again by its next visit, as for most keys of
//! a service.

mod contenders;
#[path = "harness/counted.rs"]
mod counted;
mod harness;

use std::hash::Hash;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use contenders::service::*;
use contenders::*;
use counted::{ALLOCATOR, kept_bytes};
use harness::{Answer, BATCH, Fold, Race, Run, Sip, Work, machine, median, together};
use stats_alloc::Region;
use tollgate::{Mode, Policy, Quota, RateLimiter};

fn main() {
    assert_clocks();
    let run = Run::from_args();
    println!("{}\n", machine());
    println!("Nanoseconds a decision, one thread unless said; medians of interleaved rounds.");
    if run.wants("keyed") {
        run.keyed();
        run.keyed_again();
    }
    if run.wants("defaults") {
        run.defaults();
    }
    if run.wants("single") {
        run.single();
    }
    if run.wants("many") {
        run.check_many();
    }
    if run.wants("set") {
        run.sets();
        run.sets_again();
    }
    if run.wants("admit") {
        run.admit();
        run.admit_against_checks();
    }
    if run.wants("fresh") {
        run.fresh();
    }
    if run.wants("text") {
        run.text();
        run.text_again();
    }
    if run.wants("threads") {
        run.threads();
    }
    if run.wants("contended") {
        run.contended();
    }
    if run.wants("memory") {
        run.memory();
    }
}

type Size = (&'static str, usize);

/// Keys that are in debt.
const SIZES: [Size; 3] = [("1k", 1_000), ("1M", 1_000_000), ("10M", 10_000_000)];
/// Keys that are full again by their next visit.
const AGAIN: [Size; 4] = [("1k", 1_000), ("10k", 10_000), ("100k", 100_000), ("1M", 1_000_000)];

impl Run {
    fn sizes(&self) -> impl Iterator<Item = Size> + '_ {
        SIZES.into_iter().filter(|(size, _)| self.wants_size(size))
    }

    fn sizes_again(&self) -> impl Iterator<Item = Size> + '_ {
        AGAIN.into_iter().filter(|(size, _)| self.wants_size(size))
    }

    fn wants_size(&self, size: &str) -> bool {
        let any = SIZES.iter().chain(&AGAIN).any(|(size, _)| self.chosen.contains(*size));
        !any || self.chosen.contains(size)
    }

    fn keyed(&self) {
        Table::start("Keyed check, u64 keys, uniform", "at most 1.25 floor + 5 ns");
        for (size, keys) in self.sizes() {
            self.keyed_with::<Sip>(size, keys);
            self.keyed_with::<Fold>(size, keys);
        }
    }

    fn keyed_with<S: Hasher>(&self, size: &str, keys: usize) {
        let map: Map<u64, S> = Map::with_hasher(S::default());
        let (roomy, tight) = (Governor::new(&map, ROOMY), Governor::new(&map, TIGHT));
        // rate-net has its own hasher, so it is in the rows of one hasher only.
        let net =
            (S::NAME == Sip::NAME).then(|| (rate_net(ROOMY, keys * 2), rate_net(TIGHT, keys * 2)));
        for key in 0..keys as u64 {
            assert!(roomy.check(&key, Time::Given));
            for net in net.iter().flat_map(|(roomy, tight)| [roomy, tight]) {
                assert!(net.check(key).is_allow());
            }
        }
        for time in Time::ALL {
            let limiter = tollgate::<S>(keys, time);
            for key in 0..keys as u64 {
                assert!(check(&limiter, &key, time));
            }
            let floor = Floor::<S>::new(limiter.memory());
            for answer in [Answer::Allow, Answer::Deny] {
                let governor = if answer == Answer::Allow { &roomy } else { &tight };
                let mut race = Race::new();
                race.add("tollgate", answer, |key| check(&limiter, key, time));
                race.add("floor", Answer::Allow, |key| floor.check(key, time));
                race.add("governor", answer, |key| governor.check(key, time));
                if let (Time::Std, Some((roomy, tight))) = (time, &net) {
                    let net = if answer == Answer::Allow { roomy } else { tight };
                    race.add("rate-net", answer, move |key| net.check(*key).is_allow());
                }
                let mut source = Keys::new();
                let ns = race.run(self.rounds, || source.batch(keys, BATCH));
                let goal = Goal::Floor;
                Table::row(&format!("check {size}"), time, S::NAME, answer, &ns, goal);
                limiter.set_quota(TIGHT);
            }
        }
    }

    fn keyed_again(&self) {
        Table::start("Keyed check, u64 keys, uniform, full again by the next visit", "ahead");
        for (size, keys) in self.sizes_again() {
            self.keyed_again_with::<Sip>(size, keys);
            self.keyed_again_with::<Fold>(size, keys);
        }
    }

    fn keyed_again_with<S: Hasher>(&self, size: &str, keys: usize) {
        for time in [Time::Std, Time::Moving] {
            let map: Map<u64, S> = Map::with_hasher(S::default());
            let governor = Governor::new(&map, again(keys));
            let limiter = tollgate_of::<S>(again(keys), keys, time);
            for key in 0..keys as u64 {
                assert!(check(&limiter, &key, time) && governor.check(&key, time));
            }
            let mut race = Race::new();
            race.add("tollgate", Answer::Allow, |key| check(&limiter, key, time));
            race.add("governor", Answer::Allow, |key| governor.check(key, time));
            let mut source = Keys::new();
            let ns = race.run(self.rounds, || source.batch(keys, BATCH));
            let name = format!("check {size}, again");
            let table = bytes(limiter.memory());
            Table::row_and(&name, time, S::NAME, Answer::Allow, &ns, Goal::Times(1.0), &table);
        }
    }

    /// The defaults of each crate: std's clock against the processor's counter.
    fn defaults(&self) {
        println!("\n## Defaults against defaults: `new(quota)` against `keyed(quota)`, SipHash\n");
        println!(
            "governor's default clock is the processor's counter, Tollgate's std's monotonic \
             clock; `Clock::tsc` is the counter too.\n"
        );
        println!(
            "| measure | answer | tollgate | governor | governor / tollgate | tollgate on the \
             counter | governor / that |"
        );
        println!("|---|---|---|---|---|---|---|");
        for (size, keys) in AGAIN.into_iter().filter(|(size, _)| self.wants_size(size)) {
            let (again, debt) = (format!("check {size}, again"), format!("check {size}"));
            self.defaults_with(&debt, keys, ROOMY, Answer::Allow);
            self.defaults_with(&debt, keys, ROOMY, Answer::Deny);
            self.defaults_with(&again, keys, contenders::again(keys), Answer::Allow);
        }
    }

    fn defaults_with(&self, name: &str, keys: usize, quota: Quota, answer: Answer) {
        let limiter = RateLimiter::new(quota);
        #[cfg(feature = "tsc")]
        let counter = RateLimiter::builder(quota).clock(tollgate::Clock::tsc()).build();
        let quota = if answer == Answer::Allow { quota } else { TIGHT };
        let governor = governor::RateLimiter::keyed(peer_quota(quota));
        for key in 0..keys as u64 {
            assert!(limiter.check(&key).is_ok() && governor.check_key(&key).is_ok());
            #[cfg(feature = "tsc")]
            assert!(counter.check(&key).is_ok());
        }
        limiter.set_quota(quota);
        #[cfg(feature = "tsc")]
        counter.set_quota(quota);
        let mut race = Race::new();
        race.add("tollgate", answer, |key| limiter.check(key).is_ok());
        race.add("governor", answer, |key| governor.check_key(key).is_ok());
        #[cfg(feature = "tsc")]
        race.add("counter", answer, |key| counter.check(key).is_ok());
        let mut source = Keys::new();
        let ns = race.run(self.rounds, || source.batch(keys, BATCH));
        let of = |name| ns.iter().find(|(at, _)| *at == name).map(|(_, ns)| *ns);
        let governor = of("governor").unwrap_or(f64::NAN);
        let pair = |ns: Option<f64>| match ns {
            Some(ns) => (format!("{ns:.1}"), format!("{:.2}", governor / ns)),
            None => ("(feature `tsc`)".to_owned(), String::new()),
        };
        let ((ours, ratio), (counter, counter_ratio)) = (pair(of("tollgate")), pair(of("counter")));
        let answer = named(answer);
        println!(
            "| {name} | {answer} | {ours} | {governor:.1} | {ratio} | {counter} | {counter_ratio} |"
        );
    }

    /// One limit for all requests, for which peers have types of their own.
    fn single(&self) {
        Table::start("One key for all", "");
        let limiter = RateLimiter::builder(GLOBAL).build();
        let governor = GovernorDirect::new(GLOBAL);
        let net = rate_net::RateLimiter::builder()
            .quota(GLOBAL.count() as u32, GLOBAL.period())
            .burst(GLOBAL.burst_size() as u32)
            .build_direct();
        let ratelimit = ratelimit::Ratelimiter::builder(GLOBAL.count())
            .max_tokens(GLOBAL.burst_size())
            .initial_available(GLOBAL.burst_size())
            .build()
            .expect("a valid rate");
        let mut race = Race::new();
        race.add("tollgate", Answer::Allow, |_: &u64| limiter.check(&()).is_ok());
        race.add("governor", Answer::Allow, |_| governor.check(Time::Std));
        race.add("rate-net", Answer::Allow, |_| net.check().is_allow());
        race.add("ratelimit", Answer::Allow, |_| ratelimit.try_wait().is_ok());
        let ns = race.run(self.rounds, || vec![0; BATCH]);
        let name = "one key (governor, rate-net, ratelimit: no hash)";
        Table::row(name, Time::Std, Sip::NAME, Answer::Allow, &ns, Goal::None);
    }

    fn check_many(&self) {
        Table::start("check_many of 16", "5 times governor one by one");
        for (size, keys) in self.sizes() {
            self.check_many_with::<Sip>(size, keys);
            self.check_many_with::<Fold>(size, keys);
        }
    }

    fn check_many_with<S: Hasher>(&self, size: &str, keys: usize) {
        let map: Map<u64, S> = Map::with_hasher(S::default());
        let governor = Governor::new(&map, ROOMY);
        for time in [Time::Std, Time::Coarse] {
            let limiter = tollgate::<S>(keys, time);
            for key in 0..keys as u64 {
                assert!(check(&limiter, &key, time));
                assert!(governor.check(&key, time));
            }
            let mut answers = Vec::new();
            let mut race = Race::new();
            race.add_many("tollgate", Answer::Allow, |batch: &[u64]| {
                let mut allowed = 0;
                for batch in batch.chunks(16) {
                    limiter.check_many(batch, &mut answers);
                    allowed += answers.iter().filter(|answer| answer.is_ok()).count();
                }
                allowed
            });
            race.add("governor", Answer::Allow, |key| governor.check(key, time));
            let mut source = Keys::new();
            let ns = race.run(self.rounds, || source.batch(keys, BATCH));
            let name = format!("check_many {size}");
            Table::row(&name, time, S::NAME, Answer::Allow, &ns, Goal::Times(5.0));
        }
    }

    fn sets(&self) {
        Table::start(
            "Three limits (user, user/64, global): `all(..).admit(1)`, against three governor \
             checks that are not atomic",
            "1 times at 1 k, 1.5 at 1 M; refused 5 times",
        );
        for (size, users) in self.sizes().filter(|(size, _)| *size != "10M") {
            self.sets_with::<Sip>(size, users);
            self.sets_with::<Fold>(size, users);
        }
    }

    fn sets_with<S: Hasher>(&self, size: &str, users: usize) {
        let maps = Maps::<S>::new();
        let roomy = Checks::new(IN_DEBT, &maps);
        let [user, org, _] = IN_DEBT;
        let refusing = Checks::new([user, org, TIGHT], &maps);
        for time in Time::ALL {
            let limiters = Limiters::<S>::new(IN_DEBT, users, time);
            for user in 0..users as u64 {
                assert!(limiters.admit(user, time) && roomy.check(user, time));
            }
            for answer in [Answer::Allow, Answer::Deny] {
                if answer == Answer::Deny {
                    limiters.global.set_quota(TIGHT);
                }
                let checks = if answer == Answer::Allow { &roomy } else { &refusing };
                let mut race = Race::new();
                race.add("tollgate", answer, |user: &u64| limiters.admit(*user, time));
                race.add("governor", answer, |user| checks.check(*user, time));
                let mut source = Keys::new();
                let ns = race.run(self.rounds, || source.batch(users, BATCH));
                let goal = match (answer, users) {
                    (Answer::Deny, _) => 5.0,
                    (Answer::Allow, ..=1_000) => 1.0,
                    (Answer::Allow, _) => 1.5,
                };
                let name = format!("three limits {size}");
                Table::row(&name, time, S::NAME, answer, &ns, Goal::Times(goal));
            }
        }
    }

    fn sets_again(&self) {
        Table::start(
            "Three limits (user, user/64, global), all full again by the next visit",
            "1 times governor",
        );
        for (size, users) in self.sizes_again() {
            self.sets_again_with::<Sip>(size, users);
            self.sets_again_with::<Fold>(size, users);
        }
    }

    fn sets_again_with<S: Hasher>(&self, size: &str, users: usize) {
        for time in [Time::Std, Time::Moving] {
            let maps = Maps::<S>::new();
            let checks = Checks::new(set_again(users), &maps);
            let limiters = Limiters::<S>::new(set_again(users), users, time);
            for user in 0..users as u64 {
                assert!(limiters.admit(user, time) && checks.check(user, time));
            }
            let mut race = Race::new();
            race.add("tollgate", Answer::Allow, |user: &u64| limiters.admit(*user, time));
            race.add("governor", Answer::Allow, |user| checks.check(*user, time));
            let mut source = Keys::new();
            let ns = race.run(self.rounds, || source.batch(users, BATCH));
            let name = format!("three limits {size}, again");
            let tables =
                [limiters.users.memory(), limiters.orgs.memory(), limiters.global.memory()];
            let tables = bytes(tables.iter().sum());
            Table::row_and(&name, time, S::NAME, Answer::Allow, &ns, Goal::Times(1.0), &tables);
        }
    }

    /// What a service calls: a policy of three limits, requests with six facts.
    fn admit(&self) {
        println!("\n## `Enforcer::admit`: three limits that apply, six facts as text\n");
        println!("| step | std, SipHash | coarse, foldhash | of admitted | to reach |");
        println!("|---|---|---|---|---|");
        let std = self.admit_with::<Sip>(Time::Std);
        let coarse = self.admit_with::<Fold>(Time::Coarse);
        for (at, (name, ns)) in std.iter().enumerate() {
            let goal = match *name {
                "admitted" => "250",
                "admitted, of 1,000 limits" => "2 times admitted",
                _ => "",
            };
            let of = |ns: &[(&str, f64)]| ns[at].1 / ns[0].1;
            println!(
                "| {name} | {ns:.1} | {:.1} | {:.2}; {:.2} | {goal} |",
                coarse[at].1,
                of(&std),
                of(&coarse)
            );
        }
        println!("\nOf an admitted one, by differences:\n");
        println!("| spent on | std, SipHash | coarse, foldhash |");
        println!("|---|---|---|");
        for (what, all, less) in SPENT {
            let spent = |ns: &[(&str, f64)]| {
                let of = |name: &str| ns.iter().find(|(at, _)| *at == name).map_or(0.0, |at| at.1);
                of(all) - less.iter().map(|name| of(name)).sum::<f64>()
            };
            println!("| {what} | {:.1} | {:.1} |", spent(&std), spent(&coarse));
        }
    }

    fn admit_with<S: Hasher>(&self, time: Time) -> Vec<(&'static str, f64)> {
        let calls: Vec<Call> = (0..1_000).map(Call::new).collect();
        let service = |policy| enforcer::<S>(three_limits(policy, [GLOBAL; 3]), time);
        let three = service(Policy::new());
        let many = service(other_routes(997));
        let refusing = refusing::<S>(&calls, time);
        let off = service(Policy::new());
        for limit in ["user", "organization", "ip"] {
            assert!(off.set_mode(limit, Mode::Off).is_ok());
        }
        let bypassed = service(Policy::new());
        bypassed.bypass(true);

        let facts: Vec<_> = calls.iter().map(Call::facts).collect();
        let of = |key: &u64| black_box(&facts[*key as usize]);
        for facts in &facts {
            assert!(three.admit(facts, 1).is_ok() && many.admit(facts, 1).is_ok());
        }
        let (clock, hasher) = (time.clock(), S::default());

        let mut race = Race::new();
        race.add("admitted", Answer::Allow, |key| three.admit(of(key), 1).is_ok());
        race.add("refused", Answer::Deny, |key| refusing.admit(of(key), 1).is_ok());
        race.add("admitted, of 1,000 limits", Answer::Allow, |key| many.admit(of(key), 1).is_ok());
        race.add("peeked", Answer::Allow, |key| three.peek(of(key), 1).is_ok());
        race.add("limits off", Answer::Allow, |key| off.admit(of(key), 1).is_ok());
        race.add("bypassed", Answer::Allow, |key| bypassed.admit(of(key), 1).is_ok());
        race.add("the clock", Answer::Allow, |_| black_box(clock.now()) > GIVEN);
        race.add("hashing alone", Answer::Allow, |key| hash_as_three(&hasher, of(key)) > 0);
        race.run(self.rounds, || Keys::new().batch(calls.len(), BATCH))
    }

    fn admit_against_checks(&self) {
        Table::start(
            "`Enforcer::admit` of six facts against three governor checks that are not atomic, by \
             text keys made beforehand",
            "1 times governor",
        );
        if self.wants_size("1k") {
            self.admit_in_debt::<Sip>(Time::Std);
            self.admit_in_debt::<Fold>(Time::Coarse);
        }
        for (size, users) in self.sizes_again() {
            self.admit_again::<Sip>(size, users, Time::Std);
            self.admit_again::<Fold>(size, users, Time::Std);
            self.admit_again::<Fold>(size, users, Time::Moving);
        }
    }

    fn admit_in_debt<S: Hasher>(&self, time: Time) {
        let calls: Vec<Call> = (0..1_000).map(Call::new).collect();
        let roomy = enforcer::<S>(three_limits(Policy::new(), [ROOMY; 3]), time);
        let refusing = refusing::<S>(&calls, time);
        let maps = CallMaps::<S>::new();
        let checks = CallChecks::new([ROOMY; 3], &maps);
        let refusing_checks = CallChecks::new(REFUSING, &maps);
        for call in &calls {
            assert!(admit(&roomy, call, time) && checks.check(call, time));
        }
        for (answer, ours, theirs) in
            [(Answer::Allow, &roomy, &checks), (Answer::Deny, &refusing, &refusing_checks)]
        {
            let of = |key: &u64| black_box(&calls[*key as usize]);
            let mut race = Race::new();
            race.add("tollgate", answer, |key| admit(ours, of(key), time));
            race.add("governor", answer, |key| theirs.check(of(key), time));
            let mut source = Keys::new();
            let ns = race.run(self.rounds, || source.batch(calls.len(), BATCH));
            Table::row("admit 1k", time, S::NAME, answer, &ns, Goal::Times(1.0));
        }
    }

    fn admit_again<S: Hasher>(&self, size: &str, users: usize, time: Time) {
        let ours = enforcer::<S>(three_limits(Policy::new(), policy_again(users)), time);
        let maps = CallMaps::<S>::new();
        let theirs = CallChecks::new(policy_again(users), &maps);
        for call in (0..users as u64).map(Call::new) {
            assert!(admit(&ours, &call, time) && theirs.check(&call, time));
        }
        let mut race = Race::new();
        race.add("tollgate", Answer::Allow, |call| admit(&ours, call, time));
        race.add("governor", Answer::Allow, |call| theirs.check(call, time));
        let mut source = Keys::new();
        let calls = || (0..BATCH / 4).map(|_| Call::new(source.next(users))).collect();
        let ns = race.run(self.rounds, calls);
        let name = format!("admit {size}, again");
        Table::row(&name, time, S::NAME, Answer::Allow, &ns, Goal::Times(1.0));
    }

    fn fresh(&self) {
        const KEYS: usize = 1 << 20;
        Table::start("Fresh keys: 2^20 inserted while the table grows", "1 times governor");
        let keys = if self.wants_size("1M") { KEYS } else { 1 << 10 };
        self.fresh_with::<Sip>(keys);
        self.fresh_with::<Fold>(keys);
        println!();
        let time = Time::Std;
        let limiter = tollgate::<Fold>(keys, time);
        let ours = worst(keys, |key| check(&limiter, key, time));
        let map = Map::with_hasher(Fold::default());
        let governor = Governor::new(&map, ROOMY);
        let theirs = worst(keys, |key| governor.check(key, time));
        let net = rate_net(ROOMY, keys);
        let nets = worst(keys, |key| net.check(*key).is_allow());
        println!(
            "Worst single call while inserting {keys} keys (once each): tollgate {ours:?}, \
             governor {theirs:?}, rate-net {nets:?}."
        );
    }

    fn fresh_with<S: Hasher>(&self, keys: usize) {
        let time = Time::Given;
        let mut race = Race::new();
        let insert = |check: &dyn Fn(&u64) -> bool| (0..keys as u64).filter(check).count();
        // Every contender drops its table within the round.
        race.add_many("tollgate", Answer::Allow, |_: &[u64]| {
            let limiter = tollgate::<S>(keys, time);
            insert(&|key| check(&limiter, key, time))
        });
        race.add_many("governor", Answer::Allow, |_| {
            let map = Map::with_hasher(S::default());
            let governor = Governor::new(&map, ROOMY);
            insert(&|key| governor.check(key, time))
        });
        race.add_many("rate-net", Answer::Allow, |_| {
            let net = rate_net(ROOMY, keys * 2);
            insert(&|key| net.check(*key).is_allow())
        });
        race.without_warm_up();
        let ns = race.run(self.rounds.min(7), || vec![0; keys]);
        Table::row("fresh keys", time, S::NAME, Answer::Allow, &ns, Goal::Times(1.0));
    }

    fn text(&self) {
        Table::start("String keys of 40 bytes", "1.5 times governor");
        for (size, keys) in self.sizes().filter(|(size, _)| *size != "10M") {
            self.text_with::<Sip>(size, keys);
            self.text_with::<Fold>(size, keys);
        }
    }

    fn text_with<S: Hasher>(&self, size: &str, keys: usize) {
        let map: Map<String, S> = Map::with_hasher(S::default());
        let governor = Governor::new(&map, ROOMY);
        let net = rate_net(ROOMY, keys * 2);
        for time in Time::ALL {
            let limiter = tollgate::<S>(keys, time);
            for key in (0..keys as u64).map(text_key) {
                assert!(check(&limiter, &key, time) && governor.check(&key, time));
                assert!(net.check_bytes(&key).is_allow());
            }
            let floor = Floor::<S>::new(limiter.memory());
            let mut race = Race::new();
            race.add("tollgate", Answer::Allow, |key: &String| check(&limiter, key, time));
            race.add("floor", Answer::Allow, |key| floor.check(key, time));
            race.add("governor", Answer::Allow, |key| governor.check(key, time));
            if (time, S::NAME) == (Time::Std, Sip::NAME) {
                race.add("rate-net", Answer::Allow, |key| net.check_bytes(key).is_allow());
            }
            let mut source = Keys::new();
            let ns = race
                .run(self.rounds, || (0..BATCH / 4).map(|_| text_key(source.next(keys))).collect());
            let name = format!("text check {size}");
            Table::row(&name, time, S::NAME, Answer::Allow, &ns, Goal::Times(1.5));
        }
    }

    fn text_again(&self) {
        Table::start("String keys of 40 bytes, full again by the next visit", "1.5 times governor");
        for (size, keys) in self.sizes_again() {
            self.text_again_with::<Sip>(size, keys);
            self.text_again_with::<Fold>(size, keys);
        }
    }

    fn text_again_with<S: Hasher>(&self, size: &str, keys: usize) {
        for time in [Time::Std, Time::Moving] {
            let map: Map<String, S> = Map::with_hasher(S::default());
            let governor = Governor::new(&map, again(keys));
            let limiter = tollgate_of::<S>(again(keys), keys, time);
            for key in (0..keys as u64).map(text_key) {
                assert!(check(&limiter, &key, time) && governor.check(&key, time));
            }
            let mut race = Race::new();
            race.add("tollgate", Answer::Allow, |key: &String| check(&limiter, key, time));
            race.add("governor", Answer::Allow, |key| governor.check(key, time));
            let mut source = Keys::new();
            let texts = || (0..BATCH / 4).map(|_| text_key(source.next(keys))).collect();
            let ns = race.run(self.rounds, texts);
            let name = format!("text check {size}, again");
            let table = bytes(limiter.memory());
            Table::row_and(&name, time, S::NAME, Answer::Allow, &ns, Goal::Times(1.5), &table);
        }
    }

    fn threads(&self) {
        println!("\n## Two threads against one\n");
        println!("| measure | time | hasher | one thread, ns | two, ns a decision | gain |");
        println!("|---|---|---|---|---|---|");
        let (size, keys) = if self.wants_size("1M") { SIZES[1] } else { SIZES[0] };
        let in_debt = Time::ALL.map(|time| (size.to_owned(), keys, ROOMY, time));
        let (size, keys) = AGAIN[1];
        let full_again = (format!("{size}, again"), keys, again(keys), Time::Std);
        for (name, keys, quota, time) in in_debt.into_iter().chain([full_again]) {
            let limiter = tollgate_of::<Fold>(quota, keys, time);
            let map = Map::with_hasher(Fold::default());
            let governor = Governor::new(&map, quota);
            let contenders: [(&str, &Work<'_>); 2] = [
                ("tollgate", &|batch| batch.iter().all(|key| check(&limiter, key, time))),
                ("governor", &|batch| batch.iter().all(|key| governor.check(key, time))),
            ];
            let everything: Vec<u64> = (0..keys as u64).collect();
            let mut source = Keys::new();
            for (_, contender) in &contenders {
                assert!(contender(&everything));
            }
            let mut ns = vec![Vec::new(); 4];
            for _ in 0..self.rounds {
                let batches = [(); 2].map(|()| source.batch(keys, 8 * BATCH));
                for (at, (_, contender)) in contenders.iter().enumerate() {
                    for threads in [1, 2] {
                        let took = together(&batches[..threads], contender);
                        let ops = (threads * batches[0].len()) as f64;
                        ns[2 * at + threads - 1].push(took.as_nanos() as f64 / ops);
                    }
                }
            }
            for (at, (contender, _)) in contenders.iter().enumerate() {
                let (one, two) = (median(&mut ns[2 * at]), median(&mut ns[2 * at + 1]));
                println!(
                    "| {contender} {name} | {} | {} | {one:.1} | {two:.1} | {:.2} (1.8 to reach) |",
                    time.name(),
                    Fold::NAME,
                    one / two
                );
            }
        }
    }

    fn contended(&self) {
        const THREADS: usize = 8;
        println!("\n## {THREADS} threads, three limits, one global that all share\n");
        println!("| contender | time | hasher | ns a decision | p50 | p99.9 | worst |");
        println!("|---|---|---|---|---|---|---|");
        let users = 100_000;
        let time = Time::Std;
        let limiters = Limiters::<Fold>::new(IN_DEBT, users, time);
        let maps = Maps::<Fold>::new();
        let checks = Checks::new(IN_DEBT, &maps);
        let contenders: [(&str, &Check<'_>); 2] = [
            ("tollgate, atomic", &|user| limiters.admit(*user, time)),
            ("governor, three checks", &|user| checks.check(*user, time)),
        ];
        let mut source = Keys::new();
        let mut ns = [Vec::new(), Vec::new()];
        let mut waits = [Vec::new(), Vec::new()];
        for round in 0..self.rounds.min(15) {
            let batches = [(); THREADS].map(|()| source.batch(users, BATCH));
            for (at, (_, contender)) in contenders.iter().enumerate() {
                let took = together(&batches, &|batch| batch.iter().all(contender));
                ns[at].push(took.as_nanos() as f64 / (THREADS * BATCH) as f64);
                if round % 3 == 0 {
                    waits[at].extend(latencies(&batches, contender));
                }
            }
        }
        for (at, (name, _)) in contenders.iter().enumerate() {
            let waits = &mut waits[at];
            waits.sort_unstable();
            let quantile = |q: f64| waits[((waits.len() - 1) as f64 * q) as usize];
            println!(
                "| {name} | {} | {} | {:.1} | {} ns | {} ns | {} ns |",
                time.name(),
                Fold::NAME,
                median(&mut ns[at]),
                quantile(0.5),
                quantile(0.999),
                quantile(1.0),
            );
        }
        println!("\nThe quantiles hold two readings of std's clock, and the scheduler's doing.");
    }

    fn memory(&self) {
        let keys = if self.wants_size("1M") { 1 << 20 } else { 1 << 10 };
        println!("\n## Bytes a live key, {keys} keys, all that `max_keys` has room for\n");
        println!("Bytes asked of the allocator and not given back.\n");
        println!("| key | tollgate (24 to reach) | governor | rate-net |");
        println!("|---|---|---|---|");
        memory_of("u64", keys, |index| index, |net, key| net.check(*key).is_allow());
        memory_of("String of 40", keys, text_key, |net, key| net.check_bytes(key).is_allow());
    }
}

fn memory_of<K: Hash + Eq + Clone>(
    name: &str,
    keys: usize,
    key: impl Fn(u64) -> K,
    check_net: impl Fn(&rate_net::RateLimiter, &K) -> bool,
) {
    let per_key = |region: Region<'_, _>| kept_bytes(&region) / keys as f64;
    let all_keys = || (0..keys as u64).map(&key);

    let region = Region::new(ALLOCATOR);
    let limiter = RateLimiter::builder(ROOMY).max_keys(keys).build();
    assert!(all_keys().all(|key| check(&limiter, &key, Time::Given)));
    let ours = per_key(region);
    assert_eq!(limiter.overflows(), 0);

    let region = Region::new(ALLOCATOR);
    let map = Map::with_hasher(Sip::default());
    let governor = Governor::new(&map, ROOMY);
    assert!(all_keys().all(|key| governor.check(&key, Time::Given)));
    let theirs = per_key(region);

    let region = Region::new(ALLOCATOR);
    let net = rate_net(ROOMY, keys);
    assert!(all_keys().all(|key| check_net(&net, &key)));
    println!("| {name} | {ours:.1} | {theirs:.1} | {:.1} |", per_key(region));
}

/// The cost of one step of a decision, as the difference between two contenders.
const SPENT: [(&str, &str, &[&str]); 6] = [
    ("the clock", "the clock", &[]),
    ("the policy in force, a permit", "bypassed", &["the clock"]),
    ("facts and rules found", "limits off", &["bypassed"]),
    ("three keys hashed", "hashing alone", &[]),
    ("conditions, three looks, the tightest", "peeked", &["limits off", "hashing alone"]),
    ("charges as one, counts, the permit filled", "admitted", &["peeked"]),
];

/// Whether the request was allowed.
type Check<'a> = dyn Fn(&u64) -> bool + Sync + 'a;

/// The longest of `keys` calls, one for each key.
fn worst(keys: usize, check: impl Fn(&u64) -> bool) -> Duration {
    let call = |key| {
        let start = Instant::now();
        assert!(check(&key));
        start.elapsed()
    };
    (0..keys as u64).map(call).max().unwrap_or_default()
}

/// Nanoseconds of each single call.
fn latencies(batches: &[Vec<u64>], check: &Check<'_>) -> Vec<u64> {
    thread::scope(|scope| {
        let threads: Vec<_> = batches
            .iter()
            .map(|batch| {
                scope.spawn(|| {
                    let call = |key| {
                        let start = Instant::now();
                        assert!(check(key), "a row that allows must allow always");
                        start.elapsed().as_nanos() as u64
                    };
                    batch.iter().map(call).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn named(answer: Answer) -> &'static str {
    match answer {
        Answer::Allow => "allow",
        Answer::Deny => "deny",
    }
}

/// The memory of a table, as text.
fn bytes(count: usize) -> String {
    format!("tables of {:.1} KiB", count as f64 / 1024.0)
}

enum Goal {
    None,
    /// At most 1.25 times the floor and 5 ns.
    Floor,
    /// This many times faster than governor.
    Times(f64),
}

struct Table;

impl Table {
    fn start(title: &str, goal: &str) {
        println!("\n## {title}\n");
        println!(
            "| measure | time | hasher | answer | tollgate | floor | to reach | governor | \
             governor / tollgate | others | goal: {goal} |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|");
    }

    fn row(
        measure: &str,
        time: Time,
        hasher: &str,
        answer: Answer,
        ns: &[(&'static str, f64)],
        goal: Goal,
    ) {
        Table::row_and(measure, time, hasher, answer, ns, goal, "");
    }

    /// A row with a remark.
    fn row_and(
        measure: &str,
        time: Time,
        hasher: &str,
        answer: Answer,
        ns: &[(&'static str, f64)],
        goal: Goal,
        remark: &str,
    ) {
        let of = |name| ns.iter().find(|(at, _)| *at == name).map(|(_, ns)| *ns);
        let shown = |ns: Option<f64>| ns.map_or(String::new(), |ns| format!("{ns:.1}"));
        let (ours, floor, governor) = (of("tollgate"), of("floor"), of("governor"));
        let ours = ours.unwrap_or(f64::NAN);
        let limit = match goal {
            Goal::Floor => floor.map(|floor| 1.25 * floor + 5.0),
            Goal::Times(times) => governor.map(|governor| governor / times),
            Goal::None => None,
        };
        let ahead = governor.map(|governor| format!("{:.2}", governor / ours));
        let others = ns
            .iter()
            .filter(|(name, _)| !["tollgate", "floor", "governor"].contains(name))
            .map(|(name, ns)| format!("{name} {ns:.1}"))
            .chain((!remark.is_empty()).then(|| remark.to_owned()))
            .collect::<Vec<_>>();
        let verdict = limit.map_or("", |limit| if ours <= limit { "reached" } else { "**not**" });
        println!(
            "| {measure} | {} | {hasher} | {} | {ours:.1} | {} | {} | {} | {} | {} | {verdict} |",
            time.name(),
            named(answer),
            shown(floor),
            shown(limit),
            shown(governor),
            ahead.unwrap_or_default(),
            others.join(", "),
        );
    }
}

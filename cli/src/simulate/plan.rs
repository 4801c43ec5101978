//! The requests of a scenario, drawn before anything runs. So the runs with and without limits see
//! the same requests, and a limit's decision changes no random draw.

use std::time::Duration;

use rand_distr::{Distribution, Exp, LogNormal, StandardUniform, Uniform};
use tollgate::Timestamp;
use tollgate::simulation::{Random, Simulation};

use super::ScenarioError;
use super::scenario::{Arrivals, Crash, Fact, Group, Pick, Scenario, Service};

/// The most requests of one run.
const MOST: usize = 5_000_000;

/// The quantile at 99 % of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;

/// One future request.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) at: Timestamp,
    /// The index of its group of clients.
    pub(crate) group: u32,
    /// How long the back end works on it.
    pub(crate) service: Duration,
    /// Whether its client never gives its permit back.
    pub(crate) crashes: bool,
    /// For each fact of the group, the index of its value.
    pub(crate) facts: Box<[u64]>,
}

/// All requests of a scenario, in the order in which they arrive.
pub(crate) fn requests(scenario: &Scenario) -> Result<Vec<Request>, ScenarioError> {
    let mut all = Vec::new();
    for (index, group) in scenario.clients.iter().enumerate() {
        // Each group draws from a stream seeded by its name, so adding a group leaves the others as
        // they were.
        let mut random = Simulation::new(scenario.seed ^ fnv(&group.name)).random();
        let most = usize::try_from(group.most).unwrap_or(usize::MAX).min(MOST + 1 - all.len());
        let mut draw = Draw::new(group)?;
        let times = times(group, &mut random, most);
        for (number, at) in times.into_iter().enumerate() {
            all.push(draw.request(index as u32, number as u64, at, &mut random));
        }
        if all.len() > MOST {
            let most = crate::text::count(MOST as u64);
            let what = format!("{}: more than {most} requests arrive", scenario.name);
            return Err(ScenarioError::new(what));
        }
    }
    all.sort_by_key(|request: &Request| request.at);
    Ok(all)
}

fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The random streams of a group, from which it draws each of its requests.
struct Draw<'a> {
    group: &'a Group,
    service: Sampler,
}

enum Sampler {
    Constant(Duration),
    Exponential(Exp<f64>),
    Lognormal(LogNormal<f64>),
}

impl<'a> Draw<'a> {
    fn new(group: &'a Group) -> Result<Draw<'a>, ScenarioError> {
        let service = match group.service {
            Service::Constant { time } => Ok(Sampler::Constant(time)),
            Service::Exponential { mean } => {
                Exp::new(1.0 / mean.as_secs_f64()).map(Sampler::Exponential).map_err(drop)
            }
            Service::Lognormal { median, p99 } => {
                let (median, p99) = (median.as_secs_f64(), p99.as_secs_f64());
                let sigma = (p99 / median).ln() / Z99;
                LogNormal::new(median.ln(), sigma).map(Sampler::Lognormal).map_err(drop)
            }
        };
        let unusable = |()| {
            let name = crate::text::cut(&group.name, 60);
            ScenarioError::new(format!("the service times of `{name}` cannot be drawn"))
        };
        Ok(Draw { group, service: service.map_err(unusable)? })
    }

    fn request(&mut self, group: u32, number: u64, at: Timestamp, random: &mut Random) -> Request {
        let service = match &self.service {
            Sampler::Constant(time) => *time,
            Sampler::Exponential(law) => seconds(law.sample(random)),
            Sampler::Lognormal(law) => seconds(law.sample(random)),
        };
        let facts = self.group.facts.iter().map(|(_, fact)| match fact {
            Fact::Fixed(_) => 0,
            Fact::One { of, pick: Pick::InTurn } => number % of.len(),
            Fact::One { of, pick: Pick::Random } => {
                Uniform::new(0, of.len()).map_or(0, |law| law.sample(random))
            }
        });
        let facts = facts.collect();
        let crashes = match self.group.crash {
            Crash::First(count) => number < count,
            Crash::Share(share) => part(random) < share,
        };
        Request { at, group, service, crashes, facts }
    }
}

/// A random number from 0 (included) to 1 (excluded).
fn part(random: &mut Random) -> f64 {
    StandardUniform.sample(random)
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// When the clients of a group arrive, at most `most` of them.
fn times(group: &Group, random: &mut Random, most: usize) -> Vec<Timestamp> {
    let span = group.end.saturating_sub(group.start);
    let until = |offset: &Duration| *offset < span;
    let at = |offset: Duration| Timestamp::ZERO + group.start + offset;
    match group.arrivals {
        Arrivals::Constant { rate } => {
            let offsets = (0_u64..).map(|number| seconds(number as f64 / rate));
            offsets.take_while(until).take(most).map(at).collect()
        }
        Arrivals::Poisson { rate } => {
            let Ok(gap) = Exp::new(rate) else { return Vec::new() };
            let mut offset = 0.0;
            let offsets = std::iter::from_fn(|| {
                offset += gap.sample(random);
                Some(seconds(offset))
            });
            offsets.take_while(until).take(most).map(at).collect()
        }
        Arrivals::Bursts { size, every } => {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let bursts = (0_u32..).map_while(|number| every.checked_mul(number));
            let offsets = bursts.take_while(until).flat_map(|at| std::iter::repeat_n(at, size));
            offsets.take(most).map(at).collect()
        }
        Arrivals::Ramp { from, to } => {
            let growth = (to - from) / span.as_secs_f64();
            let offsets = (0_u64..).map_while(|number| nth_of_ramp(number, from, growth));
            offsets.take_while(until).take(most).map(at).collect()
        }
    }
}

/// When the client with this number (from 0) arrives, at a rate that grows steadily: where the
/// integral of the rate reaches the number.
fn nth_of_ramp(number: u64, from: f64, growth: f64) -> Option<Duration> {
    let number = number as f64;
    if number == 0.0 {
        return Some(Duration::ZERO);
    }
    let root = (from * from + 2.0 * growth * number).sqrt();
    // NaN if the rate reaches 0 before.
    let offset = 2.0 * number / (from + root);
    offset.is_finite().then(|| seconds(offset))
}

#[cfg(test)]
mod tests {
    use super::super::scenario::Values;
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn group(arrivals: Arrivals) -> Group {
        Group {
            name: "some".to_owned(),
            arrivals,
            start: Duration::ZERO,
            end: MINUTE,
            most: u64::MAX,
            facts: Vec::new(),
            patience: None,
            service: Service::Constant { time: Duration::from_secs(1) },
            crash: Crash::First(0),
        }
    }

    fn plan(seed: u64, clients: Vec<Group>) -> Vec<Request> {
        let scenario = Scenario {
            name: String::new(),
            seed,
            duration: MINUTE,
            backend_limit: None,
            clients,
            stages: Vec::new(),
            policy_path: None,
        };
        requests(&scenario).unwrap_or_else(|_| panic!("it can be drawn"))
    }

    /// Arrival times in milliseconds.
    fn millis(group: Group) -> Vec<u64> {
        plan(1, vec![group]).iter().map(|request| request.at.as_nanos() / 1_000_000).collect()
    }

    #[test]
    fn arrivals_are_where_they_should_be() {
        let constant = millis(group(Arrivals::Constant { rate: 0.1 }));
        assert_eq!(constant, [0, 10_000, 20_000, 30_000, 40_000, 50_000]);
        let every = Duration::from_secs(25);
        let bursts = millis(Group {
            start: Duration::from_secs(5),
            ..group(Arrivals::Bursts { size: 2, every })
        });
        // The arrival at 55 s is before the end at 60 s.
        assert_eq!(bursts, [5_000, 5_000, 30_000, 30_000, 55_000, 55_000]);
        let first = millis(Group { most: 3, ..group(Arrivals::Bursts { size: 2, every }) });
        assert_eq!(first, [0, 0, 25_000]);

        // From 0 to 2 a second in 60 s: t^2 / 60 have arrived by t seconds.
        let up = millis(group(Arrivals::Ramp { from: 0.0, to: 2.0 }));
        assert_eq!(up.len(), 60);
        for (number, at) in up.iter().enumerate() {
            assert_eq!(*at, ((number as f64 * 60.0).sqrt() * 1000.0) as u64, "{number}");
        }
        // In reverse: (60 - t)^2 / 60 are still to arrive after t seconds.
        let down = millis(group(Arrivals::Ramp { from: 2.0, to: 0.0 }));
        assert_eq!(down.len(), 60);
        assert_eq!(down[15], 60_000 - 51_962);
        let level = millis(group(Arrivals::Ramp { from: 0.5, to: 0.5 }));
        assert_eq!(level, millis(group(Arrivals::Constant { rate: 0.5 })));
        assert_eq!(millis(group(Arrivals::Ramp { from: 0.0, to: 0.0 })), [0]);
    }

    #[test]
    fn poisson_arrivals_are_as_many_as_the_rate_says_and_memoryless() {
        let arrivals = plan(1, vec![group(Arrivals::Poisson { rate: 500.0 })]);
        // 30,000 are expected, with a standard deviation of 173.
        assert!((29_300..30_700).contains(&arrivals.len()), "{}", arrivals.len());
        let gaps = arrivals.windows(2).map(|pair| pair[1].at.since(pair[0].at));
        // A gap at least as long as the mean has probability 1/e.
        let long = gaps.filter(|gap| gap.as_nanos() >= 2_000_000).count() as f64;
        let share = long / arrivals.len() as f64;
        assert!((0.355..0.381).contains(&share), "{share}");
    }

    fn sorted_services(service: Service) -> Vec<f64> {
        let clients = group(Arrivals::Constant { rate: 1000.0 });
        let plan = plan(7, vec![Group { service, ..clients }]);
        let mut times: Vec<f64> =
            plan.iter().map(|request| request.service.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    #[test]
    fn service_times_have_the_shape_asked_for() {
        let near = |value: f64, expected: f64, by: f64| {
            assert!((value / expected - 1.0).abs() < by, "{value} is not near {expected}");
        };
        let median = Duration::from_secs(8);
        let times = sorted_services(Service::Lognormal { median, p99: Duration::from_secs(60) });
        near(times[times.len() / 2], 8.0, 0.02);
        near(times[times.len() * 99 / 100], 60.0, 0.04);
        near(times.iter().sum::<f64>() / times.len() as f64, 11.64, 0.02);
        // No spread at all.
        let times = sorted_services(Service::Lognormal { median, p99: median });
        assert!(times.iter().all(|time| (time - 8.0).abs() < 1e-6));

        let times = sorted_services(Service::Exponential { mean: median });
        near(times.iter().sum::<f64>() / times.len() as f64, 8.0, 0.02);
        near(times[times.len() / 2], 8.0 * 2.0_f64.ln(), 0.02);
    }

    #[test]
    fn facts_and_crashes_are_drawn_as_asked_for() {
        let one = |pick| Fact::One { of: Values::Numbers { from: 1, to: 40 }, pick };
        let named = |name: &str, fact| (name.to_owned(), fact);
        let clients = Group {
            facts: vec![named("org", one(Pick::Random)), named("user", one(Pick::InTurn))],
            crash: Crash::Share(0.25),
            ..group(Arrivals::Constant { rate: 1000.0 })
        };
        let drawn = plan(1, vec![clients]);
        let mut orgs = [0; 40];
        for (number, request) in drawn.iter().enumerate() {
            orgs[request.facts[0] as usize] += 1;
            assert_eq!(request.facts[1], number as u64 % 40);
        }
        // 1,500 of each are expected, with a standard deviation of 38.
        assert!(orgs.iter().all(|count| (1_300..1_700).contains(count)), "{orgs:?}");
        let crashes = drawn.iter().filter(|request| request.crashes).count();
        assert!((14_500..15_500).contains(&crashes), "{crashes}");

        let crash = Crash::First(2);
        let drawn = plan(1, vec![Group { crash, ..group(Arrivals::Constant { rate: 1.0 }) }]);
        let crashing: Vec<bool> = drawn.iter().map(|request| request.crashes).collect();
        assert!(crashing[..2].iter().all(|crashes| *crashes));
        assert!(crashing[2..].iter().all(|crashes| !crashes));
    }

    #[test]
    fn a_seed_decides_and_other_clients_change_nothing() {
        let poisson = || group(Arrivals::Poisson { rate: 10.0 });
        let other = || Group { name: "other".to_owned(), ..poisson() };
        let alone = plan(1, vec![poisson()]);
        assert_eq!(alone, plan(1, vec![poisson()]));
        assert_ne!(alone, plan(2, vec![poisson()]));
        let both = plan(1, vec![other(), poisson()]);
        assert!(both.is_sorted_by_key(|request| request.at));
        let again: Vec<(Timestamp, Duration)> = both
            .iter()
            .filter(|request| request.group == 1)
            .map(|request| (request.at, request.service))
            .collect();
        let alone: Vec<(Timestamp, Duration)> =
            alone.iter().map(|request| (request.at, request.service)).collect();
        assert_eq!(again, alone);
        assert!(both.len() > alone.len());
    }
}

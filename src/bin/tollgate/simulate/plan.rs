//! The requests of a scenario, drawn before anything runs: so the run without limits and the run
//! with them see the same ones, and what a limit does changes nobody's luck.

use std::time::Duration;

use rand_distr::{Distribution, Exp, LogNormal, StandardUniform, Uniform};
use tollgate::Timestamp;
use tollgate::simulation::{Random, Simulation};

use super::scenario::{Arrivals, Crash, Fact, Group, Pick, Scenario, Service};
use crate::exit::Failure;

/// The most requests of one run.
const MOST: usize = 5_000_000;

/// The quantile at 99 % of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;

/// One request to come.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) at: Timestamp,
    /// Which group of clients it is from.
    pub(crate) group: u32,
    /// How long the back end works on it.
    pub(crate) service: Duration,
    /// Whether its client never gives back what it was admitted with.
    pub(crate) crashes: bool,
    /// For each fact of the group the place of its value.
    pub(crate) facts: Box<[u64]>,
}

/// All requests of a scenario, in the order in which they arrive.
pub(crate) fn requests(scenario: &Scenario) -> Result<Vec<Request>, Failure> {
    let mut all = Vec::new();
    for (index, group) in scenario.clients.iter().enumerate() {
        // By name, so that other groups are as they were when one is added.
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
            return Err(Failure::Usage(what));
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

/// What a group draws for each of its requests.
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
    fn new(group: &'a Group) -> Result<Draw<'a>, Failure> {
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
            Failure::Usage(format!("the service times of `{name}` cannot be drawn"))
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

/// From 0 to 1, without 1.
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

/// When the one with this number arrives, counted from 0, at a rate that grows steadily: where
/// the integral of the rate reaches the number.
fn nth_of_ramp(number: u64, from: f64, growth: f64) -> Option<Duration> {
    let number = number as f64;
    if number == 0.0 {
        return Some(Duration::ZERO);
    }
    let root = (from * from + 2.0 * growth * number).sqrt();
    // Not a number where the rate reaches 0 before.
    let offset = 2.0 * number / (from + root);
    offset.is_finite().then(|| seconds(offset))
}

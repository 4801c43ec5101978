//! One run of a simulation: the requests of a plan against a policy and a back end, on virtual
//! time. What happens goes into a `Record`.

use std::cell::{RefCell, RefMut};
use std::future::{Future, poll_fn};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tollgate::simulation::{Handle, Simulation};
use tollgate::{Clock, Enforcer, Permit, Policy, PolicyError, Timestamp, WaitError};

use super::ScenarioError;
use super::plan::Request;
use super::record::{Record, Turned};
use super::scenario::{Fact, Group, Scenario, Stage};

/// A hasher without a random seed, so that the same keys are in the same places in every run.
type Hasher = BuildHasherDefault<DefaultHasher>;

/// Which policies are in force.
#[derive(Clone, Copy)]
pub(crate) enum Limits {
    Off,
    AsWritten,
}

struct World {
    handle: Handle,
    enforcer: Enforcer<Hasher>,
    /// The limits that let requests wait; no change of the policy changes which these are.
    waits: Vec<String>,
    record: RefCell<Record>,
}

/// Runs all requests to their end.
pub(crate) fn run(
    scenario: &Rc<Scenario>,
    requests: &Rc<Vec<Request>>,
    limits: Limits,
) -> Result<Record, ScenarioError> {
    let mut simulation = Simulation::new(scenario.seed);
    let policy = |stage: &Stage| match limits {
        Limits::Off => stage.unlimited.clone(),
        Limits::AsWritten => stage.policy.clone(),
    };
    let mut stages = scenario.stages.iter();
    let first = stages.next().map_or_else(Policy::new, policy);
    let enforcer = build(first, simulation.clock()).map_err(|error| unusable(&error))?;
    let record = RefCell::new(Record::of(scenario));
    let waits = scenario.stages.first().map_or_else(Vec::new, |stage| stage.waits.clone());
    let world = Rc::new(World { handle: simulation.handle(), enforcer, waits, record });

    // Spawned first, so that a change takes effect before requests that arrive at the same moment.
    let changes: Vec<(Timestamp, Policy)> = stages.map(|stage| (stage.at, policy(stage))).collect();
    let changed = simulation.spawn(change(world.clone(), changes));
    simulation.spawn(look(world.clone()));
    simulation.spawn(arrive(world.clone(), scenario.clone(), requests.clone()));
    simulation.run();
    if let Some(Err(error)) = changed.output() {
        return Err(unusable(&error));
    }
    drop(simulation);
    match Rc::try_unwrap(world) {
        Ok(world) => Ok(world.record.into_inner()),
        Err(_) => Err(ScenarioError::new("the run did not end".to_owned())),
    }
}

fn unusable(error: &PolicyError) -> ScenarioError {
    ScenarioError::new(format!("the policy cannot be used: {error}"))
}

fn build(policy: Policy, clock: Clock) -> Result<Enforcer<Hasher>, PolicyError> {
    Enforcer::builder(policy).clock(clock).hasher(Hasher::default()).build()
}

/// Changes the policy at the given times.
async fn change(world: Rc<World>, changes: Vec<(Timestamp, Policy)>) -> Result<(), PolicyError> {
    for (at, policy) in changes {
        world.until(at).await;
        world.enforcer.reload(policy)?;
    }
    Ok(())
}

/// Records the slots in use at the end of each step of the time line.
async fn look(world: Rc<World>) {
    let steps = world.record().steps;
    for step in 0..steps.count {
        world.until(steps.end(step)).await;
        for (limit, slots) in in_use(&world.enforcer) {
            world.record().in_use(limit, slots);
        }
    }
}

/// Spawns each request when it is due.
async fn arrive(world: Rc<World>, scenario: Rc<Scenario>, requests: Rc<Vec<Request>>) {
    for number in 0..requests.len() {
        let Some(request) = requests.get(number) else { return };
        world.until(request.at).await;
        let (world, scenario, requests) = (world.clone(), scenario.clone(), requests.clone());
        let handle = world.handle.clone();
        handle.spawn(async move {
            let Some(request) = requests.get(number) else { return };
            let Some(group) = scenario.clients.get(request.group as usize) else { return };
            client(&world, group, request).await;
        });
    }
}

/// One request: admitted, run by the back end and given back, or turned away.
async fn client(world: &World, group: &Group, request: &Request) {
    let (kind, arrived) = (request.group, request.at);
    world.record().arrives(kind, arrived);
    let permit = match world.admit(group, request).await {
        Ok(permit) => permit,
        Err(why) => {
            let now = world.handle.now();
            world.record().turned(kind, arrived, now, &why);
            return;
        }
    };
    let now = world.handle.now();
    world.record().admitted(kind, arrived, now);
    world.record().begins(kind, arrived, now);
    world.handle.sleep(request.service).await;
    world.record().ends(world.handle.now());
    if request.crashes {
        // Its slots come back when their leases end.
        std::mem::forget(permit);
        world.record().crashed(kind, arrived);
    }
}

impl World {
    fn record(&self) -> RefMut<'_, Record> {
        self.record.borrow_mut()
    }

    async fn until(&self, at: Timestamp) {
        self.handle.sleep(at.since(self.handle.now())).await;
    }

    /// The outcome of a request that `limit` turned away after it waited, for this or another
    /// limit.
    fn turned(&self, limit: String) -> Turned {
        if self.waits.contains(&limit) { Turned::TimedOut(limit) } else { Turned::Refused(limit) }
    }

    /// Waits for admission as long as the policy lets the request wait and its client has patience.
    async fn admit(&self, group: &Group, request: &Request) -> Result<Permit, Turned> {
        let texts: Vec<String> = group
            .facts
            .iter()
            .zip(&request.facts)
            .map(|((_, fact), place)| match fact {
                Fact::Fixed(text) => text.clone(),
                Fact::One { of, .. } => of.text(*place),
            })
            .collect();
        let names = group.facts.iter().map(|(name, _)| name.as_str());
        let facts: Vec<(&str, &str)> = names.zip(texts.iter().map(String::as_str)).collect();

        let mut admitted = pin!(admit(&self.enforcer, &facts));
        // A request that is admitted at its first poll did not wait.
        let at_once = poll_fn(|cx| {
            Poll::Ready(match admitted.as_mut().poll(cx) {
                Poll::Ready(admitted) => Some(admitted),
                Poll::Pending => None,
            })
        });
        if let Some(admitted) = at_once.await {
            return admitted.map_err(Turned::Refused);
        }
        self.record().waits(true, self.handle.now());
        let mut patience = pin!(self.handle.sleep(group.patience.unwrap_or(Duration::MAX)));
        let admitted = poll_fn(|cx| {
            // Admission is polled first: a request admitted at the moment of giving up counts as
            // admitted.
            if let Poll::Ready(admitted) = admitted.as_mut().poll(cx) {
                return Poll::Ready(admitted.map_err(|limit| self.turned(limit)));
            }
            patience.as_mut().poll(cx).map(|()| Err(Turned::GaveUp))
        });
        let admitted = admitted.await;
        self.record().waits(false, self.handle.now());
        admitted
    }
}

/// A permit, or the name of the limit that refused it.
async fn admit(enforcer: &Enforcer<Hasher>, facts: &[(&str, &str)]) -> Result<Permit, String> {
    enforcer.admit_waiting(facts, 1).await.map_err(|error| match error {
        WaitError::Denied(refused) => refused.limit().to_owned(),
        // Not reached: a simulation has a timer, and its enforcer is not dropped.
        other => other.to_string(),
    })
}

/// The slots in use of each limit that has slots.
fn in_use(enforcer: &Enforcer<Hasher>) -> impl Iterator<Item = (&'static str, u64)> {
    let limits = enforcer.limits().into_iter();
    limits.filter_map(|limit| Some((limit.name, u64::from(limit.slots?.in_use))))
}

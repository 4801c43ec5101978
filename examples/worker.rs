//! Tasks that query a back end which fails above 100 concurrent queries. 159 tasks want to run; 50
//! do, and the others wait up to a minute for a slot. The limit is rolled out to more and more
//! organizations. `cargo run --example worker --features metrics,policy,simulation`
//!
//! It runs on virtual time, half an hour in a moment, and always in the same way. In a service use
//! `Clock::tokio()` and `tokio::spawn` instead of the simulation's.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tollgate::metrics::{Task, WAIT_BUCKETS};
use tollgate::pacer::Pacer;
use tollgate::simulation::{Handle, Simulation};
use tollgate::status::Verdict;
use tollgate::{Enforcer, Policy, PolicyError};

fn policy(share: &str) -> Result<Policy, PolicyError> {
    let text = r#"
        facts = ["org"]

        [[limit]]
        name       = "queries"
        concurrent = 50
        wait       = "60s"
        lease      = "300s"      # a slot that is not given back comes back by itself
        rollout    = { share = "SHARE", by = ["org"] }
    "#;
    Policy::from_toml(&text.replace("SHARE", share))
}

/// What all tasks share.
struct Backend {
    in_flight: Cell<u32>,
    peak: Cell<u32>,
    simulation: Handle,
}

impl Backend {
    async fn query(&self, nth: u64) -> Result<(), &'static str> {
        self.in_flight.set(self.in_flight.get() + 1);
        self.peak.set(self.peak.get().max(self.in_flight.get()));
        let is_too_much = self.in_flight.get() > 100;
        // From 10 to 30 s.
        let time = Duration::from_millis(10_000 + nth * 7_919 % 20_000);
        self.simulation.sleep(time).await;
        self.in_flight.set(self.in_flight.get() - 1);
        if is_too_much { Err("too many queries") } else { Ok(()) }
    }
}

async fn work(enforcer: Rc<Enforcer>, backend: Rc<Backend>, nth: u64, crashes: bool) {
    let Ok(permit) = enforcer.admit_waiting(&[("org", nth % 40)], 1).await else {
        return Task::skipped("dashboards");
    };
    let task = Task::start("dashboards");
    if crashes {
        // The task crashes and never gives its permit back.
        return std::mem::forget(permit);
    }
    if backend.query(nth).await.is_ok() {
        task.complete();
    }
}

/// Runs 159 tasks, 25 every 2 s, until all are done. Returns the most that were in flight.
fn round(simulation: &mut Simulation, enforcer: &Rc<Enforcer>, crashing: u64) -> u32 {
    let (handle, enforcer) = (simulation.handle(), enforcer.clone());
    let backend = Backend { in_flight: 0.into(), peak: 0.into(), simulation: handle.clone() };
    let backend = Rc::new(backend);
    let shared = backend.clone();
    let pacer = Pacer::new(25, Duration::from_secs(2)).clock(simulation.clock());
    simulation.spawn(async move {
        let mut batches = pacer.batches(0..159);
        while let Ok(Some(batch)) = batches.next().await {
            for nth in batch {
                let crashes = nth < crashing;
                handle.spawn(work(enforcer.clone(), shared.clone(), nth, crashes));
            }
        }
    });
    simulation.run();
    backend.peak.get()
}

fn main() -> Result<(), Box<dyn Error>> {
    let waits = Matcher::Full("tollgate_wait_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(waits, WAIT_BUCKETS)?;
    let metrics = builder.install_recorder()?;
    let mut simulation = Simulation::new(1);
    let enforcer = Enforcer::builder(policy("0%")?).clock(simulation.clock()).build()?;
    let enforcer = Rc::new(enforcer);

    for share in ["0%", "25%", "50%", "100%"] {
        let _ = enforcer.reload(policy(share)?)?;
        let peak = round(&mut simulation, &enforcer, 0);
        println!("{share:>4} of organizations: {peak} in flight at most");
    }
    for explained in enforcer.explain(&[("org", 7)], 1) {
        if let Verdict::Decided { amount, answer: Ok(allowed), .. } = explained.verdict {
            let left = allowed.remaining();
            println!("a request would meet {}: {amount}, {left} left after it", explained.limit);
        }
    }

    let held = || {
        let slots = enforcer.limits().into_iter().find_map(|limit| limit.slots);
        slots.map_or(0, |slots| slots.in_use)
    };
    let peak = round(&mut simulation, &enforcer, 10);
    println!("10 tasks crash: {peak} in flight at most, and {} slots are still held", held());
    simulation.run_for(Duration::from_secs(300));
    println!("300 s later {} are", held());

    enforcer.bypass(true);
    println!("bypassed: {} in flight at most", round(&mut simulation, &enforcer, 0));
    enforcer.bypass(false);

    enforcer.record_metrics();
    let text = metrics.render();
    let words = ["checks", "in_flight", "acquired", "returned", "expired", "wait_", "tasks"];
    let matters = |line: &&str| {
        !line.starts_with('#')
            && !line.contains("_bucket")
            && words.iter().any(|w| line.contains(w))
    };
    let mut lines: Vec<&str> = text.lines().filter(matters).collect();
    lines.sort_unstable();
    println!("\n{}", lines.join("\n"));
    Ok(())
}

//! What is logged, and when: nothing under a lock, no key, and not every refusal.

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use tollgate::{Enforcer, Limit, Overflow, Policy, Quota, VirtualClock};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps events as lines; also calls the enforcer during each event, as a logger may.
#[derive(Clone, Default)]
struct Log {
    lines: Arc<Mutex<Vec<(Level, String)>>>,
    reenters: Arc<Mutex<Option<Arc<Enforcer>>>>,
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tollgate"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.lines.lock().unwrap().push((*event.metadata().level(), line.0));
        let reenters = self.reenters.lock().unwrap().take();
        if let Some(enforcer) = reenters {
            let _ = enforcer.admit(&[("user", "a")], 1);
            enforcer.limits();
            assert!(enforcer.reset("user").is_ok());
            *self.reenters.lock().unwrap() = Some(enforcer);
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Log {
    fn take(&self, level: Level) -> Vec<String> {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        lines.into_iter().filter(|(of, _)| *of == level).map(|(_, line)| line).collect()
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn what_happens_is_told_without_keys_and_without_locks() {
    alone!(what_happens_is_told_without_keys_and_without_locks);
    let log = Log::default();
    let time = VirtualClock::new();
    let user = Limit::new("user", Quota::per_hour(1)).key(["user"]);
    let fresh = Limit::new("fresh", Quota::per_hour(1)).key(["fresh"]).max_keys(8);
    let queries = Limit::concurrent("queries", 1).lease(secs(5)).wait(secs(60));
    let policy = Policy::new()
        .limit(user.when("user", ["*"]))
        .limit(fresh.when("fresh", ["*"]).overflow(Overflow::Allow))
        .limit(queries.when("query", ["*"]));
    let enforcer = Arc::new(Enforcer::builder(policy.clone()).clock(time.clock()).build().unwrap());
    tracing::subscriber::with_default(log.clone(), || {
        // Refusals, ever fewer of them.
        for _ in 0..=2048 {
            let _ = enforcer.admit(&[("user", "SECRET")], 1);
        }
        let told = log.take(Level::DEBUG);
        assert_eq!(told.len(), 12, "1, 2, 4 … 1024, 2048: {told:?}");
        assert!(
            told[0].contains("message=refused limit=\"user\" retry=After(3600s) nth=1"),
            "{told:?}"
        );

        // Leases that run out: logged by the caller that takes the slot back.
        let query = [("query", "SECRET")];
        std::mem::forget(enforcer.admit(&query, 1));
        time.advance(secs(5));
        assert!(log.take(Level::WARN).is_empty(), "nobody has looked");
        let late = enforcer.admit(&query, 1).unwrap();
        let told = log.take(Level::WARN);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("limit=\"queries\" leases=1"), "{told:?}");
        // … or by the holder that gives it back late.
        time.advance(secs(5));
        drop(late);
        assert_eq!(log.take(Level::WARN).len(), 1);
        drop(enforcer.admit(&query, 1).unwrap());
        assert!(log.take(Level::WARN).is_empty(), "each is told once");

        // Overflows, when their number has doubled.
        for nth in 0..1000 {
            let _ = enforcer.admit(&[("fresh", format!("SECRET{nth}").as_str())], 1);
        }
        let overflows = enforcer.limits()[1].overflows;
        assert!(overflows > 100);
        let told = log.take(Level::WARN);
        assert_eq!(told.len() as u32, overflows.ilog2() + 1, "{told:?}");

        // A reload that fails.
        assert!(enforcer.reload(Policy::new().limit(Limit::concurrent("", 1))).is_err());
        let told = log.take(Level::WARN);
        assert!(told[0].contains("policy not replaced") && told[0].contains("name"), "{told:?}");

        // A request that waits in vain.
        let held = enforcer.admit(&query, 1).unwrap();
        let _ = log.take(Level::DEBUG);
        let mut waiting = pin!(enforcer.admit_waiting(&query, 1));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert!(log.take(Level::DEBUG).is_empty());
        let _ = enforcer.reload(Policy::new()).unwrap();
        assert!(waiting.as_mut().poll(&mut cx).is_ready());
        drop(held);
        let _ = enforcer.reload(policy.clone()).unwrap();

        // A subscriber may call the enforcer.
        *log.reenters.lock().unwrap() = Some(enforcer.clone());
        for _ in 0..4 {
            let _ = enforcer.admit(&[("user", "SECRET")], 1);
            std::mem::forget(enforcer.admit(&query, 1));
            time.advance(secs(5));
        }
        assert!(!log.lines.lock().unwrap().is_empty());
        let lines = format!("{:?}", log.lines.lock().unwrap());
        assert!(!lines.contains("SECRET"), "{lines}");
    });
}

#[cfg(feature = "tower")]
#[test]
fn a_layer_warns_once_of_what_would_go_unnoticed() {
    alone!(a_layer_warns_once_of_what_would_go_unnoticed);
    use tollgate::http::{AdmitLayer, ClientAddress, fact};
    use tower::{Layer, Service, service_fn};

    let log = Log::default();
    let user = Limit::new("user", Quota::per_hour(1)).key(["user", "ip"]);
    let deaf = tollgate::Clock::coarse();
    let enforcer =
        Enforcer::builder(Policy::new().limit(user.clone())).clock(deaf).build().unwrap();
    let enforcer = Arc::new(enforcer);
    tracing::subscriber::with_default(log.clone(), || {
        let peer = |at: &std::net::SocketAddr| *at;
        let layer = AdmitLayer::new(enforcer.clone())
            .fact("usr", fact::header("X-User"))
            .fact("ip", fact::client_address(ClientAddress::peer(), peer));
        let handler = service_fn(async |_: http::Request<()>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        });
        let mut service = layer.layer(handler);
        let _another_route = layer.layer(handler);
        let told = log.take(Level::WARN);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(r#"lacking=["user"] unknown=["usr"]"#), "{told:?}");

        let mut cx = Context::from_waker(Waker::noop());
        let mut ask = || {
            let response = pin!(service.call(http::Request::new(()))).poll(&mut cx);
            assert!(response.is_ready());
        };
        ask();
        ask();
        let told = log.take(Level::WARN);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("SocketAddr"), "{told:?}");

        // A wait that a reload brings, on a clock that rings for no waiter.
        let waits = Policy::new().limit(user.wait(secs(5)));
        let _ = enforcer.reload(waits).unwrap();
        ask();
        ask();
        let told = log.take(Level::WARN);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("no timer"), "{told:?}");

        // Nothing to warn of.
        let right = AdmitLayer::new(enforcer.clone())
            .fact("user", fact::header("x-user"))
            .fact("ip", fact::path());
        drop(right.layer(handler));
        assert_eq!(log.take(Level::WARN).len(), 1, "the timer");
    });
}

/// Keeps nothing, and panics at every event while it is set to.
struct Broken(Arc<std::sync::atomic::AtomicBool>);

impl Subscriber for Broken {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tollgate"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        assert!(!self.0.load(std::sync::atomic::Ordering::Relaxed), "the disk is full");
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_logger_that_panics_leaks_no_slot() {
    alone!(a_logger_that_panics_leaks_no_slot);
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let is_broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let break_it = |broken| is_broken.store(broken, std::sync::atomic::Ordering::Relaxed);
    let time = VirtualClock::new();
    let policy = Policy::new()
        .limit(Limit::concurrent("endless", 9))
        .limit(Limit::concurrent("leased", 1).lease(secs(5)));
    let enforcer = Enforcer::builder(policy).clock(time.clock()).build().unwrap();
    let in_use = || {
        let limits = enforcer.limits();
        [0, 1].map(|limit: usize| limits[limit].slots.unwrap().in_use)
    };
    let none: &[(&str, &str)] = &[];
    tracing::subscriber::with_default(Broken(is_broken.clone()), || {
        // Logged while taking: the lease of another holder has run out.
        let held = enforcer.admit(none, 1).unwrap();
        time.advance(secs(5));
        break_it(true);
        assert!(catch_unwind(AssertUnwindSafe(|| enforcer.admit(none, 1))).is_err());
        break_it(false);
        assert_eq!(in_use(), [1, 0]);
        drop(held);
        assert_eq!(in_use(), [0, 0]);

        // Logged while giving back: its own lease has run out.
        let late = enforcer.admit(none, 1).unwrap();
        time.advance(secs(5));
        break_it(true);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(late))).is_err());
        break_it(false);
        assert_eq!(in_use(), [0, 0]);
    });
}

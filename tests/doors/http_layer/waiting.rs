//! Waiting in line for a slot, or for a rate, with a client at the other end.

use std::sync::Arc;
use std::time::Duration;

use tollgate::http::{AdmitLayer, fact};
use tollgate::{Clock, Enforcer, Limit, Mode, Policy, Quota};

use super::server::{Begun, Does, Gate, Handler, Server, Told, Under, meanwhile, until};

const WAIT: Duration = Duration::from_secs(60);

fn slots(cap: u32) -> Policy {
    Policy::new().limit(Limit::concurrent("slots", cap).wait(WAIT).max_waiters(8))
}

/// A client that has the only slot, and others that wait in line for it.
struct Line {
    gate: Gate,
    server: Server,
    /// None of one who has left. The first has the slot.
    clients: Vec<Option<Begun>>,
}

impl Line {
    async fn new(under: Under, waiting: usize) -> (Line, Handler) {
        let gate = Gate::new(slots(1));
        let server = Server::start(under, gate.layer()).await;
        let mut line = Line { gate, server, clients: Vec::new() };
        line.comes().await;
        let first = line.server.handler().await;
        for nth in 1..=waiting {
            line.comes().await;
            until(|| line.stand() == nth).await;
        }
        assert!(line.server.asks_nothing().await);
        (line, first)
    }

    async fn comes(&mut self) {
        let path = format!("/held/{}", self.clients.len());
        self.clients.push(Some(self.server.client().await.begin(&path, &[])));
    }

    async fn leaves(&mut self, nth: usize) {
        let stood = self.stand();
        self.clients[nth] = None;
        until(|| self.stand() == stood - 1).await;
    }

    fn stand(&self) -> usize {
        self.gate.waiting("slots")
    }

    async fn told(&mut self, nth: usize) -> Told {
        self.clients[nth].as_mut().expect("it has not left").told().await
    }

    /// The next to be served is this one, and it ends well.
    async fn is_served(&mut self, nth: usize) {
        let handler = self.server.handler().await;
        assert_eq!(handler.path, format!("/held/{nth}"));
        assert!(self.server.asks_nothing().await, "one at a time");
        handler.answers("done");
        let told = self.told(nth).await;
        assert_eq!((told.status, &*told.body), (200, "done"));
    }

    async fn is_over(&self) {
        until(|| self.gate.in_use("slots") == 0 && self.stand() == 0).await;
        let slots = self.gate.limit("slots");
        assert_eq!(slots.acquired, slots.returned);
        assert_eq!(self.server.client().await.get("/", &[]).await.status, 200);
    }
}

#[tokio::test]
async fn first_come_first_served() {
    for under in Under::ALL {
        let (mut line, first) = Line::new(under, 5).await;
        first.answers("done");
        assert_eq!(line.told(0).await.header("ratelimit"), r#""slots";r=0"#);
        for nth in 1..=5 {
            line.is_served(nth).await;
        }
        assert_eq!(line.gate.limit("slots").acquired, 6, "{under:?}");
        line.is_over().await;
    }
}

/// The next comes in when the body has ended, not when it begins.
#[tokio::test]
async fn for_the_end_of_a_body() {
    for under in Under::ALL {
        let (mut line, first) = Line::new(under, 1).await;
        let stream = first.streams();
        stream.sends(b"a").await;
        meanwhile().await;
        assert!(line.stand() == 1 && line.server.asks_nothing().await, "{under:?}");
        drop(stream);
        line.is_served(1).await;
        line.is_over().await;
    }
}

#[tokio::test]
async fn who_leaves_strands_nobody() {
    for under in Under::ALL {
        for leaves in [&[1][..], &[2], &[4], &[1, 2, 3], &[1, 2, 3, 4]] {
            let (mut line, first) = Line::new(under, 4).await;
            for nth in leaves {
                line.leaves(*nth).await;
            }
            assert_eq!(line.stand(), 4 - leaves.len(), "{under:?}: {leaves:?}");
            first.answers("done");
            for nth in (1..=4).filter(|nth| !leaves.contains(nth)) {
                line.is_served(nth).await;
            }
            line.is_over().await;
        }
    }
}

/// Its turn comes while its client goes: whatever is first, the turn passes on.
#[tokio::test]
async fn who_leaves_when_its_turn_comes_strands_nobody() {
    for under in Under::ALL {
        let (mut line, first) = Line::new(under, 2).await;
        line.clients[1] = None;
        first.answers("done");
        let mut handler = line.server.handler().await;
        if handler.path == "/held/1" {
            handler.dropped().await;
            handler = line.server.handler().await;
        }
        assert_eq!(handler.path, "/held/2", "{under:?}");
        handler.answers("done");
        assert_eq!(line.told(2).await.status, 200);
        line.is_over().await;
    }
}

#[tokio::test]
async fn the_turn_passes_on_when_a_handler_panics_or_its_client_hangs_up() {
    for under in Under::ALL {
        let (mut line, first) = Line::new(under, 3).await;
        first.does(Does::Panics);
        assert!(line.clients[0].as_mut().unwrap().head().await.is_err());
        let second = line.server.handler().await;
        line.clients[1] = None;
        second.dropped().await;
        let third = line.server.handler().await;
        let stream = third.streams();
        stream.sends(b"a").await;
        line.clients[2] = None;
        stream.dropped().await;
        line.is_served(3).await;
        line.is_over().await;
    }
}

#[tokio::test]
async fn who_waits_too_long_is_refused() {
    for under in Under::ALL {
        let (mut line, first) = Line::new(under, 1).await;
        line.gate.time.advance(WAIT / 2);
        line.comes().await;
        until(|| line.stand() == 2).await;
        line.gate.time.advance(WAIT / 2);
        let told = line.told(1).await;
        assert_eq!((told.status, told.header("ratelimit")), (503, r#""slots";r=0"#), "{under:?}");
        assert_eq!(told.header("retry-after"), "-", "nobody knows how long it takes");
        assert_eq!(line.stand(), 1);
        first.answers("done");
        line.is_served(2).await;
        assert_eq!(line.gate.limit("slots").timeouts, 1);
        assert_eq!(line.server.calls(), 2);
        line.is_over().await;
    }
}

#[tokio::test]
async fn a_line_that_is_full_refuses_at_once() {
    for under in [Under::Axum1, Under::Hyper2] {
        let (mut line, first) = Line::new(under, 8).await;
        let told = line.server.client().await.get("/", &[]).await;
        assert_eq!(told.status, 503, "{under:?}");
        line.leaves(3).await;
        line.comes().await;
        until(|| line.stand() == 8).await;
        first.answers("done");
        for nth in (1..=9).filter(|nth| *nth != 3) {
            line.is_served(nth).await;
        }
        line.is_over().await;
    }
}

#[tokio::test]
async fn a_change_lets_those_in_who_wait() {
    for under in Under::ALL {
        for change in ["cap", "gone", "off", "shadow", "bypass", "reset"] {
            let (mut line, first) = Line::new(under, 1).await;
            let enforcer = &line.gate.enforcer;
            match change {
                "cap" => drop(enforcer.reload(slots(2)).unwrap()),
                "gone" => drop(enforcer.reload(Policy::new()).unwrap()),
                "off" => enforcer.set_mode("slots", Mode::Off).unwrap(),
                "shadow" => enforcer.set_mode("slots", Mode::Shadow).unwrap(),
                "bypass" => enforcer.bypass(true),
                _ => enforcer.reset("slots").unwrap(),
            }
            line.is_served(1).await;
            first.answers("done");
            assert_eq!(line.told(0).await.status, 200, "{under:?}: {change}");
            line.gate.enforcer.bypass(false);
            let _ = line.gate.enforcer.reload(slots(1)).unwrap();
            line.is_over().await;
        }
    }
}

/// A rate whose wait exceeds the time limit refuses immediately, and is named in the refusal.
#[tokio::test]
async fn for_a_rate() {
    for under in Under::ALL {
        let user = Limit::new("user", Quota::per_minute(60).burst(1)).key(["user"]);
        let gate = Gate::new(Policy::new().limit(user.wait(Duration::from_secs(2))));
        let layer = gate.layer().fact("user", fact::header("x-user"));
        let server = Server::start(under, layer).await;
        let ann = [("x-user", "ann")];
        assert_eq!(server.client().await.get("/", &ann).await.status, 200);
        let mut second = server.client().await.begin("/", &ann);
        until(|| gate.waiting("user") == 1).await;
        // Another caller has another line.
        assert_eq!(server.client().await.get("/", &[("x-user", "bob")]).await.status, 200);
        gate.time.advance(Duration::from_millis(999));
        meanwhile().await;
        assert_eq!((gate.waiting("user"), server.calls()), (1, 2), "{under:?}");
        gate.time.advance(Duration::from_millis(1));
        let told = second.told().await;
        assert_eq!((told.status, told.header("ratelimit")), (200, r#""user";r=0;t=1"#));
    }
}

#[tokio::test]
async fn without_a_timer_nobody_waits() {
    for under in Under::ALL {
        let enforcer = Enforcer::builder(slots(1)).clock(Clock::monotonic()).build().unwrap();
        let enforcer = Arc::new(enforcer);
        let server = Server::start(under, AdmitLayer::new(enforcer.clone())).await;
        let mut begun = server.client().await.begin("/held", &[]);
        let handler = server.handler().await;
        let told = server.client().await.get("/", &[]).await;
        assert_eq!((told.status, told.header("retry-after")), (503, "-"), "{under:?}");
        assert!(told.body.contains(r#"["slots"]"#));
        handler.answers("done");
        assert_eq!(begun.told().await.status, 200);
        until(|| enforcer.limits()[0].slots.unwrap().in_use == 0).await;
        assert_eq!(server.client().await.get("/", &[]).await.status, 200);
    }
}

/// A server that stops still serves its waiters.
#[tokio::test]
async fn a_server_that_stops_lets_in_who_waits() {
    for under in [Under::Axum1, Under::Axum2] {
        let (mut line, first) = Line::new(under, 2).await;
        line.server.stop();
        meanwhile().await;
        first.answers("done");
        line.is_served(1).await;
        line.is_served(2).await;
        line.server.stopped().await;
        assert_eq!((line.gate.in_use("slots"), line.gate.waiting("slots")), (0, 0));
    }
}

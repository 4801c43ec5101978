//! A server under many kinds of failure at the same time. When all clients are gone, nothing may be
//! left of them.
//!
//! `TOLLGATE_SOAK_SECONDS` sets the duration; the default is 3.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Sleep, sleep};
use tollgate::http::{AdmitLayer, ClientAddress, Settle, fact};
use tollgate::status::LimitStatus;
use tollgate::{Clock, Enforcer, Limit, Mode, Policy, Quota};

use crate::ALLOCATOR;

/// The cap that is never exceeded, whatever else happens.
const CAP: u32 = 16;
/// What a second half of a soak may hold on to more than the first.
const MORE_BYTES: i64 = 1 << 20;
/// What a limit may have for its keys.
const TABLE_BYTES: usize = 1 << 20;
const MAX_KEYS: usize = 1_024;
/// How long until a soak counts as hung.
const GUARD: Duration = Duration::from_secs(60);

fn policy(tight: bool) -> Policy {
    let rate = |name: &'static str, each: u64| {
        let each = if tight { each / 2 } else { each };
        Limit::new(name, Quota::per_second(each)).key([name]).max_keys(MAX_KEYS)
    };
    // Longer than anything takes here: its slots are free when they are given back, not before.
    let slots = Limit::concurrent("slots", if tight { CAP * 3 / 4 } else { CAP })
        .lease(Duration::from_secs(600))
        .wait(Duration::from_millis(30))
        .max_waiters(32);
    // Shorter than much: slots that are given back late.
    let brief = Limit::concurrent("brief", 8).key(["org"]).lease(Duration::from_millis(20));
    Policy::new()
        .limit(rate("user", 20).wait(Duration::from_millis(20)))
        .limit(rate("org", 400))
        .limit(rate("ip", 2_000))
        .limit(brief)
        .limit(slots)
}

/// How often each thing happened.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<&'static str, u64>>);

impl Seen {
    fn one(&self, what: &'static str) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }

    fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap().clone()
    }
}

/// Requests that handlers and bodies are working on, counted independently of the server.
#[derive(Default)]
struct AtWork {
    now: AtomicI64,
    most: AtomicI64,
    handled: AtomicU64,
}

struct Working(Arc<AtWork>);

impl Working {
    fn new(at: &Arc<AtWork>) -> Working {
        let now = at.now.fetch_add(1, Ordering::SeqCst) + 1;
        at.most.fetch_max(now, Ordering::SeqCst);
        at.handled.fetch_add(1, Ordering::Relaxed);
        Working(at.clone())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A body of some chunks, with a pause before each.
struct Chunks {
    left: u32,
    chunk: Bytes,
    pause: Duration,
    pausing: Pin<Box<Sleep>>,
    panics: bool,
    working: Option<Working>,
}

impl Chunks {
    fn new(left: u32, size: usize, pause: Duration, working: Working) -> Chunks {
        let chunk = Bytes::from(vec![b'x'; size]);
        let pausing = Box::pin(sleep(pause));
        Chunks { left, chunk, pause, pausing, panics: false, working: Some(working) }
    }
}

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.pause.is_zero() {
            ready!(self.pausing.as_mut().poll(cx));
        }
        if self.left == 0 {
            if self.panics {
                // Without the messages of panics, since there are thousands.
                resume_unwind(Box::new("a body that panics was asked for"));
            }
            self.working = None;
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.pausing = Box::pin(sleep(self.pause));
        Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))))
    }
}

async fn handle(
    State(at_work): State<Arc<AtWork>>,
    request: Request,
) -> Result<http::Response<Body>, StatusCode> {
    let working = Working::new(&at_work);
    let settles = request.uri().path() == "/settle";
    let short = Duration::from_millis(2);
    let body = match request.uri().path() {
        "/slow" => {
            sleep(short).await;
            Chunks::new(1, 100, Duration::ZERO, working)
        }
        "/panic" => resume_unwind(Box::new("a handler that panics was asked for")),
        "/panic-late" => Chunks { panics: true, ..Chunks::new(2, 100, short, working) },
        "/error" => return Err(StatusCode::INTERNAL_SERVER_ERROR),
        "/read" => {
            // Half a body is an error, and gets no response.
            let read = request.into_body().collect().await;
            read.map_err(|_| StatusCode::BAD_REQUEST)?;
            Chunks::new(1, 100, Duration::ZERO, working)
        }
        "/drip" => Chunks::new(5, 1_000, short, working),
        "/flood" => Chunks::new(2_000, 65_536, Duration::ZERO, working),
        _ => Chunks::new(1, 100, Duration::ZERO, working),
    };
    let mut response = http::Response::new(Body::new(body));
    if settles {
        response.extensions_mut().insert(Settle(0));
    }
    Ok(response)
}

/// One client after the other, of one kind, until it is time to stop.
struct Clients {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    seen: Arc<Seen>,
    random: SmallRng,
    fresh: Arc<AtomicU64>,
}

impl Clients {
    fn request(&mut self, path: &str) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::new(Full::default());
        *request.uri_mut() = format!("http://soak{path}").parse().unwrap();
        let user = match self.random.random_range(0..8) {
            // A caller that was never here before, and never comes back.
            0 => format!("fresh-{}", self.fresh.fetch_add(1, Ordering::Relaxed)),
            _ => format!("user-{}", self.random.random_range(0..24)),
        };
        let org = format!("org-{}", self.random.random_range(0..4));
        let ip = format!("192.0.2.{}", self.random.random_range(0..64));
        for (name, value) in [("x-user", user), ("x-org", org), ("x-forwarded-for", ip)] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    }

    async fn http1(&self) -> Option<(http1::SendRequest<Full<Bytes>>, JoinHandle<()>)> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        Some((sender, tokio::spawn(async { drop(connection.await) })))
    }

    fn told(&self, response: &http::Response<Incoming>) {
        let headers = response.headers();
        let limited = headers.contains_key("ratelimit");
        self.seen.one(match (response.status().as_u16(), limited) {
            (200, true) => "admitted",
            (429, true) => "refused by a rate",
            (503, true) => "refused by slots",
            (500, true) => "failed",
            (status, limited) => panic!("{status}, limits told: {limited}"),
        });
    }

    /// Keeps its connection, and reads what it gets.
    async fn behaves(mut self) {
        while !self.is_over() {
            let Some((mut sender, connection)) = self.http1().await else { continue };
            for _ in 0..self.random.random_range(1..50) {
                let path =
                    ["/", "/slow", "/drip", "/error", "/settle"][self.random.random_range(0..5)];
                let request = self.request(path);
                let sent = async {
                    sender.ready().await?;
                    sender.send_request(request).await
                };
                let Ok(response) = sent.await else { break };
                self.told(&response);
                if response.into_body().collect().await.is_err() {
                    break;
                }
            }
            connection.abort();
        }
    }

    /// Many concurrent requests on a connection, some of which it cancels.
    async fn multiplexes(mut self) {
        while !self.is_over() {
            let Ok(stream) = TcpStream::connect(self.address).await else { continue };
            let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let Ok((sender, connection)) = shaken else { continue };
            let connection = tokio::spawn(async { drop(connection.await) });
            let mut all = JoinSet::new();
            for _ in 0..20 {
                let path = ["/", "/slow", "/drip", "/panic"][self.random.random_range(0..4)];
                let (mut sender, request) = (sender.clone(), self.request(path));
                let gives_up = self.random.random_range(0..3) == 0;
                let patience = Duration::from_micros(self.random.random_range(0..3_000));
                let seen = self.seen.clone();
                all.spawn(async move {
                    let answered = async {
                        sender.ready().await.ok()?;
                        sender.send_request(request).await.ok()?.into_body().collect().await.ok()
                    };
                    if gives_up {
                        let given_up = tokio::time::timeout(patience, answered).await.is_err();
                        seen.one(if given_up { "gave up a stream" } else { "was fast enough" });
                    } else {
                        answered.await;
                    }
                });
            }
            while all.join_next().await.is_some() {}
            connection.abort();
        }
    }

    async fn hangs_up_before_the_response(mut self) {
        while !self.is_over() {
            let Some((mut sender, connection)) = self.http1().await else { continue };
            let request = self.request("/slow");
            let patience = Duration::from_micros(self.random.random_range(100..2_000));
            let answered = tokio::time::timeout(patience, sender.send_request(request)).await;
            self.seen.one(if answered.is_err() { "hung up before" } else { "was fast enough" });
            connection.abort();
        }
    }

    async fn hangs_up_in_the_middle(mut self, stalls: bool) {
        while !self.is_over() {
            let Some((mut sender, connection)) = self.http1().await else { continue };
            let request = self.request(if stalls { "/flood" } else { "/drip" });
            if let Ok(response) = sender.send_request(request).await {
                let admitted = response.status() == 200;
                let mut body = response.into_body();
                let begun = matches!(body.frame().await, Some(Ok(_)));
                if stalls && admitted {
                    sleep(Duration::from_millis(40)).await;
                }
                if admitted && begun {
                    self.seen.one(if stalls { "stalled" } else { "hung up in the middle" });
                } else {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            connection.abort();
        }
    }

    async fn sends_half(mut self) {
        while !self.is_over() {
            let Ok(mut stream) = TcpStream::connect(self.address).await else { continue };
            let request = self.request("/read");
            let mut head = b"POST /read HTTP/1.1\r\nhost: soak\r\ncontent-length: 99\r\n".to_vec();
            for (name, value) in request.headers() {
                head.extend_from_slice(name.as_str().as_bytes());
                head.extend_from_slice(b": ");
                head.extend_from_slice(value.as_bytes());
                head.extend_from_slice(b"\r\n");
            }
            let all = [&head[..], b"\r\nthe rest is mis"].concat();
            let sent = if self.random.random_range(0..2) == 0 { head.len() / 2 } else { all.len() };
            if stream.write_all(&all[..sent]).await.is_ok() {
                sleep(Duration::from_millis(3)).await;
                self.seen.one(if sent == all.len() { "half a body" } else { "half a head" });
            }
        }
    }

    async fn makes_it_panic(mut self) {
        while !self.is_over() {
            let Some((mut sender, connection)) = self.http1().await else { continue };
            let late = self.random.random_range(0..2) == 0;
            let request = self.request(if late { "/panic-late" } else { "/panic" });
            let panicked = match sender.send_request(request).await {
                Ok(response) => response.into_body().collect().await.is_err(),
                Err(_) => true,
            };
            match (panicked, late) {
                (true, false) => self.seen.one("panicked at once"),
                (true, true) => self.seen.one("panicked late"),
                (false, _) => sleep(Duration::from_millis(1)).await,
            }
            connection.abort();
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Changes what it can while all this goes on, but nothing that would let in more than `CAP`.
async fn operates(enforcer: Arc<Enforcer>, stop: Arc<AtomicBool>, seen: Arc<Seen>) {
    for nth in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let rate = ["user", "org", "ip", "brief"][nth as usize % 4];
        match nth / 4 % 5 {
            0 => drop(enforcer.reload(policy(nth % 8 < 4)).unwrap()),
            1 => assert!(enforcer.reload(Policy::new().limit(Limit::concurrent("", 1))).is_err()),
            2 => enforcer.set_mode(rate, [Mode::Shadow, Mode::Off][nth as usize / 20 % 2]).unwrap(),
            3 => enforcer.set_mode(rate, Mode::Enforce).unwrap(),
            _ => enforcer.reset(rate).unwrap(),
        }
        seen.one("changed");
        if limit(&enforcer, "slots").waiting > 0 {
            seen.one("stood in line");
        }
        sleep(Duration::from_millis(3)).await;
    }
    for name in ["user", "org", "ip", "brief"] {
        enforcer.set_mode(name, Mode::Enforce).unwrap();
    }
}

fn limit(enforcer: &Enforcer, name: &str) -> LimitStatus {
    enforcer.limits().into_iter().find(|limit| limit.name == name).expect("a limit")
}

/// Waits until it is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let so = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(GUARD, so).await.is_ok(), "it never came to be: {what}");
}

/// Bytes that are allocated now.
fn live_bytes() -> i64 {
    let stats = ALLOCATOR.stats();
    // Of a reallocation only the difference counts, and it may be less.
    stats.bytes_allocated as i64 - stats.bytes_deallocated as i64
}

struct Soak {
    address: SocketAddr,
    enforcer: Arc<Enforcer>,
    at_work: Arc<AtWork>,
    seen: Arc<Seen>,
    fresh: Arc<AtomicU64>,
    /// The tasks that exist while there are no clients.
    tasks: usize,
}

impl Soak {
    /// Everything at once for so long, until all are gone.
    async fn run(&self, time: Duration, seed: u64) {
        let stop = Arc::new(AtomicBool::new(false));
        let mut all = JoinSet::new();
        for nth in 0..36 {
            let clients = Clients {
                address: self.address,
                stop: stop.clone(),
                seen: self.seen.clone(),
                random: SmallRng::seed_from_u64(seed << 32 | nth),
                fresh: self.fresh.clone(),
            };
            match nth % 9 {
                0..=2 => all.spawn(clients.behaves()),
                3 => all.spawn(clients.multiplexes()),
                4 => all.spawn(clients.hangs_up_before_the_response()),
                5 => all.spawn(clients.hangs_up_in_the_middle(false)),
                6 => all.spawn(clients.hangs_up_in_the_middle(true)),
                7 => all.spawn(clients.sends_half()),
                _ => all.spawn(clients.makes_it_panic()),
            };
        }
        all.spawn(operates(self.enforcer.clone(), stop.clone(), self.seen.clone()));
        sleep(time).await;
        stop.store(true, Ordering::Relaxed);
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
        self.is_quiet().await;
    }

    async fn is_quiet(&self) {
        let metrics = Handle::current().metrics();
        until("nobody at work", || self.at_work.now.load(Ordering::SeqCst) == 0).await;
        until("no connection left", || metrics.num_alive_tasks() <= self.tasks).await;
        for limit in self.enforcer.limits() {
            assert_eq!(limit.waiting, 0, "{limit:?}");
            if let Some(slots) = limit.slots {
                assert_eq!((slots.in_use, slots.overdue), (0, 0), "{limit:?}");
            }
            assert_eq!(limit.acquired, limit.returned, "{limit:?}");
            assert!(limit.memory <= TABLE_BYTES, "{limit:?}");
        }
        let most = self.at_work.most.load(Ordering::SeqCst);
        assert!(most <= i64::from(CAP), "{most} at work at once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_goes_wrong_nothing_is_left() {
    alone!(whatever_goes_wrong_nothing_is_left);
    let seconds = std::env::var("TOLLGATE_SOAK_SECONDS").ok();
    let seconds: f64 = seconds.map_or(3.0, |text| text.parse().expect("a number of seconds"));

    let enforcer = Enforcer::builder(policy(false)).clock(Clock::tokio()).build().unwrap();
    let enforcer = Arc::new(enforcer);
    let at_work = Arc::new(AtWork::default());
    let peer = |ConnectInfo(peer): &ConnectInfo<SocketAddr>| *peer;
    let layer = AdmitLayer::new(enforcer.clone())
        .fact("user", fact::header("x-user"))
        .fact("org", fact::header("x-org"))
        .fact("ip", fact::client_address(ClientAddress::hops(1), peer));
    let router = axum::Router::new().fallback(handle).with_state(at_work.clone()).layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async { axum::serve(listener, service).await.unwrap() });

    let (seen, fresh) = (Arc::default(), Arc::default());
    let tasks = Handle::current().metrics().num_alive_tasks();
    let soak = Soak { address, enforcer, at_work, seen, fresh, tasks };
    soak.run(Duration::from_secs_f64(seconds / 3.0), 1).await;
    let warm = live_bytes();
    soak.run(Duration::from_secs_f64(seconds * 2.0 / 3.0), 2).await;
    let grown = live_bytes() - warm;

    let seen = soak.seen.all();
    println!("{seen:#?}");
    let most = soak.at_work.most.load(Ordering::SeqCst);
    let handled = soak.at_work.handled.load(Ordering::Relaxed);
    let fresh = soak.fresh.load(Ordering::Relaxed);
    println!("{handled} handled, at most {most} at once; {fresh} fresh keys; {grown} bytes more");
    assert!(grown <= MORE_BYTES, "{grown} bytes more than when it was warm");
    assert!(most > i64::from(CAP) / 2, "only {most} at once: that is no load");
    for what in [
        "admitted",
        "refused by a rate",
        "refused by slots",
        "failed",
        "gave up a stream",
        "hung up before",
        "hung up in the middle",
        "stalled",
        "half a head",
        "half a body",
        "panicked at once",
        "panicked late",
        "changed",
        "stood in line",
    ] {
        assert!(seen.get(what).is_some_and(|times| *times > 2), "{what} hardly happened: {seen:?}");
    }
    let brief = limit(&soak.enforcer, "brief").slots.unwrap();
    assert!(brief.expired > 0 && brief.late > 0, "no lease was over: {brief:?}");
    let totals = soak.enforcer.totals();
    assert!(totals.reloads > 2 && totals.failed_reloads > 2, "{totals:?}");
}

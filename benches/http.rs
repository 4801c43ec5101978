//! Measures the cost of the HTTP layer for a server: over loopback at full load, and in process.
//!
//! `cargo bench --bench http --features tower` runs everything (two minutes); arguments select
//! parts: `cargo bench --bench http --features tower -- sockets` or `calls`. Prints Markdown.
//!
//! Servers take turns within one run, a round each; each has a thread of its own and is idle
//! outside its turn. So that the server is the bottleneck, the clients are as cheap as possible:
//! they send prepared bytes on keep-alive connections, from another thread.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod harness;

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use harness::{Answer, BATCH, Race, Run, machine, median, worked_nanos};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tollgate::http::{AdmitLayer, ClientAddress, HeaderStyle, Refusals, fact};
use tollgate::{Enforcer, Limit, Policy, Quota};
use tower::util::MapRequestLayer;
use tower::{Layer, Service, service_fn};

const USERS: usize = 1_000;
const CONNECTIONS: usize = 16;
/// Requests per round on each connection.
const EACH: usize = 400;

fn main() {
    let run = Run::from_args();
    println!("{}\n", machine());
    println!("Three limits (user, organization, address), the draft's headers.");
    if run.wants("sockets") {
        run.sockets();
    }
    if run.wants("calls") {
        run.calls();
    }
}

const ROOMY: Quota = Quota::per_second(1_000_000_000);
const TIGHT: Quota = Quota::per_day(1);

/// Three limits; either none of them or one refuses.
fn layer(answer: Answer) -> AdmitLayer {
    let limit = |name: &'static str, quota| Limit::new(name, quota).key([name]);
    let user = if answer == Answer::Allow { ROOMY } else { TIGHT };
    let policy = Policy::new()
        .limit(limit("user", user))
        .limit(limit("org", ROOMY))
        .limit(limit("ip", ROOMY));
    let peer = |ConnectInfo(peer): &ConnectInfo<SocketAddr>| *peer;
    AdmitLayer::new(Enforcer::builder(policy).build().expect("a policy that is right"))
        .fact("user", fact::header("x-user"))
        .fact("org", fact::header("x-org"))
        .fact("ip", fact::client_address(ClientAddress::peer(), peer))
}

/// A server on a thread of its own.
struct Server {
    name: &'static str,
    path: &'static str,
    /// The first and the last bytes of its responses.
    expected: (&'static [u8], &'static [u8]),
    address: SocketAddr,
    handle: Handle,
}

impl Server {
    fn start(
        name: &'static str,
        path: &'static str,
        layered: impl FnOnce(Router) -> Router + Send + 'static,
        answer: Answer,
    ) -> Server {
        let expected: (&[u8], &[u8]) = match (answer, path) {
            (Answer::Allow, "/") => (b"HTTP/1.1 200", b"\r\n\r\nhello"),
            (Answer::Allow, _) => (b"HTTP/1.1 200", b"}]"),
            (Answer::Deny, _) => (b"HTTP/1.1 429", b"}"),
        };
        let (to, started) = mpsc::channel();
        thread::spawn(move || {
            let runtime = runtime();
            let router = Router::new()
                .route("/", get(|| async { "hello" }))
                .route("/page", get(|| async { axum::Json(page()) }));
            let router = layered(router);
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = listener.local_addr().expect("its address");
                to.send((address, Handle::current())).expect("somebody asked");
                let service = router.into_make_service_with_connect_info::<SocketAddr>();
                axum::serve(listener, service).await.expect("it serves for ever");
            });
        });
        let (address, handle) = started.recv().expect("it started");
        Server { name, path, expected, address, handle }
    }

    /// Nanoseconds that the server's thread has run.
    async fn worked(&self) -> u64 {
        self.handle.spawn(async { worked_nanos() }).await.expect("it goes on")
    }

    /// Sends requests on all connections concurrently; returns requests per second, and nanoseconds
    /// of work per request.
    async fn round(&self, connections: &mut [TcpStream], each: usize) -> (f64, f64) {
        let worked = self.worked().await;
        let start = Instant::now();
        let all = connections.iter_mut().enumerate();
        futures_util::future::join_all(all.map(|(at, stream)| self.ask(at, stream, each))).await;
        let took = start.elapsed();
        let count = (each * connections.len()) as f64;
        let worked = self.worked().await - worked;
        (count / took.as_secs_f64(), worked as f64 / count)
    }

    async fn ask(&self, at: usize, stream: &mut TcpStream, each: usize) {
        let (begin, end) = self.expected;
        let mut response = Vec::with_capacity(4_096);
        for nth in 0..each {
            let request = request_bytes(self.path, (nth * CONNECTIONS + at) % USERS);
            stream.write_all(request.as_bytes()).await.expect("it is read");
            response.clear();
            while !response.ends_with(end) {
                let read = stream.read_buf(&mut response).await.expect("an answer");
                assert_ne!(read, 0, "the server hung up");
            }
            assert!(response.starts_with(begin), "{}", String::from_utf8_lossy(&response));
        }
    }
}

const ITEMS: u64 = 200;

#[derive(serde::Serialize)]
struct Item {
    id: u64,
    name: String,
    tags: [&'static str; 3],
}

/// A handler that renders a few rows.
fn page() -> Vec<Item> {
    let item = |id| Item { id, name: format!("item {id}"), tags: ["new", "small", "blue"] };
    (0..ITEMS).map(item).collect()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn request_bytes(path: &str, user: usize) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\nuser-agent: bench\r\n\
         x-user: {user}\r\nx-org: {}\r\n\r\n",
        user / 64,
    )
}

impl Run {
    fn sockets(&self) {
        let (admits, refuses) = (layer(Answer::Allow), layer(Answer::Deny));
        let admits_pages = layer(Answer::Allow);
        let in_nothing =
            |of: Router| of.layer(MapRequestLayer::new(|request: axum::extract::Request| request));
        // Including the server that the others are compared with.
        let alone = |at: usize| if at < 4 { 0 } else { 4 };
        let servers = [
            Server::start("`hello` alone", "/", |alone| alone, Answer::Allow),
            Server::start("`hello` in a layer that does nothing", "/", in_nothing, Answer::Allow),
            Server::start("`hello` admitted", "/", |of| of.layer(admits), Answer::Allow),
            Server::start("refused", "/", |of| of.layer(refuses), Answer::Deny),
            Server::start("a page alone", "/page", |alone| alone, Answer::Allow),
            Server::start("a page admitted", "/page", |of| of.layer(admits_pages), Answer::Allow),
        ];
        let each = if self.rounds > 10 { EACH } else { 10 };
        let mut rounds = vec![Vec::new(); servers.len()];
        runtime().block_on(async {
            let mut connections = Vec::new();
            for server in &servers {
                let mut of = Vec::new();
                for _ in 0..CONNECTIONS {
                    let stream = TcpStream::connect(server.address).await.expect("it listens");
                    stream.set_nodelay(true).expect("a socket");
                    of.push(stream);
                }
                if server.name == "refused" {
                    exhaust(&mut of[0]).await;
                }
                server.round(&mut of, each.min(100)).await;
                connections.push(of);
            }
            for round in 0..self.rounds {
                for at in (0..servers.len()).map(|at| (at + round) % servers.len()) {
                    rounds[at].push(servers[at].round(&mut connections[at], each).await);
                }
            }
        });
        println!("\n## Over loopback, {CONNECTIONS} keep-alive connections, one server thread\n");
        println!(
            "Medians of {} interleaved rounds of {} requests; ratios are medians of the rounds' \
             own. *work*: what the server's thread ran, whatever else the machine did.\n",
            self.rounds,
            each * CONNECTIONS,
        );
        println!("`hello`: 5 bytes, the least a handler can do. A page: {ITEMS} items as JSON.\n");
        println!("| server | requests/s | of it alone | work, ns a request | of it alone |");
        println!("|---|---|---|---|---|");
        let of = |at: usize, what: fn(&(f64, f64)) -> f64| {
            median(&mut rounds[at].iter().map(what).collect::<Vec<_>>())
        };
        let ratio = |at: usize, to: usize, what: fn(&(f64, f64)) -> f64| {
            let pairs = rounds[at].iter().zip(&rounds[to]);
            median(&mut pairs.map(|(one, other)| what(one) / what(other)).collect::<Vec<_>>())
        };
        for (at, server) in servers.iter().enumerate() {
            println!(
                "| {} | {:.0} | {:.3} | {:.0} | {:.3} |",
                server.name,
                of(at, |round| round.0),
                ratio(at, alone(at), |round| round.0),
                of(at, |round| round.1),
                ratio(at, alone(at), |round| round.1),
            );
        }
        let verdict = |reached| if reached { "reached" } else { "**not**" };
        println!();
        for at in [2, 5] {
            let rate = ratio(at, alone(at), |round| round.0);
            println!(
                "Goal: {} within 5 % of it alone: {rate:.3}, {}.",
                servers[at].name,
                verdict(rate >= 0.95),
            );
        }
        let refused = ratio(3, 2, |round| round.1);
        println!(
            "Goal: a refused request works less than an admitted one: {refused:.3} of `hello`, {}; \
             {:.3} of a page.",
            verdict(refused < 1.0),
            ratio(3, 5, |round| round.1),
        );
    }

    /// Without sockets: the layer around a service that does nothing.
    fn calls(&self) {
        println!("\n## `Service::call` in process, around a service that does nothing\n");
        println!("Nanoseconds from the request to its body read; the request is made in each.\n");
        println!("| call | ns | more than no layer |");
        println!("|---|---|---|");
        let quiet = |answer| layer(answer).refusals(Refusals::default().style(HeaderStyle::None));
        let mut none = service_fn(nothing);
        let mut admitted = layer(Answer::Allow).layer(service_fn(nothing));
        let mut refused = layer(Answer::Deny).layer(service_fn(nothing));
        let mut plain = quiet(Answer::Allow).layer(service_fn(nothing));
        let mut quietly = quiet(Answer::Deny).layer(service_fn(nothing));
        for user in 0..USERS as u64 {
            ask(&mut refused, user);
            ask(&mut quietly, user);
        }
        let mut race = Race::new();
        let all = |ask: &mut dyn FnMut(u64) -> bool, users: &[u64]| {
            users.iter().filter(|user| ask(**user)).count()
        };
        race.add_many("no layer", Answer::Allow, |users: &[u64]| {
            all(&mut |user| ask(&mut none, user), users)
        });
        race.add_many("admitted", Answer::Allow, |users| {
            all(&mut |user| ask(&mut admitted, user), users)
        });
        race.add_many("refused", Answer::Deny, |users| {
            all(&mut |user| ask(&mut refused, user), users)
        });
        race.add_many("admitted, no headers", Answer::Allow, |users| {
            all(&mut |user| ask(&mut plain, user), users)
        });
        race.add_many("refused, no headers", Answer::Deny, |users| {
            all(&mut |user| ask(&mut quietly, user), users)
        });
        let mut next = 0;
        let ns = race.run(self.rounds, || {
            let users = (0..BATCH as u64).map(|at| (next + at) % USERS as u64).collect();
            next += 7;
            users
        });
        let base = ns[0].1;
        for (name, ns) in &ns {
            println!("| {name} | {ns:.0} | {:.0} |", ns - base);
        }
    }
}

/// One request for each user.
async fn exhaust(stream: &mut TcpStream) {
    let mut response = Vec::new();
    for user in 0..USERS {
        stream.write_all(request_bytes("/", user).as_bytes()).await.expect("it is read");
        response.clear();
        while !response.ends_with(b"hello") && !response.ends_with(b"}") {
            stream.read_buf(&mut response).await.expect("an answer");
        }
    }
}

fn nothing(_: Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("hello"))))
}

/// One call, from the request to the end of its body. Returns whether it was admitted.
fn ask<S, B>(service: &mut S, user: u64) -> bool
where
    S: Service<Request<()>, Response = Response<B>>,
    B: Body,
{
    let mut request = Request::new(());
    let mut number = [0; 20];
    let headers = request.headers_mut();
    headers.insert("accept", http::HeaderValue::from_static("*/*"));
    headers.insert("user-agent", http::HeaderValue::from_static("bench"));
    for (name, value) in [("x-user", user), ("x-org", user / 64)] {
        let value = http::HeaderValue::from_bytes(decimal(value, &mut number));
        headers.insert(name, value.expect("digits"));
    }
    let peer = SocketAddr::from(([192, 0, 2, (user % 250) as u8], 4711));
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut cx = Context::from_waker(Waker::noop());
    let future = pin!(service.call(request));
    let Poll::Ready(Ok(response)) = future.poll(&mut cx) else { panic!("it is ready at once") };
    let admitted = response.status() == 200;
    let mut body = pin!(black_box(response).into_body());
    while let Poll::Ready(Some(_)) = body.as_mut().poll_frame(&mut cx) {}
    admitted
}

fn decimal(number: u64, to: &mut [u8; 20]) -> &[u8] {
    let mut at = to.len();
    let mut left = number;
    loop {
        at -= 1;
        to[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            return &to[at..];
        }
    }
}

//! A server whose handlers do what the test says, and its clients.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tollgate::http::AdmitLayer;
use tollgate::status::{LimitStatus, Verdict};
use tollgate::{Enforcer, Policy, VirtualClock};
use tower::{Layer, ServiceExt};

/// How long until a test counts as hung. Nothing waits so long that goes well.
const GUARD: Duration = Duration::from_secs(60);

/// Ends with the work, or fails where it hangs.
pub(crate) async fn guarded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, work).await.expect("it hangs")
}

/// Waits until it is so.
pub(crate) async fn until(mut what: impl FnMut() -> bool) {
    guarded(async {
        while !what() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Lets all tasks and sockets go on for a while, to see that something does not happen.
pub(crate) async fn meanwhile() {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}

/// Under which server, and by which version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    Axum1,
    Axum2,
    Hyper1,
    Hyper2,
}

impl Under {
    pub(crate) const ALL: [Under; 4] = [Under::Axum1, Under::Axum2, Under::Hyper1, Under::Hyper2];

    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Under::Axum2 | Under::Hyper2)
    }
}

/// A handler that waits for the test to say what it does.
pub(crate) struct Handler {
    /// What was asked for.
    pub(crate) path: String,
    tell: oneshot::Sender<Does>,
}

pub(crate) enum Does {
    Answers(Response<Body>),
    Panics,
    Fails,
}

impl Handler {
    pub(crate) fn does(self, what: Does) {
        // The request may be gone, which is what a test asks then.
        let _ = self.tell.send(what);
    }

    pub(crate) fn answers(self, body: impl Into<Body>) {
        self.does(Does::Answers(Response::new(body.into())));
    }

    /// Answers with a body that the test goes on with.
    pub(crate) fn streams(self) -> Stream {
        self.streams_as(Response::new(()))
    }

    pub(crate) fn streams_as(self, head: Response<()>) -> Stream {
        let (to, from) = mpsc::channel(1);
        self.does(Does::Answers(head.map(|()| Body::new(FromChannel(from)))));
        Stream(to)
    }

    /// Ends when the request is dropped.
    pub(crate) async fn dropped(mut self) {
        guarded(self.tell.closed()).await;
    }
}

/// What feeds a body.
pub(crate) struct Stream(mpsc::Sender<Option<Bytes>>);

impl Stream {
    pub(crate) async fn sends(&self, bytes: &'static [u8]) {
        guarded(self.0.send(Some(Bytes::from_static(bytes)))).await.expect("the body is gone");
    }

    pub(crate) async fn panics(&self) {
        guarded(self.0.send(None)).await.expect("the body is gone");
    }

    /// Sends until the server takes no more, since its client does not read.
    pub(crate) async fn fills(&self) {
        let chunk = Bytes::from_static(&[b'x'; 65_536]);
        let mut refused = 0;
        // It has room for one: what was not taken after so many turns will not be.
        while refused < 500 {
            match self.0.try_send(Some(chunk.clone())) {
                Ok(()) => refused = 0,
                Err(_) => refused += 1,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends when the body is dropped.
    pub(crate) async fn dropped(&self) {
        guarded(self.0.closed()).await;
    }
}

struct FromChannel(mpsc::Receiver<Option<Bytes>>);

impl hyper::body::Body for FromChannel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|chunk| {
            let chunk = chunk?.expect("a body that panics was asked for");
            Some(Ok(Frame::data(chunk)))
        })
    }
}

/// What the handlers of a server share.
#[derive(Clone)]
pub(crate) struct Work {
    calls: Arc<AtomicUsize>,
    handlers: mpsc::UnboundedSender<Handler>,
}

impl Work {
    /// `/held…` asks the test, `/panic` panics at once, all else says hello.
    pub(crate) async fn run<B>(self, request: Request<B>) -> io::Result<Response<Body>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match request.uri().path() {
            "/panic" => panic!("a handler that panics was asked for"),
            path if path.starts_with("/held") => {
                let (tell, from) = oneshot::channel();
                let handler = Handler { path: path.to_owned(), tell };
                let _ = self.handlers.send(handler);
                match from.await.map_err(io::Error::other)? {
                    Does::Answers(response) => Ok(response),
                    Does::Panics => panic!("a handler that panics was asked for"),
                    Does::Fails => Err(io::Error::other("a handler that fails was asked for")),
                }
            }
            _ => Ok(Response::new("hello".into())),
        }
    }
}

/// An enforcer on virtual time, and the layer over it.
pub(crate) struct Gate {
    pub(crate) enforcer: Arc<Enforcer>,
    pub(crate) time: VirtualClock,
}

impl Gate {
    pub(crate) fn new(policy: Policy) -> Gate {
        let time = VirtualClock::new();
        let enforcer = Enforcer::builder(policy).clock(time.clock()).build().unwrap();
        Gate { enforcer: Arc::new(enforcer), time }
    }

    pub(crate) fn layer(&self) -> AdmitLayer {
        AdmitLayer::new(self.enforcer.clone())
    }

    pub(crate) fn limit(&self, name: &str) -> LimitStatus {
        self.enforcer.limits().into_iter().find(|limit| limit.name == name).expect("a limit")
    }

    pub(crate) fn in_use(&self, name: &str) -> u32 {
        self.limit(name).slots.expect("a concurrency limit").in_use
    }

    pub(crate) fn waiting(&self, name: &str) -> usize {
        self.limit(name).waiting
    }

    /// Units that remain for these facts, of the limit that has the least.
    pub(crate) fn remaining(&self, facts: &[(&str, &str)]) -> u64 {
        self.enforcer.peek(facts, 0).expect("a peek is admitted").remaining()
    }

    /// Units that remain for these facts, of one limit.
    pub(crate) fn remaining_of(&self, name: &str, facts: &[(&str, &str)]) -> u64 {
        let explained = self.enforcer.explain(facts, 0);
        let of = explained.iter().find(|explained| explained.limit == name).expect("a limit");
        match &of.verdict {
            Verdict::Decided { answer, .. } => answer.as_ref().expect("a peek").remaining(),
            other => panic!("{name} does not decide: {other:?}"),
        }
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    under: Under,
    calls: Arc<AtomicUsize>,
    handlers: Mutex<mpsc::UnboundedReceiver<Handler>>,
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(under: Under, layer: AdmitLayer) -> Server {
        Server::start_with(under, layer, |router| router).await
    }

    /// With layers further out, where axum serves.
    pub(crate) async fn start_with(
        under: Under,
        layer: AdmitLayer,
        outer: impl FnOnce(Router) -> Router,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to, handlers) = mpsc::unbounded_channel();
        let calls = Arc::new(AtomicUsize::new(0));
        let work = Work { calls: calls.clone(), handlers: to };
        let stop = Arc::new(Notify::new());
        let task = match under {
            Under::Axum1 | Under::Axum2 => {
                let router = outer(router(work).layer(layer));
                let service = router.into_make_service_with_connect_info::<SocketAddr>();
                let stop = stop.clone();
                let stopped = async move { stop.notified().await };
                let serve = axum::serve(listener, service).with_graceful_shutdown(stopped);
                tokio::spawn(async { serve.await.unwrap() })
            }
            Under::Hyper1 | Under::Hyper2 => {
                tokio::spawn(hyper_server(listener, layer, work, under))
            }
        };
        Server { address, under, calls, handlers: Mutex::new(handlers), stop, task }
    }

    /// How often a handler was called.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// The next handler that asks what to do.
    pub(crate) async fn handler(&self) -> Handler {
        let mut handlers = self.handlers.lock().await;
        guarded(handlers.recv()).await.expect("the server is gone")
    }

    pub(crate) async fn asks_nothing(&self) -> bool {
        self.handlers.lock().await.is_empty()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address, self.under.is_http2()).await
    }

    /// Accepts no more connections and ends when the existing ones have ended.
    pub(crate) fn stop(&self) {
        self.stop.notify_one();
    }

    pub(crate) async fn stopped(self) {
        guarded(self.task).await.unwrap();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.task.is_finished()
    }
}

fn router(work: Work) -> Router {
    let handler = move |request: axum::extract::Request| {
        let work = work.clone();
        async move { work.run(request).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR) }
    };
    Router::new().route("/items/{id}", any(handler.clone())).fallback(handler)
}

async fn hyper_server(listener: TcpListener, layer: AdmitLayer, work: Work, under: Under) {
    let service = layer.layer(tower::service_fn(move |request: Request<Incoming>| {
        // A body that cannot move to another thread would be refused here.
        Box::pin(work.clone().run(request)) as Pin<Box<dyn Future<Output = _> + Send>>
    }));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let io = TokioIo::new(stream);
        let service = TowerToHyperService::new(service.clone());
        // A connection that ends in an error is a client that is gone, or a handler that failed.
        tokio::spawn(async move {
            let _ = match under.is_http2() {
                true => {
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(io, service)
                        .await
                }
                false => {
                    hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
                }
            };
        });
    }
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// A connection.
pub(crate) struct Client {
    sender: Sender,
    connection: JoinHandle<()>,
}

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Told {
    /// A header, or "-" if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("-", |value| value.to_str().unwrap())
    }

    /// The names of the limits that are told.
    pub(crate) fn tells_limits(&self) -> bool {
        self.headers.keys().any(|name| name.as_str().contains("ratelimit"))
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, http2: bool) -> Client {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            let connection = tokio::spawn(async { drop(connection.await) });
            Client { sender: Sender::Two(sender), connection }
        } else {
            let (sender, connection) = http1::handshake(io).await.unwrap();
            let connection = tokio::spawn(async { drop(connection.await) });
            Client { sender: Sender::One(sender), connection }
        }
    }

    /// The head of the response. The request is sent when this is first polled.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        guarded(async {
            match &mut self.sender {
                Sender::One(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::Two(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        })
        .await
    }

    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Told {
        read(self.send(request).await.unwrap()).await
    }

    pub(crate) async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Told {
        self.ask(request(path, headers)).await
    }

    /// Sends it, and goes on meanwhile.
    pub(crate) fn begin(mut self, path: &str, headers: &[(&str, &str)]) -> Begun {
        let request = request(path, headers);
        let (to, response) = oneshot::channel();
        let (hangs_up, mut hang_up) = oneshot::channel::<()>();
        tokio::spawn(async move {
            tokio::select! {
                response = self.send(request) => {
                    let _ = to.send(response);
                    let _ = (&mut hang_up).await;
                }
                _ = &mut hang_up => {}
            }
            self.hang_up();
        });
        Begun { response, _hangs_up: hangs_up }
    }

    pub(crate) fn hang_up(self) {
        self.connection.abort();
    }
}

/// A request on its way. Dropping it hangs up.
pub(crate) struct Begun {
    response: oneshot::Receiver<hyper::Result<Response<Incoming>>>,
    _hangs_up: oneshot::Sender<()>,
}

impl Begun {
    /// The head of the response, the connection being kept by what is left of this.
    pub(crate) async fn head(&mut self) -> hyper::Result<Response<Incoming>> {
        guarded(&mut self.response).await.expect("a response")
    }

    pub(crate) async fn told(&mut self) -> Told {
        read(self.head().await.unwrap()).await
    }
}

pub(crate) async fn read(response: Response<Incoming>) -> Told {
    let (parts, body) = response.into_parts();
    let body = guarded(body.collect()).await.unwrap().to_bytes();
    let body = String::from_utf8(body.into()).unwrap();
    Told { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// The next piece of a body; none at its end, and none where it broke off.
pub(crate) async fn next(body: &mut Incoming) -> Option<Bytes> {
    loop {
        let piece = guarded(body.frame()).await?.ok()?.into_data().ok()?;
        // HTTP/2 may end with an empty one.
        if !piece.is_empty() {
            return Some(piece);
        }
    }
}

/// `GET`, of a path.
pub(crate) fn request(path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = format!("http://test{path}").parse().unwrap();
    for (name, value) in headers {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

/// Calls a service that may have to become ready.
pub(crate) async fn call<S, R>(service: &mut S, request: R) -> Result<S::Response, S::Error>
where
    S: tower::Service<R>,
{
    guarded(async { service.ready().await?.call(request).await }).await
}

//! An endpoint as a service has one, and a reader of what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate::Enforcer;
use tollgate::metrics::WAIT_BUCKETS;

pub(crate) type Labels = BTreeMap<String, String>;

/// What was scraped.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    pub(crate) text: String,
    pub(crate) samples: BTreeMap<(String, Labels), f64>,
    /// Name to type, of the described metrics.
    pub(crate) described: BTreeMap<String, String>,
    types: BTreeMap<String, String>,
}

impl Scrape {
    pub(crate) fn parse(text: String) -> Scrape {
        let mut scrape = Scrape::default();
        let mut helps = BTreeSet::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words[..] {
                ["#", "HELP", name, _] => drop(helps.insert(name.to_owned())),
                ["#", "TYPE", name, kind] => {
                    scrape.types.insert(name.to_owned(), kind.to_owned());
                }
                _ => {
                    let (series, value) = line.rsplit_once(' ').unwrap();
                    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                    let labels = labels.strip_suffix('}').unwrap();
                    let pair = |pair: &str| {
                        let (label, value) = pair.split_once('=').unwrap();
                        (label.to_owned(), value.trim_matches('"').to_owned())
                    };
                    let labels = labels.split(',').filter(|pair| !pair.is_empty()).map(pair);
                    let key = (name.to_owned(), labels.collect());
                    assert_eq!(scrape.samples.insert(key, value.parse().unwrap()), None, "{line}");
                }
            }
        }
        scrape.described = scrape.types.clone();
        scrape.described.retain(|name, _| helps.contains(name));
        scrape.text = text;
        scrape
    }

    /// Of `name`, or `name{label="value",…}`.
    #[track_caller]
    pub(crate) fn get(&self, series: &str) -> f64 {
        let asked = Scrape::parse(format!("{series} 0"));
        let key = asked.samples.keys().next().unwrap();
        *self.samples.get(key).unwrap_or_else(|| panic!("no {series} in\n{}", self.text))
    }

    /// All names, as their types are told.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.types.keys().cloned().collect()
    }

    /// The metric of a sample's name: that of `x_bucket` is `x`, if that is a histogram.
    pub(crate) fn metric<'n>(&self, sample: &'n str) -> &'n str {
        let parts = ["_bucket", "_sum", "_count"];
        let base = parts.iter().find_map(|part| sample.strip_suffix(part));
        let is_histogram = |base: &&str| self.types.get(*base).is_some_and(|t| t == "histogram");
        base.filter(is_histogram).unwrap_or(sample)
    }

    /// The values of each label of a metric.
    pub(crate) fn labels(&self, metric: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, of) in self.samples.keys().filter(|(name, _)| self.metric(name) == metric) {
            for (label, value) in of.iter().filter(|(l, _)| *l != "le" || name.ends_with("_bucket"))
            {
                labels.entry(label.clone()).or_default().insert(value.clone());
            }
        }
        labels
    }

    pub(crate) fn counters(&self) -> impl Iterator<Item = (&(String, Labels), f64)> {
        let is_counter = |name: &str| self.types.get(name).is_some_and(|kind| kind == "counter");
        self.samples.iter().filter(move |((name, _), _)| is_counter(name)).map(|(k, n)| (k, *n))
    }
}

pub(crate) fn recorder() -> PrometheusRecorder {
    let waits = Matcher::Full("tollgate_wait_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(waits, WAIT_BUCKETS);
    builder.unwrap().build_recorder()
}

/// What a recorder that saw nothing before is told now: nothing in it can hide that a count fell.
pub(crate) fn told_anew(enforcer: &Enforcer) -> Scrape {
    let recorder = recorder();
    metrics::with_local_recorder(&recorder, || enforcer.record_metrics());
    Scrape::parse(recorder.handle().render())
}

/// Runs `run` on an enforcer, under a recorder of this thread, with a function that scrapes it
/// over HTTP.
pub(crate) fn with_endpoint<T>(
    enforcer: Enforcer,
    run: impl FnOnce(&Enforcer, &dyn Fn() -> Scrape) -> T,
) -> T {
    let recorder = recorder();
    let handle = recorder.handle();
    let enforcer = Arc::new(enforcer);
    // The server's tasks run on this thread, too.
    let _of_this_thread = metrics::set_default_local_recorder(&recorder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let served = enforcer.clone();
    let metrics = move || async move {
        served.record_metrics();
        handle.render()
    };
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/metrics", get(metrics));
    runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let scrape = || {
        runtime.block_on(async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            Scrape::parse(body.to_owned())
        })
    };
    run(&enforcer, &scrape)
}

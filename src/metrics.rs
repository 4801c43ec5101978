//! Passes what an [`Enforcer`] counts to the recorder of the `metrics` crate, on request.
//!
//! A decision records nothing: [`record_metrics`](Enforcer::record_metrics), which an endpoint
//! calls before it renders, reads all values. So gauges leave out leases that ran out, even if no
//! caller has noticed yet. Only the time of a wait is recorded when the wait ends, and tasks as
//! they run ([`Task`]).
//!
//! ```
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//! use tollgate::metrics::{Task, WAIT_BUCKETS};
//! use tollgate::{Enforcer, Limit, Policy};
//!
//! // Once, at the start.
//! let waits = Matcher::Full("tollgate_wait_seconds".to_owned());
//! let builder = PrometheusBuilder::new().set_buckets_for_metric(waits, WAIT_BUCKETS)?;
//! let handle = builder.install_recorder()?;
//! let policy = Policy::new().limit(Limit::concurrent("queries", 50));
//! let enforcer = Enforcer::builder(policy).build()?;
//!
//! // A task of yours.
//! match enforcer.admit(&[("org", "7")], 1) {
//!     Ok(_permit) => {
//!         let task = Task::start("reports");
//!         // … the query runs; if this returns early or panics, that counts as an error.
//!         task.complete();
//!     }
//!     Err(_) => Task::skipped("reports"),
//! }
//!
//! // Whenever `/metrics` is asked for.
//! enforcer.record_metrics();
//! let text = handle.render();
//! assert!(text.contains(r#"tollgate_limit_evaluations_total{limit="queries"} 1"#));
//! assert!(text.contains(r#"tollgate_tasks_total{task="reports",outcome="completed"} 1"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Prometheus's exporter drops old samples of histograms only on request, so call its handle's
//! `run_upkeep` every few seconds, from a task of yours.
//!
//! # What there is
//!
//! Labels are names of limits and tasks, and outcomes; never a key or anything else of a request.
//!
//! | metric | labels | |
//! |---|---|---|
//! | `tollgate_checks_total` | `outcome`: `admitted`, `refused` | one for each decision; none while bypassed |
//! | `tollgate_limit_evaluations_total` | `limit` | requests that the limit applied to |
//! | `tollgate_limit_refusals_total` | `limit` | requests refused in its name |
//! | `tollgate_limit_shadow_refusals_total` | `limit` | requests that the limit would have denied, in shadow |
//! | `tollgate_limit_waiting` | `limit` | callers in its lines |
//! | `tollgate_wait_seconds` | `limit`, `outcome`: `admitted`, `refused` | how long a request stood in line, by the limit in whose line or name the wait ended; a histogram if the exporter is given [`WAIT_BUCKETS`], as above (without them Prometheus's exporter makes quantiles, which the dashboard does not show) |
//! | `tollgate_wait_timeouts_total` | `limit` | waits that ended in a refusal |
//! | `tollgate_slots_in_flight` | `limit` | slots held by leases that are not over, of all keys |
//! | `tollgate_slots_cap` | `limit` | the number of slots, for each key |
//! | `tollgate_slots_utilization_ratio` | `limit` | how full the fullest key is, under the cap in force for it; more than 1 in shadow and after a cap was lowered |
//! | `tollgate_slots_acquired_total` | `limit` | requests that took its slots, each of `weight` slots |
//! | `tollgate_slots_returned_total` | `limit` | requests that gave them back, in time or late |
//! | `tollgate_leases_expired_total` | `limit` | leases that ran out |
//! | `tollgate_late_give_backs_total` | `limit` | leases given back after they ran out, or were reset |
//! | `tollgate_limit_fresh_starts_total` | `limit` | times that a reload made the limit, or an override of it, start without keys |
//! | `tollgate_limit_overflows_total` | `limit` | requests for whose key there was no room |
//! | `tollgate_limit_keys` | `limit` | keys that are in debt or hold slots now |
//! | `tollgate_limit_keys_max` | `limit` | keys there is room for; absent without a bound, 1 for an empty key |
//! | `tollgate_limit_memory_bytes` | `limit` | bytes allocated for keys |
//! | `tollgate_policy_reloads_total` | `outcome`: `replaced`, `failed` | calls of [`Enforcer::reload`], and files that a `PolicyWatcher` could not take; its first look counts too |
//! | `tollgate_undeclared_facts_total` | | facts given that a policy with declared `facts` does not declare; 0 where none are declared |
//! | `tollgate_tasks_total` | `task`, `outcome`: `started`, `completed`, `error`, `skipped` | [`Task`] |
//!
//! For keyed slots `tollgate_slots_in_flight` counts all keys and `tollgate_slots_cap` is for one
//! key, so their quotient means nothing; the ratio is for the fullest key. Without a key both views
//! are the same.
//!
//! When a reload drops a limit, its counters keep their values, and its gauges become 0 except
//! slots that are still held. If the limit comes back, its counters go on.
//!
//! # One enforcer for each recorder
//!
//! If several enforcers share a recorder, their limits need different names, and a metric without
//! the label `limit` shows the enforcer that counted more. Better give each enforcer its own
//! recorder, by `metrics::with_local_recorder` around `record_metrics`.
//!
//! # Names in a slot system on Redis
//!
//! | there | here |
//! |---|---|
//! | slot acquired | `tollgate_slots_acquired_total` |
//! | slot released | `tollgate_slots_returned_total`; taken back instead: `tollgate_leases_expired_total`; released too late: `tollgate_late_give_backs_total` |
//! | wait timeout | `tollgate_wait_timeouts_total` |
//! | time waited | `tollgate_wait_seconds` |
//! | concurrent queries | `tollgate_slots_in_flight` |
//! | limit of concurrent queries | `tollgate_slots_cap` |
//! | utilisation percent | `tollgate_slots_utilization_ratio`, times 100 |
//! | tasks started | `tollgate_tasks_total{outcome="started"}` |
//! | tasks completed | `tollgate_tasks_total{outcome="completed"}` |
//! | tasks skipped | `tollgate_tasks_total{outcome="skipped"}` |
//! | tasks with an error | `tollgate_tasks_total{outcome="error"}` |

mod catalogue;
mod task;

use ::metrics::{counter, gauge};

use crate::enforcer::{Enforcer, LimitStatus};

pub use catalogue::describe;
pub use task::Task;

/// Upper bounds, in seconds, for the histogram `tollgate_wait_seconds`, for waits up to a minute.
pub const WAIT_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];

impl<S> Enforcer<S> {
    /// Records the current values of all metrics: call it before metrics are read, or every few
    /// seconds. [What there is](crate::metrics#what-there-is).
    ///
    /// Scans every slot of every table, as [`limits`](Self::limits) does. Also
    /// [describes](describe) the metrics each time, because the recorder may be a new one.
    pub fn record_metrics(&self) {
        describe();
        let totals = self.totals();
        counter!("tollgate_checks_total", "outcome" => "admitted").absolute(totals.admitted);
        counter!("tollgate_checks_total", "outcome" => "refused").absolute(totals.refused);
        counter!("tollgate_policy_reloads_total", "outcome" => "replaced").absolute(totals.reloads);
        counter!("tollgate_policy_reloads_total", "outcome" => "failed")
            .absolute(totals.failed_reloads);
        counter!("tollgate_undeclared_facts_total").absolute(totals.undeclared_facts);
        self.limits_and_dropped().iter().for_each(record);
    }
}

fn record(limit: &LimitStatus) {
    let count = |metric: &'static str, n: u64| counter!(metric, "limit" => limit.name).absolute(n);
    let set = |metric: &'static str, value: f64| gauge!(metric, "limit" => limit.name).set(value);

    count("tollgate_limit_evaluations_total", limit.checked);
    count("tollgate_limit_refusals_total", limit.refused);
    count("tollgate_limit_shadow_refusals_total", limit.shadow_refused);
    set("tollgate_limit_waiting", limit.waiting as f64);
    count("tollgate_wait_timeouts_total", limit.timeouts);
    if let Some(slots) = limit.slots {
        set("tollgate_slots_in_flight", slots.in_use.into());
        set("tollgate_slots_cap", slots.cap.into());
        set("tollgate_slots_utilization_ratio", limit.fullest);
        count("tollgate_slots_acquired_total", limit.acquired);
        count("tollgate_slots_returned_total", limit.returned);
        count("tollgate_leases_expired_total", slots.expired);
        count("tollgate_late_give_backs_total", slots.late);
    }
    count("tollgate_limit_fresh_starts_total", limit.fresh_starts);
    count("tollgate_limit_overflows_total", limit.overflows);
    set("tollgate_limit_keys", limit.keys as f64);
    if let Some(max_keys) = limit.max_keys {
        set("tollgate_limit_keys_max", max_keys as f64);
    }
    set("tollgate_limit_memory_bytes", limit.memory as f64);
}

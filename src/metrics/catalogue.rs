//! The names, units and descriptions of all metrics, and [`describe`], which registers them.
//!
//! `metrics` records their values and documents their labels.

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

const COUNTERS: [(&str, &str); 14] = [
    ("tollgate_checks_total", "Requests decided, by outcome."),
    ("tollgate_limit_evaluations_total", "Requests that the limit applied to."),
    ("tollgate_limit_refusals_total", "Requests refused in the name of the limit."),
    ("tollgate_limit_shadow_refusals_total", "Requests it would have denied, while in shadow."),
    ("tollgate_wait_timeouts_total", "Waits in line that ended in a refusal."),
    ("tollgate_slots_acquired_total", "Requests that took slots of the limit."),
    ("tollgate_slots_returned_total", "Requests that gave slots back, in time or late."),
    ("tollgate_leases_expired_total", "Leases that ran out instead of being given back."),
    ("tollgate_late_give_backs_total", "Leases given back after they ran out, or were reset."),
    ("tollgate_limit_fresh_starts_total", "Times that a reload had the limit start without keys."),
    ("tollgate_limit_overflows_total", "Requests for whose key there was no room."),
    ("tollgate_policy_reloads_total", "Reloads of the policy, by outcome."),
    (
        "tollgate_undeclared_facts_total",
        "Facts of requests that a policy with declared facts does not declare.",
    ),
    ("tollgate_tasks_total", "Tasks, by outcome."),
];

const GAUGES: [(&str, Option<Unit>, &str); 7] = [
    ("tollgate_limit_waiting", Some(Unit::Count), "Callers waiting in line."),
    ("tollgate_slots_in_flight", Some(Unit::Count), "Slots held by leases that are not over."),
    ("tollgate_slots_cap", Some(Unit::Count), "Slots there are, for each key of the limit."),
    ("tollgate_slots_utilization_ratio", None, "How full the fullest key is: 1 is all its slots."),
    ("tollgate_limit_keys", Some(Unit::Count), "Keys in debt, or of which slots are held."),
    ("tollgate_limit_keys_max", Some(Unit::Count), "Keys there is room for."),
    ("tollgate_limit_memory_bytes", Some(Unit::Bytes), "Bytes allocated for keys."),
];

/// Registers the description and unit of each metric with the recorder.
/// [`Enforcer::record_metrics`] does this too, so call it only if you use tasks alone. Calling it
/// again changes nothing.
///
/// [`Enforcer::record_metrics`]: crate::Enforcer::record_metrics
pub fn describe() {
    for (name, meaning) in COUNTERS {
        describe_counter!(name, Unit::Count, meaning);
    }
    for (name, unit, meaning) in GAUGES {
        match unit {
            Some(unit) => describe_gauge!(name, unit, meaning),
            None => describe_gauge!(name, meaning),
        }
    }
    let meaning = "How long requests stood in line, by the outcome.";
    describe_histogram!("tollgate_wait_seconds", Unit::Seconds, meaning);
}

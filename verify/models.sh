#!/usr/bin/env bash
# Runs every loom model in both modes, every seeded bug that must fail one, and the concurrent
# histories with theirs. One line an item; fails if any item is not as it should be.
#
# LOOM_MAX_PREEMPTIONS and TOLLGATE_HISTORIES say how deep: so many histories of rates and of slots,
# a quarter as many of lines and of both as one. JOBS: how many at once.
set -euo pipefail
cd "$(dirname "$0")"

export LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-2} LOOM_MAX_BRANCHES=10000
count=${TOLLGATE_HISTORIES:-1000000}
jobs=${JOBS:-$(nproc)}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# Seeded bug, model, modes in which it must fail, what it must fail with.
mutants='
two_cells          two_meet_a_new_key                                 plain,rmw  a charge is lost
claim_unlocked     two_meet_a_new_key                                 plain,rmw  a charge is lost
two_cells          three_meet_a_new_key_for_its_last_two_units        plain,rmw  over or under the burst
replace_by_store   two_race_for_the_last_unit                         plain,rmw  not one of the two was allowed
unbound_tag        a_check_stalls_while_its_slot_goes_to_another_key  plain,rmw  the wrong key was charged
replace_by_store   a_slot_is_reused_once_its_key_is_idle              plain,rmw  a charge is lost
read_through       a_check_meets_a_hold                               plain,rmw  a charge is lost
charge_first       a_set_refused_by_its_last_limit_charges_none       plain,rmw  refused and charged
wait_while_holding sets_in_opposite_orders                            plain,rmw  exceeded maximum number of branches
replace_by_store   sets_of_three_limits_in_opposite_orders            plain,rmw  not one of the two was admitted
release_early      three_sets_of_two_limits                           plain,rmw  a charge is lost
release_early      nobody_reads_through_a_set                         plain,rmw  half of a set was seen
answer_unconfirmed a_set_is_seen_at_one_moment                        plain,rmw  two moments in one answer
replace_by_store   a_quota_changes_under_a_check                      plain,rmw  a charge is lost
claim_unasked      a_quota_changes_under_the_first_check_of_a_key     plain,rmw  a charge is lost
unbound_generation a_quota_changes_twice_under_a_stalled_check        plain,rmw  a charge is lost
walk_without_root  a_quota_changes_before_the_first_group_is_there    plain      a charge is lost
line_unchecked     a_check_is_decided_by_the_numbers_of_one_quota      plain      numbers of two quotas
answer_from_old    answers_under_the_new_quota_end_those_under_the_old plain,rmw charged under the old quota
mixed_quotas       two_keys_of_a_limiter_are_decided_under_one_quota  plain,rmw  decided under two quotas
mixed_quotas       two_keys_of_a_limiter_are_refused_under_one_quota  plain,rmw  refused under two quotas
replace_by_store   a_quota_changes_under_a_set                        plain      a charge is lost
leave_unasked      a_key_leaves_under_a_check                         plain,rmw  a charge is lost
pool_unlocked      a_quota_changes_while_the_pool_is_made             plain,rmw  called `Result::unwrap()`
move_unmarked      a_group_is_split_under_a_check                     plain,rmw  a charge is lost
absent_once        two_keys_never_seen_are_seen_at_one_moment         plain,rmw  two moments in one answer
absent_unasked     a_group_is_split_under_a_peek                      plain,rmw  a key in debt was not seen
move_unmarked      a_group_is_split_under_a_set                       plain,rmw  a charge is lost
move_unmarked      a_table_grows_under_a_check_of_an_idle_key         plain,rmw  a charge is lost
forget_first       a_table_grows_under_a_check_of_an_idle_key         plain,rmw  a key was forgotten
clock_before_word  a_check_moves_time_under_a_settle                  plain,rmw  given back by time and by settling
settle_twice       two_settle_what_they_reserved                      plain,rmw  settled more or less
claim_unlocked     two_newcomers_race_for_the_last_slot               plain,rmw  not one of the two got the slot
add_then_count     two_race_for_the_last_slot                         plain,rmw  not one of the two got the slot
claim_by_store     two_take_at_once                                   plain,rmw  a slot is lost
expiry_frees_stranger a_lease_runs_out_as_it_is_given_back            plain,rmw  slot was freed
reset_keeps_lease  a_reset_meets_a_give_back                          plain,rmw  slot was freed
first_end_kept     the_lease_that_ends_first_is_given_back_under_a_refusal plain,rmw another end than the first
renewed_first_kept the_lease_that_ends_first_is_renewed_under_a_refusal plain,rmw another end than the first
reset_first_kept   all_leases_are_ended_under_a_refusal               plain,rmw  another end than the first
unlisted           leases_run_out_under_a_refusal                     plain,rmw  another end than the first
resize_open        a_cap_is_raised_and_lowered_under_a_refusal        plain,rmw  a slot too many
same_cycle         a_first_end_is_found_under_a_taker_that_read_the_clock_before plain another end than the first
sooner_end_unseen  a_first_end_is_found_under_a_taker_that_read_the_clock_before plain,rmw another end than the first
disorder_unseen    a_record_is_taken_for_a_lease_that_ends_sooner_under_a_refusal plain,rmw another end than the first
end_unconfirmed    a_reset_ends_all_leases_at_one_moment              plain,rmw  half of a reset was seen
resize_open        a_cap_is_lowered_under_a_taker                     plain,rmw  more are held than there are
reap_unsettled     leases_that_are_over_are_taken_back_as_one_is_given_back plain more are held than there are
reap_unsettled     leases_that_are_over_are_taken_back_as_one_is_given_back rmw exceeded maximum number of branches
renew_open         a_lease_is_renewed_as_it_runs_out                  plain,rmw  not one of the two has the slot
join_unserved      a_slot_comes_back_as_somebody_joins_the_line       plain,rmw  nobody woke who waits
alarm_unchecked    time_moves_as_somebody_joins_the_line              plain,rmw  nobody woke who waits
cancel_wakes_nobody a_slot_comes_back_as_the_head_of_the_line_leaves  plain,rmw  nobody woke who waits
grant_forgotten    a_slot_is_granted_to_one_who_leaves                plain,rmw  nobody woke who waits
grant_forgotten    three_wait_and_leave_and_give_back                 plain,rmw  nobody woke who waits
queue_forgotten    a_slot_that_is_waited_for_comes_back_while_shut    plain,rmw  nobody woke who waits
expiry_frees_stranger a_lease_that_is_waited_for_runs_out_as_it_is_given_back plain,rmw slot was freed
barge              nobody_takes_what_somebody_waits_for               plain,rmw  taken by one who did not wait
wait_unasked       a_thread_waits_for_a_slot                          plain,rmw  deadlock
join_closed        a_limiter_is_dropped_as_somebody_joins_the_line    plain,rmw  nobody woke who waits
forget_busy        a_key_is_forgotten_as_it_is_asked                  plain,rmw  a key was forgotten that is held
charge_first       a_set_refused_by_its_slots_charges_no_rate         plain,rmw  refused and charged
take_through_hold  a_slot_is_not_taken_from_under_a_set               plain,rmw  not one of the two got the slot
take_through_hold  sets_of_slots_in_opposite_orders                   plain,rmw  not one of the two was admitted
answer_of_before   two_sets_say_what_remains_after_each               plain,rmw  what remained before was said
first_unconfirmed  a_lease_is_renewed_between_two_looks               rmw        two moments in one answer
slots_before_words slots_are_taken_once_the_words_are_held            plain,rmw  refused by a slot that nobody has
slots_unconfirmed  a_refusal_by_slots_is_of_one_moment                plain,rmw  two moments in one answer
cycle_unasked      a_cap_is_lowered_under_a_set                       plain,rmw  two caps in one answer
before_unmarked    a_permit_says_what_remained_while_the_quota_changes plain,rmw numbers of two quotas
commit_by_store    a_permit_is_dropped_under_an_admit                 plain,rmw  a slot is lost
denial_kept        a_slot_is_free_once_nobody_waits                   plain,rmw  refused though nobody waits
release_by_store   a_slot_is_given_back_while_a_set_holds_it          plain      exceeded maximum number of branches
release_by_store   a_slot_is_given_back_while_a_set_holds_it          rmw        a slot is lost
release_early      a_rate_is_checked_under_a_set_with_slots           plain,rmw  a charge is lost
fold_unlocked      counts_are_summed_as_the_thread_that_counted_ends  plain,rmw  a count went back, or was seen twice
decide_then_charge two_race_for_the_last_unit_of_a_record             plain,rmw  not one of the two was allowed
decide_then_charge two_grant_what_a_record_has_left                   plain,rmw  not as much as there was
lock_one_by_one    sets_of_records_in_opposite_orders                 plain,rmw  not one of the two was admitted
lock_unordered     sets_of_records_in_opposite_orders                 plain,rmw  deadlock
lock_one_by_one    a_check_meets_a_locked_record                      plain,rmw  not one of the two was allowed
charge_first       a_set_refused_by_its_last_limit_charges_no_record  plain,rmw  refused and charged
lock_one_by_one    a_set_of_records_is_seen_at_one_moment             plain,rmw  two moments in one answer
mixed_quotas       a_quota_changes_under_a_set_of_records             plain,rmw  decided under two quotas
lock_one_by_one    a_check_meets_a_newcomer_to_whom_a_set_gives_a_record plain,rmw a charge is lost
lock_one_by_one    a_set_gives_records_to_two_newcomers_of_a_shard    plain,rmw  a charge is lost
lock_one_by_one    sets_of_a_record_and_a_word_in_opposite_orders     plain,rmw  not one of the two was admitted
wait_while_holding a_set_of_words_meets_one_with_a_record             plain,rmw  exceeded maximum number of branches
join_unserved      units_come_back_to_a_record_as_somebody_joins_the_line plain,rmw nobody woke who waits
'
# Seeded bugs, scenario in which each must leave a history without a serial order.
history_mutants='
add_then_check read_through release_early settle_twice two_cells answer_unconfirmed replace_by_store rates
add_then_count claim_by_store expiry_frees_stranger reset_keeps_lease resize_open slots
add_then_count expiry_frees_stranger cancel_wakes_nobody join_unserved alarm_unchecked lines
grant_forgotten queue_forgotten lines
charge_first release_early add_then_count answer_unconfirmed resize_open take_through_hold admits
'

./tree.sh
build() { # name, cfg, then what
    (cd target/tree/verify && RUSTFLAGS="--cfg $2" CARGO_TARGET_DIR="../../$2" \
        cargo "${@:3}" "$1" --release --locked --message-format=json 2>"$logs/build.$2") |
        grep -o "\"executable\":\"[^\"]*/$1[^/\"]*\"" | cut -d'"' -f4 | tail -1 || true
}
models=$(build models tollgate_loom test --no-run --test)
slots=$(build slots tollgate_loom test --no-run --test)
admits=$(build admits tollgate_loom test --no-run --test)
records=$(build records tollgate_loom test --no-run --test)
histories=$(build histories tollgate_shuttle build --bin)
if [[ ! -x $models || ! -x $slots || ! -x $admits || ! -x $records || ! -x $histories ]]; then
    cat "$logs"/build.*
    exit 1
fi
export models slots admits records histories logs

# Binary, model or scenario, mode or seed and count, seeded bug, text it must fail with.
run() {
    IFS='|' read -r kind subject mode mutant text <<<"$1"
    local log="$logs/$kind.$subject.$mode.$mutant" status=0 verdict begin=$SECONDS
    if [[ $kind != histories ]]; then
        [[ $mode == rmw ]] && export TOLLGATE_RMW=1
        TOLLGATE_MUTANT=$mutant timeout 1800 "${!kind}" --exact "$subject" --nocapture >"$log" 2>&1 || status=$?
        verdict="$(grep -ao 'executions: [0-9]*' "$log" | awk '{ n += $2 } END { print n + 0 }') executions"
    else
        TOLLGATE_MUTANT=$mutant TOLLGATE_SEED=${mode%,*} TOLLGATE_HISTORIES=${mode#*,} \
            timeout 1800 "$histories" "$subject" >"$log" 2>&1 || status=$?
        verdict=$(tail -1 "$log")
    fi
    if [[ -n $mutant ]]; then
        # Aborted: a deadlock in a model is a panic while others unwind.
        if ((status == 101 || status == 134)) && grep -aqF "$text" "$log"; then
            echo "ok    $kind $subject $mode: fails with $mutant ($((SECONDS - begin)) s)"
        else
            echo "WRONG $kind $subject $mode: does not fail with $mutant (status $status)"
            return 1
        fi
    elif ((status == 0)); then
        echo "ok    $kind $subject $mode: $verdict ($((SECONDS - begin)) s)"
    else
        echo "WRONG $kind $subject $mode: status $status"
        tail -60 "$log"
        return 1
    fi
}
export -f run

{
    # The longest first.
    for seed in 1 2; do
        echo "histories|slots|$seed,$((count / 2))||"
        echo "histories|rates|$seed,$((count / 2))||"
        echo "histories|lines|$seed,$((count / 8))||"
        echo "histories|admits|$seed,$((count / 8))||"
    done
    for kind in models slots admits records; do
        # A binary without models is one that should not have been built.
        names=$("${!kind}" --list 2>/dev/null | grep -o '^[a-z_]*') || names=no_models
        for model in $names; do
            for mode in plain rmw; do echo "$kind|$model|$mode||"; done
            # A model without a bug that fails it says nothing.
            bugs=$(grep " $model " <<<"$mutants") || bugs="none $model rmw has no seeded bug"
            while read -r mutant _ modes text; do
                for mode in ${modes/,/ }; do echo "$kind|$model|$mode|$mutant|$text"; done
            done <<<"$bugs"
        done
    done
    grep . <<<"$history_mutants" | while read -r line; do
        for mutant in ${line% *}; do
            echo "histories|${line##* }|3,20000|$mutant|no serial order"
        done
    done
} | xargs -P "$jobs" -d '\n' -n 1 bash -c 'run "$1"' _

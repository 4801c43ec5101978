//! What the command is made of, used as from a program.

mod compare;
mod durations;
#[path = "../../../fuzz/targets/log_line.rs"]
mod log_line;
#[path = "../../../fuzz/targets/over_corpus.rs"]
mod over_corpus;

#[test]
fn log_lines_of_the_corpus() {
    over_corpus::replay("log_line", log_line::run);
}

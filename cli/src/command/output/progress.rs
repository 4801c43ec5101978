//! A progress bar for reading logs, on a terminal.

use std::io::Read;

use indicatif::{ProgressBar, ProgressStyle};

use crate::command::input::Input;

/// A bar on standard error. Hidden if that is not a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Progress over the bytes of all inputs. Hidden if the terminal shows the output meanwhile.
    pub(crate) fn over(inputs: &[Input], hidden: bool) -> Progress {
        let size: Option<u64> = inputs.iter().map(|input| input.size).sum();
        let (bar, template) = match size {
            _ if hidden => (ProgressBar::hidden(), ""),
            Some(size) => {
                (ProgressBar::new(size), "{bar:40} {percent:>3}%  {bytes} of {total_bytes}")
            }
            None => (ProgressBar::no_length(), "{spinner} {bytes}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━━ "));
        }
        Progress { bar }
    }

    /// Counts the bytes read from `source`.
    pub(crate) fn watch(&self, source: Box<dyn Read>) -> impl Read + 'static {
        self.bar.wrap_read(source)
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

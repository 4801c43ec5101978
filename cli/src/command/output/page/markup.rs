//! Escapes text and joins it to markup.

use std::fmt::{self, Display, Formatter, Write};

/// Escapes foreign text for use between tags and in attributes. Characters that XML cannot hold are
/// replaced.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(' ')?,
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                    f.write_char(char::REPLACEMENT_CHARACTER)?;
                }
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Foreign text in running text, isolated so that its direction does not change the text around it.
pub(super) struct Outside<'a>(pub(super) &'a str);

impl Display for Outside<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "<bdi>{}</bdi>", Text(self.0))
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn and(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `text` with a capital letter and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", rest.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text() {
        assert_eq!(
            Text("<a b='\"'>&\0\u{7f}\n").to_string(),
            "&lt;a b=&#39;&quot;&#39;&gt;&amp;\u{fffd}\u{fffd} "
        );
    }

    #[test]
    fn sentences() {
        assert_eq!(["one a second", "Done."].map(sentence), ["One a second.", "Done."]);
    }

    #[test]
    fn lists() {
        let words = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(
            [&words[..0], &words[..1], &words[..2], &words].map(and),
            ["", "a", "a and b", "a, b and c"]
        );
    }
}

//! Draws plots as SVG that follow the colours of the page: marks have a class, and the style sheet
//! says how they look. What is plotted is in `bars`, `scatter` and `timelines`.

use std::fmt::{self, Display, Formatter, Write};

use super::markup::Text;

/// The width of a letter in plots, in pixels.
const LETTER: f64 = 11.0;

/// A plot being drawn. Its size is in pixels; the page may scale it.
pub(super) struct Plot {
    size: (f64, f64),
    body: String,
}

/// The anchor of a text.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// The rectangle that contains the marks.
#[derive(Clone, Copy)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Plot {
    /// A new plot, with its area drawn first.
    pub(super) fn new(size: (f64, f64), area: Area) -> Plot {
        let mut plot = Plot { size, body: String::new() };
        plot.add(format_args!(
            r#"<rect class="plot-area" x="{}" y="{}" width="{}" height="{}"/>"#,
            Px(area.left),
            Px(area.top),
            Px(area.right - area.left),
            Px(area.bottom - area.top),
        ));
        plot
    }

    /// Adds markup.
    pub(super) fn add(&mut self, markup: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(markup);
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.add(format_args!(
            r#"<line class="{class}" x1="{}" y1="{}" x2="{}" y2="{}"/>"#,
            Px(from.0),
            Px(from.1),
            Px(to.0),
            Px(to.1)
        ));
    }

    pub(super) fn text(&mut self, class: &str, anchor: Anchor, at: (f64, f64), text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.add(format_args!(
            r#"<text class="{class}" text-anchor="{anchor}" x="{}" y="{}">{}</text>"#,
            Px(at.0),
            Px(at.1),
            Text(text)
        ));
    }

    /// The finished plot. `id` is unique on the page; the title and the description are for screen
    /// readers.
    pub(super) fn finish(self, id: &str, class: &str, title: &str, description: &str) -> String {
        format!(
            concat!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" class="plot {}" role="img" "#,
                r#"viewBox="0 0 {} {}" aria-labelledby="{id}-title" aria-describedby="{id}-about">"#,
                r#"<title id="{id}-title">{}</title><desc id="{id}-about">{}</desc>{}</svg>"#
            ),
            class,
            Px(self.size.0),
            Px(self.size.1),
            Text(title),
            Text(description),
            self.body,
            id = id,
        )
    }
}

/// A scale from values to pixels.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    values: (f64, f64),
    pixels: (f64, f64),
    log: bool,
}

impl Scale {
    pub(super) fn linear(values: (f64, f64), pixels: (f64, f64)) -> Scale {
        Scale { values, pixels, log: false }
    }

    /// A logarithmic scale, for values above 0.
    pub(super) fn log(values: (f64, f64), pixels: (f64, f64)) -> Scale {
        Scale { values: (values.0.log10(), values.1.log10()), pixels, log: true }
    }

    /// The pixel of a value, clamped to the ends of the scale.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if self.log { value.log10() } else { value };
        let share = (value - self.values.0) / (self.values.1 - self.values.0);
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }
}

/// A coordinate, to a tenth of a pixel.
pub(super) struct Px(pub(super) f64);

impl Display for Px {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", (self.0 * 10.0).round() / 10.0)
    }
}

/// About `most` round values from 0 up to `end`: 0 and at least one more.
pub(super) fn ticks(end: f64, most: usize) -> Vec<f64> {
    if !(end > 0.0 && end.is_finite()) {
        return vec![0.0];
    }
    let step = round_up(end / most.max(1) as f64);
    let step = if step > end { end } else { step };
    (0..=most).map(|index| index as f64 * step).take_while(|value| *value <= end * 1.001).collect()
}

/// The smallest of 1, 2, 5, 10, … that is at least `value`.
fn round_up(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0]
        .map(|digit| digit * decade)
        .into_iter()
        .find(|step| *step >= value * 0.999)
        .unwrap_or(10.0 * decade)
}

/// 1, 2, 5, 10, … from `from` to `to`; only powers of ten if those are more than `most`.
pub(super) fn log_ticks(from: f64, to: f64, most: usize) -> Vec<f64> {
    let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
    let all = |digits: &[f64]| -> Vec<f64> {
        let all = decades
            .clone()
            .flat_map(|decade| digits.iter().map(move |digit| digit * 10f64.powi(decade)));
        all.filter(|value| (from..=to).contains(value)).collect()
    };
    let fine = all(&[1.0, 2.0, 5.0]);
    if fine.len() <= most { fine } else { all(&[1.0]) }
}

/// `text`, cut so that it takes at most `width` pixels in any usual font.
pub(super) fn fit(text: &str, width: f64) -> String {
    let letter = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | '\'' | '|' | ' ' => 0.36,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 1.0,
        'A'..='Z' => 0.78,
        c if c.is_ascii() => 0.62,
        _ => 1.05,
    };
    let mut taken = 0.0;
    let within = text.chars().take_while(|c| {
        taken += letter(*c) * LETTER;
        taken <= width
    });
    crate::text::cut(text, within.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_keeps_to_its_ends() {
        let scale = Scale::linear((0.0, 10.0), (100.0, 0.0));
        assert_eq!(
            [-1.0, 0.0, 5.0, 11.0, f64::NAN].map(|value| scale.at(value)),
            [100.0, 100.0, 50.0, 0.0, 100.0]
        );
        let log = Scale::log((1.0, 100.0), (0.0, 10.0));
        assert_eq!([0.0, 1.0, 10.0, 1e9].map(|value| log.at(value)), [0.0, 0.0, 5.0, 10.0]);
        assert_eq!(Scale::linear((0.0, 0.0), (3.0, 9.0)).at(0.0), 3.0);
    }

    #[test]
    fn marks_are_round() {
        assert_eq!(ticks(100.0, 4), [0.0, 50.0, 100.0]);
        assert_eq!(ticks(210.0, 4), [0.0, 100.0, 200.0]);
        assert_eq!(ticks(0.0, 4), [0.0]);
        assert_eq!(log_ticks(8.0, 60.0, 5), [10.0, 20.0, 50.0]);
        assert_eq!(log_ticks(8.0, 60_000.0, 5), [10.0, 100.0, 1_000.0, 10_000.0]);
    }

    #[test]
    fn names_fit() {
        assert_eq!(fit("sliding log", 120.0), "sliding log");
        assert_eq!(fit("WWWWWWWW", 44.0), "WWW…");
        assert_eq!(fit("漢漢漢漢", 24.0), "漢…");
    }
}

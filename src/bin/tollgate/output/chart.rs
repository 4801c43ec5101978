//! Bars in a line of text.

const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One bar a count, each `stretch` characters wide, the highest at `max`. What is not nothing can
/// be seen.
pub(crate) fn bars(counts: &[u64], max: u64, stretch: usize) -> String {
    let bar = |count: &u64| {
        let eighths = (u128::from(*count) * 8).div_ceil(u128::from(max.max(1)));
        let bar = BARS.get(eighths as usize).copied().unwrap_or('█');
        std::iter::repeat_n(bar, stretch)
    };
    counts.iter().flat_map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_nothing_can_be_seen() {
        assert_eq!(bars(&[0, 1, 500, 999, 1000], 1000, 1), " ▁▄██");
        assert_eq!(bars(&[0, u64::MAX], u64::MAX, 2), "  ██");
        assert_eq!(bars(&[0, 0], 0, 1), "  ");
    }
}

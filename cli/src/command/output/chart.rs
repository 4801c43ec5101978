//! Bar charts made of characters.

const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One bar per count, each `stretch` characters wide, the highest at `max`. A count above zero is
/// always visible.
pub(crate) fn bars(counts: &[u64], max: u64, stretch: usize) -> String {
    let bar = |count: &u64| {
        let eighths = (u128::from(*count) * 8).div_ceil(u128::from(max.max(1)));
        let bar = BARS.get(eighths as usize).copied().unwrap_or('█');
        std::iter::repeat_n(bar, stretch)
    };
    counts.iter().flat_map(bar).collect()
}

/// Bars of several lines, the top line first, the highest bar at `max`. Where there is no bar,
/// lines are drawn at each column's `marks`.
pub(crate) fn tower(counts: &[u64], max: u64, lines: usize, marks: &[Vec<u64>]) -> Vec<String> {
    let eighths = |count: u64| {
        (u128::from(count) * 8 * lines as u128).div_ceil(u128::from(max.max(1))) as usize
    };
    let cell = |line: usize, column: usize, count: u64| {
        let below = 8 * (lines - 1 - line);
        let filled = eighths(count).saturating_sub(below).min(8);
        let marks = marks.get(column).map_or(&[][..], Vec::as_slice);
        match filled {
            0 if marks.iter().any(|mark| line_of(*mark, max, lines) == Some(line)) => '╌',
            _ => BARS.get(filled).copied().unwrap_or('█'),
        }
    };
    let line = |line: usize| {
        counts.iter().enumerate().map(|(column, count)| cell(line, column, *count)).collect()
    };
    (0..lines).map(line).collect()
}

/// The line of the chart, from the top, in which a bar of `count` ends.
pub(crate) fn line_of(count: u64, max: u64, lines: usize) -> Option<usize> {
    let up = (u128::from(count) * lines as u128).div_ceil(u128::from(max.max(1)));
    lines.checked_sub(usize::try_from(up).ok()?.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tower_shows_bars_and_marks() {
        let marks = vec![vec![4]; 5];
        assert_eq!(tower(&[0, 1, 4, 7, 8], 8, 2, &marks), ["   ▆█", "╌▂███"]);
        let marks = vec![vec![5, 99]; 2];
        assert_eq!(tower(&[0, 8], 8, 2, &marks), ["╌█", " █"]);
        assert_eq!(line_of(0, 8, 2), Some(1));
        assert_eq!(line_of(8, 8, 2), Some(0));
        assert_eq!(line_of(9, 8, 2), None);
    }

    #[test]
    fn what_is_not_nothing_can_be_seen() {
        assert_eq!(bars(&[0, 1, 500, 999, 1000], 1000, 1), " ▁▄██");
        assert_eq!(bars(&[0, u64::MAX], u64::MAX, 2), "  ██");
        assert_eq!(bars(&[0, 0], 0, 1), "  ");
    }
}

//! Counts of something over time. They are kept in bins that widen with the time spanned, and shown
//! in columns of equal, round width.

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate::Timestamp;

/// The widths of bins, in nanoseconds. Each divides the next.
const BINS: [u64; 7] =
    [1, 1_000, 1_000_000, 1_000_000_000, 60_000_000_000, 3_600_000_000_000, 86_400_000_000_000];

/// Index of the bin of one second, the finest resolution of most access logs.
const SECOND: usize = 3;

/// A span of this many bins of the next width no longer needs narrower ones, since no chart has
/// this many columns.
const MAX_COLUMNS: u64 = 100;

/// How often something happened, over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// The width of the bins, as an index into `BINS`.
    width: usize,
    counts: BTreeMap<u64, u64>,
}

/// Equal columns of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    width: u64,
    /// The number of the first column, counted from the origin of the time axis.
    first: u64,
    count: usize,
}

impl Timeline {
    /// Counts one occurrence at `at`.
    pub(super) fn add(&mut self, at: Timestamp) {
        *self.counts.entry(at.as_nanos() / BINS[self.width]).or_default() += 1;
        while self.is_too_fine() {
            let ratio = BINS[self.width + 1] / BINS[self.width];
            self.width += 1;
            for (bin, count) in std::mem::take(&mut self.counts) {
                *self.counts.entry(bin / ratio).or_default() += count;
            }
        }
    }

    fn is_too_fine(&self) -> bool {
        let (Some((first, _)), Some((last, _)), Some(next)) =
            (self.counts.first_key_value(), self.counts.last_key_value(), BINS.get(self.width + 1))
        else {
            return false;
        };
        (last - first) / (next / BINS[self.width]) > MAX_COLUMNS
    }

    /// The total.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The count of each column.
    pub fn by_column(&self, columns: &Columns) -> Vec<u64> {
        let mut counts = vec![0; columns.count];
        for (bin, count) in &self.counts {
            let column = bin.saturating_mul(BINS[self.width]) / columns.width;
            let column = column.checked_sub(columns.first).and_then(|at| usize::try_from(at).ok());
            if let Some(sum) = column.and_then(|column| counts.get_mut(column)) {
                *sum += count;
            }
        }
        counts
    }
}

impl Columns {
    /// At most `most` (and at most 100) columns that cover `first` to `last`, each of a round width
    /// and no narrower than the resolution of the timestamps.
    pub(super) fn spanning(
        first: Timestamp,
        last: Timestamp,
        finest: Resolution,
        most: usize,
    ) -> Columns {
        let (first, last) = (first.as_nanos(), last.as_nanos());
        let most = (most as u64).clamp(1, MAX_COLUMNS);
        let fits = |width: &u64| last / width - first / width < most;
        let width = widths().find(|width| *width >= finest.nanos() && fits(width));
        let width = width.unwrap_or(u64::MAX);
        let count = last / width - first / width + 1;
        Columns { width, first: first / width, count: count as usize }
    }

    /// The number of columns.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The width of each column.
    pub fn width(&self) -> Duration {
        Duration::from_nanos(self.width)
    }

    /// When the column at `index` begins.
    pub fn start(&self, index: usize) -> Timestamp {
        Timestamp::from_nanos((self.first + index as u64).saturating_mul(self.width))
    }
}

/// Round widths in nanoseconds, ascending.
fn widths() -> impl Iterator<Item = u64> {
    const THOUSAND: &[u64] = &[1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500];
    const SIXTY: &[u64] = &[1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30];
    const DAY: &[u64] = &[1, 2, 3, 4, 6, 8, 12];
    let steps = [THOUSAND, THOUSAND, THOUSAND, SIXTY, SIXTY, DAY];
    let below_a_day = steps
        .into_iter()
        .zip(BINS)
        .flat_map(|(steps, bin)| steps.iter().map(move |step| step * bin));
    let days = (1..u64::MAX / BINS[6]).map(|days| days * BINS[6]);
    below_a_day.chain(days)
}

/// The resolution of timestamps: the coarsest bin, up to a second, that divides all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resolution(usize);

impl Resolution {
    pub(super) const COARSEST: Resolution = Resolution(SECOND);

    pub(super) fn see(&mut self, at: Timestamp) {
        while at.as_nanos() % BINS[self.0] != 0 {
            self.0 -= 1;
        }
    }

    fn nanos(self) -> u64 {
        BINS[self.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(at: u64) -> Timestamp {
        Timestamp::from_secs(at)
    }

    #[test]
    fn columns_are_round_and_cover_the_span() {
        for (first, last, most, width, count) in [
            (0, 0, 60, 1, 1),
            (0, 59, 60, 1, 60),
            (0, 60, 60, 2, 31),
            (59, 61, 2, 2, 2),
            (1_000_000, 1_086_400, 60, 1800, 49),
            (1_715_472_017, 1_716_246_418, 60, 14_400, 54),
            (0, 86_400 * 365 * 50, 60, 86_400 * 305, 60),
        ] {
            let columns =
                Columns::spanning(seconds(first), seconds(last), Resolution::COARSEST, most);
            assert_eq!(columns.width().as_secs(), width, "{first} {last}");
            assert_eq!(columns.count(), count, "{first} {last}");
            assert!(columns.start(0) <= seconds(first));
            assert!(columns.start(columns.count()) > seconds(last));
        }
    }

    #[test]
    fn columns_are_no_finer_than_the_stamps() {
        let mut finest = Resolution::COARSEST;
        finest.see(Timestamp::from_nanos(3_000_020_000));
        let end = Timestamp::from_nanos(3_000_040_000);
        let columns = Columns::spanning(Timestamp::from_nanos(3_000_000_000), end, finest, 60);
        assert_eq!((columns.width(), columns.count()), (Duration::from_micros(1), 41));
    }

    #[test]
    fn the_whole_axis_has_columns() {
        let columns = Columns::spanning(Timestamp::ZERO, Timestamp::MAX, Resolution::COARSEST, 60);
        assert!(columns.count() <= 60);
        assert_eq!(columns.start(1000), Timestamp::MAX);
    }

    #[test]
    fn bins_widen_and_lose_nothing() {
        let mut timeline = Timeline::default();
        let mut expected = vec![0; 60];
        let end = 86_400 * 9;
        let columns = Columns::spanning(seconds(0), seconds(end), Resolution::COARSEST, 60);
        for second in (0..=end).step_by(7) {
            timeline.add(seconds(second));
            expected[(second / columns.width().as_secs()) as usize] += 1;
        }
        expected.truncate(columns.count());
        assert_eq!(timeline.by_column(&columns), expected);
        assert!(timeline.counts.len() < 20_000, "{}", timeline.counts.len());
        timeline.add(Timestamp::MAX);
        assert_eq!(timeline.total(), end / 7 + 2);
        assert!(timeline.counts.len() <= 10);
    }

    #[test]
    fn bins_stay_narrow_enough_for_any_chart() {
        // A bin is never wider than the narrowest column that its own span can be shown in.
        for span in [1, 100_000, 101_000, 1 << 40, 1 << 45, 1 << 50, 1 << 60] {
            let mut timeline = Timeline::default();
            timeline.add(Timestamp::ZERO);
            timeline.add(Timestamp::from_nanos(span));
            let end = Timestamp::from_nanos(span);
            let columns = Columns::spanning(Timestamp::ZERO, end, Resolution(0), 100);
            assert_eq!(columns.width % BINS[timeline.width], 0, "{span}");
        }
    }
}

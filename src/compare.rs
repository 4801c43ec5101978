//! Limiters side by side on the same arrivals. `report` is what comes of it.

mod report;

pub use report::{
    About, Check, LeftOut, Origin, Outcome, Report, Scenario, Score, Speed, SpeedRow, Waits, Window,
};

//! The types of the values in a scenario, each with its check and its error message.

use std::time::Duration;

use toml::de::DeValue;

use super::fields::Kind;
use super::{Crash, Pick, units};

pub(super) const TEXT: Kind<String> = Kind {
    is: "text",
    example: "\"dashboards\"",
    read: |value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned),
};
pub(super) const WHOLE: Kind<u64> =
    Kind { is: "a whole number from 0", example: "100", read: whole };
pub(super) const SEED: Kind<u64> = Kind { example: "1", ..WHOLE };
pub(super) const POSITIVE: Kind<u64> = Kind {
    is: "a whole number from 1",
    example: "159",
    read: |value| whole(value).filter(|number| *number > 0),
};
pub(super) const MOMENT: Kind<Duration> = Kind {
    is: "a length of time from the start",
    example: "\"600s\"",
    read: |value| units::duration(value.as_str()?),
};
pub(super) const TIME: Kind<Duration> = Kind {
    is: "a length of time",
    example: "\"60s\"",
    read: |value| units::duration(value.as_str()?).filter(|time| !time.is_zero()),
};
pub(super) const RATE: Kind<f64> = Kind {
    is: "a rate above 0",
    example: "\"50/s\"",
    read: |value| units::rate(value.as_str()?).filter(|rate| *rate > 0.0),
};
pub(super) const RAMP_RATE: Kind<f64> =
    Kind { is: "a rate", example: "\"0/s\"", read: |value| units::rate(value.as_str()?) };
pub(super) const CRASH: Kind<Crash> = Kind {
    is: "how many crash, or which share of them",
    example: "\"5%\"",
    read: |value| match value {
        DeValue::String(text) => units::share(text).map(Crash::Share),
        other => whole(other).map(Crash::First),
    },
};
pub(super) const PICK: Kind<Pick> = Kind {
    is: "\"random\" or \"in-turn\"",
    example: "\"in-turn\"",
    read: |value| match value.as_str()? {
        "random" => Some(Pick::Random),
        "in-turn" => Some(Pick::InTurn),
        _ => None,
    },
};
pub(super) const FACT_VALUE: Kind<String> =
    Kind { is: "text or a whole number", example: "\"42\"", read: fact_value };
pub(super) const FACT_VALUES: Kind<Vec<String>> = Kind {
    is: "a list of text or whole numbers",
    example: "[\"eu\", \"us\"]",
    read: |value| {
        let values = value.as_array()?.iter().map(|item| fact_value(item.get_ref()));
        values.collect::<Option<Vec<String>>>().filter(|values| !values.is_empty())
    },
};
pub(super) const CHANGED: Kind<toml::Value> = Kind {
    is: "text or a whole number",
    example: "50",
    read: |value| match value {
        DeValue::String(text) => Some(toml::Value::from(text.as_ref())),
        other => whole(other).and_then(|number| i64::try_from(number).ok()).map(Into::into),
    },
};

fn whole(value: &DeValue<'_>) -> Option<u64> {
    let DeValue::Integer(number) = value else { return None };
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn fact_value(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) if !text.is_empty() => Some(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
        }
        _ => None,
    }
}

//! [`Value`]: the value of a fact as a caller gives it. Integers are formatted here, without an
//! allocation.

/// The value of a fact: text, or an integer, which counts as its decimal text.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a>(pub(super) ValueKind<'a>);

#[derive(Clone, Copy, Debug)]
pub(super) enum ValueKind<'a> {
    Text(&'a str),
    Decimal(Decimal),
}

/// Characters of the longest 64-bit integer, including the sign.
const LONGEST: usize = 20;

/// The decimal text of an integer: `digits` from `start` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal {
    digits: [u8; LONGEST],
    start: u8,
}

impl Decimal {
    pub(super) fn bytes(&self) -> &[u8] {
        self.digits.get(usize::from(self.start)..).unwrap_or_default()
    }
}

impl Value<'_> {
    fn decimal(mut magnitude: u64, negative: bool) -> Self {
        let mut digits = [b'0'; LONGEST];
        let mut start = LONGEST;
        loop {
            start -= 1;
            digits[start] = b'0' + (magnitude % 10) as u8;
            magnitude /= 10;
            if magnitude == 0 {
                break;
            }
        }
        if negative {
            start -= 1;
            digits[start] = b'-';
        }
        Value(ValueKind::Decimal(Decimal { digits, start: start as u8 }))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    #[inline]
    fn from(text: &'a str) -> Self {
        Value(ValueKind::Text(text))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    #[inline]
    fn from(text: &'a String) -> Self {
        Value(ValueKind::Text(text))
    }
}

macro_rules! integers {
    ($($signed:ty)+ ; $($unsigned:ty)+) => {
        $(impl From<$signed> for Value<'_> {
            fn from(number: $signed) -> Self {
                Value::decimal(u64::from(number.unsigned_abs()), number < 0)
            }
        })+
        $(impl From<$unsigned> for Value<'_> {
            fn from(number: $unsigned) -> Self {
                Value::decimal(u64::from(number), false)
            }
        })+
    };
}
integers!(i8 i16 i32 i64; u8 u16 u32 u64);

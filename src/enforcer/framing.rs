//! The bytes of a key: for each part the name and the value of the fact that counts, framed so that
//! two different keys never have the same bytes.
//!
//! A short key is hashed with one write, since a call of the hasher costs more than a few bytes.

use std::hash::Hasher;

/// In place of a length that one byte cannot hold. The length follows in 8 bytes.
const FOLLOWS: u64 = 255;

/// A part with a value of more than 16 bytes must end within this many words of 8 bytes if the key
/// is to be hashed with one write. A last part with a shorter value may end one word later.
const WORDS: usize = 16;

/// Bytes of a field. A part is a field and the value, padded with zeros to a multiple of 8 bytes.
/// The field is the length of the value in one byte, then the identity of the fact's name in four;
/// all are 0 for a missing fact. So the end of each part is known from its bytes.
const FIELD: usize = 5;
const FIELD_BITS: u32 = 40;

/// A part: the identity of the fact's name, and its value; 0 and an empty value for a missing fact.
pub(crate) type Given<'a> = (u64, &'a [u8]);

/// The buffer of a key that is hashed with one write. Bytes behind the last part are arbitrary. A
/// part needs room for three words, the length of a part with a value of 16 bytes, wherever it
/// begins.
pub(crate) type KeyWords = [[u8; 8]; WORDS + 1];

/// The identity of a name as a field whose length byte is 0, made from a 64-bit identity.
pub(crate) fn name(identity: u64) -> u64 {
    identity & ((1 << FIELD_BITS) - 1) & !FOLLOWS
}

/// The next identity, for a name whose identity is taken.
pub(crate) fn next_name(identity: u64) -> u64 {
    name(identity + FOLLOWS + 1)
}

#[inline(always)]
pub(crate) fn hash(words: &KeyWords, len: usize, mut hasher: impl Hasher) -> u64 {
    hasher.write(words[..len.min(words.len())].as_flattened());
    hasher.finish()
}

/// Writes a part at the word `at` and returns the word at which the next part begins. `None`: there
/// is no room.
#[inline(always)]
pub(crate) fn put(words: &mut KeyWords, at: usize, (name, value): Given<'_>) -> Option<usize> {
    let len = value.len();
    // A value that fits is much shorter than 255 bytes.
    let field = name | len as u64;
    let rest_of = |word: u64| word >> (64 - FIELD_BITS);
    // Rounded up. The sum cannot overflow: no slice is that long.
    let next = at + (FIELD + 7 + len) / 8;
    // With this check the compiler drops the bounds checks on the next line and at the writes
    // below.
    if at + 3 > words.len() {
        return None;
    }
    let place: &mut [_; 3] = words.get_mut(at..)?.first_chunk_mut()?;
    // Most values have up to 16 bytes, and moves of 8 bytes are faster than a call that copies.
    match (value.first_chunk(), value.last_chunk()) {
        // For a missing fact all bytes are 0, as in `MISSING`.
        _ if len <= 8 => {
            let value = fingerprint(value);
            place[0] = (field | value << FIELD_BITS).to_le_bytes();
            place[1] = rest_of(value).to_le_bytes();
        }
        (Some(first), Some(last)) if len <= 16 => {
            let first = u64::from_le_bytes(*first);
            // Those of the last 8 bytes that are not among the first 8.
            let last = u64::from_le_bytes(*last) >> (8 * (16 - len));
            let middle = rest_of(first) | last << FIELD_BITS;
            *place = [field | first << FIELD_BITS, middle, rest_of(last)].map(u64::to_le_bytes);
        }
        _ => put_long(words.get_mut(at..next.min(WORDS))?, field, value)?,
    }
    Some(next)
}

/// Writes a part that takes all of `words`. `None`: it does not fit.
fn put_long(words: &mut [[u8; 8]], field: u64, value: &[u8]) -> Option<()> {
    *words.last_mut()? = MISSING;
    let place = words.as_flattened_mut().get_mut(..FIELD + value.len())?;
    let (start, end) = place.split_at_mut(FIELD);
    start.copy_from_slice(&field.to_le_bytes()[..FIELD]);
    end.copy_from_slice(value);
    Some(())
}

/// The bytes of the part of a missing fact; also the padding.
const MISSING: [u8; 8] = [0; 8];

/// Up to 8 bytes as a little-endian number.
#[inline(always)]
fn fingerprint(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        // The first 4 and the last 4 bytes, which may overlap.
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (len - 4));
    }
    // The first, the middle and the last byte, which may be the same ones.
    let at = |index: usize| bytes.get(index).map_or(0, |byte| u64::from(*byte) << (8 * index));
    at(0) | at(len / 2) | at(len.saturating_sub(1))
}

/// Hashes a key of any length. `None`: a part is `None`.
#[cold]
#[inline(never)]
pub(crate) fn hash_long<'a>(
    parts: impl Iterator<Item = Option<Given<'a>>>,
    mut hasher: impl Hasher,
) -> Option<u64> {
    for part in parts {
        let (name, value) = part?;
        let len = value.len() as u64;
        if len == 0 {
            hasher.write(&MISSING);
            continue;
        }
        let field = (name | len.min(FOLLOWS)).to_le_bytes();
        hasher.write(&field[..FIELD]);
        if len >= FOLLOWS {
            hasher.write(&len.to_le_bytes());
        }
        hasher.write(value);
        let over = (FIELD + value.len()) % 8;
        hasher.write(&MISSING[over..][..if over > 0 { 8 - over } else { 0 }]);
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;

    /// Records every write.
    struct Recorder<'r>(&'r RefCell<Vec<Vec<u8>>>);

    impl Hasher for Recorder<'_> {
        fn write(&mut self, bytes: &[u8]) {
            self.0.borrow_mut().push(bytes.to_vec());
        }
        fn finish(&self) -> u64 {
            7
        }
    }

    /// The identity of a name without its lowest byte, which is not used, and a value. `None`:
    /// missing.
    type KeyFacts = Option<(u64, Vec<u8>)>;

    fn given(part: &KeyFacts) -> Given<'_> {
        part.as_ref().map_or((0, &[]), |(named, value)| (name(named << 8 | 0x5a), value))
    }

    fn writes(parts: &[KeyFacts]) -> Vec<Vec<u8>> {
        let written = RefCell::default();
        let mut words = KeyWords::default();
        let len = parts.iter().try_fold(0, |len, part| put(&mut words, len, given(part)));
        let parts = parts.iter().map(|part| Some(given(part)));
        let hashed = match len {
            Some(len) => Some(hash(&words, len, Recorder(&written))),
            None => hash_long(parts, Recorder(&written)),
        };
        assert_eq!(hashed, Some(7));
        written.into_inner()
    }

    /// Parts whose keys are shorter than the buffer, longer, and exactly as long.
    fn part() -> impl Strategy<Value = KeyFacts> {
        // Bytes that also occur in fields, lengths and padding.
        let byte = prop_oneof![Just(0), Just(1), Just(2), Just(8), Just(255), any::<u8>()];
        let len = prop_oneof![6 => 1..20_usize, 1 => 100..140_usize, 1 => 240..270_usize];
        let value = len.prop_flat_map(move |len| prop::collection::vec(byte.clone(), len));
        prop_oneof![1 => Just(None), 5 => (0..3_u64, value).prop_map(Some)]
    }

    fn parts() -> impl Strategy<Value = Vec<KeyFacts>> {
        prop::collection::vec(part(), 1..6)
    }

    /// Keys of nearly the same bytes: split at another place, one padding byte longer, with another
    /// name, or with a missing part.
    fn neighbours(parts: &[KeyFacts]) -> Vec<Vec<KeyFacts>> {
        let (mut all, mut moved) = (vec![[parts, &[None]].concat()], Vec::new());
        for (at, part) in parts.iter().enumerate() {
            let mut with =
                |new: &[KeyFacts]| all.push([&parts[..at], new, &parts[at + 1..]].concat());
            with(&[]);
            let Some((name, value)) = part else {
                with(&[Some((0, vec![0]))]);
                continue;
            };
            with(&[None]);
            with(&[Some((name ^ 1, value.clone()))]);
            with(&[Some((*name, [&**value, &[0]].concat()))]);
            for cut in 1..value.len() {
                let (a, b) = value.split_at(cut);
                with(&[Some((*name, a.to_vec())), Some((*name, b.to_vec()))]);
                with(&[Some((*name, a.to_vec()))]);
                if let Some(Some((next, after))) = parts.get(at + 1) {
                    let mut other = parts.to_vec();
                    other[at] = Some((*name, a.to_vec()));
                    other[at + 1] = Some((*next, [b, after].concat()));
                    moved.push(other);
                }
            }
        }
        all.append(&mut moved);
        all
    }

    /// Parses the parts from the bytes of a key.
    fn read(mut bytes: &[u8]) -> Vec<KeyFacts> {
        let mut parts = Vec::new();
        while let Some((len, rest)) = bytes.split_first() {
            let (name, rest) = rest.split_first_chunk().unwrap();
            let (len, rest) = match (len, rest.split_first_chunk()) {
                (0xff, Some((len, rest))) => (u64::from_le_bytes(*len) as usize, rest),
                (len, _) => (usize::from(*len), rest),
            };
            let (value, rest) = rest.split_at(len);
            let (filling, rest) = rest.split_at((3 + 8 * 64 - len) % 8);
            assert!(filling.iter().all(|byte| *byte == 0));
            parts.push((len > 0).then(|| (u64::from(u32::from_le_bytes(*name)), value.to_vec())));
            bytes = rest;
        }
        assert!(bytes.is_empty());
        parts
    }

    proptest! {
        #[test]
        fn two_keys_never_have_the_same_bytes(parts in parts(), other in parts()) {
            let bytes = writes(&parts).concat();
            // Since the key can be parsed from its bytes, no other key has the same bytes.
            prop_assert_eq!(&read(&bytes), &parts);
            prop_assert_eq!(bytes == writes(&other).concat(), parts == other);
            for other in neighbours(&parts).into_iter().filter(|other| *other != parts) {
                prop_assert_ne!(&bytes, &writes(&other).concat(), "{:?}", other);
            }
        }
    }

    #[test]
    fn a_key_of_few_bytes_is_one_write() {
        let writes = |lens: &[usize]| {
            let part = |len: &usize| Some((3, vec![b'a'; *len]));
            writes(&lens.iter().map(part).collect::<Vec<_>>()).len()
        };
        let short: [&[usize]; 6] = [&[1], &[123], &[107, 8], &[16, 99], &[99, 11], &[1; 15]];
        assert_eq!(short.map(writes), [1; 6]);
        let long: [&[usize]; 5] = [&[124], &[108, 8], &[20, 99], &[99, 20], &[1; 17]];
        assert!(long.iter().all(|lens| writes(lens) > 1));
    }
    #[test]
    fn without_a_part_there_is_no_key() {
        let written = RefCell::default();
        let parts = [Some((1 << 8, &[b'a'; 2 * 8 * WORDS][..])), None];
        assert_eq!(hash_long(parts.into_iter(), Recorder(&written)), None);
        assert_eq!(hash_long(parts.into_iter().rev(), Recorder(&written)), None);
    }
}

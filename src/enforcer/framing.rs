//! The bytes of a key that a policy makes: of each part the name and the value of the fact that
//! counts, so framed that two keys never have the same bytes.
//!
//! A part is a field of 8 bytes and the value, filled up with zeros to a multiple of 8. The field is
//! the identity of the fact's name without its lowest byte, and there the length of the value: 0 of
//! a fact that is missing, 255 if the length follows in 8 bytes more. So each part says where it
//! ends. A key of few bytes is one write, since calls of a hasher are dearer than bytes.

use std::hash::Hasher;

/// Instead of a length that one byte cannot say.
const FOLLOWS: u64 = 255;

/// Words of 8 bytes of the longest key that is one write.
const WORDS: usize = 16;

/// A part: the identity of the fact's name and its value, which is empty if a missing fact counts.
pub(crate) type Given<'a> = (u64, &'a [u8]);

/// Hashes the key of these parts. `None`: there is no key, since one of them is `None`.
#[inline]
pub(crate) fn hash<'a, H: Hasher>(
    parts: impl Iterator<Item = Option<Given<'a>>> + Clone,
    mut hasher: H,
) -> Option<u64> {
    let mut words = [[0; 8]; WORDS];
    let mut at = 0;
    for part in parts.clone() {
        let part = part?;
        let Some(next) = put(&mut words, at, part) else { return hash_long(parts, hasher) };
        at = next;
    }
    hasher.write(words.get(..at).unwrap_or_default().as_flattened());
    Some(hasher.finish())
}

/// Puts a part at the word `at` and says where the next one is to be. `None`: there is no room.
#[inline(always)]
fn put(words: &mut [[u8; 8]; WORDS], at: usize, (name, value): Given<'_>) -> Option<usize> {
    let len = value.len();
    let rest = words.get_mut(at..)?;
    // A length that fits is far below 255.
    let field = (name & !FOLLOWS | len as u64).to_le_bytes();
    // Most values have up to 16 bytes, and moving 8 at once is quicker than a call that copies.
    match (value.first_chunk(), value.last_chunk::<8>()) {
        (None, _) if value.is_empty() => {
            *rest.first_mut()? = MISSING;
            Some(at + 1)
        }
        (None, _) => {
            *rest.first_chunk_mut()? = [field, few(value).to_le_bytes()];
            Some(at + 2)
        }
        (Some(first), Some(last)) if (9..=16).contains(&len) => {
            // Of the last 8 bytes those that are not among the first 8.
            let last = u64::from_le_bytes(*last) >> (8 * (16 - len));
            *rest.first_chunk_mut()? = [field, *first, last.to_le_bytes()];
            Some(at + 3)
        }
        _ => {
            let (start, rest) = rest.split_first_mut()?;
            let place = rest.as_flattened_mut().get_mut(..len)?;
            *start = field;
            place.copy_from_slice(value);
            Some(at + 1 + len.div_ceil(8))
        }
    }
}

/// The field of a fact that is missing.
const MISSING: [u8; 8] = [0; 8];

/// Up to 7 bytes as a number, the first the lowest.
#[inline(always)]
fn few(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        // The first 4 and the last 4, of which some may be the same ones.
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (len - 4));
    }
    // The first, the middle and the last one, likewise.
    let at = |index: usize| bytes.get(index).map_or(0, |byte| u64::from(*byte) << (8 * index));
    at(0) | at(len / 2) | at(len.saturating_sub(1))
}

#[cold]
#[inline(never)]
fn hash_long<'a, H: Hasher>(
    parts: impl Iterator<Item = Option<Given<'a>>>,
    mut hasher: H,
) -> Option<u64> {
    for part in parts {
        let (name, value) = part?;
        let (name, len) = (name & !FOLLOWS, value.len() as u64);
        match len {
            0 => hasher.write(&MISSING),
            1..FOLLOWS => hasher.write(&(name | len).to_le_bytes()),
            _ => hasher.write([(name | FOLLOWS).to_le_bytes(), len.to_le_bytes()].as_flattened()),
        }
        let (whole, rest) = value.split_at(value.len() / 8 * 8);
        hasher.write(whole);
        let mut last = [0; 8];
        if let (false, Some(start)) = (rest.is_empty(), last.get_mut(..rest.len())) {
            start.copy_from_slice(rest);
            hasher.write(&last);
        }
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;

    /// Keeps what is written.
    struct Recorder<'r>(&'r RefCell<Vec<Vec<u8>>>);

    impl Hasher for Recorder<'_> {
        fn write(&mut self, bytes: &[u8]) {
            self.0.borrow_mut().push(bytes.to_vec());
        }
        fn finish(&self) -> u64 {
            7
        }
    }

    /// A name's identity, whose lowest byte is not used, and a value. `None`: missing.
    type Part = Option<(u64, Vec<u8>)>;

    fn given(part: &Part) -> Option<Given<'_>> {
        Some(part.as_ref().map_or((0, &[]), |(name, value)| (name << 8 | 0x5a, value)))
    }

    fn writes(parts: &[Part]) -> Vec<Vec<u8>> {
        let written = RefCell::default();
        assert_eq!(hash(parts.iter().map(given), Recorder(&written)), Some(7));
        written.into_inner()
    }

    /// Parts whose keys are shorter and longer than the buffer, and just as long.
    fn part() -> impl Strategy<Value = Part> {
        // The bytes are those that fields, lengths and fillings have, too.
        let byte = prop_oneof![Just(0), Just(1), Just(2), Just(8), Just(255), any::<u8>()];
        let len = prop_oneof![6 => 1..20_usize, 1 => 100..140_usize, 1 => 240..270_usize];
        let value = len.prop_flat_map(move |len| prop::collection::vec(byte.clone(), len));
        prop_oneof![1 => Just(None), 5 => (0..3_u64, value).prop_map(Some)]
    }

    fn parts() -> impl Strategy<Value = Vec<Part>> {
        prop::collection::vec(part(), 1..6)
    }

    /// Keys of nearly the same bytes: cut at another place, longer by what fills up, of another
    /// name, or of none.
    fn neighbours(parts: &[Part]) -> Vec<Vec<Part>> {
        let (mut all, mut moved) = (vec![[parts, &[None]].concat()], Vec::new());
        for (at, part) in parts.iter().enumerate() {
            let mut with = |new: &[Part]| all.push([&parts[..at], new, &parts[at + 1..]].concat());
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

    /// The parts that bytes were made of.
    fn read(mut bytes: &[u8]) -> Vec<Part> {
        let mut parts = Vec::new();
        while let Some((field, rest)) = bytes.split_first_chunk() {
            let field = u64::from_le_bytes(*field);
            let (len, rest) = match (field & 0xff, rest.split_first_chunk()) {
                (0xff, Some((len, rest))) => (u64::from_le_bytes(*len), rest),
                (len, _) => (len, rest),
            };
            let (value, filling) =
                rest.split_at(len.next_multiple_of(8) as usize).0.split_at(len as usize);
            assert!(filling.iter().all(|byte| *byte == 0));
            parts.push((len > 0).then(|| (field >> 8, value.to_vec())));
            bytes = &rest[len.next_multiple_of(8) as usize..];
        }
        assert!(bytes.is_empty());
        parts
    }

    proptest! {
        #[test]
        fn two_keys_never_have_the_same_bytes(parts in parts(), other in parts()) {
            let bytes = writes(&parts).concat();
            // Bytes from which the key can be read are those of no other key.
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
        let short: [&[usize]; 6] = [&[1], &[120], &[104, 8], &[16, 96], &[96, 16], &[1; 8]];
        assert_eq!(short.map(writes), [1; 6]);
        let long: [&[usize]; 5] = [&[121], &[105, 8], &[17, 96], &[96, 17], &[1; 9]];
        assert!(long.iter().all(|lens| writes(lens) > 1));
    }

    #[test]
    fn without_a_part_there_is_no_key() {
        let written = RefCell::default();
        let parts = [Some((1, &[b'a'; 2 * 8 * WORDS][..])), None];
        assert_eq!(hash(parts.into_iter(), Recorder(&written)), None);
        assert_eq!(hash(parts.into_iter().rev(), Recorder(&written)), None);
    }
}

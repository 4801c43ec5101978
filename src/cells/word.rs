//! The word: all that is kept of one key, in 64 bits. Where words are stored is in `table`; what a
//! tick means is in `parameters`.
//!
//! ```text
//! 63    62          61    60 .......................... 0
//! hold  generation  0     tick at which the bucket is full
//!                   `-------- XORed with a mask --------'
//! ```
//!
//! | bits | state |
//! |---|---|
//! | all 0 | never used (its key hash is 0 too) |
//! | hold alone | in transit: being claimed or moved; all readers wait |
//! | hold, value | held by a transaction that may change it; all readers wait |
//! | value below now | idle: as if never seen, free for another key |
//! | value of all ones | the key has left the table: its state is elsewhere |
//! | value | in use |
//!
//! The mask is made from the key hash and the number of the quota's generation. A thread that read
//! a word, stalled, and writes after the slot went to another key, or after the quota changed
//! twice, finds another word: its compare-and-swap fails, unless 62 bits agree by chance. The
//! generation bit is outside these 62, so a reader knows which of two masks to remove. Since the
//! mask includes that bit, a word that is held or of the previous generation unmasks to more than
//! any tick, as the word of a key that has left does: one comparison on the fast path detects all
//! three, and checks for room.

/// A transaction holds the word.
const HOLD: u64 = 1 << 63;
/// The lowest bit of the generation that the word was written in.
const GENERATION: u64 = 1 << 62;
const VALUE: u64 = GENERATION - 1;

/// The latest tick a word can hold. A later tick is stored as this: the bucket is then full again
/// in 2^60 ticks or more, 36 years of 1 ns ticks.
pub(crate) const MAX_TICK: u64 = ELSEWHERE - 1;
/// Instead of a tick: the key has left the table, and its state is elsewhere. Above all ticks, so
/// the fast path rejects it.
pub(crate) const ELSEWHERE: u64 = (1 << 61) - 1;

/// Marks a slot that is being claimed or moved.
pub(crate) const IN_TRANSIT: u64 = HOLD;
/// The word of a slot that no key has had.
pub(crate) const NEVER_USED: u64 = 0;

/// 2^64 divided by the golden ratio. Odd, so that multiplying loses nothing.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The key hash with each bit spread over the bits above it. Its high bits name a line, and it is
/// part of the mask. Some hashers have poor high bits.
#[inline]
pub(crate) fn spread(tag: u64) -> u64 {
    tag.wrapping_mul(SPREAD)
}

/// The part of the mask that depends on the generation.
#[inline]
pub(crate) fn salt(generation: u64) -> u64 {
    let spread = spread(generation);
    spread >> 2 | (generation & 1) << 62
}

/// Converts the tick of a key to its word of a generation, and back, by XOR.
#[inline]
pub(crate) fn mask(spread: u64, salt: u64) -> u64 {
    spread >> 2 ^ salt
}

/// The word of `tick` for the key hash `tag` in this generation.
#[inline]
pub(crate) fn encode(tick: u64, tag: u64, generation: u64) -> u64 {
    tick & VALUE ^ mask(spread(tag), salt(generation))
}

/// The tick of a word of this generation, held or not.
#[inline]
pub(crate) fn decode(word: u64, tag: u64, generation: u64) -> u64 {
    (word ^ mask(spread(tag), salt(generation))) & VALUE
}

#[inline]
pub(crate) fn is_held(word: u64) -> bool {
    word & HOLD != 0
}

#[inline]
pub(crate) fn held(word: u64) -> u64 {
    word | HOLD
}

/// Whether the word is of `generation` rather than the previous one. No third is possible: a quota
/// changes again only after all words have followed the last change.
#[inline]
pub(crate) fn is_of(word: u64, generation: u64) -> bool {
    (word & GENERATION != 0) == (generation & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_what_was_written_for_that_key_and_generation_only() {
        for generation in 0..4 {
            for tick in [0, 1, 12_345, MAX_TICK] {
                let word = encode(tick, 77, generation);
                assert!(!is_held(word) && is_held(held(word)));
                assert!(is_of(word, generation) && !is_of(word, generation + 1));
                // One comparison detects a word that is held or of another generation.
                let unmasked = |word, of| word ^ mask(spread(77), salt(of));
                assert_eq!(unmasked(word, generation), tick);
                assert!(unmasked(held(word), generation) > MAX_TICK);
                assert!(unmasked(word, generation + 1) > MAX_TICK);
                assert!(unmasked(IN_TRANSIT, generation) > MAX_TICK);
                assert_eq!(decode(held(word), 77, generation), tick);
                assert_ne!(word, encode(tick, 78, generation));
                assert_ne!(word, encode(tick, 77, generation + 2));
            }
        }
    }
}

//! Numbers that look random and are the same in every run: SplitMix64, so that a failure can be repeated.

use evidence::ids::Digest;

/// A sequence of numbers.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// The sequence of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let number = self.next().checked_rem(end as u64).unwrap_or_default();
        usize::try_from(number).unwrap_or_default()
    }

    /// A number from `least` to `most`.
    pub const fn between(&mut self, least: u64, most: u64) -> u64 {
        // The widest range has one more number than 64 bits name; nobody asks for it.
        least + self.next() % (most - least).saturating_add(1)
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

/// A number that depends on all of `parts` and nothing else: for what must not depend on what was asked before.
pub fn fixed(parts: [u64; 3]) -> u64 {
    let mut seeded = Seeded::new(parts[0]);
    let second = seeded.next() ^ parts[1];
    let third = Seeded::new(second).next() ^ parts[2];
    Seeded::new(third).next()
}

/// 32 bytes for one purpose of one device of a fleet.
pub fn bytes(purpose: &str, seed: u64, number: u64) -> [u8; 32] {
    let parts = [b"tallystick/fleet/v1\0".as_slice(), purpose.as_bytes(), b"\0"];
    let digest = Digest::of_parts(&[&parts.concat(), &seed.to_be_bytes(), &number.to_be_bytes()]);
    *digest.as_bytes()
}

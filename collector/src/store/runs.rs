//! Runs: the statements of a device instance in the order of their sequence, a few numbers each.
//!
//! The newest ones lie in the instance's own row. When there are [`RUN_STATEMENTS`] of them they become a row of their
//! own, written once: a day of a device that attests hourly.

use evidence::time::Timestamp;

/// Statements of a closed run.
pub const RUN_STATEMENTS: usize = 24;
/// Bytes of a varint of 64 bits at most.
const VARINT_BYTES_MAX: usize = 10;

/// One statement of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunStatement {
    /// Its sequence.
    pub sequence: u64,
    /// Index of its leaf.
    pub index: u64,
    /// Its receipt.
    pub received: Timestamp,
    /// When it was observed, by the device's clock, in whole minutes. None for a gap.
    pub observed_minute: Option<u64>,
}

/// Statements of one instance, ascending by sequence and index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Run {
    statements: Vec<RunStatement>,
}

impl Run {
    /// The statements.
    pub fn statements(&self) -> &[RunStatement] {
        &self.statements
    }

    /// Takes the next statement in. Gives the run and begins another once it is full.
    pub fn add(&mut self, statement: RunStatement) -> Option<Run> {
        self.statements.push(statement);
        (self.statements.len() >= RUN_STATEMENTS).then(|| std::mem::take(self))
    }

    /// The bytes: per statement the differences to the one before it, as LEB128 numbers.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.push(&mut out);
        out
    }

    pub(super) fn push(&self, out: &mut Vec<u8>) {
        let (mut sequence, mut index, mut received) = (0, 0, 0);
        for statement in &self.statements {
            let observed = statement.observed_minute.map_or(0, |minute| minute.saturating_add(1));
            push_varint(out, statement.sequence.saturating_sub(sequence));
            push_varint(out, statement.index.saturating_sub(index));
            push_varint(out, statement.received.ms().saturating_sub(received));
            push_varint(out, observed);
            (sequence, index, received) = (statement.sequence, statement.index, statement.received.ms());
        }
    }

    /// Reads what [`Run::encode`] gives, and nothing else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (mut statements, mut rest) = (Vec::new(), bytes);
        let (mut sequence, mut index, mut received) = (0_u64, 0_u64, 0_u64);
        while !rest.is_empty() {
            sequence = sequence.checked_add(take_varint(&mut rest)?)?;
            index = index.checked_add(take_varint(&mut rest)?)?;
            received = received.checked_add(take_varint(&mut rest)?)?;
            let observed_minute = take_varint(&mut rest)?.checked_sub(1);
            statements.push(RunStatement { sequence, index, received: Timestamp(received), observed_minute });
        }
        let run = Self { statements };
        (run.encode() == bytes).then_some(run)
    }
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7F).unwrap_or(0x7F);
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for place in 0..VARINT_BYTES_MAX {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7F);
        let shift = u32::try_from(7 * place).ok()?;
        let shifted = bits.checked_shl(shift)?;
        if shifted >> shift != bits {
            return None;
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_run_reads_back_and_nothing_else_does(
            steps in prop::collection::vec((0..=u64::MAX / 64, 0..1_u64 << 40, 0..1_u64 << 40, prop::option::of(0..u64::MAX - 1)), 0..30),
            junk in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let (mut sequence, mut index, mut received) = (0_u64, 0_u64, 0_u64);
            let statements = steps.into_iter().map(|(s, i, r, observed_minute)| {
                (sequence, index, received) = (sequence.saturating_add(s), index + i, received + r);
                RunStatement { sequence, index, received: Timestamp(received), observed_minute }
            }).collect();
            let run = Run { statements };
            prop_assert_eq!(Run::parse(&run.encode()), Some(run));
            if let Some(read) = Run::parse(&junk) {
                prop_assert_eq!(read.encode(), junk);
            }
        }
    }

    #[test]
    fn a_run_is_given_when_it_is_full() {
        let mut run = Run::default();
        for sequence in 0..100 {
            let statement =
                RunStatement { sequence, index: sequence * 3, received: Timestamp(7), observed_minute: None };
            let full = run.add(statement);
            assert_eq!(full.is_some(), (sequence + 1) % RUN_STATEMENTS as u64 == 0);
            assert!(full.is_none_or(|full| full.statements().len() == RUN_STATEMENTS));
        }
    }
}

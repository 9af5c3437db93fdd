//! Differences, and their form as numbers without a sign: small ones are short, whatever their sign.

pub(super) const fn difference(a: u64, b: u64) -> i64 {
    a.wrapping_sub(b).cast_signed()
}

/// Replaces each number by its difference from the one before it.
pub(super) fn to_differences(numbers: &mut [u64]) {
    let mut before = 0;
    for number in numbers {
        before = std::mem::replace(number, number.wrapping_sub(before));
    }
}

/// The opposite.
pub(super) fn from_differences(numbers: &mut [u64]) {
    let mut before: u64 = 0;
    for number in numbers {
        *number = number.wrapping_add(before);
        before = *number;
    }
}

pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

pub(super) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

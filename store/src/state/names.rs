//! Unique names: owner and counter in base 36, as one DNS label.

/// `w<owner>-<counter>.<base>`, lower case. At most 27 characters before the base.
pub(super) fn unique_name(owner: i64, counter: u64, base: &str) -> String {
    let mut name = String::with_capacity(28 + base.len());
    name.push('w');
    base36(&mut name, owner.unsigned_abs());
    name.push('-');
    base36(&mut name, counter);
    name.push('.');
    name.push_str(base.trim_matches('.'));
    name.make_ascii_lowercase();
    name
}

fn base36(out: &mut String, mut number: u64) {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    // 36^13 > 2^64.
    let mut digits = [0; 13];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = DIGITS[(number % 36) as usize];
        number /= 36;
        if number == 0 {
            break;
        }
    }
    out.extend(digits[start..].iter().map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn writes_owner_and_counter_in_base_36() {
        assert_eq!(unique_name(0, 0, "wec.test"), "w0-0.wec.test");
        assert_eq!(unique_name(35, 36, ".Wec.Test."), "wz-10.wec.test");
        assert_eq!(unique_name(i64::from(i32::MAX), u64::MAX, "x"), "wzik0zj-3w5e11264sgsf.x");
    }

    #[test]
    fn is_a_valid_label_and_never_the_same_twice() {
        let mut seen = HashSet::new();
        for owner in [0, 1, 35, 36, 1 << 20, i64::from(i32::MAX)] {
            for counter in [0, 1, 35, 36, 1295, 1296, u64::from(u32::MAX), u64::MAX] {
                let name = unique_name(owner, counter, "test");
                let (label, _) = name.split_once('.').unwrap();
                assert!(label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-'), "{label}");
                assert!(
                    label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')),
                    "{label}"
                );
                assert!(seen.insert(name));
            }
        }
    }
}

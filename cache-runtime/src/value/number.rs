//! Numbers as bits: a type that is a number here converts, any other gives `None`. The compiler knows which, so that
//! one branch remains.

use std::any::Any;

macro_rules! numbers {
    ($($ty:ty: $to_bits:expr, $of_bits:expr;)*) => {
        #[inline]
        pub(super) fn bits<S: 'static>(value: &S) -> Option<u64> {
            let value: &dyn Any = value;
            $(if let Some(number) = value.downcast_ref::<$ty>() {
                return Some($to_bits(*number));
            })*
            None
        }

        #[inline]
        pub(super) fn of_bits<S: Clone + 'static>(bits: u64) -> Option<S> {
            $(let number: $ty = $of_bits(bits);
            if let Some(value) = (&number as &dyn Any).downcast_ref::<S>() {
                return Some(value.clone());
            })*
            None
        }
    };
}

numbers! {
    u64: |n| n, |bits| bits;
    i64: i64::cast_unsigned, u64::cast_signed;
    u32: u64::from, low;
    i32: |n: i32| u64::from(n.cast_unsigned()), |bits| low(bits).cast_signed();
    f64: f64::to_bits, f64::from_bits;
    bool: u64::from, |bits| bits != 0;
}

/// The lower half.
fn low(bits: u64) -> u32 {
    let [a, b, c, d, ..] = bits.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::{bits, of_bits};

    fn comes_back<S: Clone + PartialEq + std::fmt::Debug + 'static>(values: &[S]) {
        for value in values {
            assert_eq!(bits(value).and_then(of_bits::<S>).as_ref(), Some(value));
        }
    }

    #[test]
    fn numbers_come_back_as_they_were() {
        comes_back(&[0_u64, 1, u64::MAX]);
        comes_back(&[0_i64, -1, i64::MIN, i64::MAX]);
        comes_back(&[0_u32, 1, u32::MAX]);
        comes_back(&[0_i32, -1, i32::MIN, i32::MAX]);
        comes_back(&[0.0, -0.5, f64::MIN_POSITIVE, f64::INFINITY]);
        comes_back(&[true, false]);
        assert_eq!(bits(&-0.0).and_then(of_bits::<f64>).map(f64::to_bits), Some((-0.0_f64).to_bits()));
    }

    #[test]
    fn nothing_else_is_a_number() {
        assert_eq!(bits(&"text"), None);
        assert_eq!(bits(&Some(7_u64)), None);
        assert_eq!(of_bits::<Option<u64>>(7), None);
        assert_eq!(of_bits::<u16>(7), None);
    }
}

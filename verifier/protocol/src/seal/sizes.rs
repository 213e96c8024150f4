//! Sizes of packages.

use super::keys::OVERHEAD_BYTES;

/// The smallest package, so that a short question looks like any other.
const PACKAGE_BYTES_MIN: usize = 256;
/// The largest package; what does not fit is refused before it is paid for.
pub const PACKAGE_BYTES_MAX: usize = crate::params::PACKAGE_BYTES_MAX as usize;

/// Halvings of the exponent between the smallest package and the largest.
const STEPS: u32 = 20;

const _: () = assert!(PACKAGE_BYTES_MIN << (STEPS / 2) == PACKAGE_BYTES_MAX);

/// Every size that a package may have: 256·√2ⁿ bytes, rounded down.
fn sizes() -> impl Iterator<Item = usize> {
    let square = (PACKAGE_BYTES_MIN as u64).saturating_pow(2);
    (0..=STEPS).filter_map(move |n| usize::try_from(square.checked_shl(n)?.isqrt()).ok())
}

/// Whether a package may have this many bytes.
pub fn is_package_size(bytes: usize) -> bool {
    sizes().any(|size| size == bytes)
}

/// The size of the package that holds a parcel of `parcel_bytes`, if there is one.
pub fn package_size(parcel_bytes: usize) -> Option<usize> {
    let needed = parcel_bytes.checked_add(OVERHEAD_BYTES)?;
    sizes().find(|size| *size >= needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_the_root_of_two() {
        let all: Vec<_> = sizes().collect();
        assert_eq!(all[..7], [256, 362, 512, 724, 1024, 1448, 2048]);
        assert_eq!((all.len(), all.last()), (21, Some(&PACKAGE_BYTES_MAX)));
        assert!(all.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn the_smallest_size_with_room_is_taken() {
        let fits = |size: usize| size - OVERHEAD_BYTES;
        for (parcel, package) in [
            (0, Some(256)),
            (fits(256), Some(256)),
            (fits(256) + 1, Some(362)),
            (fits(PACKAGE_BYTES_MAX), Some(PACKAGE_BYTES_MAX)),
            (fits(PACKAGE_BYTES_MAX) + 1, None),
            (usize::MAX, None),
        ] {
            assert_eq!(package_size(parcel), package, "{parcel} bytes");
        }
        assert!(is_package_size(362) && !is_package_size(363) && !is_package_size(0));
    }
}

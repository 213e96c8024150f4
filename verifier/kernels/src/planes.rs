//! How the integers of sixteen rows are packed: as planes of bits.
//!
//! A block of 32 integers is eight quads of four. A plane holds the same few bits of all of them, in lines of four
//! bytes a row:
//!
//! - eight bits: line `q` is quad `q`;
//! - four bits, four lines: the low halves of line `j` are quad `j`, the high halves quad `j + 4`;
//! - two bits, two lines: bits `2k` and `2k + 1` of line `j` are quad `j + 2k`;
//! - one bit, one line: bit `q` is quad `q`.
//!
//! Integers of 5 and 6 bits are a plane of four and one of the bits above, those of 3 bits a plane of two and one
//! of one. So a line is 64 bytes for sixteen rows, one register of AVX-512, and unpacking is a shift and a mask.

use crate::matrix::Quads;
use crate::reference::BLOCK;
use crate::reference::blocks::bits;

/// Lines that a block of 32 integers takes.
pub(crate) const fn lines(bits: usize) -> usize {
    bits
}

/// The plane below the last of an integer's bits: its width, and what is left above.
pub(crate) const fn low_plane(bits: usize) -> (usize, usize) {
    match bits {
        8 => (8, 0),
        4..8 => (4, bits - 4),
        _ => (2, bits - 2),
    }
}

/// A row's part of each of a block's lines.
#[inline(always)]
pub(crate) fn pack<const BITS: usize>(stored: &[u8; BLOCK]) -> [u32; BITS] {
    let (low, high) = const { low_plane(BITS) };
    let mut words = [0; BITS];
    pack_plane(low, stored, 0, &mut words[..low]);
    pack_plane(high, stored, low, &mut words[low..]);
    words
}

/// `width` bits of each integer, those from bit `from` on.
#[inline(always)]
fn pack_plane(width: usize, stored: &[u8; BLOCK], from: usize, words: &mut [u32]) {
    if width == 0 {
        return;
    }
    let integers = bits(stored, from, width);
    let quads = integers.as_chunks::<4>().0;
    // Quad `i` of a line takes the quads `i`, `i + width`, …: one of each eight, four or two parts.
    for (index, word) in words.iter_mut().enumerate().take(width) {
        *word = 0;
        for part in 0..8 / width {
            *word |= u32::from_le_bytes(quads[part * width + index]) << (part * width);
        }
    }
}

/// Reads back what [`pack`] packed.
pub(crate) fn read(bits: usize, lane: usize, block: &[Quads]) -> [u8; BLOCK] {
    let (low, high) = low_plane(bits);
    let (lows, highs) = (read_plane(low, lane, &block[..low]), read_plane(high, lane, &block[low..]));
    std::array::from_fn(|i| lows[i] | if high > 0 { highs[i] << low } else { 0 })
}

fn read_plane(width: usize, lane: usize, lines: &[Quads]) -> [u8; BLOCK] {
    let mask = if width == 8 { 0xff } else { (1u8 << width) - 1 };
    let mut stored = [0; BLOCK];
    for (part, stored) in stored.chunks_exact_mut((4 * width).max(1)).enumerate().take(8 / width.max(1)) {
        for (line, stored) in lines.iter().zip(stored.as_chunks_mut::<4>().0) {
            *stored = line.0[lane].map(|byte| (byte >> (part * width)) & mask);
        }
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::LANES;

    fn round_trip<const BITS: usize>() {
        let stored: [u8; BLOCK] = std::array::from_fn(|i| (i * 37 + 11) as u8 & ((1u16 << BITS) - 1) as u8);
        let words = pack::<BITS>(&stored);
        for lane in [0, 3, 15] {
            let mut block = [Quads([[0; 4]; LANES]); BITS];
            for (line, word) in block.iter_mut().zip(words) {
                line.0[lane] = word.to_le_bytes();
            }
            assert_eq!(read(BITS, lane, &block), stored, "{BITS} bits, lane {lane}");
        }
    }

    #[test]
    fn integers_of_every_width_come_back() {
        round_trip::<2>();
        round_trip::<3>();
        round_trip::<4>();
        round_trip::<5>();
        round_trip::<6>();
        round_trip::<8>();
    }

    #[test]
    fn planes_lie_as_the_kernels_read_them() {
        let stored: [u8; BLOCK] = std::array::from_fn(|i| i as u8);
        let words = pack::<6>(&stored).map(u32::to_le_bytes);
        // Quads 0 and 4 meet in the first line; their integers are 0 to 3 and 16 to 19.
        assert_eq!(words[0], [0, 1 | 1 << 4, 2 | 2 << 4, 3 | 3 << 4]);
        // Bit 4 is set from integer 16 on, which are quads 4 to 7: bits 4 and 6 of both lines of the upper plane.
        assert_eq!(words[4], [0b0101_0000; 4]);
    }
}

//! From registers to an estimate: Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017, with
//! the floating point operations of Redis in their order.

use super::format::{PATTERN_BITS, REGISTERS};

/// 1 / (2 ln 2).
const ALPHA_INF: f64 = 0.721_347_520_444_481_7;

fn tau(x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut x, mut y, mut z) = (x, 1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let last = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if last == z {
            return z / 3.0;
        }
    }
}

fn sigma(x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut x, mut y, mut z) = (x, 1.0, x);
    loop {
        x *= x;
        let last = z;
        z += x * y;
        y += y;
        if last == z {
            return z;
        }
    }
}

/// How many different elements made these registers.
pub(super) fn estimate(registers: &[u8]) -> u64 {
    let mut histogram = [0u32; 64];
    for register in registers {
        histogram[usize::from(*register)] += 1;
    }
    let (m, last) = (REGISTERS as f64, PATTERN_BITS as usize);
    let mut z = m * tau((m - f64::from(histogram[last + 1])) / m);
    for count in histogram[1..=last].iter().rev() {
        z = (z + f64::from(*count)) * 0.5;
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    (ALPHA_INF * m * m / z).round() as u64
}

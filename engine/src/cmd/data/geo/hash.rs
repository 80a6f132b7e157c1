//! Geohashes: longitude and latitude cut in halves by turns. 52 bits, as many as a float holds, make a score.

use super::Point;

/// Degrees from the middle to the borders of what a geohash can say: those of the Mercator map.
pub(super) const LON_MAX: f64 = 180.0;
pub(super) const LAT_MAX: f64 = 85.051_128_78;
/// Degrees to the borders of the geohashes in use elsewhere, which GEOHASH prints.
const STANDARD_LAT_MAX: f64 = 90.0;
/// How often a score halves each of the two.
pub(super) const STEPS_MAX: u32 = 26;

const LON_BITS: u64 = 0xaaaa_aaaa_aaaa_aaaa;
const LAT_BITS: u64 = 0x5555_5555_5555_5555;

/// A cell of the map: `steps` halvings of each, 1 to [`STEPS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) bits: u64,
    pub(super) steps: u32,
}

/// What a cell covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) min: Point,
    pub(super) max: Point,
}

/// Spreads 32 bits to every second one.
fn spread(n: u32) -> u64 {
    let mut n = u64::from(n);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, LAT_BITS),
    ] {
        n = (n | n << shift) & mask;
    }
    n
}

/// The reverse of [`spread`].
fn gather(n: u64) -> u32 {
    let mut n = n & LAT_BITS;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        n = (n | n >> shift) & mask;
    }
    n as u32
}

fn encode(p: Point, lat_max: f64, steps: u32) -> u64 {
    let part = |n: f64, max: f64| ((n + max) / (2.0 * max) * f64::from(1u32 << steps)) as u32;
    spread(part(p.lat, lat_max)) | spread(part(p.lon, LON_MAX)) << 1
}

impl Cell {
    /// The cell around a point.
    pub(super) fn around(p: Point, steps: u32) -> Self {
        Cell {
            bits: encode(p, LAT_MAX, steps),
            steps,
        }
    }

    pub(super) fn bounds(self) -> Bounds {
        let corner = |part: u32, max: f64, more: f64| {
            -max + (f64::from(part) + more) / f64::from(1u32 << self.steps) * (max - -max)
        };
        let (lat, lon) = (gather(self.bits), gather(self.bits >> 1));
        let at = |more: f64| Point {
            lon: corner(lon, LON_MAX, more),
            lat: corner(lat, LAT_MAX, more),
        };
        Bounds {
            min: at(0.0),
            max: at(1.0),
        }
    }

    /// The cell so many cells to the east and to the north: -1, 0 or 1. The map is round in both directions.
    pub(super) fn neighbour(self, east: i64, north: i64) -> Self {
        let all = u64::MAX >> (64 - 2 * self.steps);
        let step = |bits: u64, own: u64, by: i64| {
            let others = !own & all;
            let part = match by {
                1 => (bits & own | others).wrapping_add(1),
                -1 => (bits & own).wrapping_sub(1),
                _ => bits,
            };
            part & own & all
        };
        Cell {
            bits: step(self.bits, LON_BITS, east) | step(self.bits, LAT_BITS, north),
            steps: self.steps,
        }
    }

    /// The scores inside: from the first up to, not including, the second.
    pub(super) fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEPS_MAX - self.steps);
        ((self.bits << shift) as f64, ((self.bits + 1) << shift) as f64)
    }
}

/// The score of a place.
pub(super) fn score(p: Point) -> f64 {
    Cell::around(p, STEPS_MAX).bits as f64
}

/// The place that a score stands for: the middle of its cell. Any score has one.
pub(super) fn point(score: f64) -> Point {
    let bounds = Cell {
        bits: score as u64,
        steps: STEPS_MAX,
    }
    .bounds();
    Point {
        lon: ((bounds.min.lon + bounds.max.lon) / 2.0).clamp(-LON_MAX, LON_MAX),
        lat: ((bounds.min.lat + bounds.max.lat) / 2.0).clamp(-LAT_MAX, LAT_MAX),
    }
}

/// The geohash as the rest of the world writes it, eleven letters; the last one says nothing.
pub(super) fn standard(p: Point) -> [u8; 11] {
    const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let bits = encode(p, STANDARD_LAT_MAX, STEPS_MAX);
    std::array::from_fn(|i| match i {
        10 => LETTERS[0],
        i => LETTERS[(bits >> (52 - 5 * (i + 1))) as usize & 31],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_touch_and_lead_back() {
        for (lon, lat) in [(13.36, 38.11), (-0.1, 51.5), (100.0, -40.0), (-77.0, -12.0)] {
            for steps in [4, 5, 14, STEPS_MAX] {
                let cell = Cell::around(Point { lon, lat }, steps);
                let (own, east, north) = (
                    cell.bounds(),
                    cell.neighbour(1, 0).bounds(),
                    cell.neighbour(0, 1).bounds(),
                );
                assert!((own.max.lon - east.min.lon).abs() < 1e-9 && own.min.lat == east.min.lat);
                assert!((own.max.lat - north.min.lat).abs() < 1e-9 && own.min.lon == north.min.lon);
                assert_eq!(cell.neighbour(1, -1).neighbour(-1, 1), cell);
                assert_eq!(cell.neighbour(1, 0).neighbour(0, 1), cell.neighbour(1, 1));
            }
        }
    }

    #[test]
    fn a_point_lies_in_its_cell_and_its_score_leads_back_to_it() {
        for (lon, lat) in [(0.0, 0.0), (179.99, 85.0), (-180.0, -85.05), (2.349, 48.864)] {
            let p = Point { lon, lat };
            let back = point(score(p));
            assert!((back.lon - lon).abs() < 1e-5 && (back.lat - lat).abs() < 1e-5);
            let (from, to) = Cell::around(p, 9).scores();
            assert!((from..to).contains(&score(p)));
        }
    }
}

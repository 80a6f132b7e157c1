//! Areas to search: circles and boxes, what lies in them, and the cells of the map that cover them.
//!
//! Trigonometry is that of `libm` and not of the machine's own library, so that replicas on different machines agree.

use super::Point;
use super::hash::{Cell, STEPS_MAX};

/// Redis's radius of the earth.
const EARTH_RADIUS_METRES: f64 = 6_372_797.560_856;
/// Half the length of the equator on the Mercator map.
const MERCATOR_MAX_METRES: f64 = 20_037_726.37;

/// What lies around the centre of a search, in metres.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) centre: Point,
    pub(super) shape: Shape,
}

fn radians(degrees: f64) -> f64 {
    degrees * (std::f64::consts::PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (std::f64::consts::PI / 180.0)
}

fn latitude_distance(a: f64, b: f64) -> f64 {
    EARTH_RADIUS_METRES * (radians(b) - radians(a)).abs()
}

/// Metres between two places, by the haversine formula.
pub(super) fn distance(a: Point, b: Point) -> f64 {
    let v = libm::sin((radians(b.lon) - radians(a.lon)) / 2.0);
    if v == 0.0 {
        return latitude_distance(a.lat, b.lat);
    }
    let (lat_a, lat_b) = (radians(a.lat), radians(b.lat));
    let u = libm::sin((lat_b - lat_a) / 2.0);
    let h = u * u + libm::cos(lat_a) * libm::cos(lat_b) * v * v;
    2.0 * EARTH_RADIUS_METRES * libm::asin(h.sqrt())
}

impl Area {
    /// Metres from the centre, for a place that lies inside.
    pub(super) fn distance_inside(&self, p: Point) -> Option<f64> {
        match self.shape {
            Shape::Circle { radius } => Some(distance(self.centre, p)).filter(|metres| *metres <= radius),
            Shape::Box { width, height } => {
                let across = |p: Point| Point {
                    lon: self.centre.lon,
                    lat: p.lat,
                };
                let inside =
                    latitude_distance(p.lat, self.centre.lat) <= height / 2.0 && distance(p, across(p)) <= width / 2.0;
                inside.then(|| distance(self.centre, p))
            }
        }
    }

    /// South-western and north-eastern corner of what the area reaches.
    fn corners(&self) -> (Point, Point) {
        let (x, y) = match self.shape {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let Point { lon, lat } = self.centre;
        let lat_delta = degrees(y / EARTH_RADIUS_METRES);
        // A degree of longitude is shortest on the side of the nearer pole.
        let narrow = if lat < 0.0 { lat - lat_delta } else { lat + lat_delta };
        let lon_delta = degrees(x / EARTH_RADIUS_METRES / libm::cos(radians(narrow)));
        let corner = |sign: f64| Point {
            lon: lon + sign * lon_delta,
            lat: lat + sign * lat_delta,
        };
        (corner(-1.0), corner(1.0))
    }

    /// How finely the map may be cut so that a cell and its neighbours cover the area, in most cases.
    fn steps(&self) -> u32 {
        let mut metres = match self.shape {
            Shape::Circle { radius } => radius,
            Shape::Box { width, height } => (width / 2.0 * (width / 2.0) + height / 2.0 * (height / 2.0)).sqrt(),
        };
        if metres == 0.0 {
            return STEPS_MAX;
        }
        let mut steps = 1;
        while metres < MERCATOR_MAX_METRES {
            metres *= 2.0;
            steps += 1;
        }
        // The range is included in most of the base cases; towards the poles cells grow narrow.
        steps -= 2;
        let lat = self.centre.lat.abs();
        steps -= i32::from(lat > 66.0) + i32::from(lat > 80.0);
        steps.clamp(1, STEPS_MAX as i32) as u32
    }

    /// The cells that cover the area: that of the centre, then those of its eight neighbours that the area reaches into, in
    /// Redis's order, which is also that of answers which nobody asked to be sorted.
    pub(super) fn cells(&self) -> Vec<Cell> {
        const AROUND: [(i64, i64); 8] = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let (min, max) = self.corners();
        let mut cell = Cell::around(self.centre, self.steps());
        let reach = |east, north| cell.neighbour(east, north).bounds();
        let too_small = reach(0, 1).max.lat < max.lat
            || reach(0, -1).min.lat > min.lat
            || reach(1, 0).max.lon < max.lon
            || reach(-1, 0).min.lon > min.lon;
        if cell.steps > 1 && too_small {
            cell = Cell::around(self.centre, cell.steps - 1);
        }
        let own = cell.bounds();
        let useless = |east: i64, north: i64| {
            cell.steps >= 2
                && ((north < 0 && own.min.lat < min.lat)
                    || (north > 0 && own.max.lat > max.lat)
                    || (east < 0 && own.min.lon < min.lon)
                    || (east > 0 && own.max.lon > max.lon))
        };
        let mut cells = vec![cell];
        for (east, north) in AROUND {
            let neighbour = cell.neighbour(east, north);
            // Neighbours of very large cells are the same.
            if !useless(east, north) && cells.last() != Some(&neighbour) {
                cells.push(neighbour);
            }
        }
        cells
    }
}

//! How places and distances are written.

use super::Point;
use crate::cmd::Reply;

/// Digits behind the point of a coordinate.
const COORDINATE_DIGITS: usize = 17;

pub(super) fn reply_point(p: Point, reply: &mut dyn Reply) {
    reply.array(2);
    for n in [p.lon, p.lat] {
        let text = format!("{n:.COORDINATE_DIGITS$}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        reply.double_text(if text == "-0" { "0" } else { text });
    }
}

/// `metres` in a unit of so many of them.
pub(super) fn reply_distance(metres: f64, unit: f64, reply: &mut dyn Reply) {
    reply.bulk(format!("{:.4}", metres / unit).as_bytes());
}

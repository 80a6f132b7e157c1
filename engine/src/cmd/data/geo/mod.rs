//! Places on earth: sorted sets whose scores are geohashes.

mod area;
mod hash;
mod output;
pub(in crate::cmd) mod position;
mod query;
pub(in crate::cmd) mod search;

use crate::cmd::error::CmdError;
use crate::cmd::parse::{float, is};

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    lon: f64,
    lat: f64,
}

/// Why a call was refused.
enum Refusal {
    Common(CmdError),
    /// A line that tells what was found.
    Line(String),
}

impl From<CmdError> for Refusal {
    fn from(error: CmdError) -> Self {
        Refusal::Common(error)
    }
}

impl Point {
    /// Two arguments, longitude first.
    fn parse(lon: &[u8], lat: &[u8]) -> Result<Self, Refusal> {
        let (lon, lat) = (float(lon)?, float(lat)?);
        if lon.abs() > hash::LON_MAX || lat.abs() > hash::LAT_MAX {
            return Err(Refusal::Line(format!(
                "ERR invalid longitude,latitude pair {lon:.6},{lat:.6}"
            )));
        }
        Ok(Point { lon, lat })
    }
}

/// Metres of the unit called `name`.
fn unit(name: &[u8]) -> Result<f64, CmdError> {
    match () {
        () if is(name, "M") => Ok(1.0),
        () if is(name, "KM") => Ok(1000.0),
        () if is(name, "FT") => Ok(0.3048),
        () if is(name, "MI") => Ok(1609.34),
        () => Err(CmdError::Other(
            "ERR unsupported unit provided. please use M, KM, FT, MI",
        )),
    }
}

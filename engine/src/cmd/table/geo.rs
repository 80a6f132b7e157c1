//! The commands about places on earth.

use super::build::{ACCESS, DENYOOM, OW, READONLY, RO, RW, UPDATE, WRITE, behind, flags, one};
use crate::cmd::data::geo::{position, search};
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// Places.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 10] = [
    CommandSpec::new(288, "geoadd", -5, flags(&[WRITE, DENYOOM]), Categories::GEO, &[one(1, &[RW, UPDATE])], Run::Data(position::geoadd))
        .doc(Group::Geo, "3.2.0", "O(log(N))", "Adds places."),
    CommandSpec::new(289, "geodist", -4, READONLY, Categories::GEO, &[one(1, &[RO, ACCESS])], Run::Data(position::geodist))
        .doc(Group::Geo, "3.2.0", "O(1)", "The distance between two places."),
    CommandSpec::new(290, "geohash", -2, READONLY, Categories::GEO, &[one(1, &[RO, ACCESS])], Run::Data(position::geohash))
        .doc(Group::Geo, "3.2.0", "O(1)", "The geohashes of places."),
    CommandSpec::new(291, "geopos", -2, READONLY, Categories::GEO, &[one(1, &[RO, ACCESS])], Run::Data(position::geopos))
        .doc(Group::Geo, "3.2.0", "O(1)", "The coordinates of places."),
    CommandSpec::new(292, "georadius", -6, flags(&[WRITE, DENYOOM]), Categories::GEO, &[one(1, &[RO, ACCESS]), behind("STORE", 6, &[OW, UPDATE]), behind("STOREDIST", 6, &[OW, UPDATE])], Run::Data(search::georadius))
        .doc(Group::Geo, "3.2.0", "O(N+log(M))", "The places around a point.")
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"),
    CommandSpec::new(293, "georadius_ro", -6, READONLY, Categories::GEO, &[one(1, &[RO, ACCESS])], Run::Data(search::georadius_ro))
        .doc(Group::Geo, "3.2.10", "O(N+log(M))", "The places around a point, never stored.")
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument"),
    CommandSpec::new(294, "georadiusbymember", -5, flags(&[WRITE, DENYOOM]), Categories::GEO, &[one(1, &[RO, ACCESS]), behind("STORE", 5, &[OW, UPDATE]), behind("STOREDIST", 5, &[OW, UPDATE])], Run::Data(search::georadiusbymember))
        .doc(Group::Geo, "3.2.0", "O(N+log(M))", "The places around another one.")
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    CommandSpec::new(295, "georadiusbymember_ro", -5, READONLY, Categories::GEO, &[one(1, &[RO, ACCESS])], Run::Data(search::georadiusbymember_ro))
        .doc(Group::Geo, "3.2.10", "O(N+log(M))", "The places around another one, never stored.")
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    CommandSpec::new(296, "geosearch", -7, READONLY, Categories::GEO, &[one(1, &[RO, ACCESS])], Run::Data(search::geosearch))
        .doc(Group::Geo, "6.2.0", "O(N+log(M))", "The places in an area."),
    CommandSpec::new(297, "geosearchstore", -8, flags(&[WRITE, DENYOOM]), Categories::GEO, &[one(1, &[OW, UPDATE]), one(2, &[RO, ACCESS])], Run::Data(search::geosearchstore))
        .doc(Group::Geo, "6.2.0", "O(N+log(M))", "Stores the places in an area."),
];

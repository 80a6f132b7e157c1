//! What a search asks for: the options of GEORADIUS, GEORADIUSBYMEMBER, GEOSEARCH and their relatives.

use super::area::{Area, Shape};
use super::hash::point;
use super::{Point, Refusal, unit};
use crate::cmd::error::CmdError;
use crate::cmd::parse::{integer, is};
use crate::cmd::{Args, Exec};
use crate::collections::ZSet;
use crate::number::parse_f64;

/// Which of the commands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// GEORADIUS: key, longitude, latitude, radius, unit.
    Coordinates { may_store: bool },
    /// GEORADIUSBYMEMBER: key, member, radius, unit.
    Member { may_store: bool },
    /// GEOSEARCH: key, and everything else is an option.
    Search,
    /// GEOSEARCHSTORE: target, key, options.
    SearchStore,
}

impl Form {
    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    /// Argument number of the key that is searched.
    pub(super) fn key_at(self) -> usize {
        if self == Form::SearchStore { 2 } else { 1 }
    }

    /// What happens to the key that results are stored at.
    pub(super) fn store_event(self) -> &'static str {
        if self == Form::SearchStore {
            "geosearchstore"
        } else {
            "georadiusstore"
        }
    }

    fn options_at(self) -> usize {
        match self {
            Form::Coordinates { .. } => 6,
            Form::Member { .. } => 5,
            Form::Search => 2,
            Form::SearchStore => 3,
        }
    }
}

/// The order of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// By distance.
    Near,
    /// By distance, the other way round.
    Far,
}

#[derive(Default)]
pub(super) struct Query<'a> {
    centre: Option<Point>,
    shape: Option<Shape>,
    /// FROMMEMBER or FROMLONLAT was there.
    has_centre: [bool; 2],
    /// Metres of the unit that distances are told in.
    pub(super) unit: f64,
    pub(super) with_distance: bool,
    pub(super) with_hash: bool,
    pub(super) with_point: bool,
    /// Where the answer goes.
    pub(super) store: Option<&'a [u8]>,
    /// Distances are stored instead of places.
    pub(super) store_distance: bool,
    /// 0: all.
    pub(super) count: usize,
    /// Any places will do, if they are `count`.
    pub(super) any: bool,
    pub(super) order: Option<Order>,
}

/// A length that is not negative, and where the unit is.
fn length(text: &[u8], not_a_number: &'static str, negative: &'static str) -> Result<f64, CmdError> {
    match parse_f64(text) {
        None => Err(CmdError::Other(not_a_number)),
        Some(..0.0) => Err(CmdError::Other(negative)),
        Some(n) => Ok(n),
    }
}

fn place_of(zset: &ZSet, member: &[u8]) -> Result<Point, CmdError> {
    let error = CmdError::Other("ERR could not decode requested zset member");
    zset.score(member).map(point).ok_or(error)
}

impl<'a> Query<'a> {
    /// `zset`: what is searched; without it a member's place is not looked for.
    pub(super) fn parse(args: &Args<'a>, zset: Option<&ZSet>, form: Form) -> Result<Self, Refusal> {
        let mut q = Query {
            unit: 1.0,
            ..Query::default()
        };
        match (form, zset) {
            (Form::Coordinates { .. }, _) => {
                q.centre = Some(Point::parse(args.get(2), args.get(3))?);
                q.circle(args, 4)?;
            }
            (Form::Member { .. }, Some(zset)) => {
                q.centre = Some(place_of(zset, args.get(2))?);
                q.circle(args, 3)?;
            }
            (Form::SearchStore, _) => q.store = Some(args.get(1)),
            _ => {}
        }
        let mut at = form.options_at();
        while at < args.len() {
            at = q.option(args, at, zset, form)?;
        }
        q.check(args, form)?;
        Ok(q)
    }

    /// Radius and unit, at argument `at`.
    fn circle(&mut self, args: &Args<'a>, at: usize) -> Result<(), CmdError> {
        let radius = length(args.get(at), "ERR need numeric radius", "ERR radius cannot be negative")?;
        self.unit = unit(args.get(at + 1))?;
        self.shape = Some(Shape::Circle {
            radius: radius * self.unit,
        });
        Ok(())
    }

    /// Width, height and unit.
    fn rectangle(&mut self, args: &Args<'a>, at: usize) -> Result<(), CmdError> {
        const NEGATIVE: &str = "ERR height or width cannot be negative";
        let number = |at, text| parse_f64(args.get(at)).ok_or(CmdError::Other(text));
        let (width, height) = (
            number(at, "ERR need numeric width")?,
            number(at + 1, "ERR need numeric height")?,
        );
        if width < 0.0 || height < 0.0 {
            return Err(CmdError::Other(NEGATIVE));
        }
        self.unit = unit(args.get(at + 2))?;
        self.shape = Some(Shape::Box {
            width: width * self.unit,
            height: height * self.unit,
        });
        Ok(())
    }

    /// The option at `at`; where the next one is.
    fn option(&mut self, args: &Args<'a>, at: usize, zset: Option<&ZSet>, form: Form) -> Result<usize, Refusal> {
        let (word, left) = (args.get(at), args.len() - at - 1);
        let may_store = matches!(
            form,
            Form::Coordinates { may_store: true } | Form::Member { may_store: true }
        );
        let [from_member, from_point] = self.has_centre;
        let (circle, rectangle) = match self.shape {
            _ if !form.is_search() => (false, false),
            Some(Shape::Circle { .. }) => (true, false),
            Some(Shape::Box { .. }) => (false, true),
            None => (false, false),
        };
        let mut used = 1;
        match () {
            () if is(word, "WITHDIST") => self.with_distance = true,
            () if is(word, "WITHHASH") => self.with_hash = true,
            () if is(word, "WITHCOORD") => self.with_point = true,
            () if is(word, "ANY") => self.any = true,
            () if is(word, "ASC") => self.order = Some(Order::Near),
            () if is(word, "DESC") => self.order = Some(Order::Far),
            () if is(word, "COUNT") && left >= 1 => {
                self.count = usize::try_from(integer(args.get(at + 1))?)
                    .ok()
                    .filter(|n| *n > 0)
                    .ok_or(CmdError::Other("ERR COUNT must be > 0"))?;
                used = 2;
            }
            () if may_store && left >= 1 && (is(word, "STORE") || is(word, "STOREDIST")) => {
                self.store = Some(args.get(at + 1));
                self.store_distance = is(word, "STOREDIST");
                used = 2;
            }
            () if form.is_search() && is(word, "FROMMEMBER") && left >= 1 && !from_point => {
                if let Some(zset) = zset {
                    self.centre = Some(place_of(zset, args.get(at + 1))?);
                }
                (self.has_centre[0], used) = (true, 2);
            }
            () if form.is_search() && is(word, "FROMLONLAT") && left >= 2 && !from_member => {
                self.centre = Some(Point::parse(args.get(at + 1), args.get(at + 2))?);
                (self.has_centre[1], used) = (true, 3);
            }
            () if form.is_search() && is(word, "BYRADIUS") && left >= 2 && !rectangle => {
                self.circle(args, at + 1)?;
                used = 3;
            }
            () if form.is_search() && is(word, "BYBOX") && left >= 3 && !circle => {
                self.rectangle(args, at + 1)?;
                used = 4;
            }
            () if form == Form::SearchStore && is(word, "STOREDIST") => self.store_distance = true,
            () => return Err(CmdError::Syntax.into()),
        }
        Ok(at + used)
    }

    fn check(&self, args: &Args<'a>, form: Form) -> Result<(), Refusal> {
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_point) {
            return Err(Refusal::from(CmdError::Other(if form == Form::SearchStore {
                "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            } else {
                "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            })));
        }
        let name = if form == Form::SearchStore {
            "geosearchstore"
        } else {
            "geosearch"
        };
        let name = match args.get(0) {
            // A command from the log has no name.
            b"" => name.to_string(),
            written => String::from_utf8_lossy(written).into_owned(),
        };
        if form.is_search() && self.has_centre == [false; 2] {
            return Err(Refusal::Line(format!(
                "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            )));
        }
        if form.is_search() && self.shape.is_none() {
            return Err(Refusal::Line(format!(
                "ERR exactly one of BYRADIUS and BYBOX can be specified for {name}"
            )));
        }
        if self.any && self.count == 0 {
            return Err(CmdError::Other("ERR the ANY argument requires COUNT argument").into());
        }
        Ok(())
    }

    /// What to search; `None` when the centre was to be a member of what does not exist.
    pub(super) fn area(&self) -> Option<Area> {
        Some(Area {
            centre: self.centre?,
            shape: self.shape?,
        })
    }
}

/// The key that a call searches, looked up.
pub(super) fn searched<'k>(x: &'k mut Exec<'_>, form: Form) -> Result<Option<&'k ZSet>, CmdError> {
    Ok(x.ks.zset(x.args.get(form.key_at()))?)
}

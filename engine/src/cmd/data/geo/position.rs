//! Single places: GEOADD, GEOPOS, GEOHASH, GEODIST.

use super::area::distance;
use super::hash::{point, score, standard};
use super::output::{reply_distance, reply_point};
use super::{Point, Refusal, unit};
use crate::cmd::data::zset::add::AddOptions;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::is;
use crate::cmd::{Exec, Reply};

/// Carries out a command whose errors may tell what was found.
pub(super) fn answer_or_refuse(reply: &mut dyn Reply, body: impl FnOnce(&mut dyn Reply) -> Result<(), Refusal>) {
    match body(reply) {
        Ok(()) => {}
        Err(Refusal::Common(error)) => answer(reply, |_| Err(error)),
        Err(Refusal::Line(text)) => reply.error(&text),
    }
}

/// GEOADD key [NX|XX] [CH] longitude latitude member [...]
pub(in crate::cmd) fn geoadd(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_or_refuse(reply, |reply| {
        let (mut options, mut first) = (AddOptions::default(), 2);
        while let Some(word) = x.args.try_get(first) {
            match () {
                () if is(word, "NX") => options.nx = true,
                () if is(word, "XX") => options.xx = true,
                () if is(word, "CH") => options.changed = true,
                () => break,
            }
            first += 1;
        }
        if !(x.args.len() - first).is_multiple_of(3) || (options.nx && options.xx) {
            return Err(CmdError::Syntax.into());
        }
        let places = (first..x.args.len()).step_by(3);
        let places = places
            .map(|at| {
                let place = Point::parse(x.args.get(at), x.args.get(at + 1))?;
                Ok((score(place), x.args.get(at + 2)))
            })
            .collect::<Result<Vec<_>, Refusal>>()?;
        if places.is_empty() {
            return Err(CmdError::Syntax.into());
        }
        options.add_all(x.ks, x.args.get(1), places.into_iter(), reply)?;
        Ok(())
    });
}

/// Answers for each member with what `f` says of its place, or that there is none.
fn each_place(x: &mut Exec<'_>, reply: &mut dyn Reply, absent: fn(&mut dyn Reply), f: impl Fn(Point, &mut dyn Reply)) {
    answer(reply, |reply| {
        let zset = x.ks.zset(x.args.get(1))?;
        reply.array(x.args.len() - 2);
        for member in x.args.iter_from(2) {
            match zset.and_then(|zset| zset.score(member)) {
                Some(score) => f(point(score), reply),
                None => absent(reply),
            }
        }
        Ok(())
    });
}

pub(in crate::cmd) fn geopos(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    each_place(x, reply, |reply| reply.null_array(), reply_point);
}

pub(in crate::cmd) fn geohash(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    each_place(
        x,
        reply,
        |reply| reply.null(),
        |place, reply| reply.bulk(&standard(place)),
    );
}

pub(in crate::cmd) fn geodist(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let unit = match x.args.try_get(4) {
            None => 1.0,
            Some(name) if x.args.len() == 5 => unit(name)?,
            Some(_) => return Err(CmdError::Syntax),
        };
        let zset = x.ks.zset(x.args.get(1))?;
        let place = |member| zset.and_then(|zset| zset.score(member)).map(point);
        match place(x.args.get(2)).zip(place(x.args.get(3))) {
            Some((a, b)) => reply_distance(distance(a, b), unit, reply),
            None => reply.null(),
        }
        Ok(())
    });
}

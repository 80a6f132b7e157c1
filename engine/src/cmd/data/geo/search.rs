//! Places in an area: GEOSEARCH, GEOSEARCHSTORE, GEORADIUS, GEORADIUSBYMEMBER.

use super::area::Area;
use super::hash::point;
use super::output::{reply_distance, reply_point};
use super::position::answer_or_refuse;
use super::query::{Form, Order, Query, searched};
use super::{Point, Refusal};
use crate::cmd::{Exec, Reply};
use crate::collections::ZSet;
use crate::keyspace::EventClasses;

/// A place that was found.
struct Hit {
    member: Vec<u8>,
    score: f64,
    place: Point,
    metres: f64,
}

/// The places of `zset` inside the area, up to `limit` unless that is 0.
fn find(zset: &ZSet, area: &Area, limit: usize) -> Vec<Hit> {
    let mut hits = Vec::new();
    for cell in area.cells() {
        if limit > 0 && hits.len() >= limit {
            break;
        }
        let (from, to) = cell.scores();
        let start = zset.partition_point(|score, _| score < from);
        let end = zset.partition_point(|score, _| score < to);
        zset.range(start, end - start, false, |member, score| {
            if limit > 0 && hits.len() >= limit {
                return;
            }
            let place = point(score);
            hits.extend(area.distance_inside(place).map(|metres| Hit {
                member: member.to_vec(),
                score,
                place,
                metres,
            }));
        });
    }
    hits
}

fn run(x: &mut Exec<'_>, reply: &mut dyn Reply, form: Form) -> Result<(), Refusal> {
    let args = x.args;
    let zset = searched(x, form)?;
    let query = Query::parse(&args, zset, form)?;
    let mut hits = match zset.zip(query.area()) {
        Some((zset, area)) => find(zset, &area, if query.any { query.count } else { 0 }),
        None => Vec::new(),
    };
    // Some of many only make sense if they are the nearest.
    let counted = query.count > 0 && !query.any;
    match query.order.or(counted.then_some(Order::Near)) {
        Some(Order::Near) => hits.sort_by(|a, b| a.metres.total_cmp(&b.metres)),
        Some(Order::Far) => hits.sort_by(|a, b| b.metres.total_cmp(&a.metres)),
        None => {}
    }
    if query.count > 0 {
        hits.truncate(query.count);
    }
    match query.store {
        Some(target) => {
            let mut found = ZSet::default();
            for hit in &hits {
                let metres = hit.metres / query.unit;
                found.insert(&hit.member, if query.store_distance { metres } else { hit.score });
            }
            reply.int(hits.len() as i64);
            let existed = x.ks.replace_zset(target, found);
            let event = form.store_event();
            x.ks.note_stored(EventClasses::ZSET, event, target, hits.is_empty(), existed);
        }
        None => reply_hits(&hits, &query, reply),
    }
    Ok(())
}

fn reply_hits(hits: &[Hit], query: &Query<'_>, reply: &mut dyn Reply) {
    let extras = [query.with_distance, query.with_hash, query.with_point];
    let extras = extras.into_iter().filter(|wanted| *wanted).count();
    reply.array(hits.len());
    for hit in hits {
        if extras > 0 {
            reply.array(1 + extras);
        }
        reply.bulk(&hit.member);
        if query.with_distance {
            reply_distance(hit.metres, query.unit, reply);
        }
        if query.with_hash {
            reply.int(hit.score as i64);
        }
        if query.with_point {
            reply_point(hit.place, reply);
        }
    }
}

pub(in crate::cmd) fn geosearch(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_or_refuse(reply, |reply| run(x, reply, Form::Search));
}

pub(in crate::cmd) fn geosearchstore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_or_refuse(reply, |reply| run(x, reply, Form::SearchStore));
}

pub(in crate::cmd) fn georadius(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_or_refuse(reply, |reply| run(x, reply, Form::Coordinates { may_store: true }));
}

pub(in crate::cmd) fn georadius_ro(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_or_refuse(reply, |reply| run(x, reply, Form::Coordinates { may_store: false }));
}

pub(in crate::cmd) fn georadiusbymember(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_or_refuse(reply, |reply| run(x, reply, Form::Member { may_store: true }));
}

pub(in crate::cmd) fn georadiusbymember_ro(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_or_refuse(reply, |reply| run(x, reply, Form::Member { may_store: false }));
}

//! [`HashObj`]: a hash: fields with values, as [`Members`], and when some of them expire, as [`FieldExpiry`].
//!
//! Fields that are due by the group's clock are invisible, however long they still lie here: every call but those that say
//! otherwise leaves them out. The clock is the one the keyspace told last ([`HashObj::set_now`]).
//!
//! OBJECT ENCODING names what Redis would use: `listpack` until a field or value was longer than
//! [`LISTPACK_VALUE_BYTES_MAX`] or there were more than [`LISTPACK_LEN_MAX`] fields (`listpackex` once a field had an
//! expiry); `hashtable` from then on.

use super::Elements;
use super::codec::{DecodeError, Source, form};
use super::field_expiry::{FIELD_EXPIRY_MS_MAX, FieldExpiry};
use super::members::{Members, MembersMut};
use super::packed::Packed;
use super::packed_or::{Form, FormMut, PackedOr};
use super::table::Table;
use crate::digest::{Digest, combine};
use crate::varint::put_bytes;

/// Redis's `hash-max-listpack-entries`.
const LISTPACK_LEN_MAX: usize = 512;
/// Redis's `hash-max-listpack-value`, in bytes.
const LISTPACK_VALUE_BYTES_MAX: usize = 64;

/// A hash. While its fields are few and none ever had an expiry, they are all there is: whether it has outgrown what Redis
/// calls a listpack is their mark then.
#[derive(Clone, Debug, Default)]
pub struct HashObj(PackedOr<Full>);

/// A hash of many fields, or with moments at which some expire.
#[derive(Clone, Debug, Default)]
struct Full {
    fields: Fields,
    /// Made when the first field is given an expiry: most hashes have none.
    expiry: Option<Box<Expiring>>,
    outgrew_listpack: bool,
}

#[derive(Clone, Debug)]
enum Fields {
    Few(Packed),
    Many(Box<Table>),
}

impl Default for Fields {
    fn default() -> Self {
        Fields::Few(Packed::default())
    }
}

#[derive(Clone, Debug, Default)]
struct Expiring {
    moments: FieldExpiry,
    /// The group's clock, milliseconds since 1970.
    now_ms: u64,
}

impl Fields {
    /// Bytes allocated outside the struct.
    fn memory(&self) -> usize {
        match self {
            Fields::Few(p) => p.memory(),
            Fields::Many(t) => size_of::<Table>() + t.memory(),
        }
    }
}

impl Full {
    fn fields_mut(&mut self) -> MembersMut<'_> {
        match &mut self.fields {
            Fields::Few(p) => MembersMut::Few(p),
            Fields::Many(t) => MembersMut::Many(t),
        }
    }
}

impl HashObj {
    #[inline]
    fn fields(&self) -> Members<'_> {
        match self.0.get() {
            Form::Packed(p) => Members::Few(p),
            Form::Other(full) => match &full.fields {
                Fields::Few(p) => Members::Few(p),
                Fields::Many(t) => Members::Many(t),
            },
        }
    }

    fn fields_mut(&mut self) -> MembersMut<'_> {
        match self.0.get_mut() {
            FormMut::Packed(p) => MembersMut::Few(p),
            FormMut::Other(full) => full.fields_mut(),
        }
    }

    #[inline]
    fn expiry(&self) -> Option<&Expiring> {
        match self.0.get() {
            Form::Packed(_) => None,
            Form::Other(full) => full.expiry.as_deref(),
        }
    }

    fn expiry_mut(&mut self) -> Option<&mut Expiring> {
        match self.0.get_mut() {
            FormMut::Packed(_) => None,
            FormMut::Other(full) => full.expiry.as_deref_mut(),
        }
    }

    fn outgrew_listpack(&self) -> bool {
        match self.0.get() {
            Form::Packed(p) => p.is_marked(),
            Form::Other(full) => full.outgrew_listpack,
        }
    }

    fn outgrow_listpack(&mut self, outgrown: bool) {
        match self.0.get_mut() {
            _ if !outgrown => {}
            FormMut::Packed(p) => p.set_marked(true),
            FormMut::Other(full) => full.outgrew_listpack = true,
        }
    }

    /// What can have more than a few fields.
    fn full(&mut self) -> &mut Full {
        if let FormMut::Packed(p) = self.0.get_mut() {
            let full = Full {
                outgrew_listpack: p.is_marked(),
                fields: Fields::Few(std::mem::take(p)),
                expiry: None,
            };
            self.0 = PackedOr::other(full);
        }
        match self.0.get_mut() {
            FormMut::Other(full) => full,
            FormMut::Packed(_) => unreachable!("made full above"),
        }
    }

    /// Sets a value; says whether the field is new.
    fn put(&mut self, field: &[u8], value: &[u8]) -> bool {
        let (added, outgrown) = self.fields_mut().insert(field, value);
        if let Some(table) = outgrown {
            self.full().fields = Fields::Many(table);
        }
        self.outgrow_listpack(self.fields().len() > LISTPACK_LEN_MAX);
        added
    }

    /// Tells the group's clock.
    pub fn set_now(&mut self, now_ms: u64) {
        if let Some(e) = self.expiry_mut() {
            e.now_ms = now_ms;
        }
    }

    /// Whether a field of it ever had an expiry.
    #[inline]
    pub fn has_expiry(&self) -> bool {
        self.expiry().is_some()
    }

    /// Whether all its fields are due at `now_ms`: then its key does not exist.
    pub fn is_spent(&self, now_ms: u64) -> bool {
        let due = |e: &Expiring| e.moments.due_len(now_ms);
        self.expiry().is_some_and(|e| due(e) == self.fields().len())
    }

    /// The first moment after `now_ms` at which a field expires.
    pub fn next_expiry(&self, now_ms: u64) -> Option<u64> {
        self.expiry()?.moments.next_after(now_ms)
    }

    /// The first moment at which a field expires that is visible now.
    pub fn first_visible_expiry(&self) -> Option<u64> {
        self.next_expiry(self.expiry()?.now_ms)
    }

    /// When the first of all fields expires, or has expired.
    pub fn first_expiry(&self) -> Option<u64> {
        self.expiry()?.moments.first()
    }

    /// Removes due fields, `budget` at most. Returns how many.
    pub fn purge(&mut self, budget: usize) -> usize {
        let FormMut::Other(full) = self.0.get_mut() else {
            return 0;
        };
        let Some(mut e) = full.expiry.take() else { return 0 };
        let removed = (0..budget)
            .take_while(|_| {
                e.moments.take_due(e.now_ms, |field| {
                    full.fields_mut().remove(field);
                })
            })
            .count();
        full.expiry = Some(e);
        removed
    }

    #[inline]
    fn is_due(&self, field: &[u8]) -> bool {
        self.expiry().is_some_and(|e| e.moments.is_due(field, e.now_ms))
    }

    fn due_len(&self) -> usize {
        self.expiry().map_or(0, |e| e.moments.due_len(e.now_ms))
    }

    /// Sets a field, which then has no expiry; says whether it is new.
    pub fn insert(&mut self, field: &[u8], value: &[u8]) -> bool {
        let was_due = self.is_due(field);
        if let Some(e) = self.expiry_mut() {
            e.moments.clear(field);
        }
        self.put(field, value) || was_due
    }

    /// Sets a field whose expiry, if it has one, stays; says whether it is new.
    pub fn update(&mut self, field: &[u8], value: &[u8]) -> bool {
        if self.is_due(field) {
            return self.insert(field, value);
        }
        self.put(field, value)
    }

    /// Redis decides by the arguments of the whole command before it sets the first field: call this before
    /// [`HashObj::insert`] with every field and value to come.
    pub fn note_length(&mut self, bytes: usize) {
        self.outgrow_listpack(bytes > LISTPACK_VALUE_BYTES_MAX);
    }

    /// So many fields are about to be set, of so many bytes with their values: what a new hash needs is allocated at once.
    pub fn expect(&mut self, len: usize, bytes: usize) {
        self.fields_mut().expect(len, bytes);
    }

    /// The value of a field.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        let value = self.fields().get(field)?;
        (!self.is_due(field)).then_some(value)
    }

    /// `None`: no such field. `Some(None)`: it lives until deleted. Else when it expires, milliseconds since 1970.
    pub fn expire_at(&self, field: &[u8]) -> Option<Option<u64>> {
        self.get(field)?;
        Some(self.expiry().and_then(|e| e.moments.get(field)))
    }

    /// Sets or clears the expiry of a field that is there. `moment`: milliseconds since 1970, after the group's clock and at
    /// most [`FIELD_EXPIRY_MS_MAX`]. `now_ms`: the clock. The keyspace must be told of it
    /// ([`crate::keyspace::Keyspace::field_expiry_changed`]).
    pub fn set_expire(&mut self, field: &[u8], moment: Option<u64>, now_ms: u64) {
        debug_assert!(self.get(field).is_some(), "only a field that is there can expire");
        if let Some(moment) = moment {
            let e = self.full().expiry.get_or_insert_default();
            e.now_ms = now_ms;
            e.moments.set(field, moment);
        } else if let Some(e) = self.expiry_mut() {
            e.moments.clear(field);
        }
    }

    /// Removes a field; says whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let was_due = self.is_due(field);
        if let Some(e) = self.expiry_mut() {
            e.moments.clear(field);
        }
        self.fields_mut().remove(field) && !was_due
    }

    /// Number of fields.
    pub fn visible_len(&self) -> usize {
        self.fields().len() - self.due_len()
    }

    /// The field in position `at`, below the physical length, with its value; it may be due.
    pub fn nth(&self, at: usize) -> (&[u8], &[u8]) {
        self.fields().nth(at)
    }

    /// The positions of all fields, where some are due; `None` when none is: then they are those below the length.
    pub fn visible_positions(&self) -> Option<Vec<usize>> {
        if self.due_len() == 0 {
            return None;
        }
        let (mut positions, mut at) = (Vec::new(), 0);
        self.fields().for_each(|field, _| {
            if !self.is_due(field) {
                positions.push(at);
            }
            at += 1;
        });
        Some(positions)
    }

    /// Calls `f` for every field and value.
    pub fn for_each(&self, mut f: impl FnMut(&[u8], &[u8])) {
        if self.due_len() == 0 {
            return self.fields().for_each(f);
        }
        self.fields().for_each(|field, value| {
            if !self.is_due(field) {
                f(field, value);
            }
        });
    }

    /// One step of a walk through all fields: calls `f` for about `count` of them, or for all of a small hash. `cursor` is 0
    /// at first and then what the last step returned, which is 0 at the end. What is there during the whole walk is met.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&[u8], &[u8])) -> u64 {
        // What Redis keeps in one piece it hands out in one piece.
        let count = if self.outgrew_listpack() { count } else { usize::MAX };
        self.fields().scan(cursor, count, |field, value| {
            if !self.is_due(field) {
                f(field, value);
            }
        })
    }

    /// Feeds the fields that are visible at `now_ms`.
    pub(crate) fn digest_at(&self, now_ms: u64, digest: &mut Digest) {
        let (mut sum, mut count, mut one) = (0, 0, Digest::new());
        self.fields().for_each(|field, value| {
            let moment = self.expiry().and_then(|e| e.moments.get(field));
            if moment.is_some_and(|moment| moment <= now_ms) {
                return;
            }
            one.reset();
            one.bytes(field);
            one.bytes(value);
            if let Some(moment) = moment {
                one.u64(moment);
            }
            (sum, count) = (combine(sum, one.finish()), count + 1);
        });
        digest.u64(count);
        digest.unordered(sum);
    }

    pub(super) fn form(&self) -> u8 {
        u8::from(self.fields().is_many()) * form::MANY
            + u8::from(self.outgrew_listpack()) * form::OUTGREW_LISTPACK
            + u8::from(self.has_expiry()) * form::EXPIRY
    }

    /// Appends fields, values and moments, in order, due ones included.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.fields().for_each(|field, value| {
            put_bytes(out, field);
            put_bytes(out, value);
            if let Some(e) = self.expiry() {
                out.extend_from_slice(&e.moments.get(field).unwrap_or(0).to_le_bytes());
            }
        });
    }

    pub(super) fn decode(form: u8, len: usize, source: &mut Source<'_>) -> Result<Self, DecodeError> {
        let mut hash = Self::empty(form);
        hash.decode_some(len, source)?;
        Ok(hash)
    }

    /// An empty one.
    pub(super) fn empty(form: u8) -> Self {
        let mut hash = HashObj::default();
        if form & form::MANY != 0 {
            hash.full().fields = Fields::Many(Box::default());
        }
        if form & form::EXPIRY != 0 {
            hash.full().expiry = Some(Box::default());
        }
        hash.outgrow_listpack(form & form::OUTGREW_LISTPACK != 0);
        hash
    }

    /// Reads `count` more fields.
    pub(super) fn decode_some(&mut self, count: usize, source: &mut Source<'_>) -> Result<(), DecodeError> {
        for _ in 0..count {
            let (field, value) = (source.bytes()?, source.bytes()?);
            if let Some(e) = self.expiry_mut() {
                match u64::from_le_bytes(source.eight()?) {
                    0 => {}
                    moment if moment <= FIELD_EXPIRY_MS_MAX => e.moments.set(field, moment),
                    _ => return Err(DecodeError::Element),
                }
            }
            self.fields_mut().add_read(field, value)?;
        }
        Ok(())
    }

    /// The table, when the fields are many and none ever had an expiry.
    pub(super) fn table(&mut self) -> Option<&mut Table> {
        if self.has_expiry() {
            return None;
        }
        self.fields_mut().table()
    }

    /// The table, when the fields are many.
    pub(super) fn kept_table(&mut self) -> Option<&mut Table> {
        self.fields_mut().table()
    }

    /// Whether pages are kept.
    pub(super) fn is_kept(&self) -> bool {
        self.fields().is_kept()
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(&self) -> &'static str {
        match (self.outgrew_listpack(), self.has_expiry()) {
            (true, _) => "hashtable",
            (false, true) => "listpackex",
            (false, false) => "listpack",
        }
    }
}

/// The fields that lie here, due ones included.
impl Elements for HashObj {
    fn len(&self) -> usize {
        self.fields().len()
    }

    fn memory(&self) -> usize {
        let expiry = |e: &Expiring| size_of::<u64>() + e.moments.memory();
        size_of::<Self>()
            + match self.0.get() {
                Form::Packed(p) => p.memory(),
                Form::Other(full) => {
                    size_of::<Full>() + full.fields.memory() + full.expiry.as_deref().map_or(0, expiry)
                }
            }
    }

    fn digest_into(&self, digest: &mut Digest) {
        self.digest_at(self.expiry().map_or(0, |e| e.now_ms), digest);
    }

    fn free_some(&mut self, budget: usize) -> usize {
        // At the same pace: there are no more moments than fields.
        if let Some(e) = self.expiry_mut() {
            e.moments.free_some(budget);
        }
        self.fields_mut().free_some(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::{Collection, testing::Random};
    use std::collections::BTreeMap;

    /// What the model holds of a field: its value and when it expires.
    type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

    fn live(model: &Model, now: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let visible = model.iter().filter(|(_, (_, at))| at.is_none_or(|at| at > now));
        visible.map(|(f, (v, _))| (f.clone(), v.clone())).collect()
    }

    #[test]
    fn fields_vanish_at_their_moment_whether_removed_or_not() {
        for seed in 0..30 {
            let (mut hash, mut model, mut r, mut now) = (HashObj::default(), Model::new(), Random(seed), 1_000);
            let fields = [8, 60, 1500][seed as usize % 3];
            for _ in 0..2500 {
                now += r.below(3);
                hash.set_now(now);
                let field = format!("f{}", r.below(fields)).into_bytes();
                let there = model.get(&field).is_some_and(|(_, at)| at.is_none_or(|at| at > now));
                let value = vec![b'v'; r.below(9) as usize];
                match r.below(12) {
                    0..=3 => {
                        assert_eq!(hash.insert(&field, &value), !there);
                        model.insert(field, (value, None));
                    }
                    4 => {
                        assert_eq!(hash.update(&field, &value), !there);
                        let at = model.get(&field).filter(|_| there).and_then(|(_, at)| *at);
                        model.insert(field, (value, at));
                    }
                    5..=8 if there => {
                        let at = (r.below(5) > 0).then(|| now + 1 + r.below(900));
                        hash.set_expire(&field, at, now);
                        model.get_mut(&field).unwrap().1 = at;
                    }
                    9 => {
                        assert_eq!(hash.remove(&field), there);
                        model.remove(&field);
                    }
                    10 => {
                        hash.purge(r.below(4) as usize);
                    }
                    _ => {
                        let expected = model.get(&field).filter(|_| there);
                        assert_eq!(hash.get(&field), expected.map(|(v, _)| v.as_slice()));
                        assert_eq!(hash.expire_at(&field), expected.map(|(_, at)| *at));
                    }
                }
                let visible = live(&model, now);
                assert_eq!(hash.visible_len(), visible.len());
                assert_eq!(hash.is_spent(now), hash.has_expiry() && visible.is_empty());
                if r.below(40) == 0 {
                    let mut seen = BTreeMap::new();
                    hash.for_each(|f, v| assert!(seen.insert(f.to_vec(), v.to_vec()).is_none()));
                    assert_eq!(seen, visible);
                    let positions = hash.visible_positions();
                    assert!(positions.is_none_or(|p| p.iter().all(|n| visible.contains_key(hash.nth(*n).0))));
                    let (mut bytes, mut again) = (Vec::new(), Vec::new());
                    Collection::Hash(hash.clone()).encode(&mut bytes);
                    let copy = Collection::decode(&bytes).unwrap().0;
                    copy.encode(&mut again);
                    assert_eq!(bytes, again);
                    let next = model.values().filter_map(|(_, at)| *at).filter(|at| *at > now).min();
                    assert_eq!(hash.next_expiry(now), next);
                }
            }
            hash.set_now(u64::MAX);
            while hash.purge(5) > 0 {}
            assert!(hash.len() == model.values().filter(|(_, at)| at.is_none()).count());
        }
    }
}

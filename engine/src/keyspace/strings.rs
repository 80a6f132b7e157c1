//! String values: in the record while short, in a buffer of their own beyond [`VALUE_INLINE_MAX`] bytes.

use super::object::Object;
use super::{EventClasses, Expire, Keyspace, WrongType};
use crate::ord::KeyHash;
use crate::table::{Rec, RecKind, Shape, Spot, VALUE_INLINE_MAX};

impl Keyspace {
    /// The string at `key`.
    #[inline]
    pub fn get_str(&mut self, key: &[u8]) -> Result<Option<&[u8]>, WrongType> {
        self.get_str_hashed(self.key_hash(key), key)
    }

    /// [`Keyspace::get_str`] with the key's hash already known.
    #[inline]
    pub fn get_str_hashed(&mut self, hash: KeyHash, key: &[u8]) -> Result<Option<&[u8]>, WrongType> {
        let Some(spot) = self.read(hash, key) else {
            return Ok(None);
        };
        let rec = self.table.rec(spot.at);
        if rec.is_inline_str() {
            return Ok(Some(rec.value()));
        }
        self.big_str(rec).map(Some)
    }

    /// [`Keyspace::get_str_hashed`] for a command that is about to write the key: not counted as a read.
    pub fn str_to_change(&mut self, hash: KeyHash, key: &[u8]) -> Result<Option<&[u8]>, WrongType> {
        let Some(spot) = self.live(hash, key) else {
            return Ok(None);
        };
        let rec = self.table.rec(spot.at);
        if rec.is_inline_str() {
            return Ok(Some(rec.value()));
        }
        self.big_str(rec).map(Some)
    }

    /// Bytes of the string at `key`, 0 without one, for a command that is about to write it: not counted as a read.
    pub fn str_len(&mut self, key: &[u8]) -> Result<usize, WrongType> {
        let hash = self.key_hash(key);
        Ok(self.str_to_change(hash, key)?.map_or(0, <[u8]>::len))
    }

    fn big_str(&self, rec: Rec) -> Result<&[u8], WrongType> {
        if rec.kind() != RecKind::BigStr {
            return Err(WrongType);
        }
        match self.objects.get(rec.object()) {
            Object::Str(bytes) => Ok(bytes),
            Object::Coll(_) => unreachable!("the record says it is a string"),
        }
    }

    /// Stores a string; a value of any type that was there is replaced. An expiry at or before the clock deletes the key.
    #[inline]
    pub fn set_str(&mut self, key: &[u8], value: &[u8], expire: Expire) {
        self.set_str_hashed(self.key_hash(key), key, value, expire);
    }

    /// [`Keyspace::set_str`] with the key's hash already known.
    #[inline]
    pub fn set_str_hashed(&mut self, hash: KeyHash, key: &[u8], value: &[u8], expire: Expire) {
        let found = self.table.find(hash, key);
        // One that is made is noted when it is.
        if self.uses.is_some() && found.is_some() {
            self.note_use(hash);
        }
        if let (Some(spot), Expire::Clear | Expire::Keep) = (found, expire) {
            let rec = self.table.rec(spot.at);
            if rec.is_plain_str_of(value.len()) && self.is_current(rec) {
                return rec.value_mut().copy_from_slice(value);
            }
        }
        self.replace_str(found, hash, key, value, expire);
    }

    /// [`Keyspace::set_str_hashed`] in general.
    fn replace_str(&mut self, mut found: Option<Spot>, hash: KeyHash, key: &[u8], value: &[u8], expire: Expire) {
        if self.waiters.mind_removal() {
            // Whether or not an expired value still lies there.
            self.waiters.signal(key);
        }
        if let Some(spot) = found
            && self.table.rec(spot.at).is_special()
        {
            let rec = self.table.rec(spot.at);
            if rec.is_absent() {
                found = None;
            } else if self.is_spent(rec) {
                // Its expiry must not be kept.
                self.remove_spent(hash, spot, key);
                found = None;
            }
        }
        let old_expire = found.and_then(|spot| self.table.rec(spot.at).expire());
        if old_expire.is_some_and(|t| t <= self.clock_ms) {
            // The key is absent, whatever lies there still.
            self.stats.expired += 1;
            self.note(EventClasses::EXPIRED, "expired", key);
        }
        let existed = found.is_some() && old_expire.is_none_or(|t| t > self.clock_ms);
        let expire = match expire {
            Expire::Clear => None,
            Expire::Keep => old_expire.filter(|&t| t > self.clock_ms),
            Expire::At(t) => Some(t),
        };
        if expire.is_some_and(|t| t <= self.clock_ms) {
            match found {
                Some(spot) => self.remove(hash, spot),
                None => self.remove_unknown(hash, key),
            }
            return;
        }
        if let Some(spot) = found {
            self.release_value(spot);
        }
        if !existed {
            self.note(EventClasses::NEW, "new", key);
        }
        self.write_str(found, hash, key, value, expire);
    }

    /// Makes `key` a string; a value outside its old record has been released.
    fn write_str(&mut self, found: Option<Spot>, hash: KeyHash, key: &[u8], value: &[u8], expire: Option<u64>) {
        let inline = value.len() <= VALUE_INLINE_MAX;
        let kind = if inline { RecKind::Str } else { RecKind::BigStr };
        let shape = Shape {
            kind,
            value_len: value.len(),
            volatile: expire.is_some(),
        };
        let rec = self.place(found, hash, key, shape, expire);
        if inline {
            rec.value_mut().copy_from_slice(value);
        } else {
            rec.set_object(self.objects.insert(Object::Str(value.to_vec().into())));
        }
    }

    /// The string at `key` with its length changed to `new_len` bytes: cut, or filled up with zeros, or made anew. The
    /// expiry stays. Growing a large string step by step costs amortised constant time per byte.
    pub fn resize_str(&mut self, key: &[u8], new_len: usize) -> Result<&mut [u8], WrongType> {
        let hash = self.key_hash(key);
        match self.live(hash, key).map(|spot| self.table.rec(spot.at).kind()) {
            Some(RecKind::Str | RecKind::BigStr) => {}
            Some(_) => return Err(WrongType),
            None => {
                self.note(EventClasses::NEW, "new", key);
                self.write_str(None, hash, key, &[], None);
            }
        }
        self.resize_str_at(hash, key, new_len)
    }

    /// [`Keyspace::resize_str`] of a key that is a visible string.
    fn resize_str_at(&mut self, hash: KeyHash, key: &[u8], new_len: usize) -> Result<&mut [u8], WrongType> {
        let spot = self.table.find(hash, key).expect("the caller has found or made it");
        let rec = self.table.rec(spot.at);
        let expire = rec.expire();
        let (was_inline, inline) = (rec.is_inline_str(), new_len <= VALUE_INLINE_MAX);
        let kind = if inline { RecKind::Str } else { RecKind::BigStr };
        let shape = Shape {
            kind,
            value_len: new_len,
            volatile: expire.is_some(),
        };
        match (was_inline, inline) {
            (true, true) => {
                let old_len = rec.value().len();
                let value = self.place(Some(spot), hash, key, shape, expire).value_mut();
                value[old_len.min(new_len)..].fill(0);
                Ok(value)
            }
            (false, true) => {
                let kept = self.big_str(rec)?[..new_len].to_vec();
                self.release_value(spot);
                let value = self.place(Some(spot), hash, key, shape, expire).value_mut();
                value.copy_from_slice(&kept);
                Ok(value)
            }
            (was_inline, false) => {
                if was_inline {
                    let bytes = rec.value().to_vec();
                    let rec = self.place(Some(spot), hash, key, shape, expire);
                    rec.set_object(self.objects.insert(Object::Str(bytes.into())));
                }
                let spot = self.table.find(hash, key).expect("placed above");
                self.change(spot);
                let at = spot.at;
                let Object::Str(bytes) = self.objects.lend(self.table.rec(at).object()) else {
                    unreachable!("the record says it is a string")
                };
                bytes.resize(new_len, 0);
                if bytes.capacity() / 4 > new_len {
                    bytes.shrink_to(new_len);
                }
                Ok(bytes)
            }
        }
    }
}

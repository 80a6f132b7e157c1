//! [`ScriptCache`]: scripts by their text and by its SHA-1.
//!
//! Each core's own, and lost when the process ends, as in Redis: a write that a script makes is in the log with the script's
//! text, so nothing depends on what is cached where. Scripts that came by EVAL make room for others; those that were
//! loaded stay.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::interpreter::CodeNumber;
use super::key_use::names_all_keys;
use super::limits::EVAL_SCRIPTS_MAX;
use super::sha1_hex;
use super::shebang::{ScriptFlags, script_flags};

/// A script in the cache.
#[derive(Clone)]
pub(super) struct Script {
    /// Its text.
    pub(super) body: Rc<[u8]>,
    /// SHA-1 of the text, in hexadecimal.
    pub(super) sha: Rc<str>,
    /// What it says of itself, if anything.
    pub(super) flags: Option<ScriptFlags>,
    /// Where its code begins.
    pub(super) code_at: usize,
    /// Its text shows that it touches no keys but those it is given.
    pub(super) names_all_keys: bool,
    /// Once it was compiled.
    pub(super) code: Option<CodeNumber>,
    /// It came by SCRIPT LOAD.
    loaded: bool,
}

/// XXH3 of texts that are there as a whole, which costs a fraction of what the hasher for streams does.
#[derive(Default)]
struct TextHasher(u64);

impl Hasher for TextHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, number: usize) {
        self.0 ^= number as u64;
    }

    fn write_u8(&mut self, number: u8) {
        self.0 ^= u64::from(number);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type ByText<K, V> = HashMap<Rc<K>, V, BuildHasherDefault<TextHasher>>;

/// See the module's text.
#[derive(Default)]
pub(super) struct ScriptCache {
    by_body: ByText<[u8], Script>,
    by_sha: ByText<str, Rc<[u8]>>,
    /// Those that came by EVAL, oldest first.
    evaluated: VecDeque<Rc<[u8]>>,
    bytes: usize,
}

impl ScriptCache {
    /// The script with this text.
    pub(super) fn find(&self, body: &[u8]) -> Option<&Script> {
        self.by_body.get(body)
    }

    /// The text with this SHA-1, in upper or lower case.
    pub(super) fn by_sha(&self, sha: &[u8]) -> Option<&Rc<[u8]>> {
        let sha = std::str::from_utf8(sha).ok().filter(|sha| sha.len() == 40)?;
        match sha.bytes().any(|c| c.is_ascii_uppercase()) {
            true => self.by_sha.get(sha.to_ascii_lowercase().as_str()),
            false => self.by_sha.get(sha),
        }
    }

    /// Takes a script in. `loaded`: for good. Gives the code of one that had to go.
    ///
    /// # Errors
    /// Its first line makes no sense: the text of the error, without a code.
    pub(super) fn add(&mut self, body: &[u8], loaded: bool) -> Result<Option<CodeNumber>, String> {
        if let Some(script) = self.by_body.get_mut(body) {
            script.loaded |= loaded;
            return Ok(None);
        }
        let (flags, code_at) = script_flags(body)?;
        let (body, sha): (Rc<[u8]>, Rc<str>) = (body.into(), sha1_hex(body).into());
        let script = Script {
            body: body.clone(),
            sha: sha.clone(),
            flags,
            code_at,
            names_all_keys: names_all_keys(&body[code_at..]),
            code: None,
            loaded,
        };
        self.bytes += body.len();
        self.by_body.insert(body.clone(), script);
        self.by_sha.insert(sha, body.clone());
        if !loaded {
            self.evaluated.push_back(body);
        }
        Ok(self.make_room())
    }

    fn make_room(&mut self) -> Option<CodeNumber> {
        while self.evaluated.len() > EVAL_SCRIPTS_MAX {
            let body = self.evaluated.pop_front()?;
            if self.by_body.get(&body).is_some_and(|script| !script.loaded) {
                return self.remove(&body);
            }
        }
        None
    }

    /// Notes a script's compiled code.
    pub(super) fn set_code(&mut self, body: &[u8], code: CodeNumber) {
        if let Some(script) = self.by_body.get_mut(body) {
            script.code = Some(code);
        }
    }

    /// Forgets a script; gives its code.
    pub(super) fn remove(&mut self, body: &[u8]) -> Option<CodeNumber> {
        let script = self.by_body.remove(body)?;
        self.by_sha.remove(&script.sha);
        self.bytes -= script.body.len();
        script.code
    }

    /// Number of scripts.
    pub(super) fn len(&self) -> usize {
        self.by_body.len()
    }

    /// Bytes of their texts.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluated_scripts_make_room_and_loaded_ones_stay() {
        let mut cache = ScriptCache::default();
        cache.add(b"return 'kept'", true).unwrap();
        cache.add(b"return 'later kept'", false).unwrap();
        cache.add(b"return 'later kept'", true).unwrap();
        for i in 0..2 * EVAL_SCRIPTS_MAX {
            cache.add(format!("return {i}").as_bytes(), false).unwrap();
        }
        assert!(cache.len() <= EVAL_SCRIPTS_MAX + 2);
        assert!(cache.find(b"return 'kept'").is_some() && cache.find(b"return 'later kept'").is_some());
        assert!(cache.find(b"return 0").is_none());
        let newest = format!("return {}", 2 * EVAL_SCRIPTS_MAX - 1);
        let sha = cache.find(newest.as_bytes()).unwrap().sha.clone();
        assert_eq!(
            cache.by_sha(sha.to_ascii_uppercase().as_bytes()).map(|b| &**b),
            Some(newest.as_bytes())
        );
        assert!(cache.by_sha(b"no sha").is_none());
    }
}

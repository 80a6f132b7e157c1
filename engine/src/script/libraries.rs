//! [`Libraries`]: the libraries of functions of a group.
//!
//! Part of the group's state: loaded, replaced and deleted by entries of the log, the same on every replica. What is kept
//! of a library is its code, and what its functions are called; the compiled code is each interpreter's own.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::interpreter::{CodeNumber, Interpreter, Registered};
use super::limits::{LIBRARIES_BYTES_MAX, LOAD_WORK_MAX};
use super::shebang::{ScriptFlags, library_name};
use crate::digest::{Digest, combine};
use crate::varint::{put_bytes, put_len, take_bytes, take_len};

/// Version of [`Libraries::export`]'s bytes.
const EXPORT_VERSION: u8 = 1;

/// A function of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// By which it is called.
    pub name: String,
    /// What its author says of it.
    pub description: Option<Vec<u8>>,
    /// What it does.
    pub flags: ScriptFlags,
}

/// A library.
#[derive(Clone, Debug)]
pub struct Library {
    /// As it was loaded, first line included.
    pub code: Rc<[u8]>,
    /// By name.
    pub functions: Vec<Function>,
    /// Where the code begins, behind the first line.
    code_at: usize,
    /// Compiled, in the interpreter there is now.
    compiled: Option<CodeNumber>,
}

/// See the module's text.
#[derive(Clone, Default)]
pub struct Libraries {
    by_name: BTreeMap<String, Library>,
    /// The library of each function, whose name counts in any case and is in lower case here.
    functions: BTreeMap<String, String>,
}

/// Bytes that are no [`Libraries::export`], or libraries that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLibraries(pub String);

impl Libraries {
    /// All of them, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Library)> {
        self.by_name.iter().map(|(name, library)| (name.as_str(), library))
    }

    /// Number of functions of all libraries.
    pub fn functions_len(&self) -> usize {
        self.functions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The function called `name`, in upper or lower case.
    pub fn function(&self, name: &[u8]) -> Option<&Function> {
        let name = std::str::from_utf8(name).ok()?;
        let library = self.by_name.get(self.functions.get(&name.to_ascii_lowercase())?)?;
        library
            .functions
            .iter()
            .find(|function| function.name.eq_ignore_ascii_case(name))
    }

    /// Compiled code of the library with the function called `name`, which exists.
    ///
    /// # Errors
    /// The compiler's words; it has compiled this code before.
    pub(super) fn compiled(&mut self, interpreter: &mut Interpreter, name: &str) -> Result<CodeNumber, String> {
        let library = self
            .functions
            .get(&name.to_ascii_lowercase())
            .and_then(|library| self.by_name.get_mut(library));
        let library = library.ok_or("Function not found")?;
        match library.compiled {
            Some(code) => Ok(code),
            None => {
                let code = interpreter.compile_library(&library.code[library.code_at..])?;
                library.compiled = Some(code);
                Ok(code)
            }
        }
    }

    /// The interpreter has gone, and all compiled code with it.
    pub(super) fn forget_compiled(&mut self) {
        self.by_name.values_mut().for_each(|library| library.compiled = None);
    }

    /// Whether the library `name` may have `bytes` of code.
    fn check_room(&self, name: &str, bytes: usize) -> Result<(), String> {
        let others = self.by_name.iter().filter(|(other, _)| *other != name);
        let others: usize = others.map(|(_, library)| library.code.len()).sum();
        match others + bytes <= LIBRARIES_BYTES_MAX {
            true => Ok(()),
            false => Err(format!(
                "all libraries together may have {} MiB",
                LIBRARIES_BYTES_MAX >> 20
            )),
        }
    }

    /// Loads a library; gives its name.
    ///
    /// # Errors
    /// The text of the error, without its code; nothing has changed.
    pub(super) fn load(&mut self, interpreter: &mut Interpreter, code: &[u8], replace: bool) -> Result<String, String> {
        let (name, code_at) = library_name(code)?;
        if self.by_name.contains_key(&name) && !replace {
            return Err(format!("Library '{name}' already exists"));
        }
        self.check_room(&name, code.len())?;
        let compiled = interpreter
            .compile_library(&code[code_at..])
            .map_err(|error| format!("Error compiling function: {error}"))?;
        let checked = interpreter
            .load_library(compiled, LOAD_WORK_MAX)
            .map_err(|error| format!("Error registering functions: {error}"))
            .and_then(|registered| self.check(&name, registered));
        let functions = match checked {
            Ok(functions) => functions,
            Err(error) => {
                interpreter.forget_library(compiled);
                return Err(error);
            }
        };
        self.remove(Some(interpreter), &name);
        for function in &functions {
            self.functions.insert(function.name.to_ascii_lowercase(), name.clone());
        }
        let library = Library {
            code: code.into(),
            functions,
            code_at,
            compiled: Some(compiled),
        };
        self.by_name.insert(name.clone(), library);
        Ok(name)
    }

    /// What a library registered, provided that there is something, and that no other library has it.
    fn check(&self, name: &str, registered: Vec<Registered>) -> Result<Vec<Function>, String> {
        if registered.is_empty() {
            return Err("No functions registered".into());
        }
        let lower = |function: &Registered| function.name.to_ascii_lowercase();
        let taken = |function: &&Registered| self.functions.get(&lower(function)).is_some_and(|owner| owner != name);
        if let Some(function) = registered.iter().find(taken) {
            return Err(format!("Function {} already exists", function.name));
        }
        let mut names = BTreeSet::new();
        if !registered.iter().all(|function| names.insert(lower(function))) {
            return Err("Error registering functions: Function already exists in the library".into());
        }
        let function = |registered: Registered| Function {
            flags: registered.flags.iter().fold(ScriptFlags::default(), |flags, name| {
                flags.and(ScriptFlags::named(name.as_bytes()).unwrap_or_default())
            }),
            name: registered.name,
            description: registered.description,
        };
        Ok(registered.into_iter().map(function).collect())
    }

    /// Deletes a library; says whether there was one of that name.
    pub(super) fn remove(&mut self, interpreter: Option<&Interpreter>, name: &str) -> bool {
        let Some(library) = self.by_name.remove(name) else {
            return false;
        };
        for function in &library.functions {
            self.functions.remove(&function.name.to_ascii_lowercase());
        }
        if let (Some(interpreter), Some(code)) = (interpreter, library.compiled) {
            interpreter.forget_library(code);
        }
        true
    }

    /// Takes in all libraries of `others`.
    ///
    /// # Errors
    /// One of them, or a function, is there already; nothing has changed.
    pub(super) fn join(&mut self, others: Libraries, replace: bool) -> Result<(), String> {
        let mut joined = self.clone();
        for name in others.by_name.keys() {
            if joined.by_name.contains_key(name) && !replace {
                return Err(format!("Library {name} already exists"));
            }
            joined.remove(None, name);
        }
        for (name, library) in others.by_name {
            joined.check_room(&name, library.code.len())?;
            for function in &library.functions {
                let taken = joined
                    .functions
                    .insert(function.name.to_ascii_lowercase(), name.clone());
                if taken.is_some() {
                    return Err(format!("Function {} already exists", function.name));
                }
            }
            joined.by_name.insert(name, library);
        }
        *self = joined;
        Ok(())
    }

    /// All libraries as bytes, for a checkpoint of the group: `docs/formats/functions.md`.
    pub fn export(&self) -> Vec<u8> {
        let mut out = vec![EXPORT_VERSION];
        put_len(&mut out, self.by_name.len());
        for library in self.by_name.values() {
            put_bytes(&mut out, &library.code);
        }
        out
    }

    /// The libraries that [`Libraries::export`] wrote.
    pub(super) fn import(interpreter: &mut Interpreter, bytes: &[u8]) -> Result<Self, BadLibraries> {
        let damaged = || BadLibraries("the exported libraries are damaged".into());
        if bytes.first() != Some(&EXPORT_VERSION) {
            return Err(BadLibraries("the exported libraries are of another version".into()));
        }
        let (mut at, mut libraries) = (1, Libraries::default());
        for _ in 0..take_len(bytes, &mut at).map_err(|_| damaged())? {
            let code = take_bytes(bytes, &mut at).map_err(|_| damaged())?;
            libraries.load(interpreter, code, false).map_err(BadLibraries)?;
        }
        if at == bytes.len() {
            Ok(libraries)
        } else {
            Err(damaged())
        }
    }

    /// Adds what tells these libraries from others to a digest of the group's state.
    pub(crate) fn digest(&self) -> u128 {
        let mut sum = 0;
        for (name, library) in &self.by_name {
            let mut digest = Digest::new();
            digest.bytes(b"library");
            digest.bytes(name.as_bytes());
            digest.bytes(&library.code);
            sum = combine(sum, digest.finish());
        }
        sum
    }
}

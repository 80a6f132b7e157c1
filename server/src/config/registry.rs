//! [`ConfigRegistry`]: the configuration in force, read and changed by name.

use std::collections::BTreeMap;
use std::fmt;

use super::parameters::{self, Access, PARAMETERS, Parameter};
use super::settings::{Durability, Setting, Settings};
use super::{Config, file};

/// The configuration in force.
#[derive(Clone, Debug)]
pub struct ConfigRegistry {
    config: Config,
}

/// Why nothing was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSetError {
    /// No parameter has this name.
    Unknown(String),
    /// One parameter refuses; the text is Redis's where Redis has one.
    Refused {
        /// The parameter as the client wrote it.
        name: String,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for ConfigSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "Unknown option or number of arguments for CONFIG SET - '{name}'"),
            Self::Refused { name, reason } => {
                write!(
                    f,
                    "CONFIG SET failed (possibly related to argument '{name}') - {reason}"
                )
            }
        }
    }
}

impl ConfigRegistry {
    /// Starts with what the command line and the file said.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// The configuration as a whole; its settings are those in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What `CONFIG SET` can change, as in force.
    #[inline]
    pub fn settings(&self) -> &Settings {
        &self.config.settings
    }

    /// Calls `visit` with name and value of each parameter that `wanted` accepts, in the table's order.
    pub fn get(&self, wanted: &mut dyn FnMut(&str) -> bool, visit: &mut dyn FnMut(&'static str, String)) {
        for parameter in PARAMETERS {
            if wanted(parameter.name) {
                visit(parameter.name, self.value(parameter));
            }
        }
    }

    /// Sets all pairs or none. Returns what really changed, each setting once, for the caller to put into force.
    ///
    /// # Errors
    /// The first pair that cannot be set.
    pub fn set(&mut self, pairs: &[(&str, &str)]) -> Result<Vec<Setting>, ConfigSetError> {
        let mut next = self.config.settings.clone();
        let mut seen: Vec<&'static str> = Vec::with_capacity(pairs.len());
        let mut changed = Vec::new();
        for &(name, value) in pairs {
            let parameter = parameters::find(name).ok_or_else(|| ConfigSetError::Unknown(name.to_string()))?;
            let refused = |reason: &str| ConfigSetError::Refused {
                name: name.to_string(),
                reason: reason.to_string(),
            };
            // What was chosen at start may be said again: who sets all that he has read changes nothing.
            let is_immutable = match parameter.access {
                Access::Startup(get) => get(&self.config) != value,
                Access::Fixed(_) => true,
                _ => false,
            };
            if is_immutable {
                return Err(refused("can't set immutable config"));
            }
            if seen.contains(&parameter.name) {
                return Err(refused("duplicate parameter"));
            }
            seen.push(parameter.name);
        }
        for &(name, value) in pairs {
            let refused = |reason| ConfigSetError::Refused {
                name: name.to_string(),
                reason,
            };
            match parameters::find(name).map(|parameter| &parameter.access) {
                Some(Access::Live { setting, set, get }) => {
                    let before = get(&next);
                    set(&mut next, value).map_err(refused)?;
                    if self.config.cluster.is_some() && next.durability != Durability::Always {
                        return Err(refused("only 'always' is possible in a cluster".into()));
                    }
                    if get(&next) != before && !changed.contains(setting) {
                        changed.push(*setting);
                    }
                }
                Some(Access::Remembered { key, check, .. }) => {
                    check(value).map_err(refused)?;
                    next.remembered.insert(key, value.to_string());
                }
                Some(Access::Only { value: only, check }) if !only.eq_ignore_ascii_case(value) => {
                    check(value).map_err(refused)?;
                    return Err(refused(format!("only '{only}' is supported")));
                }
                _ => {}
            }
        }
        self.config.settings = next;
        Ok(changed)
    }

    /// `text`, the configuration file's present content, with the values in force written into it. An option at its
    /// default that the file does not mention is not added.
    ///
    /// # Errors
    /// A sentence, when the file cannot be rewritten line by line.
    pub fn rewritten(&self, text: &str) -> Result<String, String> {
        let defaults = Config::defaults();
        let mentioned = text.parse::<toml::Table>().map_err(|error| error.to_string())?;
        let mut values = BTreeMap::new();
        for parameter in PARAMETERS {
            let Some(option) = parameter.option else { continue };
            let value = self.value(parameter);
            let default = read(parameter, &defaults);
            if value != default || mentioned.contains_key(option) {
                values.insert(option, value);
            }
        }
        file::rewrite(text, &values)
    }

    fn value(&self, parameter: &Parameter) -> String {
        read(parameter, &self.config)
    }
}

fn read(parameter: &Parameter, config: &Config) -> String {
    match &parameter.access {
        Access::Live { get, .. } => get(&config.settings),
        Access::Startup(get) => get(config),
        Access::Remembered { key, default, .. } => {
            let set = config.settings.remembered.get(key);
            set.map_or_else(|| (*default).to_string(), Clone::clone)
        }
        Access::Only { value, .. } | Access::Fixed(value) => (*value).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> ConfigRegistry {
        ConfigRegistry::new(Config::defaults())
    }

    fn value(registry: &ConfigRegistry, name: &str) -> String {
        let mut found = Vec::new();
        registry.get(&mut |n| n == name, &mut |_, value| found.push(value));
        found.pop().unwrap()
    }

    #[test]
    fn both_names_of_a_setting_show_the_same_fact() {
        let mut registry = registry();
        assert_eq!(
            registry.set(&[("AppendFsync", "EverySec")]),
            Ok(vec![Setting::Durability])
        );
        assert_eq!(
            (value(&registry, "durability"), value(&registry, "appendfsync")),
            ("everysec".into(), "everysec".into())
        );
        assert_eq!(registry.set(&[("durability", "off")]), Ok(vec![Setting::Durability]));
        assert_eq!(value(&registry, "appendfsync"), "no");
        assert_eq!(registry.set(&[("durability", "off")]), Ok(vec![]));
    }

    #[test]
    fn several_pairs_are_set_together_or_not_at_all() {
        let mut registry = registry();
        let error = registry.set(&[("maxclients", "5"), ("timeout", "x")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer"
        );
        assert_eq!(value(&registry, "maxclients"), "10000");
        assert_eq!(
            registry.set(&[("maxclients", "5"), ("timeout", "7")]),
            Ok(vec![Setting::ClientsMax, Setting::IdleTimeout])
        );
        assert_eq!(
            (value(&registry, "maxclients"), value(&registry, "timeout")),
            ("5".into(), "7".into())
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        let mut registry = registry();
        for (pairs, text) in [
            (
                &[("timeout", "5"), ("foo", "1")][..],
                "Unknown option or number of arguments for CONFIG SET - 'foo'",
            ),
            (
                &[("databases", "3")],
                "CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config",
            ),
            (
                &[("maxclients", "1"), ("maxclients", "2")],
                "CONFIG SET failed (possibly related to argument 'maxclients') - duplicate parameter",
            ),
            (
                &[("appendonly", "no")],
                "CONFIG SET failed (possibly related to argument 'appendonly') - only 'yes' is supported",
            ),
            (
                &[("save", "60 1 5")],
                "CONFIG SET failed (possibly related to argument 'save') - Invalid save parameters",
            ),
            (
                &[("maxmemory-clients", "200%")],
                "CONFIG SET failed (possibly related to argument 'maxmemory-clients') - percentage argument must be less or \
                 equal to 100",
            ),
            (
                &[("maxmemory-clients", "5%")],
                "CONFIG SET failed (possibly related to argument 'maxmemory-clients') - only '0' is supported",
            ),
        ] {
            assert_eq!(registry.set(pairs).unwrap_err().to_string(), text);
        }
        assert_eq!(registry.set(&[("save", ""), ("appendonly", "YES")]), Ok(vec![]));
    }

    #[test]
    fn everything_that_is_no_constant_can_be_set_to_what_it_is() {
        let mut registry = registry();
        for parameter in PARAMETERS {
            let before = value(&registry, parameter.name);
            let set = registry.set(&[(parameter.name, &before)]);
            match parameter.access {
                Access::Fixed(_) => assert!(set.is_err(), "{}", parameter.name),
                _ => assert_eq!(set, Ok(vec![]), "{}", parameter.name),
            }
            assert_eq!(value(&registry, parameter.name), before);
        }
        assert!(registry.set(&[("cores", "77")]).is_err());
    }

    #[test]
    fn what_tunes_redis_only_is_checked_and_read_back() {
        let mut registry = registry();
        assert_eq!(value(&registry, "hash-max-listpack-entries"), "512");
        assert_eq!(registry.set(&[("hash-max-ziplist-entries", "8")]), Ok(vec![]));
        assert_eq!(value(&registry, "hash-max-listpack-entries"), "8");
        assert_eq!(value(&registry, "hash-max-ziplist-entries"), "8");
        let error = registry.set(&[("hash-max-listpack-entries", "x")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "CONFIG SET failed (possibly related to argument 'hash-max-listpack-entries') - argument couldn't be parsed \
             into an integer"
        );
    }

    #[test]
    fn a_rewritten_file_keeps_comments_and_holds_what_is_in_force() {
        let mut registry = registry();
        let before = "# my server\nmaxclients = 20 # few\ntimeout = 0\n";
        registry
            .set(&[("maxclients", "30"), ("durability", "everysec")])
            .unwrap();
        let after = registry.rewritten(before).unwrap();
        assert_eq!(
            after,
            "# my server\nmaxclients = 30\ntimeout = 0\n# Added by CONFIG REWRITE.\ndurability = \"everysec\"\n"
        );
        assert_eq!(registry.rewritten(&after).unwrap(), after);
    }

    #[test]
    fn a_file_that_cannot_be_rewritten_is_left_alone() {
        let mut registry = registry();
        registry.set(&[("bind", "::1")]).unwrap_err();
        assert!(registry.rewritten("bind = [\n  \"127.0.0.1\",\n]\n").is_err());
        assert!(registry.rewritten("not toml").is_err());
    }
}

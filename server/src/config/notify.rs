//! [`NotifyEvents`]: which keyspace events are published, in the syntax of Redis's `notify-keyspace-events`.

use std::fmt;

use slotcore_engine::keyspace::EventClasses;

/// See the module's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifyEvents {
    /// Events of these classes,
    pub classes: EventClasses,
    /// on channels that name the key (`K`),
    pub by_key: bool,
    /// on channels that name the event (`E`).
    pub by_event: bool,
}

/// The letters of the classes, in the order in which Redis prints them; `m` comes last of all.
const CLASSES: [(char, EventClasses); 11] = [
    ('g', EventClasses::GENERIC),
    ('$', EventClasses::STRING),
    ('l', EventClasses::LIST),
    ('s', EventClasses::SET),
    ('h', EventClasses::HASH),
    ('z', EventClasses::ZSET),
    ('x', EventClasses::EXPIRED),
    ('e', EventClasses::EVICTED),
    ('t', EventClasses::STREAM),
    ('d', EventClasses::MODULE),
    ('n', EventClasses::NEW),
];

impl NotifyEvents {
    /// Reads letters in any order.
    ///
    /// # Errors
    /// The text Redis answers with.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut events = Self::default();
        for letter in text.chars() {
            let class = CLASSES
                .iter()
                .find(|(known, _)| *known == letter)
                .map(|(_, class)| *class);
            match letter {
                'A' => events.classes = events.classes.and(EventClasses::ALL),
                'K' => events.by_key = true,
                'E' => events.by_event = true,
                'm' => events.classes = events.classes.and(EventClasses::MISS),
                _ => {
                    let class = class.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
                    events.classes = events.classes.and(class);
                }
            }
        }
        Ok(events)
    }

    /// The classes somebody could hear of.
    pub fn wanted(self) -> EventClasses {
        if self.by_key || self.by_event {
            self.classes
        } else {
            EventClasses::NONE
        }
    }
}

impl fmt::Display for NotifyEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = EventClasses::ALL.0 & !self.classes.0 == 0;
        if all {
            f.write_str("A")?;
        } else {
            for (letter, class) in CLASSES {
                if self.classes.has_any(class) {
                    write!(f, "{letter}")?;
                }
            }
        }
        for (letter, set) in [
            ('K', self.by_key),
            ('E', self.by_event),
            ('m', self.classes.has_any(EventClasses::MISS)),
            // Redis 7.0 forgets to print it behind an A, so what it prints is not what was set.
            ('n', all && self.classes.has_any(EventClasses::NEW)),
        ] {
            if set {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_as_redis_prints_and_read_back_as_the_same() {
        for (set, shown) in [
            ("", ""),
            ("gKE", "gKE"),
            ("$lshzxeKE", "$lshzxeKE"),
            ("KA", "AK"),
            ("EA", "AE"),
            ("EKm", "KEm"),
            ("nmAK", "AKmn"),
            ("Kg$lshzxetd", "AK"),
        ] {
            let events = NotifyEvents::parse(set).unwrap();
            assert_eq!(events.to_string(), shown);
            assert_eq!(NotifyEvents::parse(shown), Ok(events));
        }
        assert!(NotifyEvents::parse("KEy").is_err());
        assert_eq!(NotifyEvents::parse("A").unwrap().wanted(), EventClasses::NONE);
    }
}

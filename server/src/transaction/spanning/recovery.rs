//! What a crash has left of transactions over cores, and who gets what when the node starts. Pure.

use slotcore_engine::cmd::spanning::Spanning;

/// What a core has found in its log.
#[derive(Debug, Default)]
pub struct Found {
    /// The core.
    pub core: u16,
    /// The number of the last transaction over cores that it has; 0 for none.
    pub number: u64,
    /// That transaction, where its log still holds it.
    pub last: Option<Spanning>,
}

/// A copy that a core has lost, or never got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The core.
    pub core: u16,
    /// Its copy, encoded as an operation.
    pub operation: Vec<u8>,
}

/// Which copies are missing where; at most one a core, since a core is held by one transaction at a time.
pub fn missing(found: &[Found]) -> Vec<Missing> {
    let mut missing: Vec<Missing> = Vec::new();
    for whole in found.iter().filter_map(|found| found.last.as_ref()) {
        let behind = found.iter().filter(|found| found.number < whole.number);
        for core in behind.map(|found| found.core) {
            if let Some(operation) = whole.operation_for(core)
                && !missing.iter().any(|other| other.core == core)
            {
                missing.push(Missing { core, operation });
            }
        }
    }
    missing
}

/// The number of the next transaction over cores.
pub fn next_number(found: &[Found]) -> u64 {
    found.iter().map(|found| found.number).max().unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use slotcore_engine::cmd::spanning::Part;

    use super::*;

    fn spanning(number: u64, cores: &[u16]) -> Option<Spanning> {
        let parts = cores.iter().map(|&core| Part {
            core,
            operation: vec![core as u8],
        });
        Some(Spanning {
            number,
            parts: parts.collect(),
        })
    }

    fn found(core: u16, number: u64, last: Option<Spanning>) -> Found {
        Found { core, number, last }
    }

    fn cores(found: &[Found]) -> Vec<u16> {
        missing(found).iter().map(|missing| missing.core).collect()
    }

    #[test]
    fn nothing_is_missing_where_everybody_has_it_or_nobody() {
        assert!(cores(&[found(0, 0, None), found(1, 0, None)]).is_empty());
        let both = [found(0, 7, spanning(7, &[0, 1])), found(1, 7, spanning(7, &[0, 1]))];
        assert!(cores(&both).is_empty());
        assert_eq!(next_number(&both), 8);
    }

    #[test]
    fn who_is_behind_gets_its_copy() {
        let one = [
            found(0, 7, spanning(7, &[0, 1])),
            found(1, 5, spanning(5, &[0, 1])),
            found(2, 0, None),
        ];
        assert_eq!(cores(&one), [1]);
        // The only one that has it brings it to two others, which had different ones before.
        let two = [
            found(0, 3, spanning(3, &[0, 1])),
            found(1, 4, spanning(4, &[1, 2])),
            found(2, 9, spanning(9, &[0, 1, 2])),
        ];
        assert_eq!(cores(&two), [0, 1]);
        assert_eq!(
            missing(&two)[0].operation,
            spanning(9, &[0, 1, 2]).unwrap().operation_for(0).unwrap()
        );
    }

    #[test]
    fn an_older_one_is_not_brought_to_whoever_has_gone_on() {
        // Core 1 went on with core 2 when it had that of core 0.
        let gone_on = [
            found(0, 3, spanning(3, &[0, 1])),
            found(1, 4, spanning(4, &[1, 2])),
            found(2, 4, spanning(4, &[1, 2])),
        ];
        assert!(cores(&gone_on).is_empty());
    }
}

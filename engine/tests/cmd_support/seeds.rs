//! Which seeds a test runs over: its own few, or those that a long run asks for.

/// `count` seeds from 0 on; `SLOTCORE_SEEDS=FIRST+COUNT` names others, as `.ci/nightly` does.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    match asked() {
        Some((first, count)) => first..first + count,
        None => 0..count,
    }
}

/// Whether these are a test's own seeds, so that it may expect of them what it was counted to do.
pub fn are_own() -> bool {
    asked().is_none()
}

fn asked() -> Option<(u64, u64)> {
    let text = std::env::var("SLOTCORE_SEEDS").ok()?;
    let (first, count) = text.split_once('+').expect("SLOTCORE_SEEDS is FIRST+COUNT");
    let number = |text: &str| text.parse().expect("SLOTCORE_SEEDS holds two numbers");
    Some((number(first), number(count)))
}

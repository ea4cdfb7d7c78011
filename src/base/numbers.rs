//! Numbers in written values. Who has some of them already reads others in their place; a field takes part by
//! `#[serde(deserialize_with = "b2b_base::numbers::read::<KIND, _>")]`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Kinds and written numbers, with the numbers that are read in their place.
pub type Numbers = BTreeMap<(u8, u64), u64>;

thread_local! {
    static NUMBERS: RefCell<Option<Numbers>> = const { RefCell::new(None) };
}

/// Reads values with these numbers. Returns them with all that were read; one that they did not have is as written.
pub fn renumbered<T>(numbers: Numbers, read: impl FnOnce() -> T) -> (T, Numbers) {
    let before = NUMBERS.replace(Some(numbers));
    let done = read();
    (done, NUMBERS.replace(before).unwrap_or_default())
}

/// Reads a number of this kind.
///
/// # Errors
/// It is no number.
pub fn read<'de, const KIND: u8, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(from)?;
    Ok(NUMBERS.with_borrow_mut(|all| match all {
        Some(all) => *all.entry((KIND, number)).or_insert(number),
        None => number,
    }))
}

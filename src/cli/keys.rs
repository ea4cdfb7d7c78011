//! Every setting of every role in this build.

use b2b_config::keys::{Keys, SHARED};

/// The tables of all products in this build.
pub const ALL: Keys = Keys(&[
    SHARED,
    #[cfg(feature = "lab")]
    b2b_lab::config::keys::LAB,
    #[cfg(feature = "server")]
    b2b_server_config::flags::SERVER,
    #[cfg(feature = "phone")]
    b2b_phone::flags::PHONE,
    #[cfg(feature = "phone")]
    b2b_phone::flags::SCRIPTED,
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_defaults_are_taken() {
        for key in ALL.all() {
            assert_eq!(ALL.all().filter(|other| other.name == key.name).count(), 1, "{}", key.name);
            assert!(key.default.is_empty() || (key.check)(key.default) == Ok(()), "{}", key.name);
        }
    }
}

//! Values that must not be shown: octets and texts.

use std::fmt;

/// Key material: can be compared and passed on, but is not shown in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Makes a secret from a copy of the octets.
    pub fn new(octets: &[u8]) -> Self {
        Secret(octets.into())
    }

    /// The octets, for cryptographic use.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// A password, its hash, a PIN or a token.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// A secret with this text.
    pub fn new(text: impl Into<String>) -> Self {
        SecretText(text.into())
    }

    /// The text, for the code that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Discloses nothing, not even the length.
impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Shows only the length.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_holds_nothing_of_a_text() {
        let secret = SecretText::new("hunter2");
        assert_eq!((format!("{secret:?}").as_str(), secret.reveal()), ("Secret(…)", "hunter2"));
    }

    #[test]
    fn debug_output_shows_no_octet() {
        let secret = Secret::new(&[0xAB, 171]);
        assert_eq!(format!("{secret:?}"), "Secret(2 octets)");
        assert_eq!(secret.expose(), [171, 171]);
    }
}

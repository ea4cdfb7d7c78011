//! Values that must not be seen: octets, texts.

use std::fmt;

/// Key material: to be compared and handed on, and in no log line.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes a copy.
    pub fn new(octets: &[u8]) -> Self {
        Secret(octets.into())
    }

    /// The octets, for whoever computes with them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// A password, a hash of one, a PIN, a token.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// A secret with this text.
    pub fn new(text: impl Into<String>) -> Self {
        SecretText(text.into())
    }

    /// The text; for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Says nothing of it, not even how long it is.
impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Says that there is something, and how long it is.
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

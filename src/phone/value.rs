//! Values of the phone's flags.

pub use b2b_config::value::*;

use b2b_client::{Codec, SrtpPolicy};
use b2b_config::step::{self, Step};

/// `--display-name`.
pub fn text(text: &str) -> Read<String> {
    Ok(text.to_string())
}

/// `--codecs`: a list in order of preference.
pub fn codecs(text: &str) -> Read<Vec<Codec>> {
    let one = |name: &str| {
        let wanted = Codec::ALL.into_iter().find(|codec| codec.to_string().eq_ignore_ascii_case(name.trim()));
        wanted.ok_or_else(|| format!("there is no codec {name:?}; choose from opus, g722, pcmu, pcma"))
    };
    text.split(',').map(one).collect()
}

/// The steps of a phone.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps(pub Vec<Step>);

/// `--steps`: the steps of a phone, separated by semicolons.
pub fn steps(text: &str) -> Read<Steps> {
    step::steps(text).map(Steps)
}

/// One step.
pub fn step(text: &str) -> Read<Step> {
    step::step(text)
}

/// `--srtp`.
pub fn srtp(text: &str) -> Read<SrtpPolicy> {
    match text {
        "off" => Ok(SrtpPolicy::Off),
        "offered" => Ok(SrtpPolicy::Offered),
        "required" => Ok(SrtpPolicy::Required),
        _ => Err("not a choice; choose off, offered or required".to_string()),
    }
}

/// `--dtmf`: digits in the order of sending.
pub fn digits(text: &str) -> Read<String> {
    let good = |digit: char| matches!(digit.to_ascii_uppercase(), '0'..='9' | '*' | '#' | 'A'..='D');
    match text.chars().find(|digit| !good(*digit)) {
        Some(other) => Err(format!("{other:?} is not a digit; use 0 to 9, *, #, A to D")),
        None if text.is_empty() => Err("no digits; remove the flag, or write them like 123#".to_string()),
        None => Ok(text.to_ascii_uppercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_phone_say_how_to_write_them() {
        assert_eq!(codecs("opus, PCMA"), Ok(vec![Codec::Opus, Codec::Pcma]));
        assert!(codecs("opus,g729").unwrap_err().contains("g729"));
        assert_eq!(digits("12a#"), Ok("12A#".to_owned()));
        assert!(digits("1-2").unwrap_err().contains("'-'"));
        assert!(srtp("maybe").unwrap_err().contains("required"));
        assert!(sip_uri("1001").is_err() && sip_uri("sip:a b").is_err() && sip_uri("sips:a@b").is_ok());
        assert!(seconds("0").is_err() && calls("0").is_err());
    }
}

//! Codecs by name: those that b2b may offer, and those that parties may be offered.

use b2b_base::codec::Codec;
use b2b_config::section::Section;
use b2b_config::table::Named;

use super::ConfigError;

/// What b2b can pass on without decoding it: encoding names of SDP (RFC 3551 §6, RFC 4867, RFC 3952, RFC 5574), in
/// lower case.
const PASSED_ON: [&str; 7] = ["g729", "g726-32", "gsm", "amr", "amr-wb", "ilbc", "speex"];
/// What b2b can decode and encode.
const CODED: usize = Codec::ALL.len();
const BOTH: [(&str, &str); CODED + PASSED_ON.len()] = {
    let mut names = [("", ""); CODED + PASSED_ON.len()];
    let mut at = 0;
    while at < names.len() {
        let name = if at < CODED { Codec::ALL[at].key() } else { PASSED_ON[at - CODED] };
        names[at] = (name, name);
        at += 1;
    }
    names
};

/// The codecs that b2b can decode and encode, and may add to an offer.
pub(super) const OWN: Named<&str> =
    Named { refusal: "no such codec that b2b can encode; choose from", values: BOTH.split_at(CODED).0 };

/// The codecs that a party may be offered.
pub(super) const NAMED: Named<&str> = Named { refusal: "no such codec; choose from", values: &BOTH };

/// The `codecs` of a party or a route, best first.
pub(super) fn codecs(section: &Section<'_>) -> Result<Vec<&'static str>, ConfigError> {
    once_each(section, section.choices("codecs", &NAMED)?)
}

/// The same for the codecs that b2b adds.
pub(super) fn own(section: &Section<'_>) -> Result<Vec<&'static str>, ConfigError> {
    once_each(section, section.choices("codecs", &OWN)?)
}

fn once_each(section: &Section<'_>, codecs: Vec<&'static str>) -> Result<Vec<&'static str>, ConfigError> {
    match codecs.iter().enumerate().find(|(index, codec)| codecs[..*index].contains(codec)) {
        Some((_, codec)) => {
            Err(section.bad("codecs", section.place("codecs"), codec, "listed twice; keep one"))
        }
        None => Ok(codecs),
    }
}

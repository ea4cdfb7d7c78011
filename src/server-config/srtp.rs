//! `srtp` of `[media]`, users, gateways and routes: a word, or a table with details.

use b2b_config::rows;
use b2b_config::section::Section;
use b2b_config::table::Takes::{Choice, Choices, Switch};
use b2b_config::table::{Named, Table};
use b2b_sip::msg::Transport;

use super::ConfigError;

/// Encryption of a party's media (RFC 4568).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srtp {
    /// The offer of b2b.
    pub offer: SrtpOffer,
    /// Whether it accepts plain RTP.
    pub plain: bool,
    /// Whether it accepts SRTP.
    pub encrypted: bool,
    /// Names of the suites that are offered, best first, and accepted; empty: the default ones are offered,
    /// all are accepted.
    pub suites: Vec<&'static str>,
}

/// What is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SrtpOffer {
    /// Plain RTP.
    None,
    /// Keys under `RTP/AVP` (RFC 8643).
    Osrtp,
    /// `RTP/SAVP`.
    Savp,
}

impl From<SrtpOffer> for Srtp {
    /// The offer, with the default acceptance for it.
    fn from(offer: SrtpOffer) -> Self {
        let (plain, encrypted) = (offer != SrtpOffer::Savp, offer != SrtpOffer::None);
        Srtp { offer, plain, encrypted, suites: Vec::new() }
    }
}

impl Default for Srtp {
    fn default() -> Self {
        SrtpOffer::None.into()
    }
}

/// The words, each of which stands for a table.
pub(super) const WORDS: Named<SrtpOffer> = Named {
    refusal: "no such choice; choose",
    values: &[
        ("off", SrtpOffer::None),
        ("offered", SrtpOffer::Osrtp),
        ("required", SrtpOffer::Savp),
        ("none", SrtpOffer::None),
        ("osrtp", SrtpOffer::Osrtp),
        ("savp", SrtpOffer::Savp),
    ],
};

/// The values that require encryption of the media controller.
pub(super) const ASKING: [&str; 4] = ["offered", "required", "osrtp", "savp"];

const OFFERS: Named<SrtpOffer> = Named {
    refusal: "no such choice; choose",
    values: &[("none", SrtpOffer::None), ("osrtp", SrtpOffer::Osrtp), ("savp", SrtpOffer::Savp)],
};

/// What is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accept {
    Rtp,
    Srtp,
}

const ACCEPTS: Named<Accept> =
    Named { refusal: "no such choice; choose from", values: &[("rtp", Accept::Rtp), ("srtp", Accept::Srtp)] };

const SUITES: Named<&str> = Named {
    refusal: "no such suite; choose from",
    values: &[
        ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"),
        ("AES_CM_128_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_32"),
        ("AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_80"),
        ("AES_256_CM_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_32"),
        ("AEAD_AES_128_GCM", "AEAD_AES_128_GCM"),
        ("AEAD_AES_256_GCM", "AEAD_AES_256_GCM"),
    ],
};

pub const SRTP: Table = Table {
    name: "srtp",
    written: "{ … } in `srtp`",
    about: "Encryption of a party's media, with keys in SDP (RFC 4568): in `[media]`, users, gateways and routes. `off` is `{ offer = \"none\" }`, `offered` is `{ offer = \"osrtp\" }`, `required` is `{ offer = \"savp\" }`.",
    keys: rows! {
        offer: Choice(&OFFERS) => "none", needs(&["osrtp", "savp"], "encryption", "write srtp = \"off\""),
            "What b2b offers: plain RTP, plain RTP with optional keys (RFC 8643), or `RTP/SAVP`, which the party accepts or refuses.";
        accept: Choices(&ACCEPTS), needs(&["srtp"], "encryption", "take \"srtp\" out"),
            "What b2b accepts, in offers and in answers to its own. Without it: with `none` `rtp`, with `osrtp` both, with `savp` `srtp`.";
        suites: Choices(&SUITES) => [],
            "The offered suites, best first; no others are accepted. Empty: AEAD_AES_128_GCM, AES_256_CM_HMAC_SHA1_80 and AES_CM_128_HMAC_SHA1_80 are offered, all are accepted. Many old gateways need AES_CM_128_HMAC_SHA1_80 first.";
        without_tls: Switch => false,
            "Whether a gateway may be offered keys over UDP and TCP, where every hop can read them.";
    },
};

/// Reads a table's `srtp`; `None`: the key is absent. `transport` is that of a gateway.
pub(super) fn srtp(
    section: &Section<'_>,
    transport: Option<Option<Transport>>,
) -> Result<Option<Srtp>, ConfigError> {
    let (rules, insists) = match section.choice_or_table("srtp")? {
        None => return Ok(None),
        Some(Ok(word)) => {
            let read = WORDS.read(&word.text);
            let offer = read.map_err(|why| section.bad("srtp", word.at, &word.text, why))?;
            (Srtp::from(offer), false)
        }
        Some(Err(table)) => table_of(&table)?,
    };
    let readable = transport.is_some_and(|transport| transport != Some(Transport::Tls));
    if readable && rules.offer != SrtpOffer::None && !insists {
        let reason = "every hop can read the keys in the messages; write transport = \"tls\", \
                      or srtp = { offer = \"…\", without_tls = true }";
        let offer = OFFERS.name(&rules.offer);
        return Err(section.bad("srtp", section.place("srtp"), offer, reason));
    }
    Ok(Some(rules))
}

fn table_of(table: &Section<'_>) -> Result<(Srtp, bool), ConfigError> {
    let offer = table.choice("offer", &OFFERS)?;
    let accept = table.choices("accept", &ACCEPTS)?;
    let mut rules = Srtp { suites: table.choices("suites", &SUITES)?, ..offer.into() };
    if table.has("accept") {
        rules.plain = accept.contains(&Accept::Rtp);
        rules.encrypted = accept.contains(&Accept::Srtp);
    }
    let without = |what: &str, name: &str| {
        let reason = format!("{what} is offered, but its answer would be refused; add \"{name}\"");
        Err(table.bad("accept", table.place("accept"), "", reason))
    };
    if offer != SrtpOffer::None && !rules.encrypted {
        return without("SRTP", "srtp");
    }
    if offer == SrtpOffer::None && !rules.plain {
        return without("plain RTP", "rtp");
    }
    let insists = table.switch("without_tls")?;
    table.finish();
    Ok((rules, insists))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_made;

    fn carrier(lines: &str) -> Result<Option<Srtp>, String> {
        let text = format!("[[gateway]]\nname = \"carrier\"\nhosts = [\"sip.example.com\"]\n{lines}\n");
        let read = parse_made(&text).map_err(|errors| errors.to_string());
        read.map(|config| config.gateway("carrier").and_then(|gateway| gateway.srtp.clone()))
    }

    #[test]
    fn a_word_is_short_for_a_table() {
        for (word, table, policy) in [
            ("off", "{ offer = \"none\" }", SrtpOffer::None),
            ("offered", "{ offer = \"osrtp\" }", SrtpOffer::Osrtp),
            ("required", "{ offer = \"savp\" }", SrtpOffer::Savp),
        ] {
            for value in [format!("{word:?}"), table.to_owned()] {
                let read = carrier(&format!("transport = \"tls\"\nsrtp = {value}"));
                assert_eq!(read, Ok(Some(policy.into())), "{value}");
            }
        }
        let dotted =
            "transport = \"tls\"\nsrtp.accept = [\"rtp\", \"srtp\"]\nsrtp.suites = \"AEAD_AES_128_GCM\"";
        let rules = Srtp { encrypted: true, suites: vec!["AEAD_AES_128_GCM"], ..Srtp::default() };
        assert_eq!(carrier(dotted), Ok(Some(rules)));
        assert_eq!(carrier(""), Ok(None));
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_fix() {
        let refused = |lines: &str| carrier(lines).unwrap_err();
        assert!(refused("srtp = \"maybe\"").contains("choose off, offered, required"));
        assert!(refused("srtp = 1").contains("a text, or a { … } table"));
        assert!(refused("srtp = { ofer = \"savp\" }").contains("did you mean `offer`?"));
        assert!(refused("srtp = { suites = [\"ROT13\"] }").contains("AES_CM_128_HMAC_SHA1_80"));
        let savp = "transport = \"tls\"\nsrtp = { offer = \"savp\", accept = [\"rtp\"] }";
        assert!(refused(savp).contains("add \"srtp\""));
        assert!(refused("srtp = { accept = \"srtp\" }").contains("add \"rtp\""));
        // keys in clear text are only for users who insist
        for lines in ["srtp = \"offered\"", "transport = \"udp\"\nsrtp = \"savp\""] {
            assert!(refused(lines).contains("transport = \"tls\""), "{}", refused(lines));
        }
        assert!(carrier("srtp = { offer = \"savp\", without_tls = true }").is_ok());
    }
}

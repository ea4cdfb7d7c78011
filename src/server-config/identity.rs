//! The keys of `[[gateway]]` about caller identity and the called number.

use b2b_config::section::Section;
use b2b_config::table::Named;
use b2b_config::value::Read;
use b2b_sip::msg::number::PARAMS;

use super::ConfigError;
use super::texts::header_name;

/// The exchange of identities with a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GatewayIdentity {
    /// Whether it is in the trust domain (RFC 3325).
    pub trust: bool,
    /// The identity fields it is sent; empty: only those of a redirecting party.
    pub sends: Vec<IdentityField>,
    /// The number format for it.
    pub format: NumberFormat,
    /// The country code of national numbers.
    pub country: Option<String>,
    /// Where its calls have the called number.
    pub called_from: CalledFrom,
    /// The parameters of numbers that it is sent.
    pub params: Vec<String>,
}

/// The format of international numbers, and of national ones where the country is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NumberFormat {
    /// Unchanged.
    #[default]
    AsIs,
    /// With a plus.
    E164,
    /// With two zeros.
    DoubleZero,
    /// With nothing before the country code.
    NoPlus,
}

/// Where a gateway's call has the called number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CalledFrom {
    /// The Request-URI.
    #[default]
    RequestUri,
    /// To.
    To,
    /// The header field of this name.
    Header(String),
}

/// A header field, or several, that identify the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentityField {
    /// P-Asserted-Identity.
    Asserted,
    /// P-Preferred-Identity.
    Preferred,
    /// Remote-Party-ID.
    RemoteParty,
    /// Diversion.
    Diversion,
    /// History-Info.
    History,
    /// Identity, Date, `verstat`, P-Attestation-Indicator.
    Signed,
}

/// The names in `identity`.
pub(super) const IDENTITY: Named<IdentityField> = Named {
    refusal: "no such field; choose from",
    values: &[
        ("pai", IdentityField::Asserted),
        ("ppi", IdentityField::Preferred),
        ("rpid", IdentityField::RemoteParty),
        ("diversion", IdentityField::Diversion),
        ("history-info", IdentityField::History),
        ("stir", IdentityField::Signed),
    ],
};

/// The names in `number_format`.
pub(super) const FORMAT: Named<NumberFormat> = Named {
    refusal: "no such form; choose",
    values: &[
        ("as_is", NumberFormat::AsIs),
        ("e164", NumberFormat::E164),
        ("00", NumberFormat::DoubleZero),
        ("no_plus", NumberFormat::NoPlus),
    ],
};

/// Reads the keys of one gateway.
pub(super) fn gateway(section: &Section<'_>) -> Result<GatewayIdentity, ConfigError> {
    Ok(GatewayIdentity {
        trust: section.switch("trust_identity")?,
        sends: section.choices("identity", &IDENTITY)?,
        format: section.choice("number_format", &FORMAT)?,
        country: section.parsed("country", country)?,
        called_from: section.parsed_or_default("called_from", called_from)?,
        params: section.parsed_list("number_params", number_param)?,
    })
}

/// A country code (ITU-T E.164.1): one to three digits, not beginning with 0.
pub(super) fn country(text: &str) -> Read<String> {
    let good = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    match good && !text.starts_with('0') {
        true => Ok(text.to_string()),
        false => Err("not a country code; write its digits only, like \"49\"".to_string()),
    }
}

/// A parameter of numbers.
pub(super) fn number_param(text: &str) -> Read<String> {
    match PARAMS.contains(&text) {
        true => Ok(text.to_string()),
        false => Err(format!("no such parameter; choose from {}", PARAMS.join(", "))),
    }
}

/// `request-uri`, `to`, `p-called-party-id`, `header:X-DID`.
pub(super) fn called_from(text: &str) -> Read<CalledFrom> {
    match text {
        "request-uri" => Ok(CalledFrom::RequestUri),
        "to" => Ok(CalledFrom::To),
        "p-called-party-id" => Ok(CalledFrom::Header("P-Called-Party-ID".to_string())),
        text => {
            match text.strip_prefix("header:") {
                Some(name) => header_name(name).map(CalledFrom::Header),
                None => Err("choose request-uri, to, p-called-party-id, or a header field like header:X-DID"
                    .to_string()),
            }
        }
    }
}

//! Signed or verified information about a caller's number: Identity and Date (RFC 8224), `verstat` (3GPP TS
//! 24.229 §7.2A.20) and P-Attestation-Indicator (ATIS-1000074). Between gateways it is passed on unchanged,
//! provided that the numbers it concerns are unchanged.

use b2b_sip::endpoint::HeaderFields;
use b2b_sip::msg::{Name, Request, Uri, one_line};

use super::number::canonical;

/// The signature, which covers the numbers of From and To.
const SIGNED: [&str; 2] = ["Identity", "Date"];
/// A provider's statement about its verification: only accepted from a trusted one.
const ATTESTED: [&str; 2] = ["P-Attestation-Indicator", "P-Origination-ID"];

/// The fields of an INVITE about its numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Signed {
    /// The digits of From and To; `None` for a name.
    pub numbers: [Option<String>; 2],
    /// The fields, unchanged but for folds.
    #[serde(with = "crate::controller::json::fields")]
    pub fields: HeaderFields,
}

impl Signed {
    /// Reads them from an INVITE; `None` if it has no such field. `trusted`: whether the sender is trusted.
    pub fn read(request: &Request, trusted: bool) -> Option<Box<Signed>> {
        request.header(Name::Identity).or_else(|| request.header(Name::parse(ATTESTED[0].as_bytes())))?;
        let names = SIGNED.into_iter().chain(ATTESTED.into_iter().filter(|_| trusted));
        let lines = names.flat_map(|name| {
            let values = request.field_values(Name::parse(name.as_bytes()));
            values.map(move |value| (name.into(), one_line(value)))
        });
        let digits = |uri: Uri<'_>| canonical(&uri.number(&())?);
        let from = request.from().ok().and_then(|from| digits(from.uri));
        let to = request.to().ok().and_then(|to| digits(to.uri));
        let fields: HeaderFields = lines.collect();
        (!fields.is_empty()).then(|| Box::new(Signed { numbers: [from, to], fields }))
    }

    /// Whether the numbers of this INVITE are the ones that the fields concern.
    pub fn is_of(&self, from: &str, to: &str) -> bool {
        let same = |digits: &Option<String>, number: &str| digits.is_some() && *digits == canonical(number);
        let [signed_from, signed_to] = &self.numbers;
        same(signed_from, from) && same(signed_to, to)
    }
}

/// `verstat` of a URI: a parameter of the number (in a sip URI, of the user part), or of the URI.
pub fn verstat_of(uri: &Uri<'_>) -> Option<String> {
    let value = uri.number_params().find(|(name, _)| name == "verstat")?.1?;
    // The value is written into URIs again, so it is restricted.
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (!value.is_empty() && value.chars().all(good)).then_some(value)
}

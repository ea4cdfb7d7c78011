//! The header fields that are specific to a dialog.

use super::Name;

/// Fields that name or route a dialog, negotiate for one hop, or describe the body.
const STRUCTURAL: [Name<'static>; 41] = [
    Name::Accept,
    Name::AcceptEncoding,
    Name::Allow,
    Name::AuthenticationInfo,
    Name::Authorization,
    Name::CSeq,
    Name::CallId,
    Name::Contact,
    Name::ContentDisposition,
    Name::ContentEncoding,
    Name::ContentLength,
    Name::ContentType,
    Name::Event,
    Name::Expires,
    Name::From,
    Name::InReplyTo,
    Name::Join,
    Name::MaxForwards,
    Name::MimeVersion,
    Name::MinSe,
    Name::Path,
    Name::ProxyAuthenticate,
    Name::ProxyAuthorization,
    Name::ProxyRequire,
    Name::RAck,
    Name::RSeq,
    Name::Reason,
    Name::RecordRoute,
    Name::ReferSub,
    Name::ReferTo,
    Name::Replaces,
    Name::Require,
    Name::Route,
    Name::ServiceRoute,
    Name::SessionExpires,
    Name::Supported,
    Name::TargetDialog,
    Name::To,
    Name::Unsupported,
    Name::Via,
    Name::WwwAuthenticate,
];

/// Further ones, whose names have no id: b2b's own loop marks, and its product name.
const ALSO: [&str; 3] = ["B2b-Hop", "Server", "User-Agent"];

impl Name<'_> {
    /// Whether a B2BUA writes this field itself on each leg: it identifies or routes a
    /// dialog, is negotiated per hop, or describes the body. Copied to the other leg, it
    /// would break the call or disclose the topology.
    pub fn is_structural(self) -> bool {
        let also = || ALSO.iter().any(|also| Name::parse(also.as_bytes()) == self);
        STRUCTURAL.contains(&self) || also()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dialogs_hops_and_bodies_are_structural_in_every_form() {
        for name in
            ["via", "V", "i", "Call-ID", "m", "t", "f", "record-route", "Path", "x", "r", "b2b-hop", "c"]
        {
            assert!(Name::parse(name.as_bytes()).is_structural(), "{name}");
        }
        for name in ["Subject", "s", "X-Account", "P-Asserted-Identity", "Alert-Info", "Diversion", "Privacy"]
        {
            assert!(!Name::parse(name.as_bytes()).is_structural(), "{name}");
        }
    }
}

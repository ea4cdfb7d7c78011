//! `sip:` and `sips:`: a URI as it is, if a policy allows it. Without a policy a b2bua would be an open
//! relay.

use std::net::IpAddr;

use super::ready;
use crate::lookup::{
    LookupError, LookupFuture, LookupKind, LookupRequest, LookupResult, ResolvedContact, Resolver,
};
use b2b_sip::msg::{Host, Scheme, Uri};

/// Which URIs may be dialled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DirectPolicy {
    /// No URI.
    #[default]
    Nobody,
    /// URIs with these hosts.
    Hosts(Vec<HostPattern>),
    /// Any URI: for laboratories, and where every caller is trusted.
    Anybody,
}

/// A pattern of hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This name, case-insensitive.
    Name(String),
    /// Any subdomain of this name: `a.b.example.com` for `example.com`, but not `example.com` itself.
    Below(String),
    /// Addresses with this prefix.
    Net { address: IpAddr, bits: u8 },
}

/// A malformed pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a host pattern; write a name, *.name, an address or address/bits")]
pub struct BadPattern(pub String);

impl HostPattern {
    /// Parses `example.com`, `*.example.com`, `192.0.2.1`, `2001:db8::/32`.
    ///
    /// # Errors
    /// The text has none of these forms.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let bad = || BadPattern(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        if let Ok(address) = address.parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| bad()))?;
            return if bits <= most { Ok(HostPattern::Net { address, bits }) } else { Err(bad()) };
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let is_name = |name: &str| {
            name.split('.').all(|label| {
                !label.is_empty()
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            })
        };
        if bits.is_some() || !is_name(name) {
            return Err(bad());
        }
        let name = name.to_ascii_lowercase();
        Ok(if below { HostPattern::Below(name) } else { HostPattern::Name(name) })
    }

    /// Whether the pattern matches a host.
    pub fn matches(&self, host: &Host<'_>) -> bool {
        match (self, host.ip()) {
            (HostPattern::Net { address, bits }, Some(ip)) => same_net(*address, ip.to_canonical(), *bits),
            (HostPattern::Name(name), None) => host_name(host) == *name,
            (HostPattern::Below(name), None) => host_name(host)
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            _ => false,
        }
    }
}

/// The name in lower case, without the trailing dot of a fully qualified name.
fn host_name(host: &Host<'_>) -> String {
    let Host::Name(name) = host else { return String::new() };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn same_net(net: IpAddr, ip: IpAddr, bits: u8) -> bool {
    let differ = |a: u128, b: u128, width: u8| {
        let ignored = u32::from(width.saturating_sub(bits));
        (a ^ b).checked_shr(ignored).unwrap_or(0) != 0
    };
    match (net, ip) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => !differ(net.to_bits().into(), ip.to_bits().into(), 32),
        (IpAddr::V6(net), IpAddr::V6(ip)) => !differ(net.to_bits(), ip.to_bits(), 128),
        _ => false,
    }
}

/// Resolves `sip:` and `sips:` URIs.
#[derive(Debug, Clone, Default)]
pub struct DirectResolver {
    policy: DirectPolicy,
}

impl DirectResolver {
    /// A resolver of URIs that the policy allows.
    pub fn new(policy: DirectPolicy) -> Self {
        DirectResolver { policy }
    }

    fn resolve(&self, target: &str) -> Result<Option<LookupResult>, LookupError> {
        let scheme = target.split(':').next().unwrap_or_default();
        if scheme.len() == target.len()
            || !["sip", "sips"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
        {
            return Ok(None);
        }
        let bad = |why: String| LookupError::BadTarget { target: target.to_owned(), why: why.into() };
        let not_allowed =
            |why: &'static str| LookupError::NotAllowed { target: target.to_owned(), why: why.into() };
        let uri = Uri::parse(target.as_bytes()).map_err(|error| bad(error.to_string()))?;
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            return Ok(None);
        }
        let host = uri.host.as_ref().ok_or_else(|| bad("the host is missing".to_owned()))?;
        // Header fields in the URI would become header fields of our INVITE (RFC 3261 §19.1.5).
        if target.contains('?') || uri.params.has("method") {
            return Err(not_allowed("a URI to be dialled has no header fields and no method"));
        }
        let allowed = match &self.policy {
            DirectPolicy::Nobody => false,
            DirectPolicy::Anybody => true,
            DirectPolicy::Hosts(patterns) => patterns.iter().any(|pattern| pattern.matches(host)),
        };
        if !allowed {
            return Err(not_allowed("its host is not among those that may be dialled; add it to the policy"));
        }
        let contact = ResolvedContact::new(target, 0);
        Ok(Some(LookupResult::new(LookupKind::Direct, target, vec![contact])))
    }
}

impl Resolver for DirectResolver {
    fn name(&self) -> &str {
        "direct"
    }

    fn lookup<'a>(&'a self, request: &'a LookupRequest) -> LookupFuture<'a> {
        ready(self.resolve(&request.target))
    }
}

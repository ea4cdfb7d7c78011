//! What a called party is told of the caller.
//!
//! A private caller (RFC 3323) is anonymous in From. A party in the trust domain (RFC 3325 §7) additionally
//! gets the number, with `Privacy: id`; for any other party no field contains it.

use std::fmt;
use std::sync::Arc;

use b2b_sip::endpoint::HeaderFields;
use b2b_sip::msg::number::NumberParam;
use b2b_sip::msg::{Name, Uri};

use super::diversion::{self, Diverted, MOST};
use super::number::{canonical, escape_user, is_same};
use super::{ANONYMOUS_USER, CallerIdentity, NumberParams};
use crate::headers::{HeaderChange, HeaderRule};

/// From of a private caller (RFC 3323 §4.1.1.3).
pub const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// Fields that may identify a caller. They are removed for a private caller.
const NAMING: [&str; 12] = [
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Remote-Party-ID",
    "Diversion",
    "History-Info",
    "Referred-By",
    "Identity",
    "Reply-To",
    "Subject",
    "Call-Info",
    "Organization",
    "Session-ID",
];

/// The caller information that a gateway is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sends {
    /// P-Asserted-Identity (RFC 3325 §9.1).
    pub asserted: bool,
    /// P-Preferred-Identity (RFC 3325 §9.2).
    pub preferred: bool,
    /// Remote-Party-ID.
    pub remote_party: bool,
    /// Diversion (RFC 5806).
    pub diversion: bool,
    /// History-Info (RFC 7044).
    pub history: bool,
    /// The signed and verified information; see `signed`.
    pub signed: bool,
}

/// A number conversion for a gateway.
pub type Rewrite = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// How a gateway is told the caller's identity.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Outward {
    /// Whether it is in the trust domain (RFC 3325 §2.3, Spec(T)).
    pub trusted: bool,
    /// The fields that are sent; `None`: only who redirected the call, with our own address.
    pub sends: Option<Sends>,
    /// The parameters of numbers that it is sent, if a trusted gateway has sent them.
    #[serde(default)]
    pub params: Vec<String>,
    /// Converts a number to the gateway's format. It is not serialized: a restored value leaves numbers
    /// unchanged.
    #[serde(skip, default = "unchanged")]
    pub number: Rewrite,
}

fn unchanged() -> Rewrite {
    Arc::new(str::to_owned)
}

impl PartialEq for Outward {
    fn eq(&self, other: &Self) -> bool {
        (self.trusted, self.sends, &self.params) == (other.trusted, other.sends, &other.params)
            && Arc::ptr_eq(&self.number, &other.number)
    }
}

impl Eq for Outward {}

impl fmt::Debug for Outward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outward { trusted, sends, params, .. } = self;
        let mut outward = f.debug_struct("Outward");
        outward.field("trusted", trusted).field("sends", sends).field("params", params);
        outward.finish_non_exhaustive()
    }
}

/// What a host of a gateway is told of one caller.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Told {
    /// The number in the gateway's format; may be empty.
    pub number: String,
    /// The host part of URIs with the number.
    pub domain: String,
    /// The user part of From, if the gateway requires an account there.
    pub account: Option<String>,
    /// How the identity is sent.
    pub outward: Arc<Outward>,
}

/// An INVITE to be written for a caller.
#[derive(Debug, Clone, Copy)]
pub struct Writing<'a> {
    /// The caller; `None` if b2b originates the call.
    pub who: Option<&'a CallerIdentity>,
    /// What the gateway is told; `None` if the callee is a phone or another address.
    pub told: Option<&'a Told>,
    /// The Request-URI.
    pub target: &'a str,
    /// The party that redirected the call here.
    pub diverted: Option<&'a Diverted>,
    /// Our own address.
    pub domain: &'a str,
}

/// The identity fields of an INVITE.
#[derive(Debug, Default)]
pub struct Written {
    /// The fields.
    pub fields: HeaderFields,
    /// Why the signed information was dropped.
    pub dropped: Option<&'static str>,
}

impl Writing<'_> {
    /// The anonymous From of a private caller; `None` for other callers. An account in From is the
    /// operator's, and stays.
    pub fn anonymous_from(&self) -> Option<String> {
        self.is_private().then(|| {
            match self.told.and_then(|told| Some((told.account.as_ref()?, &told.domain))) {
                Some((account, domain)) => format!("\"Anonymous\" <sip:{}@{domain}>", escape_user(account)),
                None => ANONYMOUS.to_owned(),
            }
        })
    }

    /// Whether the caller is private.
    pub fn is_private(&self) -> bool {
        self.who.is_some_and(|who| who.private)
    }

    /// Whether the caller's identity is hidden from this party.
    pub fn is_hidden(&self) -> bool {
        self.is_private() && !self.told.is_some_and(|told| told.outward.trusted)
    }

    /// Whether a field of the caller's INVITE may be passed on.
    pub fn passes(&self, name: Name<'_>) -> bool {
        !self.is_hidden() || NAMING.iter().all(|naming| Name::parse(naming.as_bytes()) != name)
    }

    /// Whether a header rule applies: no rule may pass on a field that identifies a private caller.
    pub fn allows(&self, rule: &HeaderRule) -> bool {
        rule.change != HeaderChange::Pass || self.passes(Name::parse(rule.name.as_bytes()))
    }

    /// The parameters that a number is sent with.
    fn params(&self, of: impl FnOnce(&NumberParams) -> &[NumberParam]) -> String {
        let params = self.who.and_then(|who| who.params.as_deref()).filter(|_| !self.is_hidden());
        let Some((told, params)) = self.told.zip(params) else { return String::new() };
        let sent = of(params).iter().filter(|(name, _)| told.outward.params.contains(name));
        let written = sent.map(|(name, value)| match value {
            Some(value) => format!(";{name}={}", escape_user(value)),
            None => format!(";{name}"),
        });
        written.collect()
    }

    /// The parameters of the caller's number, if the gateway is told that number.
    fn caller_params(&self) -> String {
        let is_caller = self.who.zip(self.told).is_some_and(|(who, told)| is_same(&who.number, &told.number));
        self.params(|params| if is_caller { &params.caller } else { &[] })
    }

    /// From, as the gateway is told, with the parameters of the caller's number if it has the number.
    pub fn from_uri(&self, uri: &str) -> String {
        let has_number = self.told.is_some_and(|told| told.account.is_none());
        with_params(uri, if has_number { self.caller_params() } else { String::new() })
    }

    /// The Request-URI, with the parameters of the called number if this is still the number called.
    pub fn request_uri(&self) -> String {
        let is_called = |params: &NumberParams| {
            let number = Uri::parse(self.target.as_bytes()).ok().and_then(|uri| uri.number(&()));
            self.diverted.is_none() && number.is_some_and(|number| is_same(&number, &params.number))
        };
        with_params(self.target, self.params(|params| if is_called(params) { &params.called } else { &[] }))
    }

    /// The fields with the caller's identity. `from`: the user part of From; `name`: the display name as it
    /// precedes a URI, or empty.
    pub fn fields(&self, from: &str, name: &str) -> Written {
        let mut written = Written::default();
        let fields = &mut written.fields;
        if self.is_private() {
            fields.push(("Privacy".into(), "id".into()));
        }
        if self.is_hidden() {
            return written;
        }
        let Some((told, sends)) = self.told.and_then(|told| Some((told, told.outward.sends?))) else {
            for it in self.diverted.into_iter().flat_map(Diverted::all) {
                let uri = format!("sip:{}@{}", escape_user(&it.number), self.domain);
                fields.push(("Diversion".into(), diversion::written(&uri, it.reason).into()));
            }
            return written;
        };
        if !told.number.is_empty() && told.number != ANONYMOUS_USER {
            self.number_fields(told, sends, name, fields);
        }
        self.diversion_fields(told, sends, fields);
        if sends.signed
            && let Some(signed) = self.who.and_then(|who| who.signed.as_deref())
        {
            let to =
                Uri::parse(self.target.as_bytes()).ok().and_then(|uri| uri.number(&())).unwrap_or_default();
            match signed.is_of(from, &to) {
                true => fields.extend(signed.fields.iter().cloned()),
                false => written.dropped = Some("the number of From or To is another one"),
            }
        }
        written
    }

    /// The fields with the caller's number.
    fn number_fields(&self, told: &Told, sends: Sends, name: &str, fields: &mut HeaderFields) {
        let user = escape_user(&told.number);
        let verstat = self.who.filter(|_| sends.signed).and_then(|who| {
            let same = canonical(&who.number).is_some() && canonical(&who.number) == canonical(&told.number);
            who.verstat.as_deref().filter(|_| same)
        });
        let verstat = verstat.map(|it| format!(";verstat={it}")).unwrap_or_default();
        let params = self.caller_params();
        let domain = &told.domain;
        // A number that is not authenticated is not asserted (RFC 3325 §5).
        if sends.asserted && self.who.is_none_or(|who| who.vouched) {
            let value = format!("{name}<sip:{user}{verstat}{params}@{domain}>");
            fields.push(("P-Asserted-Identity".into(), value.into()));
            // A tel URI as well, if the caller's identity had one (RFC 3325 §9.1: one sip URI, one tel URI).
            let tel = |who: &CallerIdentity| who.asserted.iter().any(|uri| uri.starts_with("tel:"));
            if told.number.starts_with('+') && self.who.is_some_and(tel) {
                fields.push(("P-Asserted-Identity".into(), format!("<tel:{user}{verstat}{params}>").into()));
            }
        }
        if sends.preferred {
            fields.push(("P-Preferred-Identity".into(), format!("{name}<sip:{user}@{domain}>").into()));
        }
        if sends.remote_party {
            let yes = |it: bool| if it { "yes" } else { "no" };
            let screen = yes(self.who.is_none_or(|who| who.vouched));
            let privacy = if self.is_private() { "full" } else { "off" };
            let value =
                format!("{name}<sip:{user}@{domain}>;party=calling;screen={screen};privacy={privacy}");
            fields.push(("Remote-Party-ID".into(), value.into()));
        }
    }

    /// The fields with the parties that forwarded the call, here and earlier.
    fn diversion_fields(&self, told: &Told, sends: Sends, fields: &mut HeaderFields) {
        let here = self.diverted.into_iter().flat_map(Diverted::all);
        let here =
            here.map(|it| (it.number.as_str(), if it.reason.is_empty() { "unknown" } else { it.reason }));
        let before = self.who.into_iter().flat_map(|who| &who.diversions);
        let before = before.map(|it| (it.number.as_str(), it.reason));
        let forwarded: Vec<(String, &str)> = here
            .chain(before)
            .take(MOST)
            .map(|(number, reason)| {
                let number = escape_user(&(told.outward.number)(number));
                (format!("sip:{number}@{}", told.domain), reason)
            })
            .collect();
        if sends.diversion {
            let values = forwarded.iter().map(|(uri, reason)| diversion::written(uri, reason));
            fields.extend(values.map(|value| ("Diversion".into(), value.into())));
        }
        if sends.history && !forwarded.is_empty() {
            let target = self.target.split([';', '?']).next().unwrap_or_default();
            let values = diversion::as_history(&forwarded, target);
            fields.extend(values.into_iter().map(|value| ("History-Info".into(), value.into())));
        }
    }
}

/// A URI with parameters of its number.
fn with_params(uri: &str, params: String) -> String {
    match uri.split_once('@') {
        Some((user, host)) => format!("{user}{params}@{host}"),
        None => uri.to_owned(),
    }
}

/// A display name as it precedes a URI: quoted, or empty.
pub fn quoted(name: &str) -> String {
    let good = |c: &char| !c.is_control() && !"\"\\".contains(*c);
    let name: String = name.chars().filter(good).collect();
    if name.is_empty() { name } else { format!("\"{name}\" ") }
}

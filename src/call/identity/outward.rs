//! What a party that is called is told of the caller.
//!
//! A caller who stays unknown (RFC 3323) is anonymous in From. Who is in the trust domain (RFC 3325 §7)
//! gets the number beside that, and keeps it to itself for `Privacy: id`; for all others no field has it.

use std::fmt;
use std::sync::Arc;

use b2b_sip::endpoint::HeaderFields;
use b2b_sip::msg::{Name, Uri};

use super::diversion::{self, MOST};
use super::number::canonical;
use super::{ANONYMOUS_USER, CallerIdentity, number_of};
use crate::headers::{HeaderChange, HeaderRule};
use crate::lookup::Diverted;
use crate::resolver::escape_user;
use crate::resolver::gateway::Rewrite;

/// From of a caller who stays unknown (RFC 3323 §4.1.1.3).
pub const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// Fields that may name a caller, or a party like them. A caller who stays unknown has none.
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

/// What a gateway is sent of a caller.
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
    /// What was signed and verified; see `signed`.
    pub signed: bool,
}

/// How a gateway is told who calls.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Outward {
    /// It is in the trust domain (RFC 3325 §2.3, Spec(T)).
    pub trusted: bool,
    /// None: nothing but who has redirected the call, at our own address.
    pub sends: Option<Sends>,
    /// From a number to the one that the gateway is told. What is written down of it has no rule: numbers
    /// are as they are.
    #[serde(skip, default = "unchanged")]
    pub number: Rewrite,
}

fn unchanged() -> Rewrite {
    Arc::new(str::to_owned)
}

impl PartialEq for Outward {
    fn eq(&self, other: &Self) -> bool {
        (self.trusted, self.sends) == (other.trusted, other.sends) && Arc::ptr_eq(&self.number, &other.number)
    }
}

impl Eq for Outward {}

impl fmt::Debug for Outward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outward { trusted, sends, .. } = self;
        f.debug_struct("Outward").field("trusted", trusted).field("sends", sends).finish_non_exhaustive()
    }
}

/// What a host of a gateway is told of one caller.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Told {
    /// The number, as the gateway wants it; may be empty.
    pub number: String,
    /// The host part of URIs with it.
    pub domain: String,
    /// User part of From, where the gateway wants an account there.
    pub account: Option<String>,
    /// How it is told.
    pub outward: Arc<Outward>,
}

/// An INVITE that is to be written for a caller.
#[derive(Debug, Clone, Copy)]
pub struct Writing<'a> {
    /// Who calls; none: we do.
    pub who: Option<&'a CallerIdentity>,
    /// What the gateway is told; none: a phone or another address is called.
    pub told: Option<&'a Told>,
    /// The Request-URI.
    pub target: &'a str,
    /// Who has redirected the call here.
    pub diverted: Option<&'a Diverted>,
    /// Our own address.
    pub domain: &'a str,
}

/// What the fields of an INVITE are.
#[derive(Debug, Default)]
pub struct Written {
    /// The fields.
    pub fields: HeaderFields,
    /// Why what was signed does not go on.
    pub dropped: Option<&'static str>,
}

impl Writing<'_> {
    /// From of a caller who stays unknown; none: of one who does not. An account in From is the
    /// operator's, and stays.
    pub fn anonymous_from(&self) -> Option<String> {
        self.is_private().then(|| {
            match self.told.and_then(|told| Some((told.account.as_ref()?, &told.domain))) {
                Some((account, domain)) => format!("\"Anonymous\" <sip:{}@{domain}>", escape_user(account)),
                None => ANONYMOUS.to_owned(),
            }
        })
    }

    /// Whether the caller stays unknown.
    pub fn is_private(&self) -> bool {
        self.who.is_some_and(|who| who.private)
    }

    /// Whether this party may not be told who calls.
    pub fn is_hidden(&self) -> bool {
        self.is_private() && !self.told.is_some_and(|told| told.outward.trusted)
    }

    /// Whether a field may go across that the caller has brought.
    pub fn passes(&self, name: Name<'_>) -> bool {
        !self.is_hidden() || NAMING.iter().all(|naming| Name::parse(naming.as_bytes()) != name)
    }

    /// Whether a rule on header fields applies: none brings across what names a caller who stays
    /// unknown.
    pub fn allows(&self, rule: &HeaderRule) -> bool {
        rule.change != HeaderChange::Pass || self.passes(Name::parse(rule.name.as_bytes()))
    }

    /// The fields that say who calls. `from`: the user part of From; `name`: the caller's name as it
    /// stands before a URI, or nothing.
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
                Uri::parse(self.target.as_bytes()).ok().and_then(|uri| number_of(&uri)).unwrap_or_default();
            match signed.is_of(from, &to) {
                true => fields.extend(signed.fields.iter().cloned()),
                false => written.dropped = Some("the number of From or To is another one"),
            }
        }
        written
    }

    /// The caller's number.
    fn number_fields(&self, told: &Told, sends: Sends, name: &str, fields: &mut HeaderFields) {
        let user = escape_user(&told.number);
        let verstat = self.who.filter(|_| sends.signed).and_then(|who| {
            let same = canonical(&who.number).is_some() && canonical(&who.number) == canonical(&told.number);
            who.verstat.as_deref().filter(|_| same)
        });
        let verstat = verstat.map(|it| format!(";verstat={it}")).unwrap_or_default();
        let domain = &told.domain;
        // Nothing is asserted that nobody stands for (RFC 3325 §5).
        if sends.asserted && self.who.is_none_or(|who| who.vouched) {
            let value = format!("{name}<sip:{user}{verstat}@{domain}>");
            fields.push(("P-Asserted-Identity".into(), value.into()));
            // Where it came as a number, too (RFC 3325 §9.1: one sip URI, one tel URI).
            let tel = |who: &CallerIdentity| who.asserted.iter().any(|uri| uri.starts_with("tel:"));
            if told.number.starts_with('+') && self.who.is_some_and(tel) {
                fields.push(("P-Asserted-Identity".into(), format!("<tel:{user}{verstat}>").into()));
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

    /// Who has forwarded the call, here and before.
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

/// A display name as it stands before a URI: quoted, or nothing.
pub fn quoted(name: &str) -> String {
    let good = |c: &char| !c.is_control() && !"\"\\".contains(*c);
    let name: String = name.chars().filter(good).collect();
    if name.is_empty() { name } else { format!("\"{name}\" ") }
}

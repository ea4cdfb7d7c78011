//! The caller's identity as one value: read from an INVITE according to the trust in its sender, and written
//! into the resulting INVITEs according to what each party may see. Pure.
//!
//! The caller information in a message is a claim. Senders are distinguished by trust ([`Believed`]):
//!
//! | sender | number | authenticated by |
//! |---|---|---|
//! | in the trust domain (RFC 3325) | P-Asserted-Identity, else Remote-Party-ID, else From | its assertion |
//! | a user | one of its own, by P-Preferred-Identity or From; else the default one | the password |
//! | an address of the operator's | From | the address |
//! | any other sender | From | nothing |
//!
//! A request for privacy is honoured from any sender: it only hides what the same message shows. `outward`
//! writes the identity, `number` formats numbers, `diversion` reads and writes who has forwarded the call,
//! `signed` passes on signed and verified information (RFC 8224).

pub mod diversion;
pub mod number;
pub mod outward;
pub mod signed;

use b2b_sip::msg::number::{self as numbers, NumberParam, Ours, PARAMS};
use b2b_sip::msg::{Host, Name, NameAddr, Request, Scheme, Uri, chars, elements};

use diversion::Diversion;
use signed::Signed;

/// The identity of a caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CallerIdentity {
    /// The caller's number, whether or not it may be shown; may be empty.
    pub number: String,
    /// The number for applications, unless it is private: for a user the name or own number in From,
    /// otherwise `number`.
    pub said: String,
    /// The display name asserted with the number, or the user's configured one; `None`: that of From applies.
    pub name: Option<String>,
    /// The asserted URIs (sip, tel), unchanged.
    pub asserted: Vec<String>,
    /// The caller is anonymous to every untrusted party (RFC 3323 §4.2, RFC 3325 §9.3).
    pub private: bool,
    /// The number is authenticated: by a password, a trusted gateway or the operator's configuration.
    pub vouched: bool,
    /// The forwarding parties before the call arrived here, latest first.
    pub diversions: Vec<Diversion>,
    /// The verification status of the number, as a trusted gateway gives it (`verstat`).
    pub verstat: Option<String>,
    /// Signed and attested information, for gateways.
    pub signed: Option<Box<Signed>>,
    /// The parameters of the called and the caller's number, for gateways.
    #[serde(default)]
    pub params: Option<Box<NumberParams>>,
}

/// The parameters that a trusted gateway has added to numbers (RFC 4694, RFC 4904).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NumberParams {
    /// The called number.
    pub number: String,
    /// Its parameters.
    pub called: Vec<NumberParam>,
    /// Those of the caller's number.
    pub caller: Vec<NumberParam>,
}

/// How to read an INVITE.
#[derive(Debug, Clone, Copy)]
pub struct Reads<'a> {
    /// The trust in the sender.
    pub believed: Believed<'a>,
    /// Whether it comes from a gateway.
    pub gateway: bool,
    /// Where the called number is.
    pub called: CalledFrom<'a>,
    /// Our own names and numbers.
    pub ours: &'a dyn Ours,
}

impl Default for Reads<'_> {
    fn default() -> Self {
        Reads { believed: Believed::From, gateway: false, called: CalledFrom::RequestUri, ours: &() }
    }
}

/// The trust in the sender of an INVITE.
#[derive(Debug, Clone, Copy)]
pub enum Believed<'a> {
    /// From, without authentication.
    From,
    /// From, since the operator has configured the address as trusted.
    Local,
    /// Its assertions: it is in the trust domain (RFC 3325 §2.3, Spec(T)).
    Asserted,
    /// The sender is this user.
    User(UserNumbers<'a>),
}

impl<'a> Believed<'a> {
    /// The trust in a message that b2b has written: unless the party is a user, From applies, which has the
    /// number that b2b called.
    pub fn of_ours(self) -> Believed<'a> {
        if let Believed::User(_) = self { self } else { Believed::Local }
    }
}

/// The names and numbers of a user.
#[derive(Debug, Clone, Copy)]
pub struct UserNumbers<'a> {
    /// The user's name.
    pub name: &'a str,
    /// The user's display name; `None`: the one that the phone sends.
    pub display_name: Option<&'a str>,
    /// Aliases of the user.
    pub aliases: &'a [String],
    /// The number that the user shows by default; `None`: the name.
    pub usual: Option<&'a str>,
    /// The numbers that the user may choose from.
    pub numbers: &'a [String],
}

/// Where the called number of a gateway's call is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CalledFrom<'a> {
    /// The Request-URI.
    #[default]
    RequestUri,
    /// To.
    To,
    /// A header field: P-Called-Party-ID (RFC 7315 §4.2) or another one.
    Header(&'a str),
}

impl CallerIdentity {
    /// Reads the caller's identity from an INVITE.
    pub fn read(request: &Request, reads: &Reads<'_>) -> CallerIdentity {
        let mut who = match reads.believed {
            Believed::From => unbelieved(request, reads.ours),
            Believed::Local => CallerIdentity { vouched: true, ..unbelieved(request, reads.ours) },
            Believed::Asserted => asserted(request, reads),
            Believed::User(numbers) => user(request, numbers, reads.ours),
        };
        who.private |= wants_privacy(request);
        who.signed = reads.gateway.then(|| Signed::read(request, who.vouched)).flatten();
        who
    }

    /// Whether the identity differs from the number and name in From.
    pub fn corrects(&self, from: &NameAddr<'_>) -> bool {
        let user = from.uri.user_unescaped().unwrap_or_default();
        self.name.is_some() || String::from_utf8_lossy(&user) != self.said.as_str()
    }

    /// The number for applications: `anonymous` for a private caller.
    pub fn told(&self) -> &str {
        if self.private { ANONYMOUS_USER } else { &self.said }
    }
}

/// The user part of an anonymous From (RFC 3323 §4.1.1.3).
pub const ANONYMOUS_USER: &str = "anonymous";

/// The host of an anonymous From.
const ANONYMOUS_HOST: &[u8] = b"anonymous.invalid";

/// The number in From.
fn caller_number(request: &Request, ours: &dyn Ours) -> String {
    request.from().ok().and_then(|from| from.uri.number(ours)).unwrap_or_default()
}

fn unbelieved(request: &Request, ours: &dyn Ours) -> CallerIdentity {
    let number = caller_number(request, ours);
    CallerIdentity { said: number.clone(), number, ..CallerIdentity::default() }
}

fn asserted(request: &Request, reads: &Reads<'_>) -> CallerIdentity {
    let ours = reads.ours;
    let mut who = CallerIdentity { vouched: true, ..CallerIdentity::default() };
    let values: Vec<_> = request.headers(Name::PAssertedIdentity).filter_map(NameAddr::parse).collect();
    let tel = values.iter().find(|it| it.uri.scheme == Scheme::Tel);
    let sip = values.iter().find(|it| matches!(it.uri.scheme, Scheme::Sip | Scheme::Sips));
    who.asserted = values.iter().map(|it| String::from_utf8_lossy(it.uri.raw).into_owned()).collect();
    who.name = values.iter().find_map(name_of);
    // A tel URI is always a number; a sip URI may be a name.
    let number = tel.and_then(|it| it.uri.number(ours)).or_else(|| sip?.uri.number(ours));
    let party = number.is_none().then(|| remote_party(request, ours)).flatten();
    let from = request.from().ok();
    // An anonymous From makes the caller private, even if another field has the number.
    who.private = caller_number(request, ours).eq_ignore_ascii_case(ANONYMOUS_USER);
    let uris = values.iter().map(|it| it.uri).chain(from.as_ref().map(|from| from.uri));
    who.verstat = uris.clone().find_map(|uri| signed::verstat_of(&uri));
    who.params = reads.gateway.then(|| number_params(request, uris, reads)).flatten();
    who.number = match (number, party) {
        (Some(number), _) => number,
        (None, Some((number, name, private))) => {
            who.name = name;
            who.private |= private;
            number
        }
        (None, None) => from.and_then(|from| from.uri.number(ours)).unwrap_or_default(),
    };
    who.said = who.number.clone();
    who.diversions = match privacy(request, &["history", "header"]) {
        true => Vec::new(),
        false => diversion::read(request, ours),
    };
    who
}

/// Number and name of Remote-Party-ID (draft-ietf-sip-privacy-04), and whether they are private.
fn remote_party(request: &Request, ours: &dyn Ours) -> Option<(String, Option<String>, bool)> {
    let values = request.headers(Name::parse(b"Remote-Party-ID")).flat_map(elements);
    values.filter_map(NameAddr::parse).find_map(|it| {
        let calling = it.params.value("party").is_none_or(|party| party.eq_ignore_ascii_case(b"calling"));
        let shown = it.params.value("privacy").is_none_or(|privacy| privacy.eq_ignore_ascii_case(b"off"));
        Some((it.uri.number(ours).filter(|_| calling)?, name_of(&it), !shown))
    })
}

fn user(request: &Request, user: UserNumbers<'_>, ours: &dyn Ours) -> CallerIdentity {
    let listed = |number: &str| user.numbers.iter().any(|it| it == number);
    let preferred = request.headers(Name::PPreferredIdentity).filter_map(NameAddr::parse);
    let preferred = preferred.filter_map(|it| it.uri.number(ours)).find(|number| listed(number));
    let from = caller_number(request, ours);
    let usual = user.usual.unwrap_or(user.name);
    let own = from.is_empty()
        || from.eq_ignore_ascii_case(ANONYMOUS_USER)
        || from == user.name
        || user.usual == Some(&from)
        || user.aliases.contains(&from)
        || listed(&from);
    let number = preferred.clone().unwrap_or_else(|| if listed(&from) { &from } else { usual }.to_owned());
    let said = preferred.unwrap_or_else(|| if own { from } else { usual.to_owned() });
    let name = user.display_name.map(ToOwned::to_owned);
    CallerIdentity { number, said, name, vouched: true, ..CallerIdentity::default() }
}

/// Whether the caller requests privacy: by Privacy (RFC 3323 §4.2, RFC 3325 §9.3), or by an anonymous From
/// (RFC 3323 §4.1.1.3).
fn wants_privacy(request: &Request) -> bool {
    let host = request.from().ok().and_then(|from| from.uri.host);
    let anonymous =
        matches!(host, Some(Host::Name(name)) if name.as_bytes().eq_ignore_ascii_case(ANONYMOUS_HOST));
    anonymous || privacy(request, &["id", "user", "header"])
}

/// Whether Privacy has one of these values.
fn privacy(request: &Request, wanted: &[&str]) -> bool {
    let values = request.headers(Name::Privacy).flat_map(|value| value.split(|it| matches!(it, b';' | b',')));
    values
        .into_iter()
        .any(|it| wanted.iter().any(|want| it.trim_ascii().eq_ignore_ascii_case(want.as_bytes())))
}

/// The parameters of the numbers; `callers`: where the caller's may be.
fn number_params<'a>(
    request: &Request,
    callers: impl Iterator<Item = Uri<'a>>,
    reads: &Reads<'_>,
) -> Option<Box<NumberParams>> {
    let is_passed = |(name, _): &NumberParam| PARAMS.contains(&name.as_str());
    let of = |uri: Uri<'_>| uri.number_params().filter(is_passed).collect::<Vec<_>>();
    let called = match reads.called {
        CalledFrom::To => request.to().ok().map(|to| to.uri),
        CalledFrom::RequestUri | CalledFrom::Header(_) => request.uri().ok(),
    };
    let called = called.map(of).unwrap_or_default();
    let caller = callers.map(of).find(|params| !params.is_empty()).unwrap_or_default();
    let number = called_number(request, reads);
    (!called.is_empty() || !caller.is_empty()).then(|| Box::new(NumberParams { number, called, caller }))
}

/// The number that an INVITE is for, as [`Uri::dialled`]; empty without one. Where the sender's field does not
/// have it, the Request-URI does.
pub fn called_number(request: &Request, reads: &Reads<'_>) -> String {
    let found = match reads.called {
        CalledFrom::RequestUri => None,
        CalledFrom::To => request.to().ok().and_then(|to| to.uri.dialled(reads.ours)),
        CalledFrom::Header(name) => request.header(Name::parse(name.as_bytes())).and_then(|value| {
            let value = elements(value).next()?;
            match NameAddr::parse(value) {
                Some(address) => address.uri.dialled(reads.ours),
                None => bare_number(value, reads.ours),
            }
        }),
    };
    found.or_else(|| request.uri().ok()?.dialled(reads.ours)).unwrap_or_default()
}

/// A header field value that is a number and not a URI.
fn bare_number(value: &[u8], ours: &dyn Ours) -> Option<String> {
    let text = numbers::of_user(numbers::bare(std::str::from_utf8(value).ok()?).trim(), ours);
    let good = |c: char| c.is_ascii_alphanumeric() || "+*#-_.".contains(c);
    (!text.is_empty() && text.chars().all(good)).then_some(text)
}

fn name_of(address: &NameAddr<'_>) -> Option<String> {
    let name = address.display_name()?;
    let name = String::from_utf8_lossy(&chars::shown(&name)).trim().to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests;

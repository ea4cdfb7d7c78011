//! The header fields of a message: raw values in order, and typed access to those that every
//! layer needs.

use std::sync::Arc;

use bytes::Bytes;

use super::chars::{self, CALL_ID, TOKEN};
use super::lines::Field;
use super::list::{Elements, lists};
use super::method::Method;
use super::name::{self, Name};
use super::name_addr::NameAddr;
use super::offsets::{NameAddrAt, Part, ViaAt};
use super::seconds;
use super::via::Via;

/// Header fields in order, each name and value.
pub type HeaderFields = Vec<(Bytes, Bytes)>;

/// Header fields as spans into their message. A copy shares them.
#[derive(Debug, Clone)]
pub struct Headers {
    pub(super) raw: Bytes,
    parsed: Arc<Parsed>,
}

/// What is known of the header fields.
#[derive(Debug, Clone)]
struct Parsed {
    spans: Spans,
    /// Where the body begins.
    body: usize,
    /// The results of `check`; `None` for a malformed message.
    checked: Option<Checked>,
    /// The result of `check_contacts`: the first Contact.
    contact: Option<NameAddrAt>,
}

/// The fields that every layer reads, from a message that passed [`Headers::check`].
#[derive(Debug, Clone)]
struct Checked {
    via: ViaAt,
    from: NameAddrAt,
    to_tag: Option<Part>,
    cseq: CSeq,
}

/// The positions of the header fields.
#[derive(Debug, Clone)]
pub(super) struct Spans {
    all: Vec<Span>,
    /// By id: the index plus one of the first field with that name, 0 if there is none.
    first: [u32; name::HOT + 1],
    /// A bit for each id that occurs, and for each that is repeated.
    seen: u128,
    repeated: u128,
    /// Number of lines that are no header fields.
    pub(super) skipped: u32,
}

impl Spans {
    pub(super) fn with_capacity(fields: usize) -> Spans {
        let all = Vec::with_capacity(fields);
        Spans { all, first: [0; name::HOT + 1], seen: 0, repeated: 0, skipped: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The fields that may have this id.
    fn of(&self, id: u8) -> &[Span] {
        let is_in = |bits: u128| bits >> id & 1 == 1;
        // Names that have no id share 0.
        if id == 0 || !is_in(self.seen) {
            return if id == 0 { &self.all } else { &[] };
        }
        let first = self.first.get(usize::from(id)).map(|first| first.saturating_sub(1) as usize);
        match first {
            Some(first) if !is_in(self.repeated) => self.all.get(first..=first),
            first => self.all.get(first.unwrap_or_default()..),
        }
        .unwrap_or_default()
    }

    pub(super) fn push(&mut self, span: Span) {
        let id = usize::from(span.id);
        self.all.push(span);
        let bit = 1 << span.id;
        if let Some(first) = self.first.get_mut(id).filter(|first| **first == 0) {
            *first = self.all.len() as u32;
        }
        self.repeated |= self.seen & bit;
        self.seen |= bit;
    }
}

/// Header fields whose copies must be equal, in requests and responses.
const SINGLE: [Name<'static>; 4] = [Name::From, Name::To, Name::CallId, Name::CSeq];

/// Further ones in requests: we act on them, and what passed the message on may have read another copy.
const SINGLE_IN_REQUESTS: [Name<'static>; 9] = [
    Name::MaxForwards,
    Name::ContentType,
    Name::Event,
    Name::Expires,
    Name::MinSe,
    Name::RAck,
    Name::ReferTo,
    Name::Replaces,
    Name::SessionExpires,
];

/// Octets of a Call-ID, which is kept as long as its call.
const CALL_ID_LENGTH: usize = 256;

/// One header field: offsets into the message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: u32,
    name_end: u32,
    value_start: u32,
    value_end: u32,
    end: u32,
    id: u8,
}

impl Span {
    /// Offsets fit because `Limits::message` is capped at `u32::MAX`.
    pub(super) fn new(field: Field) -> Span {
        Span {
            start: field.start as u32,
            name_end: field.name_end as u32,
            value_start: field.value_start as u32,
            value_end: field.value_end as u32,
            end: field.end as u32,
            id: field.id,
        }
    }
}

/// Why a header field is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The field is missing.
    #[error("missing {0}")]
    Missing(Name<'static>),
    /// The field is malformed or out of range.
    #[error("invalid {0}")]
    Invalid(Name<'static>),
    /// The field must not be repeated.
    #[error("repeated {0}")]
    Repeated(Name<'static>),
}

/// The CSeq header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CSeq {
    /// The sequence number.
    pub number: u32,
    /// The method.
    pub method: Method,
}

impl Headers {
    pub(super) fn new(raw: Bytes, spans: Spans, body: usize) -> Headers {
        Headers { raw, parsed: Arc::new(Parsed { spans, body, checked: None, contact: None }) }
    }

    /// The body of the message; it may be empty. Not copied, only reference-counted.
    pub fn body(&self) -> Bytes {
        self.raw.slice(self.parsed.body..)
    }

    /// Checks the fields that identify transaction and dialog (§8.1.1), in requests and
    /// responses alike, and stores their contents.
    pub(super) fn check(&mut self) -> Result<(), HeaderError> {
        self.check_single(&SINGLE)?;
        let via = ViaAt::of(&self.raw, &self.top_via()?);
        let from = NameAddrAt::of(&self.raw, &self.from()?);
        let to_tag = self.to()?.tag().map(|tag| Part::of(&self.raw, tag));
        self.call_id()?;
        let cseq = self.cseq()?;
        Arc::make_mut(&mut self.parsed).checked = Some(Checked { via, from, to_tag, cseq });
        Ok(())
    }

    /// Checks that copies of a field are equal: otherwise it is open which one counts.
    fn check_single(&self, names: &[Name<'static>]) -> Result<(), HeaderError> {
        let differs = |name: &Name<'static>| {
            self.is_repeated(*name) && self.field_values(*name).any(|it| Some(it) != self.header(*name))
        };
        let names = if self.parsed.spans.repeated == 0 { &[] } else { names };
        names.iter().copied().find(differs).map_or(Ok(()), |name| Err(HeaderError::Repeated(name)))
    }

    fn id_matches(&self, span: &Span, name: Name<'_>, id: u8) -> bool {
        span.id == id && (id != 0 || self.span_name(span).eq_ignore_ascii_case(name.as_bytes()))
    }

    fn span_name(&self, span: &Span) -> &[u8] {
        &self.raw[span.start as usize..span.name_end as usize]
    }

    fn span_value(&self, span: &Span) -> &[u8] {
        &self.raw[span.value_start as usize..span.value_end as usize]
    }

    /// Number of lines that are no header fields, and were skipped.
    pub fn skipped(&self) -> u32 {
        self.parsed.spans.skipped
    }

    /// Every field in order: the name as written, and the value without surrounding white
    /// space but with folds.
    pub fn fields(&self) -> impl Iterator<Item = (Name<'_>, &[u8])> {
        self.parsed.spans.all.iter().map(|span| (Name::parse(self.span_name(span)), self.span_value(span)))
    }

    /// Every field in order as received: name, colon, value and line end.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.parsed.spans.all.iter().map(|span| &self.raw[span.start as usize..span.end as usize])
    }

    /// The values of the fields with this name, one per field, in order.
    pub fn field_values<'a>(&'a self, name: Name<'a>) -> impl Iterator<Item = &'a [u8]> {
        let id = name.id();
        let spans = self.parsed.spans.of(id).iter();
        spans.filter(move |span| self.id_matches(span, name, id)).map(|span| self.span_value(span))
    }

    /// The value of the first field with this name, unsplit.
    #[inline(always)]
    pub fn header<'a>(&'a self, name: Name<'a>) -> Option<&'a [u8]> {
        let id = usize::from(name.id());
        match self.parsed.spans.first.get(id) {
            Some(&first) if id != 0 => {
                let index = first.checked_sub(1)?;
                Some(self.span_value(self.parsed.spans.all.get(index as usize)?))
            }
            _ => self.field_values(name).next(),
        }
    }

    /// All values of this name in order; lists are split at commas (RFC 3261 §7.3.1), without
    /// empty elements.
    pub fn headers<'a>(&'a self, name: Name<'a>) -> impl Iterator<Item = &'a [u8]> {
        let list = name.is_list();
        self.field_values(name).flat_map(move |value| Elements { rest: Some(value), list })
    }

    /// Whether there is a field with a known name.
    pub(super) fn has(&self, name: Name<'static>) -> bool {
        self.parsed.spans.seen >> name.id() & 1 == 1
    }

    /// Whether a field with a known name is repeated.
    pub(super) fn is_repeated(&self, name: Name<'static>) -> bool {
        self.parsed.spans.repeated >> name.id() & 1 == 1
    }

    fn required(&self, name: Name<'static>) -> Result<&[u8], HeaderError> {
        self.header(name).ok_or(HeaderError::Missing(name))
    }

    /// The top Via.
    pub fn top_via(&self) -> Result<Via<'_>, HeaderError> {
        if let Some(checked) = &self.parsed.checked {
            return Ok(checked.via.get(&self.raw));
        }
        let value = self.required(Name::Via)?;
        let first = Elements { rest: Some(value), list: true }.next().unwrap_or_default();
        Via::parse(first).ok_or(HeaderError::Invalid(Name::Via))
    }

    /// Every Via, top first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'_>, HeaderError>> {
        self.headers(Name::Via).map(|value| Via::parse(value).ok_or(HeaderError::Invalid(Name::Via)))
    }

    /// The From.
    pub fn from(&self) -> Result<NameAddr<'_>, HeaderError> {
        if let Some(checked) = &self.parsed.checked {
            return Ok(checked.from.get(&self.raw));
        }
        NameAddr::parse(self.required(Name::From)?).ok_or(HeaderError::Invalid(Name::From))
    }

    /// The To.
    pub fn to(&self) -> Result<NameAddr<'_>, HeaderError> {
        NameAddr::parse(self.required(Name::To)?).ok_or(HeaderError::Invalid(Name::To))
    }

    /// The From tag; missing only from RFC 2543 clients.
    pub fn from_tag(&self) -> Option<&[u8]> {
        match &self.parsed.checked {
            Some(checked) => checked.from.tag(&self.raw),
            None => self.from().ok()?.tag(),
        }
    }

    /// The To tag.
    pub fn to_tag(&self) -> Option<&[u8]> {
        match &self.parsed.checked {
            Some(checked) => checked.to_tag.map(|tag| tag.get(&self.raw)),
            None => self.to().ok()?.tag(),
        }
    }

    /// Whether the To is valid.
    pub(super) fn has_to(&self) -> bool {
        self.parsed.checked.is_some() || self.to().is_ok()
    }

    /// The Call-ID.
    pub fn call_id(&self) -> Result<&[u8], HeaderError> {
        let value = self.required(Name::CallId)?;
        let is_valid = || value.len() <= CALL_ID_LENGTH && chars::all(value, CALL_ID);
        match self.parsed.checked.is_some() || is_valid() {
            true => Ok(value),
            false => Err(HeaderError::Invalid(Name::CallId)),
        }
    }

    /// The CSeq.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        if let Some(checked) = &self.parsed.checked {
            return Ok(checked.cseq.clone());
        }
        let value = self.required(Name::CSeq)?;
        let invalid = HeaderError::Invalid(Name::CSeq);
        let digits = value.iter().position(|byte| !byte.is_ascii_digit()).ok_or(invalid)?;
        let (digits, rest) = value.split_at(digits);
        let number = chars::number(digits).and_then(|n| u32::try_from(n).ok()).ok_or(invalid)?;
        let method = chars::trim_start(rest);
        if method.len() == rest.len() || !chars::all(method, TOKEN) {
            return Err(invalid);
        }
        let method = Method::known(method).unwrap_or_else(|| Method::Other(self.raw.slice_ref(method)));
        Ok(CSeq { number, method })
    }

    /// The method in CSeq, if the message has passed `check`.
    pub(super) fn cseq_method(&self) -> Option<&Method> {
        self.parsed.checked.as_ref().map(|checked| &checked.cseq.method)
    }

    /// Max-Forwards, 0 to 255 (§20.22).
    pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
        self.number(Name::MaxForwards)
    }

    /// The Content-Length as written; the parser has checked it against the body.
    pub fn content_length(&self) -> Result<Option<u32>, HeaderError> {
        self.number(Name::ContentLength)
    }

    /// A header field with a number that fits `T`: Expires, RSeq, Min-SE, …
    pub fn number<T: TryFrom<u64>>(&self, name: Name<'static>) -> Result<Option<T>, HeaderError> {
        self.header(name)
            .map(|value| {
                let number = chars::number(value).and_then(|number| T::try_from(number).ok());
                number.ok_or(HeaderError::Invalid(name))
            })
            .transpose()
    }

    /// The time in seconds in a header field; `None` if it is absent or malformed.
    pub fn seconds(&self, name: Name<'_>) -> Option<u32> {
        self.header(name).and_then(seconds::seconds)
    }

    /// The media type of the body in its original case, without parameters.
    pub fn content_type(&self) -> Option<&[u8]> {
        let value = self.header(Name::ContentType)?;
        Some(chars::trim_end(value.split(|&byte| byte == b';').next().unwrap_or(value)))
    }

    /// The first Contact. `Ok(None)` if it is missing or `*`.
    pub fn contact(&self) -> Result<Option<NameAddr<'_>>, HeaderError> {
        match &self.parsed.contact {
            Some(contact) => Ok(Some(contact.get(&self.raw))),
            None => self.first_contacts().next().transpose(),
        }
    }

    /// The contacts in the first Contact field.
    fn first_contacts(&self) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        let value = self.header(Name::Contact).filter(|value| *value != b"*");
        let invalid = HeaderError::Invalid(Name::Contact);
        Elements { rest: value, list: true }.map(move |value| NameAddr::parse(value).ok_or(invalid))
    }

    /// Checks what only requests need: a response is never refused, since its sender may have picked up.
    /// The fields that this request does not need are ignored if they are malformed (§8.2.2).
    pub(super) fn check_request(&mut self, method: &Method) -> Result<(), HeaderError> {
        if *method == Method::Ack {
            return Ok(());
        }
        self.check_single(&SINGLE_IN_REQUESTS)?;
        let begins_dialog = matches!(method, Method::Invite | Method::Subscribe) && self.to_tag().is_none();
        if *method == Method::Register {
            self.contacts().try_for_each(|contact| contact.map(drop))?;
        }
        let first = self.first_contacts().next();
        let contact = match first.transpose() {
            Ok(contact) => contact.map(|contact| NameAddrAt::of(&self.raw, &contact)),
            // A later request of a dialog leaves the peer's target as it is.
            Err(error) if begins_dialog || *method == Method::Register => return Err(error),
            Err(_) => None,
        };
        Arc::make_mut(&mut self.parsed).contact = contact;
        Ok(())
    }

    /// Every Contact in order; none for `Contact: *`.
    pub fn contacts(&self) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        let star = self.contact_is_star();
        self.name_addrs(Name::Contact).filter(move |_| !star)
    }

    /// Whether the Contact is `*` (§10.2.2).
    pub fn contact_is_star(&self) -> bool {
        self.header(Name::Contact) == Some(b"*")
    }

    /// Every Route in order.
    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.name_addrs(Name::Route)
    }

    /// Every Record-Route in order.
    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.name_addrs(Name::RecordRoute)
    }

    /// Every value of a header field that consists of `name-addr`s.
    pub fn name_addrs(&self, name: Name<'static>) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.headers(name).map(move |value| NameAddr::parse(value).ok_or(HeaderError::Invalid(name)))
    }

    /// Whether a list of tokens (Supported, Require, Allow, …) contains this one, ignoring
    /// case.
    pub fn has_token<'a>(&'a self, name: Name<'a>, token: &str) -> bool {
        self.field_values(name).any(|list| lists(list, token.as_bytes()))
    }
}

//! Header field names: long and compact forms, and which of them hold lists.

use std::fmt;

macro_rules! names {
    ($($variant:ident $text:literal $compact:literal $list:literal)*) => {
        /// A header field name. Equality ignores case and form: `Name::Via`, `via` and `v`
        /// are equal.
        #[derive(Debug, Clone, Copy)]
        #[allow(missing_docs)]
        pub enum Name<'a> {
            $($variant,)*
            /// Any other name, as written.
            Other(&'a [u8]),
        }

        /// The known names in order; ids count from 1, and 0 stands for `Other`.
        enum Code { $($variant),* }

        const KNOWN: &[Name<'static>] = &[$(Name::$variant),*];
        const TEXT: &[&str] = &["", $($text),*];
        const COMPACT: &[u8] = &[0, $($compact),*];
        const LIST: &[bool] = &[false, $($list),*];

        impl<'a> Name<'a> {
            #[inline(always)]
            pub(super) fn id(self) -> u8 {
                match self {
                    $(Name::$variant => Code::$variant as u8 + 1,)*
                    Name::Other(text) => identify(text),
                }
            }
        }
    };
}

// variant, long form, compact form (0: none), comma-separated list; the first `HOT` ones are
// looked up in every message
names! {
    Via "Via" b'v' true
    From "From" b'f' false
    To "To" b't' false
    CallId "Call-ID" b'i' false
    CSeq "CSeq" 0 false
    MaxForwards "Max-Forwards" 0 false
    Contact "Contact" b'm' true
    ContentLength "Content-Length" b'l' false
    Accept "Accept" 0 true
    AcceptContact "Accept-Contact" b'a' true
    AcceptEncoding "Accept-Encoding" 0 true
    AcceptLanguage "Accept-Language" 0 true
    AlertInfo "Alert-Info" 0 true
    Allow "Allow" 0 true
    AllowEvents "Allow-Events" b'u' true
    AuthenticationInfo "Authentication-Info" 0 false
    Authorization "Authorization" 0 false
    CallInfo "Call-Info" 0 true
    ContentDisposition "Content-Disposition" 0 false
    ContentEncoding "Content-Encoding" b'e' true
    ContentLanguage "Content-Language" 0 true
    ContentType "Content-Type" b'c' false
    Date "Date" 0 false
    Diversion "Diversion" 0 true
    ErrorInfo "Error-Info" 0 true
    Event "Event" b'o' false
    Expires "Expires" 0 false
    FlowTimer "Flow-Timer" 0 false
    HistoryInfo "History-Info" 0 true
    Identity "Identity" b'y' false
    IdentityInfo "Identity-Info" b'n' false
    InReplyTo "In-Reply-To" 0 true
    Join "Join" 0 false
    MimeVersion "MIME-Version" 0 false
    MinExpires "Min-Expires" 0 false
    MinSe "Min-SE" 0 false
    Organization "Organization" 0 false
    PAssertedIdentity "P-Asserted-Identity" 0 true
    PPreferredIdentity "P-Preferred-Identity" 0 true
    Path "Path" 0 true
    Priority "Priority" 0 false
    Privacy "Privacy" 0 false
    ProxyAuthenticate "Proxy-Authenticate" 0 false
    ProxyAuthorization "Proxy-Authorization" 0 false
    ProxyRequire "Proxy-Require" 0 true
    RAck "RAck" 0 false
    Reason "Reason" 0 true
    RecordRoute "Record-Route" 0 true
    ReferSub "Refer-Sub" 0 false
    ReferTo "Refer-To" b'r' false
    ReferredBy "Referred-By" b'b' false
    RejectContact "Reject-Contact" b'j' true
    Replaces "Replaces" 0 false
    ReplyTo "Reply-To" 0 false
    RequestDisposition "Request-Disposition" b'd' true
    Require "Require" 0 true
    RetryAfter "Retry-After" 0 false
    Route "Route" 0 true
    RSeq "RSeq" 0 false
    Server "Server" 0 false
    ServiceRoute "Service-Route" 0 true
    SessionExpires "Session-Expires" b'x' false
    SessionId "Session-ID" 0 false
    SipETag "SIP-ETag" 0 false
    SipIfMatch "SIP-If-Match" 0 false
    Subject "Subject" b's' false
    SubscriptionState "Subscription-State" 0 false
    Supported "Supported" b'k' true
    TargetDialog "Target-Dialog" 0 false
    Timestamp "Timestamp" 0 false
    Unsupported "Unsupported" 0 true
    UserAgent "User-Agent" 0 false
    Warning "Warning" 0 true
    WwwAuthenticate "WWW-Authenticate" 0 false
}

/// Number of ids that belong to fields looked up in every message.
pub(super) const HOT: usize = 8;

const fn hash(len: usize, first: u8, last: u8) -> u8 {
    let mixed = (len as u32 * 37) ^ ((first | 0x20) as u32 * 5) ^ ((last | 0x20) as u32 * 91);
    (mixed ^ (mixed >> 8)) as u8
}

/// Open hashing over length, first and last letter: id, or 0 for a free slot.
const TABLE: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut id = 1;
    while id < TEXT.len() {
        let text = TEXT[id].as_bytes();
        let mut slot = hash(text.len(), text[0], text[text.len() - 1]);
        while table[slot as usize] != 0 {
            slot = slot.wrapping_add(1);
        }
        table[slot as usize] = id as u8;
        id += 1;
    }
    table
};

/// Maps a compact letter (lower case, minus `a`) to an id.
const LETTERS: [u8; 26] = {
    let mut letters = [0u8; 26];
    let mut id = 1;
    while id < COMPACT.len() {
        if COMPACT[id] != 0 {
            letters[(COMPACT[id] - b'a') as usize] = id as u8;
        }
        id += 1;
    }
    letters
};

/// The id of a name as written, 0 if it is unknown.
pub(super) fn identify(text: &[u8]) -> u8 {
    match *text {
        [] => 0,
        [letter] => {
            let letter = letter.to_ascii_lowercase();
            if letter.is_ascii_lowercase() { LETTERS[usize::from(letter - b'a')] } else { 0 }
        }
        [first, .., last] => {
            let mut slot = hash(text.len(), first, last);
            loop {
                let id = TABLE[usize::from(slot)];
                let known = TEXT[usize::from(id)].as_bytes();
                // Most names are written in their canonical form.
                if id == 0 || known == text || known.eq_ignore_ascii_case(text) {
                    return id;
                }
                slot = slot.wrapping_add(1);
            }
        }
    }
}

/// Whether the values of the name with this id are comma-separated lists.
pub(super) fn is_list(id: u8) -> bool {
    LIST.get(usize::from(id)).copied().unwrap_or(false)
}

impl<'a> Name<'a> {
    /// The name as written in a message, in any case, long or compact.
    pub fn parse(text: &'a [u8]) -> Self {
        match identify(text) {
            0 => Name::Other(text),
            id => KNOWN[usize::from(id) - 1],
        }
    }

    /// The long form; for `Other` the text as written.
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Name::Other(text) => text,
            known => TEXT[usize::from(known.id())].as_bytes(),
        }
    }

    /// Whether the grammar allows several values in one field, separated by commas (RFC 3261
    /// §7.3.1).
    pub fn is_list(self) -> bool {
        is_list(self.id())
    }
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self.id(), other.id()) {
            (0, 0) => self.as_bytes().eq_ignore_ascii_case(other.as_bytes()),
            (a, b) => a == b,
        }
    }
}

impl Eq for Name<'_> {}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case_and_compact() {
        for id in 1..TEXT.len() {
            let text = TEXT[id];
            for written in [text.to_owned(), text.to_uppercase(), text.to_lowercase()] {
                assert_eq!(usize::from(identify(written.as_bytes())), id, "{written}");
            }
            if COMPACT[id] != 0 {
                assert_eq!(usize::from(identify(&[COMPACT[id]])), id, "compact of {text}");
                assert_eq!(usize::from(identify(&[COMPACT[id].to_ascii_uppercase()])), id);
            }
        }
    }

    #[test]
    fn unknown_names_stay_as_written() {
        assert!(matches!(Name::parse(b"X-Foo"), Name::Other(b"X-Foo")));
        assert!(matches!(Name::parse(b"C%6Fntact"), Name::Other(_)));
        assert_eq!(Name::Other(b"x-foo"), Name::Other(b"X-FOO"));
        assert_eq!(Name::Other(b"v"), Name::Via);
        assert_ne!(Name::Other(b"g"), Name::Via);
    }
}

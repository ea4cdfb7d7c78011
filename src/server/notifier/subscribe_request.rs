//! What a SUBSCRIBE requests, and what is wrong with it. Pure.

use std::time::Duration;

use bytes::Bytes;

use b2b_sip::endpoint::Reply;
use b2b_sip::msg::{Name, Request, one_line};

/// The value of Allow-Events.
const EVENTS: &str = "dialog, message-summary";
/// Minimum duration of a subscription: a phone that requests less subscribes too often.
pub const SHORTEST: Duration = Duration::from_secs(60);
/// Maximum and default duration (RFC 4235 §3.2, RFC 3842 §3.4).
pub const LONGEST: Duration = Duration::from_secs(3_600);

/// An event package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Package {
    /// RFC 4235
    Dialog,
    /// RFC 3842
    MessageSummary,
}

impl Package {
    /// The package of this name.
    fn named(name: &[u8]) -> Option<Package> {
        match name {
            _ if name.eq_ignore_ascii_case(b"dialog") => Some(Package::Dialog),
            _ if name.eq_ignore_ascii_case(b"message-summary") => Some(Package::MessageSummary),
            _ => None,
        }
    }

    /// The content type of its documents.
    pub fn content_type(self) -> &'static str {
        match self {
            Package::Dialog => "application/dialog-info+xml",
            Package::MessageSummary => "application/simple-message-summary",
        }
    }
}

/// A SUBSCRIBE as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeRequest {
    pub package: Package,
    /// Event, with its id: every NOTIFY carries it (RFC 6665 §8.2.1).
    pub event: Bytes,
    /// The granted duration; zero: a fetch, or unsubscribe.
    pub expires: Duration,
}

/// Reads a SUBSCRIBE.
///
/// # Errors
/// The response that says what is wrong.
pub fn read(request: &Request) -> Result<SubscribeRequest, Reply> {
    let event = one_line(request.header(Name::Event).unwrap_or_default());
    let mut parts = event.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let package = parts.next().and_then(Package::named).ok_or_else(bad_event)?;
    let id = parts.find(|part| part.get(..3).is_some_and(|name| name.eq_ignore_ascii_case(b"id=")));
    let name: &[u8] = match package {
        Package::Dialog => b"dialog",
        Package::MessageSummary => b"message-summary",
    };
    let event = match id {
        Some(id) => [name, b";", id].concat().into(),
        None => Bytes::from_static(name),
    };
    if !accepts(request, package.content_type()) {
        return Err(with("Accept", package.content_type(), Reply::status(406)));
    }
    let expires = request.seconds(Name::Expires);
    let expires = expires.map_or(LONGEST, |seconds| Duration::from_secs(seconds.into()).min(LONGEST));
    if !expires.is_zero() && expires < SHORTEST {
        return Err(with("Min-Expires", &SHORTEST.as_secs().to_string(), Reply::status(423)));
    }
    Ok(SubscribeRequest { package, event, expires })
}

/// 489 with the supported packages.
pub fn bad_event() -> Reply {
    with("Allow-Events", EVENTS, Reply::status(489))
}

/// Without Accept the package's own type is accepted (RFC 4235 §3.4, RFC 3842 §3.5).
fn accepts(request: &Request, content_type: &str) -> bool {
    let mut ranges = request.headers(Name::Accept).peekable();
    ranges.peek().is_none()
        || ranges.any(|range| {
            let range = range.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
            let is = |text: &str| range.eq_ignore_ascii_case(text.as_bytes());
            is(content_type) || is("application/*") || is("*/*")
        })
}

fn with(name: &'static str, value: &str, reply: Reply) -> Reply {
    Reply { headers: vec![(Bytes::from_static(name.as_bytes()), value.to_owned().into())], ..reply }
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_sip::msg::{Limits, Message};

    fn asked(fields: &str) -> Result<SubscribeRequest, (u16, String)> {
        let text = format!(
            "SUBSCRIBE sip:1002@b2b.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:1002@b2b.example>\r\nCall-ID: x\r\n\
             CSeq: 1 SUBSCRIBE\r\n{fields}Content-Length: 0\r\n\r\n"
        );
        let Ok(Message::Request(request)) = Message::parse(text.into(), &Limits::default()) else {
            panic!("no request")
        };
        read(&request).map_err(|reply| {
            let field = |(name, value): &(Bytes, Bytes)| {
                format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
            };
            (reply.status, reply.headers.first().map(field).unwrap_or_default())
        })
    }

    #[test]
    fn an_event_that_we_have_is_taken_with_its_id_and_no_other_parameter() {
        let read = asked("Event: Dialog;sla ; id=a7\r\nExpires: 600\r\n").unwrap();
        assert_eq!((read.package, &read.event[..]), (Package::Dialog, &b"dialog;id=a7"[..]));
        assert_eq!(read.expires, Duration::from_secs(600));
        let read = asked("Event: dialog;id=\r\n 5\r\n").unwrap();
        assert_eq!(&read.event[..], b"dialog;id= 5", "it goes into NOTIFY on one line");
        let read = asked("o: message-summary\r\nExpires: 0\r\n").unwrap();
        assert_eq!((read.package, &read.event[..]), (Package::MessageSummary, &b"message-summary"[..]));
        assert!(read.expires.is_zero());
    }

    #[test]
    fn too_long_and_unsaid_become_an_hour_and_too_short_is_423() {
        for expires in ["", "Expires: 86400\r\n", "Expires: 4294967296\r\n", "Expires: soon\r\n"] {
            let fields = &format!("Event: dialog\r\n{expires}");
            assert_eq!(asked(fields).unwrap().expires, LONGEST, "{fields}");
        }
        let brief = asked("Event: dialog\r\nExpires: 59\r\n").unwrap_err();
        assert_eq!(brief, (423, "Min-Expires: 60".to_owned()));
    }

    #[test]
    fn other_events_are_489_and_other_types_406() {
        let bad = (489, "Allow-Events: dialog, message-summary".to_owned());
        for fields in ["", "Event: presence\r\n", "Event: dialog.winfo\r\n"] {
            assert_eq!(asked(fields).unwrap_err(), bad, "{fields}");
        }
        let refused = asked("Event: dialog\r\nAccept: application/pidf+xml, text/plain\r\n").unwrap_err();
        assert_eq!(refused, (406, "Accept: application/dialog-info+xml".to_owned()));
        for accept in [
            "application/dialog-info+xml",
            "text/plain, application/*",
            "*/*;q=0.1",
            "Application/Dialog-Info+XML",
        ] {
            assert!(asked(&format!("Event: dialog\r\nAccept: {accept}\r\n")).is_ok(), "{accept}");
        }
    }
}

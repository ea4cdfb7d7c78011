//! Writes requests: those in a dialog, the initial INVITE, and those outside any dialog.

use std::time::Duration;

use bytes::Bytes;

use super::hop::Hop;
use super::identity::Identity;
use super::session_timer::SessionExpires;
use super::state::Dialog;
use crate::flow::Flow;
use crate::msg::body::Body;
use crate::msg::{HeaderFields, Method, Name, RequestWriter, Response, WriteError};
use b2b_base::ids::Branch;

/// Initial Max-Forwards (RFC 3261 §8.1.1.6).
pub const MAX_FORWARDS: u8 = 70;

/// A request that waits for its flow, which determines Via and Contact.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Draft {
    pub method: Method,
    pub cseq: u32,
    pub max_forwards: u8,
    /// Additional header fields.
    pub headers: HeaderFields,
    pub body: Option<Body>,
    /// The contents of Contact besides our URI; `None` if Contact is only written where
    /// mandatory.
    pub contact: Option<Box<DraftContact>>,
    /// Session-Expires and Min-SE, if any.
    pub session: Option<SessionFields>,
    /// Where to send the request instead of the dialog's next hop.
    pub outbound: Option<Hop>,
    /// Each 401 and 407 that it was repeated for.
    pub challenges: Vec<Response>,
    /// How long an address may send no response, if that differs from the default.
    pub patience: Option<Duration>,
}

/// Contents of a Contact besides our URI; separate because few requests have them.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct DraftContact {
    /// Its parameters, from the first `;` on.
    pub params: Bytes,
    /// Replaces our own URI.
    pub uri: Option<Bytes>,
    /// Parameters of the URI.
    pub uri_params: Bytes,
}

/// The session timer fields of a request (RFC 4028).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SessionFields {
    pub expires: SessionExpires,
    /// Min-SE; 0 for none.
    pub min_se: u32,
}

impl Draft {
    /// A request without additional header fields.
    pub fn new(method: Method, cseq: u32, body: Option<Body>) -> Self {
        Draft {
            method,
            cseq,
            max_forwards: MAX_FORWARDS,
            headers: Vec::new(),
            body,
            contact: None,
            session: None,
            outbound: None,
            challenges: Vec::new(),
            patience: None,
        }
    }
}

/// Writes a request (§12.2.1.1, §8.1.1).
pub fn write(
    dialog: &Dialog,
    draft: &Draft,
    flow: &Flow,
    branch: Branch,
    identity: &Identity,
) -> Result<Bytes, WriteError> {
    let (uri, routes) = dialog.request_uri();
    let (transport, sent_by) = (flow.transport.as_str(), identity.sent_by(flow));
    let mut writer = RequestWriter::new(&draft.method, uri)
        .header_fmt(Name::Via, format_args!("SIP/2.0/{transport} {sent_by};branch={branch};rport"))
        .header(Name::MaxForwards, draft.max_forwards.to_string());
    for route in &routes {
        writer = writer.header(Name::Route, route);
    }
    writer = writer
        .header(Name::From, dialog.local())
        .header(Name::To, dialog.remote())
        .header(Name::CallId, dialog.call_id())
        .header(Name::CSeq, [draft.cseq.to_string().as_bytes(), b" ", draft.method.as_bytes()].concat());
    // Target refresh requests (§12.2, RFC 3311 §5.1), and requests that create dialogs.
    let refreshes = matches!(draft.method, Method::Invite | Method::Update);
    if refreshes || draft.contact.is_some() || matches!(draft.method, Method::Refer | Method::Notify) {
        writer = match &draft.contact {
            Some(contact) => {
                let uri = identity.uri(flow, dialog.contact_user()).secure(dialog.is_secure());
                let params = std::str::from_utf8(&contact.params).unwrap_or_default();
                let within = std::str::from_utf8(&contact.uri_params).unwrap_or_default();
                match contact.uri.as_deref().map(std::str::from_utf8) {
                    Some(Ok(uri)) => {
                        writer.header_fmt(Name::Contact, format_args!("<{uri}{within}>{params}"))
                    }
                    _ => writer.header_fmt(Name::Contact, format_args!("<{uri}{within}>{params}")),
                }
            }
            None => {
                let uri = identity.target(flow, dialog.contact_user()).secure(dialog.is_secure());
                writer.header_fmt(Name::Contact, format_args!("<{uri}>"))
            }
        };
    }
    if refreshes {
        writer = writer.header(Name::Allow, &identity.allow);
        let told = draft.headers.iter().any(|(name, _)| Name::parse(name) == Name::Supported);
        if !identity.supported.is_empty() && !told {
            writer = writer.header(Name::Supported, &identity.supported);
        }
    }
    if let Some(SessionFields { expires, min_se }) = draft.session {
        writer = writer.header_fmt(Name::SessionExpires, format_args!("{expires}"));
        if min_se > 0 {
            writer = writer.header_fmt(Name::MinSe, format_args!("{min_se}"));
        }
    }
    if !identity.user_agent.is_empty() {
        writer = writer.header(Name::UserAgent, &identity.user_agent);
    }
    for (name, value) in &draft.headers {
        writer = writer.header(Name::parse(name), value);
    }
    if let Some(body) = &draft.body {
        writer = writer.body(body.content_type(), &body.data);
    }
    writer.finish()
}

//! Requests inside a dialog, and the INVITE that starts one, to bytes.

use std::net::SocketAddr;

use bytes::Bytes;

use super::state::Dialog;
use crate::ids::Branch;
use crate::sip::endpoint::{Body, Flow};
use crate::sip::msg::{Method, Name, RequestWriter, Transport, WriteError};

/// A request that waits for its flow, and with it for Via and Contact.
#[derive(Debug, Clone)]
pub struct Draft {
    pub method: Method,
    pub cseq: u32,
    /// More header fields.
    pub headers: Vec<(Bytes, Bytes)>,
    pub body: Option<Body>,
}

impl Draft {
    /// A request without header fields of its own.
    pub fn new(method: Method, cseq: u32, body: Option<Body>) -> Self {
        Draft { method, cseq, headers: Vec::new(), body }
    }
}

/// What all our messages say about us.
#[derive(Debug, Clone)]
pub struct Identity {
    /// User part of Contact.
    pub user: String,
    /// User-Agent and Server; may be empty.
    pub user_agent: String,
    /// Allow.
    pub allow: String,
}

impl Identity {
    /// Our URI at the local address of a flow.
    pub fn uri(&self, flow: &Flow) -> String {
        let at = if self.user.is_empty() { "" } else { "@" };
        let transport = match flow.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
            Transport::Sctp => ";transport=sctp",
            Transport::Ws => ";transport=ws",
            Transport::Wss => ";transport=wss",
        };
        format!("sip:{}{at}{}{transport}", self.user, host_port(flow.local))
    }
}

/// An address without an IPv6 scope, which nobody else understands.
pub fn host_port(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
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
    let mut writer = RequestWriter::new(&draft.method, uri).header_fmt(
        Name::Via,
        format_args!("SIP/2.0/{} {};branch={branch};rport", flow.transport.as_str(), host_port(flow.local)),
    );
    writer = writer.header(Name::MaxForwards, "70");
    for route in &routes {
        writer = writer.header(Name::Route, route);
    }
    writer = writer
        .header(Name::From, dialog.local())
        .header(Name::To, dialog.remote())
        .header(Name::CallId, dialog.call_id())
        .header_fmt(Name::CSeq, format_args!("{} {}", draft.cseq, draft.method));
    // Target refresh requests (§12.2, RFC 3311 §5.1).
    if matches!(draft.method, Method::Invite | Method::Update) {
        writer = writer
            .header_fmt(Name::Contact, format_args!("<{}>", identity.uri(flow)))
            .header(Name::Allow, &identity.allow);
    }
    if !identity.user_agent.is_empty() {
        writer = writer.header(Name::UserAgent, &identity.user_agent);
    }
    for (name, value) in &draft.headers {
        writer = writer.header(Name::parse(name), value);
    }
    if let Some(body) = &draft.body {
        let content_type = std::str::from_utf8(&body.content_type).unwrap_or("application/octet-stream");
        writer = writer.body(content_type, &body.data);
    }
    writer.finish()
}

//! A binding: one contact of an address of record.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::SentBy;
use b2b_sip::endpoint::{Flow, FlowId, Transport};
use b2b_sip::msg::Uri;

/// Names a binding for its life; never used twice, restarts included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingId(pub u64);

/// The way that a REGISTER came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingFlow {
    pub transport: Transport,
    /// Where it reached us.
    pub local: SocketAddr,
    /// Where it came from: `received` and `rport`.
    pub remote: SocketAddr,
    /// `None` after a restart: over UDP any socket of ours at `local` will do, a
    /// connection is gone.
    pub id: Option<FlowId>,
}

impl From<&Flow> for BindingFlow {
    fn from(flow: &Flow) -> Self {
        BindingFlow { transport: flow.transport, local: flow.local, remote: flow.remote, id: Some(flow.id) }
    }
}

impl BindingFlow {
    /// The flow, if it was seen since the start.
    pub fn flow(&self) -> Option<Flow> {
        let BindingFlow { transport, local, remote, id } = *self;
        id.map(|id| Flow { transport, local, remote, id })
    }

    /// The other end as a URI, `sip:192.0.2.1:5062;transport=udp`: where to send to
    /// when the flow itself is gone.
    pub fn remote_uri(&self) -> String {
        let transport = self.transport.as_str().to_ascii_lowercase();
        format!("sip:{};transport={transport}", self.remote)
    }
}

/// What is known of one contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub id: BindingId,
    /// The contact URI as it came: the Request-URI of a call to it.
    pub contact: Box<[u8]>,
    /// Contact parameters other than `expires`, with their semicolons.
    pub params: Box<[u8]>,
    /// Preference in thousandths, 0 to 1000; 1000 if the phone says nothing.
    pub q: u16,
    /// The binding is gone from this moment on.
    pub expires: Instant,
    /// Call-ID and CSeq of the last REGISTER for it (§10.3 step 7).
    pub call_id: Box<[u8]>,
    pub cseq: u32,
    /// `Path` of the REGISTER (RFC 3327), a list as in a Route: the preloaded route
    /// set of a call. Empty: none.
    pub path: Box<[u8]>,
    pub flow: BindingFlow,
    /// Where the phone sends from: `flow.remote`, or what a named proxy saw.
    pub source: SocketAddr,
    /// What the REGISTER's Vias said next to where it came from.
    pub sent_by: SentBy,
    /// `+sip.instance` (RFC 5626), quotes and brackets included.
    pub instance: Option<Box<[u8]>>,
    /// `reg-id` (RFC 5626): which of the phone's flows this is.
    pub reg_id: Option<u32>,
    /// `User-Agent`, cut to 128 bytes, for people.
    pub user_agent: Box<str>,
}

impl Binding {
    /// The contact URI.
    pub fn uri(&self) -> Option<Uri<'_>> {
        Uri::parse(&self.contact).ok()
    }

    /// The contact URI as text; other bytes than UTF-8 are replaced.
    pub fn contact_str(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.contact)
    }

    /// The host of the contact URI, if it is an address.
    pub fn contact_ip(&self) -> Option<IpAddr> {
        self.uri()?.host?.ip()
    }

    /// Whether the contact names another host than the phone sends from: it does not know
    /// its own public address.
    pub fn behind_nat(&self) -> bool {
        self.contact_ip().is_none_or(|ip| ip.to_canonical() != self.source.ip().to_canonical())
    }

    /// How long it has to live.
    pub fn remaining(&self, now: Instant) -> Duration {
        self.expires.saturating_duration_since(now)
    }
}

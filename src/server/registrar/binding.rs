//! A binding: one contact of an address of record.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::SentBy;
use b2b_sip::endpoint::{Flow, FlowId, Transport};
use b2b_sip::msg::Uri;

/// Identifies a binding for its lifetime; never reused, not even after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingId(pub u64);

/// The flow that a REGISTER came over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingFlow {
    pub transport: Transport,
    /// Our address that it reached.
    pub local: SocketAddr,
    /// Its source address: `received` and `rport`.
    pub remote: SocketAddr,
    /// `None` after a restart: over UDP any socket of ours at `local` will do; a connection is lost.
    pub id: Option<FlowId>,
}

impl From<&Flow> for BindingFlow {
    fn from(flow: &Flow) -> Self {
        BindingFlow { transport: flow.transport, local: flow.local, remote: flow.remote, id: Some(flow.id) }
    }
}

impl BindingFlow {
    /// The flow, if it has been seen since the start.
    pub fn flow(&self) -> Option<Flow> {
        let BindingFlow { transport, local, remote, id } = *self;
        id.map(|id| Flow { transport, local, remote, id })
    }

    /// Whether it is this flow; of one of an earlier process, as far as is known.
    pub fn may_be(&self, flow: &Flow) -> bool {
        let is_same = (self.transport, self.remote) == (flow.transport, flow.remote);
        is_same && self.id.is_none_or(|id| id == flow.id)
    }

    /// The remote end as a URI, `sip:192.0.2.1:5062;transport=udp`: the destination when the flow itself is
    /// lost.
    pub fn remote_uri(&self) -> String {
        let transport = self.transport.as_str().to_ascii_lowercase();
        format!("sip:{};transport={transport}", self.remote)
    }
}

/// The properties of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub id: BindingId,
    /// The contact URI as received: the Request-URI of a call to it.
    pub contact: Box<[u8]>,
    /// Contact parameters other than `expires`, with their semicolons.
    pub params: Box<[u8]>,
    /// Preference in thousandths, 0 to 1000; 1000 if the phone gives none.
    pub q: u16,
    /// When the binding expires.
    pub expires: Instant,
    /// Call-ID and CSeq of the last REGISTER for it (§10.3 step 7).
    pub call_id: Box<[u8]>,
    pub cseq: u32,
    /// `Path` of the REGISTER (RFC 3327), a list as in a Route: the preloaded route set of a call; empty if
    /// there is none.
    pub path: Box<[u8]>,
    pub flow: BindingFlow,
    /// The address the phone sends from: `flow.remote`, or the one that a listed proxy saw.
    pub source: SocketAddr,
    /// What the REGISTER's Vias say, compared with its source address.
    pub sent_by: SentBy,
    /// `+sip.instance` (RFC 5626), quotes and brackets included.
    pub instance: Option<Box<[u8]>>,
    /// `reg-id` (RFC 5626): identifies one of the phone's flows.
    pub reg_id: Option<u32>,
    /// `User-Agent`, cut to 128 octets, for display.
    pub user_agent: Box<str>,
}

impl Binding {
    /// The contact URI.
    pub fn uri(&self) -> Option<Uri<'_>> {
        Uri::parse(&self.contact).ok()
    }

    /// The contact URI as text; invalid UTF-8 is replaced.
    pub fn contact_str(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.contact)
    }

    /// The host of the contact URI, if it is an address.
    pub fn contact_ip(&self) -> Option<IpAddr> {
        self.uri()?.host?.ip()
    }

    /// Whether the contact names another host than the phone sends from, so that the phone does not know its
    /// own public address.
    pub fn behind_nat(&self) -> bool {
        self.contact_ip().is_none_or(|ip| ip.to_canonical() != self.source.ip().to_canonical())
    }

    /// Whether it was reached by a connection that is gone.
    pub fn is_lost(&self, is_open: &dyn Fn(&Flow) -> bool) -> bool {
        let direct = self.sent_by != SentBy::Proxy && self.flow.transport.is_reliable();
        direct && !self.flow.flow().is_some_and(|flow| is_open(&flow))
    }

    /// Whether it was reached by a connection of an earlier process.
    pub fn is_of_before(&self) -> bool {
        self.sent_by != SentBy::Proxy && self.flow.transport.is_reliable() && self.flow.id.is_none()
    }

    /// Time until it expires.
    pub fn remaining(&self, now: Instant) -> Duration {
        self.expires.saturating_duration_since(now)
    }
}

//! The flow of a registration (RFC 5626): header fields of REGISTER, and the keep-alive
//! interval.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::msg::{Name, Response, Transport};

/// Default for the maximum silence on a connection (RFC 5626 §4.4.1): keep-alives every 95 to
/// 120 s.
const CONNECTION: Duration = Duration::from_secs(120);
/// The same for UDP, whose NAT bindings expire sooner (RFC 5626 §4.4.2): every 24 to 29 s.
const UDP: Duration = Duration::from_secs(29);
/// Lower bound of the interval, whatever the registrar asks for.
const LEAST: Duration = Duration::from_secs(5);

/// A flow that a registrar accepted for outbound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboundFlow {
    /// Silence after which the registrar considers the flow dead; `None` if not stated.
    pub timer: Option<Duration>,
}

impl OutboundFlow {
    /// The flow accepted in a 2xx to REGISTER; `None` for an ordinary registration (RFC 5626
    /// §4.2.1).
    pub(super) fn of(response: &Response) -> Option<Self> {
        let timer = response.seconds(Name::parse(b"Flow-Timer"));
        let timer = timer.map(|it| Duration::from_secs(u64::from(it)));
        response.has_token(Name::Require, "outbound").then_some(OutboundFlow { timer })
    }

    /// The maximum silence on the flow: the registrar's limit less a tenth, at most 10 s, as
    /// a margin for the keep-alive.
    pub fn every(self, transport: Transport) -> Duration {
        let usual = if transport.is_reliable() { CONNECTION } else { UDP };
        let Some(timer) = self.timer else { return usual };
        let asked = timer.saturating_sub((timer / 10).min(Duration::from_secs(10))).max(LEAST);
        if transport.is_reliable() { asked } else { asked.min(usual) }
    }
}

/// The header field and Contact parameters by which REGISTER asks for such a flow. There is
/// one flow, because there is one address of ours (RFC 5626 §4.2.1).
pub(super) fn asks(instance: &Arc<str>) -> ((Bytes, Bytes), Bytes) {
    let supported = (Bytes::from_static(b"Supported"), Bytes::from_static(b"path, outbound"));
    (supported, format!(";reg-id=1;+sip.instance=\"<{instance}>\"").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg::{Limits, Message};

    fn of(fields: &str) -> Option<OutboundFlow> {
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n\
             Call-ID: 1\r\nCSeq: 1 REGISTER\r\n{fields}Content-Length: 0\r\n\r\n"
        );
        match Message::parse(text.into(), &Limits::default()) {
            Ok(Message::Response(response)) => OutboundFlow::of(&response),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_registrar_that_requires_outbound_has_granted_it() {
        let seconds = |it| Some(OutboundFlow { timer: Some(Duration::from_secs(it)) });
        assert_eq!(of(""), None);
        assert_eq!(of("Supported: outbound\r\nFlow-Timer: 60\r\n"), None);
        assert_eq!(of("Require: outbound\r\n"), Some(OutboundFlow { timer: None }));
        assert_eq!(of("Require: path, Outbound\r\nflow-timer: 60\r\n"), seconds(60));
        assert_eq!(of("Require: outbound\r\nFlow-Timer: soon\r\n"), Some(OutboundFlow { timer: None }));
    }

    #[test]
    fn the_registrar_hears_of_us_before_its_patience_is_over_and_a_nat_before_it_forgets() {
        let every = |timer: Option<u64>, transport| {
            OutboundFlow { timer: timer.map(Duration::from_secs) }.every(transport).as_secs()
        };
        assert_eq!(
            [None, Some(60), Some(600), Some(0)].map(|it| every(it, Transport::Tls)),
            [120, 54, 590, 5]
        );
        assert_eq!([None, Some(20), Some(600), Some(1)].map(|it| every(it, Transport::Udp)), [29, 18, 29, 5]);
    }
}

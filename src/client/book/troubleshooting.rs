//! What goes wrong, how it looks, and what to do.
//!
//! First look at three things: the text of the error or of
//! [`EndCause`](crate::client::EndCause), which says what to do next;
//! [`sip_trace`](crate::client::ClientBuilder::sip_trace), a file with every SIP message, or
//! [`call_logs`](crate::client::ClientBuilder::call_logs), a file for each call with its events and
//! counters beside them; and
//! [`Call::quality`](crate::client::Call::quality).
//!
//! # It does not start
//!
//! - *`cannot bind`*: another program has the port, or the address is not of this machine. Leave
//!   [`bind`](crate::client::ClientBuilder::bind) out for any free port.
//! - *[`BuildError`](crate::client::BuildError)*: every mistake of the builder, each with its remedy.
//!
//! # It does not register
//!
//! - *wrong password* (401 or 407 again, 403): the client stops trying, since most servers lock
//!   an account after some attempts. Mend it and call
//!   [`register`](crate::client::SipClient::register). The user of the credentials need not be
//!   that of the identity.
//! - *certificate not trusted*: the server's authority is not the system's. Name its file with
//!   [`Tls::ca_file`](crate::client::Tls::ca_file). The name in the certificate has to be the host of
//!   the URI.
//! - *nobody answers*: it tries again, ever later, and at once when a connection comes up. Look at
//!   the address, the transport, a firewall.
//!
//! # A call fails
//!
//! - *408 or 503*: nobody answered, or nobody listens there. *404*: no such user. *486, 600*: busy.
//! - *488, 606*: no common codec, or one side insists on SRTP
//!   ([`srtp`](crate::client::ClientBuilder::srtp)).
//! - *480 on calls that come*: the program has no
//!   [`incoming`](crate::client::SipClient::incoming) stream. *486*: it does not take the calls that
//!   wait, or has as many as `max_calls` says.
//!
//! # Nothing is heard
//!
//! - [`ClientEvent::MediaStarted`](crate::client::ClientEvent::MediaStarted) never comes: RTP does
//!   not arrive. The far end may send to the address in our SDP, which is that of
//!   [`bind`](crate::client::ClientBuilder::bind): a private address behind a NAT does not reach
//!   others. There is no ICE; a server that relays media helps, such as `b2b --role b2bua`.
//! - It comes, and [`Quality::heard_dbfs`](crate::client::Quality::heard_dbfs) is `None`: the far
//!   end sends silence, or is muted, or holds us
//!   ([`ClientEvent::Held`](crate::client::ClientEvent::Held)).
//! - They hear nothing: nothing is played or written; an empty ring is silence.
//!
//! # It sounds bad
//!
//! - `late` grows: packets come, but too late. A larger
//!   [`jitter_ms`](crate::client::ClientBuilder::jitter_ms) helps; the buffer grows by itself, too.
//! - `lost` grows: the network drops them.
//!   [`ClientEvent::Recovery`](crate::client::ClientEvent::Recovery) says what is done about it. Opus
//!   takes loss best.
//! - [`underruns`](crate::client::Outgoing::underruns) grows: the program writes too slowly; write
//!   further ahead. [`overruns`](crate::client::Incoming::overruns) grows: it reads too slowly.
//! - Echo: [`softphone`](crate::client::ClientBuilder::softphone) or
//!   [`processing`](crate::client::ClientBuilder::processing) cancels it.
//!
//! # A call ends by itself
//!
//! - *no RTP came for too long*: after
//!   [`rtp_timeout`](crate::client::ClientBuilder::rtp_timeout) (60 s).
//! - *the session was not refreshed*: the far end wants session timers (RFC 4028) and has gone.
//!
//! # Events are missing
//!
//! [`ClientEvent::Lost`](crate::client::ClientEvent::Lost) counts them: the reader is slow. Subscribe
//! before the call is made: a stream begins with what happens after it.

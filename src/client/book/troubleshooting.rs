//! Problems, their symptoms, and remedies.
//!
//! First look at three things: the text of the error or of
//! [`EndCause`](crate::EndCause), which says what to do next;
//! [`sip_trace`](crate::ClientBuilder::sip_trace), a file with every SIP message, or
//! [`call_logs`](crate::ClientBuilder::call_logs), a file for each call with its events and
//! counters beside them; and
//! [`Call::quality`](crate::Call::quality).
//!
//! # It does not start
//!
//! - *`cannot bind`*: another program has the port, or the address is not of this machine. Leave
//!   [`bind`](crate::ClientBuilder::bind) out for any free port.
//! - *[`BuildError`](crate::BuildError)*: every mistake of the builder, each with its remedy.
//!
//! # It does not register
//!
//! - *wrong password* (401 or 407 again, 403): the client stops trying, since most servers lock
//!   an account after some attempts. Mend it and call
//!   [`register`](crate::SipClient::register). The user of the credentials need not be
//!   that of the identity.
//! - *certificate not trusted*: the server's authority is not the system's. Name its file with
//!   [`Tls::ca_file`](crate::Tls::ca_file). The name in the certificate has to be the host of
//!   the URI.
//! - *nobody answers*: it tries again, ever later, and at once when a connection comes up. Look at
//!   the address, the transport, a firewall.
//!
//! # A call fails
//!
//! - *408 or 503*: nobody answered, or nobody listens there. *404*: no such user. *486, 600*: busy.
//! - *488, 606*: no common codec, or one side insists on SRTP
//!   ([`srtp`](crate::ClientBuilder::srtp)).
//! - *480 on calls that come*: the program has no
//!   [`incoming`](crate::SipClient::incoming) stream. *486*: it does not take the calls that
//!   wait, or has as many as `max_calls` says.
//!
//! # Nothing is heard
//!
//! - [`ClientEvent::MediaStarted`](crate::ClientEvent::MediaStarted) never comes: RTP does
//!   not arrive. The far end may send to the address in our SDP, which is that of
//!   [`bind`](crate::ClientBuilder::bind): a private address behind a NAT does not reach
//!   others. There is no ICE; a server that relays media helps, such as `b2b --role b2bua`.
//! - It comes, and [`Quality::heard_dbfs`](crate::Quality::heard_dbfs) is `None`: the far
//!   end sends silence, or is muted, or holds us
//!   ([`ClientEvent::Held`](crate::ClientEvent::Held)).
//! - They hear nothing: nothing is played or written; an empty ring is silence.
//!
//! # The loudspeaker is silent, or the microphone
//!
//! - [`ClientEvent::Device`](crate::ClientEvent::Device) says what is wrong with a device and whether
//!   another one is used. *no sound devices*: install alsa-utils (`arecord` **and** `aplay` have to be
//!   in the path), or build with the feature `devices`.
//! - No such event: the client has no devices. [`SipClient::new`](crate::SipClient::new) and the
//!   presets [`softphone`](crate::ClientBuilder::softphone) and
//!   [`agent`](crate::ClientBuilder::agent) have them, the builder by itself has none. The call may be
//!   muted or held by us, too, or a source or sink of the program's own is in their place.
//! - The wrong device: [`Devices::list`](crate::Devices::list) names all,
//!   [`use_microphone`](crate::SipClient::use_microphone) and
//!   [`use_loudspeaker`](crate::SipClient::use_loudspeaker) take another one in a call.
//! - [`ClientEvent::Audio`](crate::ClientEvent::Audio): a file is gone, or a processor is too slow.
//!
//! # Calls stop coming after a while
//!
//! - A NAT on the way has forgotten this client. Over UDP it is reminded every half a minute
//!   ([`keep_alive`](crate::ClientBuilder::keep_alive)); where that is not enough, a shorter time helps,
//!   or TCP ([`transport`](crate::ClientBuilder::transport)), whose connections NATs keep longer. With an
//!   [`instance`](crate::ClientBuilder::instance) a registrar that knows RFC 5626 is asked whether the way is
//!   still there, and the client registers again when it is not.
//! - The registrar sends calls to the contact that it was told, which is a private address behind a NAT:
//!   it has to send them back to where the registration came from, as most do if they are told that
//!   clients are behind NATs.
//!
//! # It sounds bad
//!
//! - `late` grows: packets come, but too late. A larger
//!   [`jitter_ms`](crate::ClientBuilder::jitter_ms) helps; the buffer grows by itself, too.
//! - `lost` grows: the network drops them.
//!   [`ClientEvent::Recovery`](crate::ClientEvent::Recovery) says what is done about it. Opus
//!   takes loss best.
//! - [`underruns`](crate::Outgoing::underruns) grows: the program writes too slowly; write
//!   further ahead. [`overruns`](crate::Incoming::overruns) grows: it reads too slowly.
//! - Echo: [`softphone`](crate::ClientBuilder::softphone) or
//!   `processing` cancels it, both with the feature `processing` only: without it the presets have no
//!   cancellation.
//!
//! # A call ends by itself
//!
//! - *no RTP came for too long*: after
//!   [`rtp_timeout`](crate::ClientBuilder::rtp_timeout) (60 s).
//! - *the session was not refreshed*: the far end wants session timers (RFC 4028) and has gone.
//!
//! # Events are missing
//!
//! [`ClientEvent::Lost`](crate::ClientEvent::Lost) counts them: the reader is slow. Subscribe
//! before the call is made: a stream begins with what happens after it.

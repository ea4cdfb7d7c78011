//! Problems, their symptoms, and remedies.
//!
//! Three places to look first: the text of the error or of [`EndCause`](crate::EndCause), which says what to
//! do next; [`sip_trace`](crate::ClientBuilder::sip_trace), a file with every SIP message, or
//! [`call_logs`](crate::ClientBuilder::call_logs), one file per call with its messages, events and counters;
//! and [`Call::quality`](crate::Call::quality).
//!
//! # It does not start
//!
//! - *`cannot bind`*: another program uses the port, or the address does not belong to this machine. Leave
//!   [`bind`](crate::ClientBuilder::bind) out for any free port.
//! - *[`BuildError`](crate::BuildError)*: lists every mistake in the builder's settings, each with its
//!   remedy.
//!
//! # It does not register
//!
//! - *wrong password* (repeated 401 or 407, or 403): the client stops trying, since most servers lock an
//!   account after several attempts. Correct it and call [`register`](crate::SipClient::register). The user
//!   name of the credentials may differ from that of the identity.
//! - *certificate not trusted*: the server's authority is not among the system's. Give its file to
//!   [`Tls::ca_file`](crate::Tls::ca_file). The name in the certificate must be the host of the URI.
//! - *no response*: the client retries with growing delays, and at once when a connection comes up. Check
//!   the address, the transport and any firewall.
//!
//! # A call fails
//!
//! - *408 or 503*: the target did not answer, or no server listens there. *404*: no such user. *486, 600*:
//!   busy.
//! - *488, 606*: there is no common codec, or one side requires SRTP ([`srtp`](crate::ClientBuilder::srtp)).
//! - *480 on incoming calls*: the program has no [`incoming`](crate::SipClient::incoming) stream. *486*: it
//!   does not take the waiting calls, or `max_calls` is reached.
//!
//! # There is no audio
//!
//! - [`ClientEvent::MediaStarted`](crate::ClientEvent::MediaStarted) never arrives: no RTP is received. The
//!   far end may send to the address in our SDP, which is that of [`bind`](crate::ClientBuilder::bind); a
//!   private address behind a NAT cannot be reached from outside. There is no ICE; a server that relays media
//!   helps, such as `b2b --role b2bua`.
//! - It arrives, but [`Quality::heard_dbfs`](crate::Quality::heard_dbfs) is `None`: the far end sends
//!   silence, is muted, or has put us on hold ([`ClientEvent::Held`](crate::ClientEvent::Held)).
//! - The far end hears nothing: the program neither plays nor writes audio; an empty ring sends silence.
//!
//! # The loudspeaker or the microphone is silent
//!
//! - [`ClientEvent::Device`](crate::ClientEvent::Device) reports the problem of a device and whether another
//!   one is used. *no sound devices*: install alsa-utils (`arecord` **and** `aplay` must be in the path), or
//!   build with the feature `devices`.
//! - No such event: the client has no devices. [`SipClient::new`](crate::SipClient::new) and the presets
//!   [`softphone`](crate::ClientBuilder::softphone) and [`agent`](crate::ClientBuilder::agent) set them, the
//!   builder alone does not. The call may also be muted or on hold, or the program's own source or sink may
//!   replace the device.
//! - The wrong device: [`Devices::list`](crate::Devices::list) returns all names,
//!   [`use_microphone`](crate::SipClient::use_microphone) and
//!   [`use_loudspeaker`](crate::SipClient::use_loudspeaker) change the device during a call.
//! - [`ClientEvent::Audio`](crate::ClientEvent::Audio): a file cannot be read, or a processor is too slow.
//!
//! # Incoming calls stop after a while
//!
//! - A NAT on the path dropped its binding. Over UDP the client sends keep-alives every half minute
//!   ([`keep_alive`](crate::ClientBuilder::keep_alive)); if that is too rare, use a shorter interval, or TCP
//!   ([`transport`](crate::ClientBuilder::transport)), whose bindings NATs keep longer. With an
//!   [`instance`](crate::ClientBuilder::instance) and a registrar that supports RFC 5626, the client checks
//!   that the flow is alive and registers again when it is not.
//! - The registrar sends calls to the registered contact, which is a private address behind a NAT. It must
//!   send them to the source address of the registration instead; most registrars do so when configured for
//!   clients behind NAT.
//!
//! # The audio is bad
//!
//! - `late` grows: packets arrive too late. A larger [`jitter_ms`](crate::ClientBuilder::jitter_ms) helps;
//!   the buffer also grows by itself.
//! - `lost` grows: the network drops packets. [`ClientEvent::Recovery`](crate::ClientEvent::Recovery) reports
//!   the reaction. Opus tolerates loss best.
//! - [`underruns`](crate::Outgoing::underruns) grows: the program writes too slowly and must write further
//!   ahead. [`overruns`](crate::Incoming::overruns) grows: it reads too slowly.
//! - Echo: [`softphone`](crate::ClientBuilder::softphone) or `processing` cancels it, both only with the
//!   feature `processing`; without it the presets have no echo cancellation.
//!
//! # A call ends by itself
//!
//! - *no RTP came for too long*: after
//!   [`rtp_timeout`](crate::ClientBuilder::rtp_timeout) (60 s). RTCP of a
//!   party that has sent RTP before counts too.
//! - *the session was not refreshed*: the far end requested session timers (RFC 4028) and stopped responding.
//!
//! # Events are missing
//!
//! [`ClientEvent::Lost`](crate::ClientEvent::Lost) counts them: the reader is too slow. Subscribe before
//! making the call: a stream contains only later events.

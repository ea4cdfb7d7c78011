"""The scenarios: rows of the table. A peer has a method for each one that it supports.

Names: `in`: the peer calls; `out`: it is called; `by-peer`: the peer does it; `of-peer`: it is done to the peer.
"""

import collections

Scenario = collections.namedtuple("Scenario", "name title quick method")


def _row(name, title, quick=True):
    return Scenario(name, title, quick, name.replace("-", "_"))


ALL = [
    _row("register-udp", "the peer registers at b2b, UDP"),
    _row("register-tcp", "the same, TCP", quick=False),
    _row("register-tls", "the same, TLS, certificate checked"),
    _row("register-there", "b2b registers at the peer, with digest authentication"),
    _row("call-in", "call from the peer, tones both ways"),
    _row("call-out", "call to the peer, tones both ways"),
    _row("call-tls", "call from the peer over TLS", quick=False),
    _row("early-out", "early media of the peer", quick=False),
    _row("hold-by-peer", "hold and resume by the peer"),
    _row("hold-of-peer", "the peer is held and resumed (`transparent`)", quick=False),
    _row("transfer-by-peer", "blind transfer (REFER) by the peer"),
    _row("transfer-of-peer", "the peer is transferred"),
    _row("attended-by-peer", "attended transfer (REFER with Replaces) by the peer"),
    _row("attended-of-peer", "the peer is held, then connected to the consulted party", quick=False),
    _row("attended-to-peer", "the peer is consulted, then connected to the held party", quick=False),
    _row("redirect-out", "302 from the peer"),
    _row("glare", "491 from the peer to a crossing re-INVITE", quick=False),
    _row("dtmf-in", "digits from the peer, RFC 4733"),
    _row("dtmf-out", "digits to the peer, RFC 4733"),
    _row("info-in", "digits from the peer by INFO"),
    _row("info-out", "digits to a peer that supports INFO only"),
    _row("inband-in", "digits from a peer that supports in-band tones only"),
    _row("inband-out", "digits to a peer that supports in-band tones only"),
    _row("codec-in", "no common codec, call from the peer: transcoded", quick=False),
    _row("codec-out", "no common codec, call to the peer: transcoded", quick=False),
    _row("codec-change", "another codec by re-INVITE from the peer, then transcoded", quick=False),
    _row("cancel-by-peer", "CANCEL by the peer"),
    _row("cancel-of-peer", "CANCEL to the peer"),
    _row("cancel-race-in", "CANCEL from the peer crosses the 200 to it"),
    _row("cancel-race-out", "a 200 from the peer crosses the CANCEL to it"),
    _row("busy-in", "the peer receives 486"),
    _row("busy-out", "the peer is busy"),
    _row("timers", "session timers, refreshed after 45 s", quick=False),
    _row("timers-422", "a session interval below the minimum: 422, Min-SE"),
    _row("prack-in", "100rel required by the peer as caller (RFC 3262)"),
    _row("prack-out", "100rel required by the peer as callee"),
    _row("delayed-in", "delayed offer from the peer"),
    _row("long-call", "a call of 70 s during which the peer registers again", quick=False),
    _row("srtp-in", "SRTP (SDES) from the peer, RTP on the other side"),
    _row("srtp-out", "SRTP (SDES) to a peer that supports it, RTP on the other side"),
    _row("srtp-must-in", "call from a peer that requires SRTP", quick=False),
    _row("srtp-must-out", "call to a peer that requires SRTP"),
    _row("nat-in", "call from a peer behind source NAT"),
    _row("nat-out", "call to a peer behind source NAT", quick=False),
    _row("edge-in", "call from a peer behind a Kamailio edge (Path)"),
    _row("edge-out", "call to a peer behind a Kamailio edge (Path)", quick=False),
    _row("srv-in-call", "the first server of an SRV set stops during a call", quick=False),
    _row("srv-next-call", "the first server of an SRV set stops responding between calls", quick=False),
    _row("hops-in", "call from a carrier whose Record-Route contains a hop that only the carrier can reach"),
    _row("media-elsewhere", "media from the peer has another source address than its SDP"),
    _row("ipv6-in", "call from the peer over IPv6"),
    _row("ipv6-out", "call to the peer over IPv6", quick=False),
    _row("by-the-book", "the configuration in docs/asterisk.md and docs/kamailio.md, calls both ways", quick=False),
    _row("load-by-the-book", "`b2b --role load` through the peer (Kamailio: with rtpengine), as in docs/load.md"),
    _row("connected-line", "the peer reports a new identity (connected line) right after the answer", quick=False),
    _row("direct", "re-INVITEs from the peer for direct media, on both legs of a call"),
    _row("scan", "a scan for servers, users and passwords finds nothing and disrupts no call"),
    _row("crowd", "100 phones behind one address", quick=False),
]
BY_NAME = {it.name: it for it in ALL}

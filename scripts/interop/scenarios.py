"""The scenarios: rows of the table. A peer has a method for each that it supports.

`in`: the peer calls; `out`: it is called; `by the peer`, `of the peer`: it acts, or is acted on.
"""

import collections

Scenario = collections.namedtuple("Scenario", "name title quick method")


def _row(name, title, quick=True):
    return Scenario(name, title, quick, name.replace("-", "_"))


ALL = [
    _row("register-udp", "the peer registers at b2b, UDP"),
    _row("register-tcp", "the same, TCP", quick=False),
    _row("register-tls", "the same, TLS, certificate checked"),
    _row("register-there", "b2b registers at the peer, with digest"),
    _row("call-in", "call by the peer, tones both ways"),
    _row("call-out", "call to the peer, tones both ways"),
    _row("call-tls", "call by the peer over TLS", quick=False),
    _row("early-out", "early media of the peer", quick=False),
    _row("hold-by-peer", "hold and resume by the peer"),
    _row("hold-of-peer", "the peer is held and resumed (`transparent`)", quick=False),
    _row("transfer-by-peer", "blind transfer (REFER) by the peer"),
    _row("transfer-of-peer", "the peer is transferred"),
    _row("attended-by-peer", "attended transfer (REFER with Replaces) by the peer"),
    _row("attended-of-peer", "the peer is held, and joined with who was asked", quick=False),
    _row("attended-to-peer", "the peer is asked, and joined with who was held", quick=False),
    _row("redirect-out", "302 by the peer"),
    _row("glare", "491 by the peer to a re-INVITE that crosses", quick=False),
    _row("dtmf-in", "digits of the peer, RFC 4733"),
    _row("dtmf-out", "digits to the peer, RFC 4733"),
    _row("info-in", "digits of the peer by INFO"),
    _row("info-out", "digits to a peer that takes INFO only"),
    _row("inband-in", "digits of a peer that has tones only"),
    _row("inband-out", "digits to a peer that has tones only"),
    _row("codec-in", "no common codec, call by the peer: transcoded", quick=False),
    _row("codec-out", "no common codec, call to the peer: transcoded", quick=False),
    _row("codec-change", "another codec by re-INVITE of the peer, transcoded from then on", quick=False),
    _row("cancel-by-peer", "CANCEL by the peer"),
    _row("cancel-of-peer", "CANCEL to the peer"),
    _row("cancel-race-in", "CANCEL by the peer crosses the 200 to it"),
    _row("cancel-race-out", "a 200 of the peer crosses the CANCEL to it"),
    _row("busy-in", "the peer hears 486"),
    _row("busy-out", "the peer is busy"),
    _row("timers", "session timers, refreshed after 45 s", quick=False),
    _row("timers-422", "a session interval that is too short: 422, Min-SE"),
    _row("prack-in", "100rel required by the peer that calls (RFC 3262)"),
    _row("prack-out", "100rel required by the peer that is called"),
    _row("delayed-in", "delayed offer by the peer"),
    _row("long-call", "a call of 70 s in which the peer registers again", quick=False),
    _row("srtp-in", "SRTP (SDES) by the peer, plain far side"),
    _row("srtp-out", "SRTP (SDES) to a peer that can, plain far side"),
    _row("srtp-must-in", "call by a peer that demands SRTP", quick=False),
    _row("srtp-must-out", "call to a peer that demands SRTP"),
    _row("nat-in", "call by a peer behind source NAT"),
    _row("nat-out", "call to a peer behind source NAT", quick=False),
    _row("edge-in", "call by a peer behind a Kamailio edge (Path)"),
    _row("edge-out", "call to a peer behind a Kamailio edge (Path)", quick=False),
    _row("srv-in-call", "the first server of an SRV set ends in a call", quick=False),
    _row("srv-next-call", "the first server of an SRV set falls silent between calls", quick=False),
    _row("hops-in", "call by a carrier whose Record-Route has a hop that only it reaches"),
    _row("media-elsewhere", "media of the peer come from another address than its SDP names"),
    _row("ipv6-in", "call by the peer over IPv6"),
    _row("ipv6-out", "call to the peer over IPv6", quick=False),
    _row("by-the-book", "as docs/asterisk.md and docs/kamailio.md say, calls both ways", quick=False),
    _row("load-by-the-book", "`b2b --role load` through the peer (Kamailio: with rtpengine) as docs/load.md says"),
    _row("connected-line", "the peer says right after the answer that it is somebody else", quick=False),
    _row("direct", "re-INVITEs of the peer's direct media, both legs of a call"),
    _row("scan", "who looks for servers, users and passwords finds none, and stops nobody"),
    _row("crowd", "100 phones behind one address", quick=False),
]
BY_NAME = {it.name: it for it in ALL}

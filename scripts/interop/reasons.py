"""Known reasons of red cells. A red cell without a reason here makes the run fail.

(peer, scenario): text that the result must contain, and what happens and whose fault it is. A cell that
is red for another cause has no reason.
"""

REASONS = {
    ("linphone", "srtp-out"): (
        "an answer with keys: 0 messages",
        "Linphone 5.1 takes `RTP/AVP` with `a=crypto` for plain RTP and answers without keys (it does not do RFC "
        "8643): the call is up and heard, and not encrypted. With `RTP/SAVP` it would be; see `srtp-must-out`.",
    ),
}

REASONS["linphone", "prack-out"] = (
    "200 to PRACK: 0 messages",
    "Linphone 5.1 with `100rel_support_level=2` sends its 180 reliably and answers the PRACK with 501, where RFC 3262 §3 "
    "wants a 2xx; its 200 to the INVITE comes all the same, the call is up and heard both ways. Linphone's.",
)


def of(key, cell):
    """The reason of this red cell; None: unknown."""
    words, reason = REASONS.get(key, ("", None))
    return reason if words in cell.get("why", "") else None

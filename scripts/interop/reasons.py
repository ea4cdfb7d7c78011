"""Known reasons of red cells. A red cell without a reason here makes the run fail.

(peer, scenario): a text that the result must contain, then what happens and which program is at fault. A cell
that is red for another cause has no reason.
"""

REASONS = {
    ("linphone", "srtp-out"): (
        "an answer with keys: 0 messages",
        "Linphone 5.1 treats `RTP/AVP` with `a=crypto` as plain RTP and answers without keys (it does not support RFC "
        "8643): the call has audio, without encryption. With `RTP/SAVP` it is encrypted; see `srtp-must-out`.",
    ),
}

REASONS["linphone", "prack-out"] = (
    "200 to PRACK: 0 messages",
    "Linphone 5.1 with `100rel_support_level=2` sends its 180 reliably and answers the PRACK with 501, where RFC 3262 §3 "
    "requires a 2xx; it still answers the INVITE with 200, and the call has audio both ways. A fault of Linphone.",
)


def of(key, cell):
    """The reason of this red cell; None: unknown."""
    words, reason = REASONS.get(key, ("", None))
    return reason if words in cell.get("why", "") else None

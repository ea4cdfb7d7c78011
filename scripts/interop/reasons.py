"""Why a cell is red, where that is known. A red cell without a reason here makes the run fail.

(peer, scenario): what happens, in which message, and whose fault it is.
"""

MUST = ("b2b offers `RTP/AVP` with `a=crypto` (`media.srtp = \"offered\"`); a phone that demands SRTP takes `RTP/SAVP` only "
        "(RFC 4568) and answers 488. `required` would call it, and refuse every plain phone: b2b has no `srtp` for one user or "
        "gateway, and does not try again with `RTP/SAVP`. b2b's.")

REASONS = {
    ("baresip", "srtp-must-out"): MUST,
    ("linphone", "srtp-must-out"): MUST,
    ("kamailio", "srtp-must-out"): "As of baresip, which is its phone. " + MUST,
    ("linphone", "srtp-out"): (
        "Linphone 5.1 takes `RTP/AVP` with `a=crypto` for plain RTP and answers without keys (RFC 8643 is not its way): the call is up "
        "and heard, and not encrypted. With `RTP/SAVP` it would be: as above, b2b's."),
}

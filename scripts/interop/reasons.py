"""Why a cell is red, where that is known. A red cell without a reason here makes the run fail.

(peer, scenario): what happens, in which message, and who has to mend it.
"""

REASONS = {
}

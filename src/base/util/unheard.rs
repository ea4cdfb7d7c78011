//! Failures that stand for a missing response: they have a status so that they can be passed
//! on, but are not presented as if the peer had sent it.

/// The target could not be resolved, connected to or sent to, or does not exist (503).
pub const UNREACHABLE: &str = "no answer from that address";
/// No response within 64*T1 (408).
pub const SILENT: &str = "no answer in 32 s";
/// It rang, and there was no final response (408).
pub const RANG_OUT: &str = "it rang without an answer";

/// A failure as text.
pub fn in_words(status: u16, reason: &str) -> String {
    match (status, reason) {
        (503, UNREACHABLE) | (408, SILENT | RANG_OUT) => reason.to_owned(),
        _ => format!("{status} {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_where_somebody_has_sent_it() {
        assert_eq!(in_words(503, "Service Unavailable"), "503 Service Unavailable");
        assert_eq!(in_words(503, UNREACHABLE), "no answer from that address");
        assert_eq!(in_words(408, SILENT), "no answer in 32 s");
    }
}

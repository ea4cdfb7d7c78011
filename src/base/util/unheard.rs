//! Failures of requests that nobody has answered: they have a status, so that they can be passed on,
//! and are not told to people as if somebody had sent it.

/// The target could not be resolved, connected to or sent to, or is not there (503).
pub const UNREACHABLE: &str = "no answer from that address";
/// Nothing came back in 64*T1 (408).
pub const SILENT: &str = "no answer in 32 s";
/// It rang, and then nothing came (408).
pub const RANG_OUT: &str = "it rang, and nobody answered";

/// A failure in words.
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

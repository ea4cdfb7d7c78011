//! The type and plane of every kind of event.

use super::{Event, Plane};

/// One row per variant: its name, its `type` in JSON, its plane.
macro_rules! table {
    ($($variant:ident, $word:literal, $plane:ident;)*) => {
        /// Each event `type` in JSON with its plane, in the order of [`Event`].
        pub const KINDS: &[(&str, Plane)] = &[$(($word, Plane::$plane)),*];

        impl Event {
            /// The `type` in JSON.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Event::$variant { .. } => $word,)*
                }
            }

            /// The plane.
            pub fn plane(&self) -> Plane {
                match self {
                    $(Event::$variant { .. } => Plane::$plane,)*
                }
            }
        }

        #[cfg(test)]
        const VARIANTS: &[&str] = &[$(stringify!($variant)),*];
    };
}

table! {
    CallState, "call_state", Sip;
    IllegalEvent, "illegal_event", Sip;
    LegCreated, "leg_created", Sip;
    LegState, "leg_state", Sip;
    CallRefused, "call_refused", Sip;
    BridgeCreated, "bridge_created", Sip;
    BridgeState, "bridge_state", Sip;
    Hold, "hold", Sip;
    OnHold, "on_hold", Sip;
    Lookup, "lookup", Sip;
    LookupFailed, "lookup_failed", Sip;
    Dialling, "dialling", Sip;
    EmergencyCall, "emergency_call", Sip;
    DialFailed, "dial_failed", Sip;
    DialWon, "dial_won", Sip;
    Redirected, "redirected", Sip;
    NotFollowed, "not_followed", Sip;
    NextHop, "next_hop", Sip;
    TransferRequested, "transfer_requested", Sip;
    TransferProgress, "transfer_progress", Sip;
    TransferEnded, "transfer_ended", Sip;
    Registered, "registered", Sip;
    Unregistered, "unregistered", Sip;
    GatewayRegistration, "gateway_registration", Sip;
    GatewayHealth, "gateway_health", Sip;
    AuthenticationFailed, "authentication_failed", Sip;
    Banned, "banned", Sip;
    ProxyNotNamed, "proxy_not_named", Sip;
    MediaNegotiated, "media_negotiated", Media;
    MediaStarted, "media_started", Media;
    MediaSourceChanged, "media_source_changed", Media;
    MediaRefused, "media_refused", Media;
    MediaWithheld, "media_withheld", Media;
    MediaReplayed, "media_replayed", Media;
    MediaTimeout, "media_timeout", Media;
    Digit, "digit", Media;
    Quality, "quality", Media;
    Verdict, "verdict", Media;
    Recording, "recording", Media;
    Playback, "playback", Media;
    Info, "info", Sip;
    HandlerStarted, "handler_started", Application;
    HandlerEnded, "handler_ended", Application;
    HandlerFailed, "handler_failed", Application;
    Application, "application", Application;
    CommandCompleted, "command_completed", Application;
    CommandFailed, "command_failed", Application;
    Listening, "listening", System;
    AddressSeen, "address_seen", System;
    Reloaded, "reloaded", System;
    Draining, "draining", System;
    Overload, "overload", System;
    Error, "error", System;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_the_word_that_serde_writes() {
        let error = serde_json::from_value::<Event>(serde_json::json!({ "type": "?" })).unwrap_err();
        let known = error.to_string();
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).skip(1).collect();
        let words: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
        assert_eq!(words, known, "{error}");
        let snake = |variant: &str| {
            let small = |c: char| {
                if c.is_ascii_uppercase() { format!("_{}", c.to_ascii_lowercase()) } else { c.into() }
            };
            variant.chars().map(small).collect::<String>().trim_start_matches('_').to_owned()
        };
        assert_eq!(words, VARIANTS.iter().map(|it| snake(it)).collect::<Vec<_>>());
    }
}

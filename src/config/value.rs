//! Values of flags and plan keys of several products: one parser for both. An error states the right format.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use b2b_base::logging::{Color, Format};
use tracing::Level;

use crate::table::Named;

/// The result of parsing a value; the error is a clause for a message.
pub type Read<T> = Result<T, String>;

/// `--sip-bind`: an IP address and a port; port 0 takes a free one.
pub fn sip_bind(text: &str) -> Read<SocketAddr> {
    text.parse().map_err(|_| {
        "not an IP address with a port; write it like 127.0.0.1:5060, [::1]:5060, or with port 0 for any free one"
            .to_string()
    })
}

/// `--target`: a SIP URI. Only its outline is checked here; the UA parses the rest.
pub fn target(text: &str) -> Read<String> {
    let fix = "write it like sip:sink@127.0.0.1:5060";
    let rest = match text.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("sip") => rest,
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("sips") => {
            return Err("the lab has no TLS, so no sips: URI; use sip:".to_string());
        }
        _ => return Err(format!("not a SIP URI; {fix}")),
    };
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("a SIP URI has no spaces; {fix}"));
    }
    let host_port = crate::target::host_port(rest);
    if host_port.is_empty() || host_port.starts_with(':') {
        return Err(format!("the SIP URI names no host; {fix}"));
    }
    let host = crate::target::host(host_port);
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>()
        && address.is_unspecified()
    {
        return Err(format!("{host} is no address to call; name the host itself, {fix}"));
    }
    Ok(text.to_string())
}

/// `--audio-file`, `--wav`, `--plan` and other paths.
pub fn path(text: &str) -> Read<std::path::PathBuf> {
    if text.is_empty() {
        return Err("an empty path; name a file".to_string());
    }
    if text.contains('\0') {
        return Err("a path cannot hold a zero byte".to_string());
    }
    Ok(text.into())
}

/// The formats of log lines.
pub const LOG_FORMATS: Named<Format> =
    Named { refusal: "no such format; choose", values: &[("text", Format::Text), ("json", Format::Json)] };

/// `--log-format`.
pub fn log_format(text: &str) -> Read<Format> {
    LOG_FORMATS.read(text)
}

/// `--color`.
pub fn color(text: &str) -> Read<Color> {
    const COLORS: Named<Color> = Named {
        refusal: "not a choice; choose",
        values: &[("auto", Color::Auto), ("always", Color::Always), ("never", Color::Never)],
    };
    COLORS.read(text)
}

/// The levels of log lines.
pub const LOG_LEVELS: Named<Level> = Named {
    refusal: "no such level; choose",
    values: &[
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ],
};

/// `--log-level`.
pub fn log_level(text: &str) -> Read<Level> {
    LOG_LEVELS.read(text)
}

/// A switch, which a plan sets with `true` or `false`.
pub fn switch(text: &str) -> Read<bool> {
    text.parse().map_err(|_| "neither true nor false".to_string())
}

/// `--explain`, `--from`: a number or name, as in a URI.
pub fn number(text: &str) -> Read<String> {
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control() || "@<>\"".contains(c)) {
        return Err("not a number or user name alone; write it like +442083661177 or 1001".to_string());
    }
    Ok(text.to_string())
}

/// `--identity`, `--call`, `--registrar`, `--proxy`: the outline of a SIP URI; the rest is parsed where it is
/// used.
pub fn sip_uri(text: &str) -> Read<String> {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("sip" | "sips")) || text.chars().any(char::is_whitespace) {
        return Err("not a SIP URI; write it like sip:1001@127.0.0.1:5060".to_string());
    }
    Ok(text.to_string())
}

/// `--source`: an IP address.
pub fn address(text: &str) -> Read<IpAddr> {
    text.parse().map_err(|_| "not an IP address; write it like 192.0.2.7".to_string())
}

/// A whole number in a range.
///
/// # Errors
/// The valid range.
pub fn whole<T>(text: &str, range: RangeInclusive<T>, unit: &str) -> Read<T>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    match text.parse::<T>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("not a whole number from {} to {}{unit}", range.start(), range.end())),
    }
}

/// A number in a range.
///
/// # Errors
/// The valid range.
pub fn number_in(text: &str, range: RangeInclusive<f64>, unit: &str) -> Read<f64> {
    match text.parse::<f64>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("not a number from {} to {}{unit}", range.start(), range.end())),
    }
}

/// `--duration-s`, `--rtp-timeout-s`, `--hangup-after`, `--wait`: seconds, fractions allowed.
pub fn seconds(text: &str) -> Read<f64> {
    number_in(text, 0.1..=86_400.0, " s")
}

/// `--calls`, `--answer`.
pub fn calls(text: &str) -> Read<u32> {
    whole(text, 1..=1_000_000, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_need_a_host_and_the_sip_scheme() {
        for good in
            ["sip:sink@127.0.0.1:5060", "sip:[::1]:5060;transport=tcp", "SIP:a@host", "sip:sink@127.0.0.1:0"]
        {
            assert!(target(good).is_ok(), "{good}");
        }
        for bad in [
            "127.0.0.1:5060",
            "sips:a@b",
            "tel:+44",
            "sip:",
            "sip:a@",
            "sip:a b@c",
            "sip:a@0.0.0.0",
            "sip:[::]:1",
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}

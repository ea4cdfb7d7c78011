//! `[[voice_agent]]`.

use super::header_fields::header_fields;
use super::{name, queue};
use crate::config::Secret;
use crate::config::check::Names;
use crate::config::docs::{SectionDoc, key};
use crate::config::error::ConfigError;
use crate::config::reader::Section;
use b2b_app::voice_agent::{AgentConfig, AgentUrl};

pub const VOICE_AGENT: SectionDoc = SectionDoc {
    name: "voice_agent",
    written: "[[voice_agent]]",
    about: "A program that hears a caller and speaks to him, over a WebSocket: the application `voice_agent/` and its name. See [voice-agents.md](voice-agents.md).",
    keys: &[
        key("name", "text", "", "Its name."),
        key(
            "url",
            "`ws://host:port/path` or `wss://…`",
            "",
            "Where it is. With `wss` its certificate is checked against `tls.authorities`, or the system's.",
        ),
        key("rate_hz", "8000, 16000 or 24000", "16000", "Samples a second of the sound, both ways."),
        key("token", "text", "", "Sent to it as `Authorization: Bearer`."),
        key(
            "headers",
            "table of texts",
            "",
            "Header fields that are sent to it with the request for the WebSocket: `{ X-Api-Key = \"…\" }`. 16 at most.",
        ),
        key(
            "connect_s",
            "1 to 30",
            "5",
            "How long it may take to be there. The caller hears ringing meanwhile.",
        ),
        key("stall_s", "1 to 60", "5", "How long it may neither read nor answer a ping."),
        key(
            "fallback",
            "application or target",
            "",
            "Where a caller goes when it cannot be reached, or is gone in the middle. Without it: refused with 480, or hung up.",
        ),
    ],
};

/// What the WebSocket's own request says (RFC 6455 §4.1).
const OURS: [&str; 5] =
    ["connection", "upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"];

pub(super) fn voice_agent(section: &Section<'_>, names: &Names) -> Result<AgentConfig, ConfigError> {
    let name = name(section)?;
    let url = section.parsed("url", |text| text.parse::<AgentUrl>())?;
    let url =
        url.ok_or_else(|| section.missing("url", "say where it is, like url = \"ws://127.0.0.1:9000/\""))?;
    let usual = AgentConfig::new(name, url);
    let rate_hz = match section.whole("rate_hz", 8_000..=24_000)? {
        None => usual.rate_hz,
        Some(rate) if [8_000, 16_000, 24_000].contains(&rate) => rate as u32,
        Some(rate) => {
            let reason = "choose 8000, 16000 or 24000";
            return Err(section.bad("rate_hz", section.place("rate_hz"), &rate.to_string(), reason));
        }
    };
    let fallback = section.text("fallback")?;
    let config = AgentConfig {
        rate_hz,
        token: section.text_of_secret("token")?.map(Secret::new),
        headers: header_fields(section, &OURS)?,
        connect: section.seconds("connect_s", 1..=30)?.unwrap_or(usual.connect),
        stall: section.seconds("stall_s", 1..=60)?.unwrap_or(usual.stall),
        fallback: fallback.map(|to| queue::way(section, "fallback", &to, names)).transpose()?,
        ..usual
    };
    section.finish();
    Ok(config)
}

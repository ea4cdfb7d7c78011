//! `[[voice_agent]]`.

use super::header_fields::header_fields;
use super::{MayTransfer, file, name, queue};
use crate::names::Names;
use crate::outside::Outside;
use crate::pattern::Pattern;
use crate::texts::NAME;
use crate::{ConfigError, Secret};
use b2b_app::Prompts;
use b2b_app::voice_agent::{AgentConfig, AgentUrl};
use b2b_config::section::Section;
use b2b_config::table::Takes::{self, OneOf, Pairs, Text, Whole};
use b2b_config::table::{Table, any};
use b2b_config::{rows, text, texts};

pub const VOICE_AGENT: Table = Table {
    name: "voice_agent",
    written: "[[voice_agent]]",
    about: "A program that hears a caller and speaks to them, over a WebSocket: the application `voice_agent/` and its name. See [voice-agents.md](voice-agents.md).",
    keys: rows! {
        name: NAME, "Its name.";
        url: text!("`ws://host:port/path`, `wss://…` or `ws+unix:///socket:/path`", str::parse::<AgentUrl>),
            "Its address: over TCP, or a Unix socket of this machine. With `wss` its certificate is checked against `tls.authorities`, or the system's.";
        rate_hz: OneOf(&[8_000, 16_000, 24_000]) => 16000, "The sample rate of the audio, in both directions.";
        frame_ms: OneOf(&[20, 40, 60]) => 20, "Audio per message to it, ms. With 40, b2b and the agent write and read half as many messages, and the audio is 20 ms later.";
        token: Takes::Secret("text"), "Sent to it as `Authorization: Bearer`.";
        headers: Pairs("table of texts"),
            "Header fields of the WebSocket request to it: `{ X-Api-Key = \"…\" }`. 16 at most.";
        connect_s: Whole(1, 30) => 5, "How long connecting may take. The caller hears ringing meanwhile.";
        stall_s: Whole(1, 60) => 20, "How long it may neither read nor answer a ping.";
        calls_per_connection: Whole(1, 500) => 1,
            "Concurrent calls over one WebSocket to it. More than 1 requires the extension of the protocol that tells calls apart; an agent that does not confirm it gets no calls.";
        fallback: Text("application or target", any),
            "The destination of a caller if the agent is unreachable, or disconnects during the call. Without it: refused with 480, or hung up.";
        failed_prompt: Text("file", any),
            "Without `fallback`: played before a caller is hung up because of the agent, below the folder of `[prompts]`.";
        may_transfer: texts!("list of patterns", Pattern::new),
            "Where it may send its caller besides users, groups and applications: patterns on whole targets, `\\+49\\d+` (a number, called through the routes as the caller could), `gateway/carrier/\\+49\\d+`, `sip:[a-z]+@pbx\\.example`.";
    },
};

/// Header fields of the WebSocket's own request (RFC 6455 §4.1); the last one is sent with several calls on a
/// connection.
const OURS: [&str; 6] = [
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
];

pub(super) fn voice_agent(
    section: &Section<'_>,
    prompts: &Prompts,
    outside: &dyn Outside,
    names: &Names,
    may_transfer: &mut MayTransfer,
) -> Result<AgentConfig, ConfigError> {
    let name = name(section)?;
    let reason = "set its address, like url = \"ws://127.0.0.1:9000/\"";
    let url = section.needed("url", str::parse::<AgentUrl>, reason)?;
    may_transfer.read(section, "voice_agent", &name)?;
    let usual = AgentConfig::new(name, url);
    let fallback = section.text("fallback")?;
    let calls_per_connection = section.whole("calls_per_connection")?;
    let ours = if calls_per_connection > 1 { &OURS[..] } else { &OURS[..OURS.len() - 1] };
    let config = AgentConfig {
        rate_hz: section.whole("rate_hz")?,
        frame_ms: section.whole("frame_ms")?,
        token: section.text_of_secret("token")?.map(Secret::new),
        headers: header_fields(section, ours)?,
        connect: section.seconds("connect_s")?,
        stall: section.seconds("stall_s")?,
        calls_per_connection,
        fallback: fallback.map(|to| queue::way(section, "fallback", &to, names)).transpose()?,
        failed_prompt: file(section, "failed_prompt", prompts, outside)?,
        ..usual
    };
    section.finish();
    Ok(config)
}

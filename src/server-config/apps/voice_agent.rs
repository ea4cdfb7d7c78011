//! `[[voice_agent]]`.

use super::header_fields::header_fields;
use super::{MayTransfer, file, name, queue};
use crate::names::Names;
use crate::outside::Outside;
use crate::pattern::Pattern;
use crate::texts::NAME;
use crate::{ConfigError, Secret};
use b2b_app::Prompts;
use b2b_app::voice_agent::{AgentConfig, AgentPlace, AgentUrl, ControlMessages, Encoding, Protocol, Webhook};
use b2b_config::section::Section;
use b2b_config::table::Takes::{self, Choice, OneOf, Pairs, Switch, Text, Whole};
use b2b_config::table::{Named, Table, any};
use b2b_config::value::Read;
use b2b_config::{rows, text, texts};

/// The names of [`Protocol`], without its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProtocolName {
    B2b,
    Json,
    Twilio,
    ChanWebsocket,
    AudioSocket,
}

const PROTOCOL: Named<ProtocolName> = Named {
    refusal: "no such protocol; choose",
    values: &[
        ("b2b", ProtocolName::B2b),
        ("json", ProtocolName::Json),
        ("twilio", ProtocolName::Twilio),
        ("chan_websocket", ProtocolName::ChanWebsocket),
        ("audiosocket", ProtocolName::AudioSocket),
    ],
};
const ENCODING: Named<Encoding> = Named {
    refusal: "no such encoding; choose",
    values: &[
        ("L16", Encoding::L16),
        ("PCMU", Encoding::Pcmu),
        ("PCMA", Encoding::Pcma),
        ("opus", Encoding::Opus),
    ],
};
const CONTROL_MESSAGES: Named<ControlMessages> = Named {
    refusal: "no such format; choose",
    values: &[("plain-text", ControlMessages::PlainText), ("json", ControlMessages::Json)],
};

pub const VOICE_AGENT: Table = Table {
    name: "voice_agent",
    written: "[[voice_agent]]",
    about: "A program that hears a caller and speaks to them, over a WebSocket: the application `voice_agent/` and its name. See [voice-agents.md](voice-agents.md).",
    keys: rows! {
        name: NAME, "Its name.";
        url: text!("`ws://host:port/path`, `wss://…`, `ws+unix:///socket:/path` or `tcp://host:port`", str::parse::<AgentUrl>),
            "Its address: over TCP, or a Unix socket of this machine; `tcp:` is for AudioSocket. With `wss` its certificate is checked against `tls.authorities`, or the system's.";
        protocol: Choice(&PROTOCOL) => "b2b",
            "`b2b`: [the protocol of b2b](voice-agents.md#the-protocol); `json`: the same with [the audio as JSON](voice-agents.md#all-of-it-as-json); `twilio`: [Twilio's Media Streams](voice-agents.md#twilios-media-streams); `chan_websocket`, `audiosocket`: [those of Asterisk](voice-agents.md#asterisks-chan_websocket).";
        webhook: text!("`https://…` or `http://…`", webhook),
            "With `protocol = \"twilio\"`, instead of `url`: asked for the address of the WebSocket when a call comes.";
        incoming: Switch => false,
            "With `protocol = \"chan_websocket\"`, instead of `url`: the program connects to b2b, to `GET /media/` and the `connection_id` of the event `awaits`.";
        stream_hosts: texts!("list of hosts", host),
            "Hosts that the answer of `webhook` may name beside that of `webhook`.";
        auth_token: Takes::Secret("text"), "With `protocol = \"twilio\"`: signs the requests to it (`X-Twilio-Signature`).";
        control_message_format: Choice(&CONTROL_MESSAGES) => "plain-text",
            "With `protocol = \"chan_websocket\"`: the form of its control messages.";
        encoding: Choice(&ENCODING) => "L16", "How the audio is coded, in both directions. PCMU and PCMA are at 8000 Hz; `opus` is for `b2b` and `json`.";
        rate_hz: OneOf(&[8_000, 16_000, 24_000]), "The sample rate of the audio, in both directions. Without it: 16000, and 8000 with PCMU, PCMA and AudioSocket.";
        frame_ms: OneOf(&[20, 40, 60]) => 20, "Audio per message to it, ms. With 40, b2b and the agent write and read half as many messages, and the audio is 20 ms later.";
        token: Takes::Secret("text"), "Sent to it as `Authorization: Bearer`.";
        headers: Pairs("table of texts"),
            "Header fields of the WebSocket request to it: `{ X-Api-Key = \"…\" }`. 16 at most.";
        connect_s: Whole(1, 30) => 5, "How long connecting may take. The caller hears ringing meanwhile.";
        stall_s: Whole(1, 60) => 20, "How long it may neither read nor answer a ping.";
        reconnect_s: Whole(0, 60) => 0, "How long a connection that breaks in the middle of a call is made again, three times at most; the caller hears the default music meanwhile. 0: not at all.";
        calls: Whole(0, 100_000) => 0, "Concurrent calls to it; further callers wait, or go to `fallback`. 0: no limit.";
        wait_s: Whole(0, 3_600) => 0, "How long a caller waits while it has `calls`, and hears ringing meanwhile; first come, first served. 0: not at all.";
        drain: Switch => false, "Whether it gets no further calls: callers go to `fallback`, and those that it has stay. For a host that is to stop, see [voice-agents.md](voice-agents.md#a-host-that-is-to-stop).";
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
/// connection, and to `chan_websocket`.
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
    let place = place(section)?;
    may_transfer.read(section, "voice_agent", &name)?;
    let fallback = section.text("fallback")?;
    let (encoding, rate_hz) = audio(section)?;
    let protocol = protocol(section)?;
    let calls_per_connection: usize = section.whole("calls_per_connection")?;
    let subprotocol = calls_per_connection > 1 || matches!(protocol, Protocol::ChanWebsocket(_));
    let ours = if subprotocol { &OURS[..] } else { &OURS[..OURS.len() - 1] };
    if calls_per_connection > 1 && (protocol != Protocol::B2b || encoding != Encoding::L16) {
        let reason = "several calls on a connection are for the protocol b2b with L16; leave it out";
        return Err(wrong(section, "calls_per_connection", &calls_per_connection.to_string(), reason));
    }
    let frame_ms: u32 = section.whole("frame_ms")?;
    if frame_ms != 20 && !matches!(protocol, Protocol::B2b | Protocol::Json) {
        return Err(wrong(section, "frame_ms", &frame_ms.to_string(), "its frames have 20 ms; leave it out"));
    }
    let config = AgentConfig {
        name,
        place,
        protocol,
        encoding,
        rate_hz,
        frame_ms,
        token: section.text_of_secret("token")?.map(Secret::new),
        headers: header_fields(section, ours)?,
        connect: section.seconds("connect_s")?,
        stall: section.seconds("stall_s")?,
        reconnect: section.seconds("reconnect_s")?,
        calls: section.whole("calls")?,
        wait: section.seconds("wait_s")?,
        drain: section.switch("drain")?,
        calls_per_connection,
        fallback: fallback.map(|to| queue::way(section, "fallback", &to, names)).transpose()?,
        failed_prompt: file(section, "failed_prompt", prompts, outside)?,
    };
    section.finish();
    Ok(config)
}

/// Its `url` or `webhook`, or that it is `incoming`.
fn place(section: &Section<'_>) -> Result<AgentPlace, ConfigError> {
    let stream_hosts = section.parsed_list("stream_hosts", host)?;
    let hook = section.parsed("webhook", |text| webhook(text).map(|()| text.to_owned()))?;
    if section.switch("incoming")? {
        section.parsed("url", str::parse::<AgentUrl>)?;
        for key in ["url", "webhook", "token", "headers"] {
            if section.has(key) {
                return Err(section.both("incoming", key, "who connects to b2b is not called; leave it out"));
            }
        }
        if section.choice("protocol", &PROTOCOL)? != ProtocolName::ChanWebsocket {
            let reason = "it is for protocol = \"chan_websocket\"; others use GET /legs/{leg}/audio";
            return Err(wrong(section, "incoming", "true", reason));
        }
        return Ok(AgentPlace::Incoming);
    }
    let Some(url) = hook else {
        let reason = "set its address, like url = \"ws://127.0.0.1:9000/\"";
        let url = section.needed("url", str::parse::<AgentUrl>, reason)?;
        return match (section.choice("protocol", &PROTOCOL)? == ProtocolName::AudioSocket, url.is_tcp()) {
            (true, false) => {
                let reason = "AudioSocket has no WebSocket; write it like tcp://127.0.0.1:9092";
                Err(wrong(section, "url", &url.to_string(), reason))
            }
            (false, true) => Err(wrong(
                section,
                "url",
                &url.to_string(),
                "tcp: is for protocol = \"audiosocket\"; write ws:",
            )),
            _ => Ok(AgentPlace::Url(url)),
        };
    };
    if section.parsed("url", str::parse::<AgentUrl>)?.is_some() {
        return Err(section.both("webhook", "url", "an agent has one of them; write two agents"));
    }
    if section.choice("protocol", &PROTOCOL)? != ProtocolName::Twilio {
        let reason = "a webhook names the WebSocket in TwiML; add protocol = \"twilio\"";
        return Err(wrong(section, "webhook", &url, reason));
    }
    Ok(AgentPlace::Webhook(Webhook { url, stream_hosts }))
}

fn protocol(section: &Section<'_>) -> Result<Protocol, ConfigError> {
    let auth_token = section.text_of_secret("auth_token")?.map(Secret::new);
    let control_messages = section.choice_if_set("control_message_format", &CONTROL_MESSAGES)?;
    let name = section.choice("protocol", &PROTOCOL)?;
    if auth_token.is_some() && name != ProtocolName::Twilio {
        return Err(
            section.bad_secret("auth_token", "it is for protocol = \"twilio\"; token is sent to others")
        );
    }
    if control_messages.is_some() && name != ProtocolName::ChanWebsocket {
        let reason = "it is for protocol = \"chan_websocket\"; leave it out";
        return Err(wrong(section, "control_message_format", "", reason));
    }
    Ok(match name {
        ProtocolName::B2b => Protocol::B2b,
        ProtocolName::Json => Protocol::Json,
        ProtocolName::Twilio => Protocol::Twilio(auth_token),
        ProtocolName::ChanWebsocket => Protocol::ChanWebsocket(control_messages.unwrap_or_default()),
        ProtocolName::AudioSocket => Protocol::AudioSocket,
    })
}

/// Its encoding, and its sample rate in Hz. Twilio's is always µ-law at 8 kHz.
fn audio(section: &Section<'_>) -> Result<(Encoding, u32), ConfigError> {
    let (set, rate_hz) = (section.choice_if_set("encoding", &ENCODING)?, section.whole_if_set("rate_hz")?);
    let protocol = section.choice("protocol", &PROTOCOL)?;
    let twilio = protocol == ProtocolName::Twilio;
    if protocol == ProtocolName::AudioSocket && set.is_some_and(|set| set != Encoding::L16) {
        return Err(wrong(section, "encoding", "", "AudioSocket is L16; leave it out"));
    }
    let encoding = set.unwrap_or(if twilio { Encoding::Pcmu } else { Encoding::L16 });
    if twilio && encoding != Encoding::Pcmu {
        return Err(wrong(section, "encoding", encoding.name(), "Twilio's streams are PCMU; leave it out"));
    }
    if encoding == Encoding::Opus && !matches!(protocol, ProtocolName::B2b | ProtocolName::Json) {
        let reason = "Opus is for the protocols b2b and json; leave it out";
        return Err(wrong(section, "encoding", encoding.name(), reason));
    }
    let law = matches!(encoding, Encoding::Pcmu | Encoding::Pcma);
    let narrow = law || protocol == ProtocolName::AudioSocket;
    let usual = if narrow { 8_000 } else { 16_000 };
    let rate_hz = rate_hz.unwrap_or(usual);
    if law && rate_hz != 8_000 {
        let reason = format!("{} has 8000 Hz; leave it out", encoding.name());
        return Err(wrong(section, "rate_hz", &rate_hz.to_string(), &reason));
    }
    Ok((encoding, rate_hz))
}

fn wrong(section: &Section<'_>, key: &'static str, value: &str, reason: &str) -> ConfigError {
    section.bad(key, section.place(key), value, reason)
}

/// A URL of HTTP with a host.
fn webhook(text: &str) -> Read<()> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    match host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
        && text.bytes().all(|it| it.is_ascii_graphic())
    {
        true => Ok(()),
        false => Err("not a URL; write it like https://bot.example/voice".to_owned()),
    }
}

/// A host's name or address, without a port.
fn host(text: &str) -> Read<String> {
    match !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || b".-:".contains(&it)) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("not a host; write it like bot.example, without a scheme".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use crate::parse_made;

    #[test]
    fn a_key_that_does_not_go_with_the_protocol_is_refused_with_what_to_write() {
        for (lines, said) in [
            ("url = \"ws://h/\"\nprotocol = \"twilio\"\nrate_hz = 16000", "PCMU has 8000 Hz; leave it out"),
            ("url = \"ws://h/\"\nprotocol = \"twilio\"\nencoding = \"L16\"", "Twilio's streams are PCMU"),
            (
                "url = \"ws://h/\"\nprotocol = \"twilio\"\ncalls_per_connection = 2",
                "for the protocol b2b with L16",
            ),
            ("url = \"ws://h/\"\nprotocol = \"chan_websocket\"\nframe_ms = 40", "its frames have 20 ms"),
            (
                "url = \"ws://h/\"\nprotocol = \"chan_websocket\"\nencoding = \"opus\"",
                "Opus is for the protocols b2b and json",
            ),
            ("url = \"ws://h/\"\nauth_token = \"x\"", "it is for protocol = \"twilio\""),
            (
                "url = \"ws://h/\"\ncontrol_message_format = \"json\"",
                "it is for protocol = \"chan_websocket\"",
            ),
            ("webhook = \"https://h/voice\"", "add protocol = \"twilio\""),
            ("protocol = \"twilio\"\nwebhook = \"h/voice\"", "write it like https://bot.example/voice"),
            ("protocol = \"twilio\"\nwebhook = \"https://h/\"\nurl = \"ws://h/\"", "write two agents"),
            ("url = \"ws://h/\"\nincoming = true", "who connects to b2b is not called; leave it out"),
            (
                "protocol = \"chan_websocket\"\nincoming = true\n[http]\nlisten = \"off\"",
                "there is no HTTP interface",
            ),
            ("incoming = true", "it is for protocol = \"chan_websocket\""),
            ("url = \"ws://h/\"\nprotocol = \"audiosocket\"", "write it like tcp://127.0.0.1:9092"),
            ("url = \"tcp://127.0.0.1:1\"", "tcp: is for protocol = \"audiosocket\""),
            ("url = \"tcp://10.0.0.7:9092\"\nprotocol = \"audiosocket\"", "one of server.inside"),
        ] {
            let error =
                parse_made(&format!("[[voice_agent]]\nname = \"a\"\n{lines}\n")).unwrap_err().to_string();
            assert!(error.contains(said), "{lines}: {error}");
        }
        let inside = "[server]\ninside = [\"10.0.0.0/8\"]\n[[voice_agent]]\nname = \"a\"\nprotocol = \"audiosocket\"\n";
        let agent = parse_made(&format!("{inside}url = \"tcp://10.0.0.7:9092\"\n")).unwrap();
        assert_eq!(agent.apps.voice_agents[0].rate_hz, 8_000, "the usual one of AudioSocket");
    }
}

#![no_main]
//! What other programs send: responses of web servers queried by menu trees, commands, the TwiML of webhooks, and
//! messages of voice agents in each protocol. The first octet selects the recipient.

use std::time::{Duration, Instant};

use b2b::app::ivr::read_answer;
use b2b::server::control::Order;
use b2b::app::voice_agent::{AgentConfig, ControlMessages, Protocol, Webhook};
use b2b::server::voice::dialect::{self, Meaning, Sids};
use b2b::server::voice::session::Session;
use b2b::server::voice::webhook;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&to, rest)) = data.split_first() else { return };
    match to % 8 {
        0 => {
            if let Ok(told) = read_answer(rest) {
                let clean = |value: &String| !value.contains(|c: char| c.is_control());
                assert!(told.variables.values().all(clean));
            }
        }
        1 => {
            let Ok(value) = serde_json::from_slice(rest) else { return };
            match Order::parse(value) {
                // A parsed order is serialised in a form that parses to the same order.
                Ok(order) => {
                    let written = serde_json::to_value(&order).expect("JSON");
                    assert_eq!(Order::parse(written), Ok(order));
                }
                Err(why) => assert!(!why.is_empty()),
            }
        }
        2 => {
            let webhook = Webhook { url: "https://bot.example/voice".to_owned(), stream_hosts: Vec::new() };
            match webhook::named(&String::from_utf8_lossy(rest), &webhook) {
                Ok(named) => assert!(named.url.request().starts_with("wss://bot.example")),
                Err(why) => assert!(!why.is_empty()),
            }
        }
        protocol => {
            let protocol = match protocol {
                3 => if rest.first() == Some(&0) { Protocol::Json } else { Protocol::B2b },
                4 => Protocol::Twilio(None),
                5 => Protocol::ChanWebsocket(ControlMessages::PlainText),
                6 => Protocol::ChanWebsocket(ControlMessages::Json),
                _ => Protocol::AudioSocket,
            };
            let frames = protocol == Protocol::AudioSocket;
            let between = if frames { 0xFE } else { 0 };
            let url = "ws://127.0.0.1:1/".parse().expect("a URL");
            let agent = AgentConfig { protocol, ..AgentConfig::new("a", url) };
            let mut dialect = dialect::of(&agent, Sids::new(&agent), None);
            let mut session = Session::new(dialect.allowance(), agent.rate_hz);
            let (begins, mut samples) = (Instant::now(), Vec::new());
            for (n, message) in rest.split(|&octet| octet == between).enumerate() {
                let at = begins + Duration::from_millis(n as u64 * 7);
                let meaning = match std::str::from_utf8(message) {
                    Ok(text) if !frames => dialect.text(text, n),
                    _ => dialect.binary(message),
                };
                let said = match meaning {
                    Ok(Meaning::Audio(octets)) => session.sound(at, &octets, &mut samples),
                    Ok(Meaning::Request(reading)) => session.request(at, reading.said, n).map(drop),
                    Ok(Meaning::Answered(_) | Meaning::Goodbye | Meaning::Nothing | Meaning::Pause(_)) => session.counts(at, 0),
                    Err(mistake) => session.mistaken(at, mistake),
                };
                if let Err(fault) = said {
                    assert!(!fault.word().is_empty() && fault.code() >= 1_000);
                }
                let _ = dialect.queue(samples.len());
                // An odd octet waits for the next message.
                assert!(samples.len() <= rest.len() + 1);
                if let Some(target) = session.transfer() {
                    let mut fields = target.headers.iter();
                    assert!(fields.all(|(name, value)| {
                        name.is_ascii() && name.len() > 2 && !value.contains(char::is_control)
                    }));
                }
            }
        }
    }
});

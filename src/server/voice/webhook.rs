//! Asks a web server where an agent's WebSocket is, as Twilio does when a call comes: a form about the call, to which
//! the answer is TwiML. Of that only `<Connect><Stream>` with its `<Parameter>`s is done.
//!
//! Sources: twilio.com/docs/voice/twiml (the form), /voice/twiml/stream (the answer), and /usage/webhooks/
//! webhooks-security (the signature), read in 2026-11.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Url;
use roxmltree::{Document, ParsingOptions};
use sha1::Sha1;

use super::dialect::Sids;
use crate::http_client::HttpClient;
use b2b_app::ivr::{AskUrl, UrlQuestion};
use b2b_app::voice_agent::{AgentUrl, AgentWay, Calling, Webhook};
use b2b_base::util::lines::visible;
use b2b_base::util::secret::SecretText;

/// The header field of the signature.
pub const SIGNATURE: &str = "x-twilio-signature";
/// The media type of the form.
const FORM: &str = "application/x-www-form-urlencoded";
/// Maximum octets and nodes of an answer, maximum parameters, and maximum octets of each. The parser compares the names in
/// scope with each other for each element that adds one: an answer of 64 KiB keeps it busy for seconds.
const ANSWER: usize = 8_192;
const MOST_NODES: u32 = 200;
const MOST_PARAMETERS: usize = 32;
const LONGEST: usize = 1_024;

/// The WebSocket that an answer names.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub url: AgentUrl,
    pub parameters: BTreeMap<String, String>,
}

/// Asks for the address of an agent's WebSocket.
///
/// # Errors
/// In words: there is no answer, it names none, or one that it may not.
pub async fn ask(
    web: &HttpClient,
    webhook: &Webhook,
    auth_token: Option<&SecretText>,
    sids: &Sids,
    calling: &Calling,
) -> Result<Named, String> {
    let form = form(sids, calling);
    let signature = auth_token.map(|token| signature(token, &webhook.url, &form));
    let fields = signature.map(|it| (SIGNATURE.to_owned(), SecretText::new(it))).into_iter().collect();
    let body = encoded(&form).into_bytes();
    let question = UrlQuestion { url: webhook.url.clone(), fields, body, media_type: FORM };
    let place = webhook.url.split('?').next().unwrap_or_default();
    let answer = web.ask(question).await.map_err(|why| format!("{place}: {why}"))?;
    named(&String::from_utf8_lossy(&answer), webhook).map_err(|why| format!("{place}: {why}"))
}

/// The fields about a call, sorted by name.
fn form(sids: &Sids, calling: &Calling) -> Vec<(&'static str, String)> {
    let Calling { caller, called, outbound, .. } = calling;
    // Of a call of ours the party is who was called.
    let (from, to) = if *outbound { (called, caller) } else { (caller, called) };
    vec![
        ("AccountSid", sids.account.clone()),
        ("ApiVersion", "2010-04-01".to_owned()),
        ("CallSid", sids.call.clone()),
        ("CallStatus", if *outbound { "in-progress" } else { "ringing" }.to_owned()),
        ("Called", to.clone()),
        ("Caller", from.clone()),
        ("Direction", if *outbound { "outbound-api" } else { "inbound" }.to_owned()),
        ("From", from.clone()),
        ("To", to.clone()),
    ]
}

fn encoded(form: &[(&'static str, String)]) -> String {
    let mut url = match Url::parse("http://localhost/") {
        Ok(url) => url,
        Err(_) => return String::new(),
    };
    url.query_pairs_mut().extend_pairs(form);
    url.query().unwrap_or_default().to_owned()
}

/// The signature of a request: its URL and the fields of its form, sorted by name, by HMAC-SHA1.
pub fn signature(token: &SecretText, url: &str, form: &[(&'static str, String)]) -> String {
    // A key of any length is one.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(token.reveal().as_bytes()) else { return String::new() };
    mac.update(url.as_bytes());
    for (name, value) in form {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

/// The WebSocket that an answer names.
///
/// # Errors
/// In words: it names none, or one that it may not.
pub fn named(answer: &str, webhook: &Webhook) -> Result<Named, String> {
    const WANTED: &str =
        "the answer is not <Response><Connect><Stream url=\"wss://…\"/></Connect></Response>";
    if answer.len() > ANSWER {
        return Err(format!("the answer has more than {ANSWER} octets"));
    }
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(answer.trim(), options)
        .map_err(|error| format!("{WANTED}: {}", visible(&error.to_string())))?;
    let response = document.root_element();
    let connects = response.children().filter(|it| it.has_tag_name("Connect"));
    let stream = connects.flat_map(|it| it.children()).find(|it| it.has_tag_name("Stream"));
    let stream = stream.filter(|_| response.has_tag_name("Response")).ok_or(WANTED)?;
    let others = response.children().filter(|it| it.is_element() && !it.has_tag_name("Connect"));
    let others: Vec<String> = others.map(|verb| format!("<{}>", visible(verb.tag_name().name()))).collect();
    if !others.is_empty() {
        let others = others.join(", ");
        tracing::warn!("a webhook of a voice agent: {others:.200} is not done, only <Connect>");
    }
    let url = stream.attribute("url").ok_or(WANTED)?.trim();
    // Its query may be a secret.
    let shown = url.split('?').next().unwrap_or_default();
    let url = url.parse::<AgentUrl>().map_err(|why| format!("url=\"{}\": {why}", visible(shown)))?;
    judge(&url, webhook)?;
    let parameters = stream.children().filter(|it| it.has_tag_name("Parameter"));
    let parameters = parameters.filter_map(|it| {
        let (name, value) = (it.attribute("name")?, it.attribute("value")?);
        (name.len() <= LONGEST && value.len() <= LONGEST).then(|| (name.to_owned(), value.to_owned()))
    });
    Ok(Named { url, parameters: parameters.take(MOST_PARAMETERS).collect() })
}

/// Refuses a WebSocket that is not the web server's own to name.
fn judge(url: &AgentUrl, webhook: &Webhook) -> Result<(), String> {
    let AgentWay::Tcp { host, secure, .. } = &url.way else {
        return Err("the answer names a Unix socket, which only the configuration may".to_owned());
    };
    if url.is_tcp() {
        return Err("the answer names tcp:, which has no WebSocket; answer with wss:".to_owned());
    }
    let bare = |host: &str| host.trim_matches(['[', ']']).to_ascii_lowercase();
    let host = bare(host);
    let own = Url::parse(&webhook.url).ok().and_then(|url| url.host_str().map(bare));
    let listed = webhook.stream_hosts.contains(&host);
    if !listed && own.as_ref() != Some(&host) {
        return Err(format!("the answer names the host {host}; if that is intended, add it to stream_hosts"));
    }
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match *secure || listed || loopback {
        true => Ok(()),
        false => {
            Err("the answer names ws:, where everybody on the way can listen; answer with wss:".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(url: &str) -> Webhook {
        Webhook { url: url.into(), stream_hosts: vec!["stream.example".into()] }
    }

    fn twiml(url: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<Response><Say>Hello</Say><Connect><Stream url=\"{url}\">\
                 <Parameter name=\"id\" value=\"7\"/></Stream></Connect></Response>"
        )
    }

    #[test]
    fn a_signature_is_that_of_the_public_example() {
        let token = SecretText::new("12345".to_owned());
        let form = [
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+12349013030"),
            ("Digits", "1234"),
            ("From", "+12349013030"),
            ("To", "+18005551212"),
        ];
        let form = form.map(|(name, value)| (name, value.to_owned()));
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        assert_eq!(signature(&token, url, &form), "0/KCTR6DLpKmkAf8muzZqo1nDgQ=");
    }

    #[test]
    fn an_answer_names_a_stream_and_its_parameters() {
        let answer = named(&twiml("wss://bot.example/media"), &webhook("https://bot.example/voice")).unwrap();
        assert_eq!(answer.url.request(), "wss://bot.example/media");
        assert_eq!(answer.parameters, BTreeMap::from([("id".to_owned(), "7".to_owned())]));
        for answer in [
            "",
            "no XML",
            "<Response/>",
            "<Response><Dial>1</Dial></Response>",
            "<Response><Connect><Stream/></Connect></Response>",
            "<!DOCTYPE x [<!ENTITY a \"b\">]><Response/>",
        ] {
            assert!(named(answer, &webhook("https://bot.example/voice")).is_err(), "{answer}");
        }
    }

    #[test]
    fn an_answer_that_keeps_the_parser_busy_is_refused_at_once() {
        let names: String = (0..3_800).map(|n| format!(" xmlns:a{n:x}=\"c\"")).collect();
        let answer = format!("<a{names}>{}", "<a xmlns:b=\"c\">".repeat(990));
        let refused = named(&answer, &webhook("https://bot.example/voice")).unwrap_err();
        assert_eq!(refused, "the answer has more than 8192 octets");
    }

    #[test]
    fn an_answer_leads_to_the_hook_s_own_host_or_a_listed_one_and_in_the_clear_to_this_machine_only() {
        for (hook, url, good) in [
            ("https://bot.example/voice", "wss://bot.example/media", true),
            ("https://bot.example/voice", "wss://BOT.example:8443/media", true),
            ("https://bot.example/voice", "ws://bot.example/media", false),
            ("https://bot.example/voice", "wss://evil.example/media", false),
            ("https://bot.example/voice", "ws://127.0.0.1:8080/legs/1/audio", false),
            ("https://bot.example/voice", "wss://stream.example/media", true),
            ("https://bot.example/voice", "ws://stream.example/media", true),
            ("https://bot.example/voice", "ws+unix:///run/agent.sock", false),
            ("https://bot.example/voice", "tcp://stream.example:9092", false),
            ("http://127.0.0.1:5000/voice", "ws://127.0.0.1:5000/media", true),
            ("http://[::1]:5000/voice", "ws://[::1]:5000/media", true),
            ("http://10.0.0.7/voice", "ws://10.0.0.7/media", false),
        ] {
            assert_eq!(named(&twiml(url), &webhook(hook)).is_ok(), good, "{hook} {url}");
        }
    }

    #[test]
    fn a_form_has_what_public_programs_read() {
        let sids = Sids { account: "AC1".into(), call: "CA1".into(), stream: "MZ1".into() };
        let calling = Calling {
            leg: b2b_call::LegId(1),
            caller: "+49 1".into(),
            called: "600".into(),
            outbound: false,
        };
        let form = form(&sids, &calling);
        assert!(form.is_sorted(), "as the signature needs it");
        let body = encoded(&form);
        assert!(body.contains("CallSid=CA1&") && body.contains("From=%2B49+1&To=600"), "{body}");
    }
}

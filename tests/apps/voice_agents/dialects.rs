//! Agents that speak the protocols of others: Twilio's Media Streams, and Asterisk's `chan_websocket`. What stands on
//! the wire is written here as programs for those send and expect it.

use b2b::media::codec::g711::{ulaw_decode, ulaw_encode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{accept_async, accept_hdr_async};

use super::*;
use crate::apps::ivr::records;

/// A program with one stream.
pub struct Bot {
    pub socket: WebSocketStream<TcpStream>,
    /// Text messages.
    pub told: Vec<String>,
    /// The party's audio at 8 kHz.
    heard: Vec<i16>,
}

impl Bot {
    pub fn new(socket: WebSocketStream<TcpStream>) -> Bot {
        Bot { socket, told: Vec::new(), heard: Vec::new() }
    }

    /// Confirms the subprotocol that it is asked for.
    async fn accept(listener: &TcpListener) -> Bot {
        let (stream, _) = within("a connection", listener.accept()).await.expect("a connection");
        #[allow(clippy::result_large_err, reason = "the type is the crate's")]
        let confirm = |request: &Request, mut response: Response| {
            if let Some(asked) = request.headers().get("sec-websocket-protocol") {
                response.headers_mut().insert("sec-websocket-protocol", asked.clone());
            }
            Ok(response)
        };
        Bot::new(accept_hdr_async(stream, confirm).await.expect("a WebSocket"))
    }

    /// Reads a message; false at the end.
    async fn turn(&mut self) -> bool {
        match self.socket.next().await {
            Some(Ok(Message::Binary(octets))) => self.heard.extend(octets.iter().map(|it| ulaw_decode(*it))),
            Some(Ok(Message::Text(text))) => {
                let json: Value = serde_json::from_str(&text).unwrap_or_default();
                match json["media"]["payload"].as_str() {
                    Some(payload) => {
                        let octets = STANDARD.decode(payload).expect("base64");
                        self.heard.extend(octets.iter().map(|it| ulaw_decode(*it)));
                    }
                    None => self.told.push(text.to_string()),
                }
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
            Some(Ok(_)) => {}
        }
        true
    }

    async fn until<T>(&mut self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = look(self) {
                    return found;
                }
                assert!(self.turn().await, "it is over: {:?}", self.told);
            }
        };
        within(what, search).await
    }

    /// Waits for a message that has this in it.
    pub async fn is_told(&mut self, what: &str) -> String {
        self.until(what, |it| it.told.iter().find(|text| text.contains(what)).cloned()).await
    }

    /// The message of an event, as JSON.
    async fn event(&mut self, event: &str) -> Value {
        let text = self.is_told(&format!("\"event\":\"{event}\"")).await;
        serde_json::from_str(&text).expect("JSON")
    }

    pub async fn hears(&mut self, voice: &[i16]) {
        let enough = |it: &Self| {
            (it.heard.len() > voice.len() + 8_000).then_some(())?;
            has_any_part(&it.heard, 0..it.heard.len() - PART, voice).then_some(())
        };
        self.until("what was said", enough).await;
    }

    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                more = self.turn() => assert!(more, "it is over: {:?}", self.told),
            }
        }
    }

    pub async fn tell(&mut self, text: impl ToString) {
        self.socket.send(Message::text(text.to_string())).await.expect("sent");
    }

    /// Twilio's audio: a whole utterance in one message.
    async fn says(&mut self, samples: &[i16], stream: &Value) {
        let octets: Vec<u8> = samples.iter().map(|it| ulaw_encode(*it)).collect();
        let payload = STANDARD.encode(octets);
        self.tell(json!({"event": "media", "streamSid": stream, "media": {"payload": payload}})).await;
    }

    async fn closes(&mut self, code: CloseCode) {
        self.socket.close(Some(CloseFrame { code, reason: "".into() })).await.expect("closed");
    }
}

/// 700 leads to an agent with this configuration, whose fallback is a tone.
pub fn lines(agent: &str) -> String {
    format!(
        "[[route]]\ncalled = \"700\"\napp = \"voice_agent/bot\"\n[[voice_agent]]\nname = \"bot\"\nstall_s = 60\n\
         fallback = \"milliwatt\"\n{agent}"
    )
}

async fn house(agent: &str) -> (TcpListener, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("url = \"ws://{}/media\"\n", listener.local_addr().expect("an address"));
    let server = server(&lines(&format!("{url}{agent}")));
    (listener, server)
}

pub async fn talk(listener: &TcpListener, server: &Server) -> (Caller, Bot) {
    tokio::join!(Caller::calls(server, "700"), Bot::accept(listener))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_for_twilios_media_streams_talks_marks_clears_and_hangs_up() {
    let (listener, server) = house("protocol = \"twilio\"\n").await;
    let (mut ann, mut bot) = talk(&listener, &server).await;
    bot.event("connected").await;
    let start = bot.event("start").await;
    assert!(bot.told[0].contains("connected") && bot.told[1].contains("start"), "{:?}", bot.told);
    let sid = start["streamSid"].clone();
    for (name, kind) in [("streamSid", "MZ"), ("callSid", "CA"), ("accountSid", "AC")] {
        let sid = start["start"][name].as_str().expect("a SID");
        assert!(sid.starts_with(kind) && sid.len() == 34, "{sid}");
    }
    let format = json!({"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1});
    assert_eq!((&start["start"]["mediaFormat"], &start["sequenceNumber"]), (&format, &json!("1")));
    let speech = speech_like(8_000, 6.0);
    let _said = ann.says(&speech[..24_000]).await;
    bot.hears(&speech[8_000..16_000]).await;
    bot.says(&speech[24_000..], &sid).await;
    bot.tell(json!({"event": "mark", "streamSid": sid, "mark": {"name": "said"}})).await;
    bot.beside(ann.hears(&speech[28_000..46_000])).await;
    assert_eq!(bot.event("mark").await["mark"], json!({"name": "said"}));
    // Two minutes, of which little is heard: none is dropped, and the mark comes back all the same.
    for _ in 0..20 {
        bot.says(&speech, &sid).await;
    }
    bot.tell(json!({"event": "mark", "streamSid": sid, "mark": {"name": "cut"}})).await;
    bot.tell(json!({"event": "clear", "streamSid": sid})).await;
    bot.is_told("\"cut\"").await;
    ann.call.send_digits("5", None).await.expect("pressed");
    assert_eq!(bot.event("dtmf").await["dtmf"], json!({"track": "inbound_track", "digit": "5"}));
    bot.closes(CloseCode::Normal).await;
    within("the end", ann.call.wait_for_end()).await;
    nothing_is_left(&server).await;
    let record = &records(&server, 1)[0];
    assert_eq!(
        (&record["hangup_cause_q850"], &record["hangup_by"]),
        (&json!(16), &json!("local")),
        "{record}"
    );
    assert!(record["variables"].get("voice_agent_failed").is_none(), "{record}");
    assert_eq!(server.metric("b2b_voice_ends_total{end=\"stopped\"}"), 1.0);
    assert_eq!(server.metric("b2b_voice_mistakes_total{kind=\"full\"}"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_on_a_program_for_twilio_ends_its_stream_with_stop() {
    let (listener, server) = house("protocol = \"twilio\"\n").await;
    let (ann, mut bot) = talk(&listener, &server).await;
    let start = bot.event("start").await;
    ann.hangs_up().await;
    let stop = bot.event("stop").await;
    assert_eq!(stop["stop"]["callSid"], start["start"]["callSid"]);
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_breaks_loses_its_caller_to_the_fallback_in_any_protocol() {
    for protocol in ["twilio", "chan_websocket"] {
        let (listener, server) = house(&format!("protocol = \"{protocol}\"\n")).await;
        for code in [None, Some(CloseCode::Error)] {
            let (mut ann, mut bot) = talk(&listener, &server).await;
            bot.until("a frame", |it| (!it.heard.is_empty()).then_some(())).await;
            match code {
                Some(code) => bot.closes(code).await,
                None => drop(bot),
            }
            ann.hears_sound(true).await;
            assert_eq!(only_call(&server)["application"], "milliwatt", "{protocol} {code:?}");
            ann.hangs_up().await;
            nothing_is_left(&server).await;
        }
    }
}

/// A web server that answers one request with this TwiML; returns the request.
async fn answers(listener: &TcpListener, twiml: &str) -> String {
    let (mut stream, _) = within("a request", listener.accept()).await.expect("a connection");
    let mut request = Vec::new();
    let whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        (body.len() >= length.unwrap_or(0)).then(|| text.clone())
    };
    let request = loop {
        let mut part = [0; 4_096];
        let count = within("the request", stream.read(&mut part)).await.expect("read");
        assert!(count > 0, "a whole request");
        request.extend(&part[..count]);
        if let Some(text) = whole(&request) {
            break text;
        }
    };
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{twiml}",
        twiml.len()
    );
    stream.write_all(answer.as_bytes()).await.expect("answered");
    request
}

fn twiml(url: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Connect><Stream url=\"{url}\"><Parameter name=\"who\" \
         value=\"ann\"/></Stream></Connect></Response>"
    )
}

/// Header fields of a request, in lower case.
fn field(request: &str, name: &str) -> String {
    let line = request.lines().find_map(|line| {
        let (field, value) = line.split_once(": ")?;
        field.eq_ignore_ascii_case(name).then(|| value.to_owned())
    });
    line.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_names_the_stream_and_both_requests_are_signed() {
    let web = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (hook, at) = (web.local_addr().expect("an address"), listener.local_addr().expect("an address"));
    let server = server(&lines(&format!(
        "protocol = \"twilio\"\nwebhook = \"http://{hook}/voice?a=1\"\nauth_token = \"12345\"\n"
    )));
    let twiml = twiml(&format!("ws://{at}/media"));
    let meets = async {
        let request = answers(&web, &twiml).await;
        let (stream, _) = within("a connection", listener.accept()).await.expect("a connection");
        let mut signature = String::new();
        #[allow(clippy::result_large_err, reason = "the type is the crate's")]
        let look = |request: &Request, response: Response| {
            signature = request.headers()["x-twilio-signature"].to_str().expect("text").to_owned();
            Ok(response)
        };
        let socket = accept_hdr_async(stream, look).await.expect("a WebSocket");
        (request, signature, Bot::new(socket))
    };
    let (ann, (request, signature, mut bot)) = tokio::join!(Caller::calls(&server, "700"), meets);
    assert!(request.starts_with("POST /voice?a=1 HTTP/1.1"), "{request}");
    assert_eq!(field(&request, "content-type"), "application/x-www-form-urlencoded");
    let start = bot.event("start").await["start"].clone();
    let (call, account) =
        (start["callSid"].as_str().expect("a SID"), start["accountSid"].as_str().expect("a SID"));
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    assert_eq!(
        body,
        format!(
            "AccountSid={account}&ApiVersion=2010-04-01&CallSid={call}&CallStatus=ringing&Called=700&Caller=ann&\
             Direction=inbound&From=ann&To=700"
        )
    );
    let fields = format!(
        "AccountSid{account}ApiVersion2010-04-01CallSid{call}CallStatusringingCalled700CallerannDirectioninbound\
         FromannTo700"
    );
    assert_eq!(field(&request, "x-twilio-signature"), signed(&format!("http://{hook}/voice?a=1{fields}")));
    assert_eq!(signature, signed(&format!("ws://{at}/media")));
    let call = only_call(&server)["call"].to_string();
    assert_eq!(start["customParameters"], json!({"who": "ann", "b2b_call": call}));
    ann.hangs_up().await;
    bot.event("stop").await;
    nothing_is_left(&server).await;
}

/// HMAC-SHA1 with the key 12345, in base64.
fn signed(text: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(b"12345").expect("a key");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_names_another_host_or_no_stream_leads_nowhere() {
    let web = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let hook = web.local_addr().expect("an address");
    let mut server = server(&lines(&format!("protocol = \"twilio\"\nwebhook = \"http://{hook}/voice\"\n")));
    for (twiml, said) in [
        (twiml("wss://evil.example/media"), "add it to stream_hosts"),
        (twiml("ws+unix:///run/agent.sock"), "only the configuration may"),
        ("<Response><Dial>+900123</Dial></Response>".to_owned(), "the answer is not <Response><Connect>"),
        ("<html>It works!</html>".to_owned(), "the answer is not <Response><Connect>"),
    ] {
        let (mut ann, _) = tokio::join!(Caller::calls(&server, "700"), answers(&web, &twiml));
        ann.hears_sound(true).await;
        assert_eq!(only_call(&server)["application"], "milliwatt", "{twiml}");
        server.process.wait_for_line(said);
        ann.hangs_up().await;
        nothing_is_left(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_for_chan_websocket_talks_marks_flushes_and_hangs_up() {
    let (listener, server) = house("protocol = \"chan_websocket\"\nencoding = \"PCMU\"\n").await;
    // It does not confirm the subprotocol, and is asked again without one.
    let meets = async {
        let (stream, _) = within("a connection", listener.accept()).await.expect("a connection");
        drop(accept_async(stream).await);
        Bot::accept(&listener).await
    };
    let (mut ann, mut bot) = tokio::join!(Caller::calls(&server, "700"), meets);
    let start = bot.is_told("MEDIA_START ").await;
    assert!(start.contains(" format:ulaw optimal_frame_size:160 ptime:20"), "{start}");
    let speech = speech_like(8_000, 6.0);
    let _said = ann.says(&speech[..24_000]).await;
    bot.hears(&speech[8_000..16_000]).await;
    // Cut anywhere, and at once.
    let octets: Vec<u8> = speech[24_000..].iter().map(|it| ulaw_encode(*it)).collect();
    bot.tell("START_MEDIA_BUFFERING").await;
    for part in octets.chunks(1_001) {
        bot.socket.send(Message::binary(part.to_vec())).await.expect("sent");
    }
    bot.tell("STOP_MEDIA_BUFFERING words").await;
    bot.tell("REPORT_QUEUE_DRAINED").await;
    bot.beside(ann.hears(&speech[28_000..46_000])).await;
    bot.is_told("MEDIA_BUFFERING_COMPLETED words").await;
    bot.is_told("QUEUE_DRAINED").await;
    bot.socket.send(Message::binary(vec![0xFF; 160 * 950])).await.expect("sent");
    bot.tell("MARK_MEDIA never").await;
    bot.is_told("MEDIA_XOFF").await;
    bot.tell("FLUSH_MEDIA").await;
    bot.is_told("MEDIA_XON").await;
    bot.tell("MARK_MEDIA here").await;
    bot.is_told("MEDIA_MARK_PROCESSED here").await;
    assert!(!bot.told.iter().any(|text| text.contains("never")), "{:?}", bot.told);
    bot.tell("GET_STATUS").await;
    bot.is_told("queue_length:0 xon_level:800 xoff_level:900 queue_full:false").await;
    ann.call.send_digits("5", None).await.expect("pressed");
    bot.is_told("DTMF_END digit:5").await;
    bot.tell("HANGUP").await;
    within("the end", ann.call.wait_for_end()).await;
    nothing_is_left(&server).await;
    assert_eq!(records(&server, 1)[0]["hangup_cause_q850"], 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_without_binary_messages_has_its_audio_as_json() {
    let (listener, server) = house("protocol = \"json\"\nencoding = \"PCMU\"\n").await;
    let (mut ann, mut bot) = talk(&listener, &server).await;
    bot.is_told("\"start\"").await;
    let next = bot.is_told("\"audio\"").await;
    let frame: Value = serde_json::from_str(&next).expect("JSON");
    let octets = STANDARD.decode(frame["payload"].as_str().expect("text")).expect("base64");
    assert_eq!(octets.len(), 160);
    let speech = speech_like(8_000, 6.0);
    let octets: Vec<u8> = speech.iter().map(|it| ulaw_encode(*it)).collect();
    bot.tell(json!({"type": "audio", "payload": STANDARD.encode(octets)})).await;
    bot.tell(json!({"type": "mark", "name": "said"})).await;
    bot.beside(ann.hears(&speech[8_000..46_000])).await;
    bot.is_told("\"said\"").await;
    bot.tell(json!({"type": "stop"})).await;
    within("the end", ann.call.wait_for_end()).await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_our_own_protocol_may_have_its_audio_as_pcmu() {
    let (listener, server) = house("encoding = \"PCMU\"\n").await;
    let (mut ann, mut bot) = talk(&listener, &server).await;
    let start: Value = serde_json::from_str(&bot.is_told("\"start\"").await).expect("JSON");
    let format = &start["format"];
    assert_eq!((&format["encoding"], &format["frame_octets"]), (&json!("PCMU"), &json!(160)));
    let speech = speech_like(8_000, 6.0);
    let _said = ann.says(&speech[..24_000]).await;
    bot.hears(&speech[8_000..16_000]).await;
    let octets: Vec<u8> = speech[24_000..].iter().map(|it| ulaw_encode(*it)).collect();
    bot.socket.send(Message::binary(octets)).await.expect("sent");
    bot.beside(ann.hears(&speech[28_000..46_000])).await;
    bot.tell(json!({"type": "stop"})).await;
    within("the end", ann.call.wait_for_end()).await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_for_audiosocket_talks_over_tcp_and_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("tcp://{}", listener.local_addr().expect("an address"));
    let server = server(&lines(&format!("protocol = \"audiosocket\"\nurl = \"{url}\"\nrate_hz = 8000\n")));
    let meets = async { within("a connection", listener.accept()).await.expect("a connection").0 };
    let (mut ann, program) = tokio::join!(Caller::calls(&server, "700"), meets);
    let (mut reads, mut writes) = program.into_split();
    let (frames, mut read) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut head = [0; 3];
        while reads.read_exact(&mut head).await.is_ok() {
            let mut octets = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
            reads.read_exact(&mut octets).await.expect("a whole frame");
            let _ = frames.send((head[0], octets));
        }
    });
    let (kind, uuid) = within("a frame", read.recv()).await.expect("a frame");
    let call = only_call(&server)["call"].as_u64().expect("a number");
    let number = u64::from_be_bytes(uuid[8..].try_into().expect("8 octets"));
    assert_eq!((kind, number & (u64::MAX >> 2)), (1, call));
    let speech = speech_like(8_000, 6.0);
    let _said = ann.says(&speech[..24_000]).await;
    let hears = async {
        let mut heard: Vec<i16> = Vec::new();
        while heard.len() < 24_000 || !has_any_part(&heard, 0..heard.len() - PART, &speech[8_000..16_000]) {
            let (kind, octets) = read.recv().await.expect("a frame");
            assert_eq!((kind, octets.len()), (0x10, 320));
            heard.extend(octets.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)));
        }
    };
    within("what was said", hears).await;
    let octets: Vec<u8> = speech[24_000..].iter().flat_map(|it| it.to_le_bytes()).collect();
    for part in octets.chunks(4_001) {
        let head = [0x10, (part.len() >> 8) as u8, part.len() as u8];
        writes.write_all(&[&head[..], part].concat()).await.expect("written");
    }
    ann.hears(&speech[28_000..46_000]).await;
    ann.call.send_digits("5", None).await.expect("pressed");
    let pressed = async { while read.recv().await.expect("a frame") != (0x03, b"5".to_vec()) {} };
    within("a digit", pressed).await;
    writes.write_all(&[0, 0, 0]).await.expect("written");
    within("the end", ann.call.wait_for_end()).await;
    nothing_is_left(&server).await;
    assert_eq!(records(&server, 1)[0]["hangup_cause_q850"], 16);
}

//! Programs for Asterisk's `chan_websocket` that pause what they have sent, or connect to b2b.

use b2b::media::codec::g711::ulaw_encode;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::dialects::{Bot, lines, talk};
use super::*;
use crate::server_support::control::Socket;

const PROTOCOL: &str = "protocol = \"chan_websocket\"\nencoding = \"PCMU\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_pauses_is_not_heard_until_it_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("url = \"ws://{}/media\"\n", listener.local_addr().expect("an address"));
    let server = server(&lines(&format!("{url}{PROTOCOL}")));
    let (mut ann, mut bot) = talk(&listener, &server).await;
    bot.is_told("MEDIA_START ").await;
    let speech = speech_like(8_000, 10.0);
    let octets: Vec<u8> = speech.iter().map(|it| ulaw_encode(*it)).collect();
    bot.socket.send(Message::binary(octets)).await.expect("sent");
    bot.tell("MARK_MEDIA end").await;
    bot.beside(ann.hears_sound(true)).await;
    bot.tell("PAUSE_MEDIA").await;
    bot.beside(ann.hears_sound(false)).await;
    bot.tell("GET_STATUS").await;
    let before = bot.is_told("media_paused:true").await;
    // time in which something would be played
    bot.beside(tokio::time::sleep(Duration::from_millis(500))).await;
    bot.told.clear();
    bot.tell("GET_STATUS").await;
    assert_eq!(bot.is_told("media_paused:true").await, before, "nothing of it is played");
    ann.forgets();
    bot.tell("CONTINUE_MEDIA").await;
    bot.beside(ann.hears(&speech[40_000..76_000])).await;
    bot.is_told("MEDIA_MARK_PROCESSED end").await;
    bot.tell("HANGUP").await;
    within("the end", ann.call.wait_for_end()).await;
    nothing_is_left(&server).await;
}

/// The connection of a program to this path.
async fn connects(server: &Server, id: &str) -> Result<(Bot, Option<String>), String> {
    let stream = TcpStream::connect(server.http).await.expect("the server");
    let mut request = format!("ws://{}/media/{id}", server.http).into_client_request().expect("a request");
    request.headers_mut().insert("sec-websocket-protocol", "media".parse().expect("a value"));
    let (socket, response) = client_async(request, stream).await.map_err(|error| error.to_string())?;
    let confirmed = response.headers().get("sec-websocket-protocol");
    Ok((Bot::new(socket), confirmed.map(|it| it.to_str().expect("text").to_owned())))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_connects_to_b2b_gets_the_caller_that_waits_for_it() {
    let server = server(&lines(&format!("incoming = true\nconnect_s = 20\n{PROTOCOL}")));
    let mut events = Socket::to(&server, "/events").await;
    let program = async {
        let awaits = events.hear_of("a caller", |it| it["name"] == "awaits").await;
        let id = awaits["data"]["connection_id"].as_str().expect("an id").to_owned();
        assert!(connects(&server, "77").await.is_err_and(|error| error.contains("404")));
        let (bot, confirmed) = connects(&server, &id).await.expect("a WebSocket");
        assert_eq!(confirmed.as_deref(), Some("media"));
        assert!(connects(&server, &id).await.is_err_and(|error| error.contains("404")), "once");
        (bot, id)
    };
    let (mut ann, (mut bot, id)) = tokio::join!(Caller::calls(&server, "700"), program);
    bot.is_told(&format!("MEDIA_START connection_id:{id} ")).await;
    let speech = speech_like(8_000, 6.0);
    let _said = ann.says(&speech[..24_000]).await;
    bot.hears(&speech[8_000..16_000]).await;
    let octets: Vec<u8> = speech[24_000..].iter().map(|it| ulaw_encode(*it)).collect();
    bot.socket.send(Message::binary(octets)).await.expect("sent");
    bot.beside(ann.hears(&speech[28_000..46_000])).await;
    bot.tell("HANGUP").await;
    within("the end", ann.call.wait_for_end()).await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_program_does_not_connect_goes_to_the_fallback() {
    let server = server(&lines(&format!("incoming = true\nconnect_s = 1\n{PROTOCOL}")));
    let mut events = Socket::to(&server, "/events").await;
    let mut ann = Caller::calls(&server, "700").await;
    ann.hears_sound(true).await;
    assert_eq!(only_call(&server)["application"], "milliwatt");
    let awaits = events.hear_of("a caller", |it| it["name"] == "awaits").await;
    let id = awaits["data"]["connection_id"].as_str().expect("an id").to_owned();
    assert!(connects(&server, &id).await.is_err_and(|error| error.contains("404")), "nobody waits any more");
    ann.hangs_up().await;
    nothing_is_left(&server).await;
}

//! Programs for Asterisk's `chan_websocket` that pause what they have sent.

use b2b::media::codec::g711::ulaw_encode;
use tokio::net::TcpListener;

use super::dialects::{lines, talk};
use super::*;

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

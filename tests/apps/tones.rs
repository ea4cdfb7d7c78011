//! Digits sent as audible tones by the parties of a gateway: `dtmf = "inband"`.

use std::time::{Duration, Instant};

use b2b::client::{Call, ClientEvent, Codec, DtmfMode, Events, SipClient, Sound};
use b2b::media::dtmf::goertzel;
use tokio::sync::mpsc;

use crate::apps::ivr::frames;
use crate::apps::parties::{RATE_HZ, server, within};
use crate::common::child::PATIENCE;

const ALL: &str = "1234567890*#ABCD";
/// -50 dBm0 as a sample value, root mean square.
const LEAK: f64 = 51.0;
/// Frequency of the caller's other audio.
const VOICE: f64 = 1_800.0;

type Frames = mpsc::UnboundedReceiver<Vec<i16>>;

fn trunk() -> String {
    "[[gateway]]\nname = \"old-trunk\"\nhosts = [\"127.0.0.3:9\"]\nsources = [\"127.0.0.3\"]\ndtmf = \"inband\"\n"
        .to_owned()
}

fn client(name: &str, address: &str) -> SipClient {
    let builder = SipClient::builder().identity(format!("sip:{name}@{address}")).bind(format!("{address}:0"));
    builder.jitter_ms(200).rate_hz(RATE_HZ).codecs([Codec::Pcma]).build().expect("a client")
}

/// Waits for this many digits.
async fn digits(events: &mut Events, wanted: usize) -> String {
    let mut pressed = String::new();
    let all = async {
        while pressed.len() < wanted {
            match events.next().await.expect("the client runs") {
                ClientEvent::Digit { digit, .. } => pressed.push(digit),
                ClientEvent::Lost { .. } => panic!("events were lost"),
                _ => {}
            }
        }
    };
    within(&format!("{wanted} digits"), all).await;
    pressed
}

/// Listens until 200 ms of audio are this tone, or silence.
async fn until_heard(frames: &mut Frames, hz: Option<f64>) {
    let (until, mut heard) = (Instant::now() + PATIENCE, Vec::new());
    loop {
        heard.extend(within("sound", frames.recv()).await.expect("the call is up"));
        if heard.len() >= 1_600 {
            let found = match hz {
                Some(hz) => goertzel(&heard, hz, RATE_HZ) > 1e6,
                None => level(&heard) < LEAK,
            };
            if found {
                return;
            }
            heard.clear();
        }
        assert!(Instant::now() < until, "no {hz:?}");
    }
}

fn level(samples: &[i16]) -> f64 {
    (samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
}

async fn answered(client: &SipClient, number: &str, server: std::net::SocketAddr) -> Call {
    let call = client.call(format!("sip:{number}@{server}")).await.expect("a call");
    within("an answer", call.wait_for_answer()).await.expect("answered");
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn digits_in_a_gateways_sound_are_events_for_who_it_calls_and_no_tone_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let desk = client("desk", "127.0.0.2");
    desk.start().await.expect("a client");
    let mut incoming = desk.incoming().await.expect("calls");
    let route = format!("[[route]]\ncalled = \"desk\"\nto = {:?}\n", desk.uri().expect("started"));
    let (_server, at) = server(folder.path(), &format!("{}{route}", trunk()));
    let caller = client("caller", "127.0.0.3");
    let call = caller.call(format!("sip:desk@{at}")).await.expect("a call");
    let ringing = within("a call", incoming.next()).await.expect("it rings");
    let at_desk = within("acknowledged", ringing.answer()).await.expect("answered");
    within("an answer", call.wait_for_answer()).await.expect("answered");
    let (mut events, mut heard) = (at_desk.events(), frames(&at_desk));
    // The caller's audio passes.
    call.play(Sound::tone(VOICE as f32, 2_000)).await.expect("it is said");
    until_heard(&mut heard, Some(VOICE)).await;
    until_heard(&mut heard, None).await;
    // Its digits pass as events, and their tones do not.
    call.send_digits(ALL, DtmfMode::InBand).await.expect("pressed");
    assert_eq!(digits(&mut events, ALL.len()).await, ALL);
    call.play(Sound::tone(VOICE as f32, 60_000)).await.expect("it is said");
    let mut between: Vec<i16> = Vec::new();
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "its sound comes no more");
        let frame = within("sound", heard.recv()).await.expect("the call is up");
        if goertzel(&frame, VOICE, RATE_HZ) > 1e6 {
            break;
        }
        between.extend(frame);
    }
    assert!(between.len() > RATE_HZ as usize, "all of the digits: {} samples", between.len());
    // The last part may contain the beginning of the voice.
    let loudest = between[..between.len() - 160].chunks(80).map(level).fold(0.0, f64::max);
    assert!(loudest < LEAK, "{loudest} of a tone is heard");
    within("hung up", call.hangup()).await.expect("hung up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_menu_takes_digits_in_a_gateways_sound() {
    let folder = tempfile::tempdir().expect("a folder");
    let menu = "[[route]]\ncalled = \"menu\"\napp = \"ivr/menu\"\n[[ivr]]\nname = \"menu\"\n\
                [[ivr.node]]\nname = \"ask\"\nkind = \"menu\"\nprompt = \"tone:900:20000\"\nchoices = { 7 = \"seven\" }\n\
                [[ivr.node]]\nname = \"seven\"\nkind = \"play_prompt\"\nprompt = \"tone:1300:5000\"\n";
    let (_server, at) = server(folder.path(), &format!("{}{menu}", trunk()));
    let caller = client("caller", "127.0.0.3");
    let call = answered(&caller, "menu", at).await;
    let mut heard = frames(&call);
    until_heard(&mut heard, Some(900.0)).await;
    call.send_digits("7", DtmfMode::InBand).await.expect("pressed");
    until_heard(&mut heard, Some(1_300.0)).await;
    within("hung up", call.hangup()).await.expect("hung up");
    // Tones from other sources are not digits.
    let other = client("other", "127.0.0.1");
    let call = answered(&other, "menu", at).await;
    let mut heard = frames(&call);
    until_heard(&mut heard, Some(900.0)).await;
    call.send_digits("7", DtmfMode::InBand).await.expect("pressed");
    tokio::time::sleep(Duration::from_secs(1)).await;
    call.send_digits("7", DtmfMode::Rfc4733).await.expect("pressed");
    until_heard(&mut heard, Some(1_300.0)).await;
    within("hung up", call.hangup()).await.expect("hung up");
}

//! Conferences of clients: each participant has its own tone, which shows who hears whom.

use b2b_client::audio::Incoming;
use b2b_client::{Call, CallError, Conference, EndCause, SipClient, Sound};
use b2b_test_support::client::hand::{builder, client, connected_to, started};
use b2b_test_support::client::{share_of, within};

/// Longer than any test.
const FOREVER: u32 = 3_600_000;
/// The tone of each guest.
const TONES: [f32; 3] = [400.0, 700.0, 1_100.0];
/// The tone of the host.
const HOST: f32 = 1_700.0;

/// A guest: its client, its side of the call, the host's side, and its received audio.
struct Guest {
    _client: SipClient,
    there: Call,
    here: Call,
    hears: Incoming,
}

async fn guests(host: &SipClient) -> Vec<Guest> {
    let mut guests = Vec::new();
    for (name, hz) in ["a", "b", "c"].into_iter().zip(TONES) {
        let (client, mut incoming) = client(name).await;
        let (here, there) = connected_to(host, &client, &mut incoming).await;
        there.play(Sound::tone(hz, FOREVER)).await.expect("a tone");
        let hears = there.audio().expect("audio").incoming;
        guests.push(Guest { _client: client, there, here, hears });
    }
    guests
}

/// The tones that are present now.
async fn tones(hears: &mut Incoming) -> Vec<f32> {
    let mut heard = Vec::new();
    while heard.len() < 4_000 {
        let frame = hears.next().await.expect("the call is up");
        heard.extend_from_slice(frame.samples());
    }
    let loud = heard.iter().any(|sample| sample.unsigned_abs() > 2_000);
    let present = |hz: &f32| loud && share_of(&heard, f64::from(*hz), 8_000) > 0.1;
    TONES.into_iter().chain([HOST]).filter(present).collect()
}

/// Waits until exactly these tones are heard for half a second.
async fn hears(what: &str, incoming: &mut Incoming, wanted: &[f32]) {
    let mut last = Vec::new();
    let heard = async {
        loop {
            last = tones(incoming).await;
            if last == wanted && tones(incoming).await == wanted {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(b2b_test_support::client::PATIENCE, heard).await;
    assert!(in_time.is_ok(), "{what} hears {last:?} and not {wanted:?}");
}

#[tokio::test]
async fn everybody_hears_all_the_others_and_not_themselves() {
    let (host, _) = client("host").await;
    let mut guests = guests(&host).await;
    let conference = host.conference(guests.iter().map(|guest| &guest.here)).await.expect("a conference");
    assert_eq!(conference.members().await.len(), 3);
    for (n, guest) in guests.iter_mut().enumerate() {
        let others: Vec<f32> = TONES.into_iter().filter(|hz| *hz != TONES[n]).collect();
        hears(&format!("guest {n}"), &mut guest.hears, &others).await;
    }
    // All guests hear the host on whichever call it speaks, and the host hears all on any call.
    guests[0].here.play(Sound::tone(HOST, FOREVER)).await.expect("a tone");
    hears("guest 1", &mut guests[1].hears, &[TONES[0], TONES[2], HOST]).await;
    hears("guest 0", &mut guests[0].hears, &[TONES[1], TONES[2], HOST]).await;
    let mut at_host = guests[2].here.audio().expect("audio").incoming;
    hears("the host", &mut at_host, &TONES).await;

    // A muted call: our side is silent for its far end, and the others are not.
    guests[0].here.mute(true).await.expect("muted");
    hears("guest 1 of the muted host", &mut guests[1].hears, &[TONES[0], TONES[2]]).await;

    // A removed call is alone with the host; the others go on.
    conference.remove(&guests[2].here).await.expect("removed");
    hears("who left", &mut guests[2].hears, &[]).await;
    hears("guest 0", &mut guests[0].hears, &[TONES[1]]).await;
    hears("guest 1", &mut guests[1].hears, &[TONES[0]]).await;
    hears("the host of who left", &mut at_host, &[TONES[2]]).await;
    conference.add(&guests[2].here).await.expect("back");
    hears("who came back", &mut guests[2].hears, &TONES[..2]).await;

    // A guest that hangs up leaves.
    within("hung up", guests[1].there.hangup()).await.expect("hung up");
    assert_eq!(within("the end", guests[1].here.wait_for_end()).await, EndCause::RemoteHangup);
    hears("guest 0", &mut guests[0].hears, &[TONES[2]]).await;
    assert_eq!(conference.members().await, [guests[0].here.id(), guests[2].here.id()]);
    conference.end().await;
    hears("guest 0 at the end", &mut guests[0].hears, &[]).await;
}

#[tokio::test]
async fn who_takes_the_place_of_a_call_takes_its_seat() {
    let (host, _) = client("host").await;
    let mut guests = guests(&host).await;
    let conference = Conference::of(&guests[0].here, &guests[1].here).await.expect("a conference");
    // Guest 1 transfers the host to another client.
    let (other, mut incoming) = client("other").await;
    let sending = tokio::spawn({
        let (there, target) = (guests[1].there.clone(), other.uri().expect("started"));
        async move { there.transfer(target).await }
    });
    let ringing = within("the host's call", incoming.next()).await.expect("it rings");
    let at_other = within("acknowledged", ringing.answer()).await.expect("answered");
    at_other.play(Sound::tone(HOST, FOREVER)).await.expect("a tone");
    within("transferred", sending).await.expect("no panic").expect("transferred");
    hears("guest 0", &mut guests[0].hears, &[HOST]).await;
    let mut at_other = at_other.audio().expect("audio").incoming;
    hears("the other one", &mut at_other, &TONES[..1]).await;
    assert_eq!(conference.members().await.len(), 2);
}

#[tokio::test]
async fn a_conference_that_cannot_be_says_why() {
    let (host, _) = client("host").await;
    let guests = guests(&host).await;
    let (a, b, c) = (&guests[0].here, &guests[1].here, &guests[2].here);
    let why = |outcome: Result<Conference, CallError>| outcome.expect_err("none").to_string();
    assert!(why(Conference::of(a, a).await).contains("two different calls"));
    assert!(why(Conference::of(a, &guests[1].there).await).contains("different clients"));
    let conference = Conference::of(a, b).await.expect("a conference");
    assert!(why(Conference::of(b, c).await).contains("take it out"));
    assert!(matches!(conference.remove(c).await, Err(CallError::Conference(_))));
    let (callee, mut incoming) = started(builder("callee")).await;
    let ringing = host.call(callee.uri().expect("started")).await.expect("a call");
    let _rings = within("it rings", incoming.next()).await;
    assert!(matches!(conference.add(&ringing).await, Err(CallError::NotAnswered)));
    // The last member is not in a conference alone.
    conference.remove(a).await.expect("removed");
    assert!(conference.members().await.is_empty());
    assert!(matches!(conference.add(c).await, Err(CallError::Conference(_))));
    Conference::of(b, c).await.expect("another one");
}

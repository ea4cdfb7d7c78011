//! The reported quality of calls.

use std::time::Duration;

use b2b_client::{Call, ClientBuilder, ClientEvent, Codec, ImpairConfig, Quality, SipClient, Sound};
use b2b_test_support::client::{connected, within};

/// Polls a call until its quality is as wanted.
async fn until(what: &str, call: &Call, mut wanted: impl FnMut(&Quality) -> bool) -> Quality {
    within(what, async {
        loop {
            if let Some(quality) = call.quality().await.filter(|quality| wanted(quality)) {
                return quality;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

fn client(user: &str, codec: Codec) -> ClientBuilder {
    SipClient::builder().identity(format!("sip:{user}@127.0.0.1")).codecs([codec])
}

/// Loses one packet in ten.
const TENTH: ImpairConfig =
    ImpairConfig { loss_pct: 10.0, jitter_ms: 0.0, reorder_pct: 0.0, dup_pct: 0.0, seed: 7 };

/// Delays each packet by up to 60 ms.
const UNSTEADY: ImpairConfig =
    ImpairConfig { loss_pct: 0.0, jitter_ms: 60.0, reorder_pct: 0.0, dup_pct: 0.0, seed: 7 };

#[tokio::test]
async fn what_comes_unsteadily_is_in_the_jitter_and_in_the_delay() {
    let alice = client("alice", Codec::Pcmu).build().expect("a client");
    let bob = client("bob", Codec::Pcmu).impairment(UNSTEADY).jitter_ms(40).build().expect("a client");
    let (at_alice, at_bob) = connected(&alice, &bob).await;
    at_alice.play(Sound::tone(440.0, 3_600_000)).await.expect("playing");
    // Delays that are uniform up to 60 ms differ by 20 ms on average; the filter of RFC 3550 §A.8 takes 16
    // packets to converge. A loaded machine increases it.
    let heard = until("jitter and delay", &at_bob, |quality| {
        quality.received > 150 && quality.jitter_ms > 8.0 && quality.delay_ms.is_some()
    })
    .await;
    // Playout waits for late packets: at least for the configured time.
    assert!(heard.delay_ms.is_some_and(|delay| delay >= 40.0), "{heard:?}");
    within("hung up", at_alice.hangup()).await.expect("hung up");
}

#[tokio::test]
async fn a_tenth_of_loss_is_in_the_score_and_told_by_both_ends() {
    let alice = client("alice", Codec::Pcmu).build().expect("a client");
    let bob = client("bob", Codec::Pcmu).impairment(TENTH).levels(true).build().expect("a client");
    let (at_alice, at_bob) = connected(&alice, &bob).await;
    let mut events = at_bob.events();
    at_alice.play(Sound::tone(440.0, 3_600_000)).await.expect("playing");

    // On a loaded machine late packets count as loss, too: only lost packets are judged here.
    let loud = |quality: &Quality| quality.heard_dbfs.is_some_and(|level| (-12.0..-6.0).contains(&level));
    let heard = until("5 s of sound", &at_bob, |quality| quality.received > 250 && loud(quality)).await;
    assert_eq!(heard.codec, Some(Codec::Pcmu));
    let lost_pct = 100.0 * heard.lost as f64 / (heard.lost + heard.received) as f64;
    assert!((4.0..18.0).contains(&lost_pct) && heard.loss_pct >= 0.99 * lost_pct, "{heard:?}");
    assert!(heard.lost > 10 && heard.concealed > 5, "{heard:?}");
    let mos = heard.mos.expect("a score");
    assert!((1.0..4.1).contains(&mos), "{mos}");
    assert_eq!(heard.sent_dbfs, None, "bob says nothing");

    let told = until("bob's report", &at_alice, |quality| quality.rtt_ms.is_some()).await;
    assert!(told.remote_loss_pct.is_some_and(|loss| loss > 2.0), "{told:?}");
    assert!(told.rtt_ms.is_some_and(|rtt| rtt >= 0.0), "{told:?}");
    assert_eq!(told.lost, 0, "nothing is lost there");
    assert!(told.mos.is_some());

    within("hung up", at_alice.hangup()).await.expect("hung up");
    let (mut reports, mut levels) = (Vec::new(), 0);
    while let Some(event) = within("the end", events.next()).await {
        match event {
            ClientEvent::Quality { quality, last, .. } => reports.push((quality, last)),
            ClientEvent::Level { heard_dbfs: Some(_), .. } => levels += 1,
            _ => {}
        }
    }
    let lasts: Vec<bool> = reports.iter().map(|(_, last)| *last).collect();
    assert!(lasts.len() >= 2, "one after 5 s, and the last one: {reports:?}");
    assert!(lasts.iter().rev().skip(1).all(|last| !last) && lasts.last() == Some(&true), "{lasts:?}");
    assert!(levels >= 10, "{levels} levels");
    let end = at_bob.quality().await.expect("the call is over, its numbers stay");
    assert_eq!(Some(&(end, true)), reports.last());
    assert!(end.received >= heard.received);
}

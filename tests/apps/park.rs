//! Parking: a parked call hears music, and is connected to the party that dials the slot.

use b2b::client::{Codec, EndCause, IncomingCalls, SipClient};

use crate::apps::parties::{Party, client, server, within};

const ANN: f64 = 440.0;
const BOB: f64 = 700.0;
const CAT: f64 = 1_150.0;
const MUSIC: f64 = 2_000.0;

async fn answers(bob: &SipClient, incoming: &mut IncomingCalls) -> Party {
    let ringing = within("a call", incoming.next()).await.expect("a call");
    let call = within("acknowledged", ringing.answer()).await.expect("answered");
    let bob = Party { _client: bob.clone(), call };
    bob.says(BOB).await;
    bob
}

#[tokio::test]
async fn who_is_parked_hears_music_and_then_who_picks_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let desk = client("bob", Codec::Pcma);
    let mut incoming = desk.incoming().await.expect("calls");
    let bob_at = desk.local().expect("started");
    let config = format!(
        "[[music]]\nname = \"default\"\ntone = \"{MUSIC}\"\n[[park]]\nname = \"lot\"\nslots = \"701-702\"\nmusic = \"default\"\n\
         [[route]]\nname = \"parking\"\ncalled = \"70[0-2]\"\napp = \"park/lot\"\n\
         [[route]]\nname = \"desk\"\ncalled = \"bob\"\nto = \"sip:bob@{bob_at}\"\nmode = \"intercepting\"\n"
    );
    let (_server, at) = server(folder.path(), &config);
    let (ann, bob) =
        tokio::join!(Party::calls("ann", Codec::Pcma, "bob", at, ANN), answers(&desk, &mut incoming));
    ann.hears(&[BOB], &[ANN]).await;
    within("transferred", bob.call.transfer(format!("sip:700@{at}"))).await.expect("transferred");
    within("done with Ann", bob.call.wait_for_end()).await;
    ann.hears(&[MUSIC], &[BOB]).await;
    let cat = Party::calls("cat", Codec::Pcmu, "701", at, CAT).await;
    ann.hears(&[CAT], &[MUSIC, BOB]).await;
    cat.hears(&[ANN], &[CAT, MUSIC]).await;
    cat.hangs_up().await;
    assert_eq!(within("the end", ann.call.wait_for_end()).await, EndCause::RemoteHangup);
    // The slot is empty again.
    let call = desk.call(format!("sip:701@{at}")).await.expect("a call");
    let end = within("refused", call.wait_for_end()).await;
    assert!(matches!(end, EndCause::Failed { status: 404, .. }), "{end:?}");
}

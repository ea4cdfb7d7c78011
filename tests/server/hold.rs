//! Commands that hold a party, resume it, and take a bridge down: the messages to the phones, and what they
//! hear.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use crate::server::control::{all_over, all_quiet, command, done};
use crate::server::remote::{PATIENT, given, offered, program};
use crate::server_support::phone::{CallsOff, Dialog, Phone, direction_of, rtp_of};
use crate::server_support::{Server, server, until};

const MUSIC: &str = "[[music]]\nname = \"default\"\ntone = \"440\"\n";

/// A called party that has answered.
struct Party {
    phone: Phone,
    leg: Value,
    call: Value,
    dialog: Dialog,
    /// Destination of its RTP.
    rtp: SocketAddr,
}

fn called(server: &Server, name: &'static str) -> Party {
    let phone = Phone::new(name);
    std::thread::scope(|scope| {
        let order = json!({ "command": "originate", "from": phone.uri() });
        let asks = scope.spawn(move || done(server, &order));
        let (invite, peer) = phone.hear("INVITE");
        let (dialog, rtp) = (phone.answer_to(&invite, peer), rtp_of(&invite));
        let begun = asks.join().expect("answered");
        let (leg, call) = (begun["leg"].clone(), begun["call"].clone());
        Party { phone, leg, call, dialog, rtp }
    })
}

impl Party {
    /// Sends this until the other party hears it; returns what that party has heard meanwhile.
    fn is_heard_by(&self, other: &Party, payload: u8) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        let mut n = u16::from(payload) * 200;
        until(&format!("{payload:#x} to be heard"), || {
            for _ in 0..5 {
                self.phone.sound(self.rtp, n, &[payload; 160]);
                n += 1;
            }
            heard.extend(other.phone.payloads());
            heard.iter().any(|it| it.first() == Some(&payload)).then_some(())
        });
        heard
    }
}

/// Runs a command, and `meanwhile` at the same time.
fn while_done<T>(server: &Server, order: &Value, meanwhile: impl FnOnce() -> T) -> (Value, T) {
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| command(server, order));
        let meanwhile = meanwhile();
        (asks.join().expect("an end"), meanwhile)
    })
}

fn two(server: &Server) -> (Party, Party) {
    let (ann, bob) = (called(server, "ann"), called(server, "bob"));
    done(server, &json!({ "command": "bridge", "leg": ann.leg, "with": bob.leg }));
    (ann, bob)
}

/// Whether a leg is on hold, and the state of its bridge.
fn seen(server: &Server, leg: &Value) -> (Value, Value) {
    let call = server.get("/calls").json()["calls"][0].clone();
    let legs = call["legs"].as_array().expect("legs").clone();
    let it = legs.into_iter().find(|it| it["leg"] == *leg).unwrap_or_else(|| panic!("no leg {leg}: {call}"));
    (it["on_hold"].clone(), call["bridge"]["state"].clone())
}

fn hang_up(server: &Server, parties: &[&Party]) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_the_end = CallsOff(&over);
        for party in parties {
            scope.spawn(|| party.phone.agree(&over));
        }
        for party in parties {
            // A leg may have ended with another one.
            command(server, &json!({ "command": "hangup", "leg": party.leg }));
        }
        all_quiet(server);
    });
}

#[test]
fn a_party_on_hold_is_told_so_hears_music_and_is_not_heard_until_it_is_taken_back() {
    let server = server(MUSIC);
    let (ann, bob) = two(&server);
    ann.is_heard_by(&bob, 0x11);
    bob.is_heard_by(&ann, 0x12);

    let hold = json!({ "command": "hold", "leg": ann.leg });
    let (held, invite) = while_done(&server, &hold, || ann.phone.answer_again("recvonly"));
    assert_eq!(held["state"], "completed", "{held}");
    assert_eq!(direction_of(&invite), "sendonly", "{invite}");
    assert_eq!(seen(&server, &ann.leg), (json!(true), json!("held")));
    ann.phone.payloads();
    assert!(ann.phone.listen(10).iter().all(|it| it[12..] != [0x12; 160]), "music");
    // Both parties send audio during the hold; a second hold command sends no re-INVITE.
    for n in 0..30 {
        ann.phone.sound(ann.rtp, 10_000 + n, &[0x22; 160]);
        bob.phone.sound(bob.rtp, 10_000 + n, &[0x23; 160]);
    }
    done(&server, &hold);

    let resume = json!({ "command": "resume", "leg": ann.leg });
    let (back, invite) = while_done(&server, &resume, || ann.phone.answer_again("sendrecv"));
    assert_eq!(back["state"], "completed", "{back}");
    assert_eq!(direction_of(&invite), "sendrecv", "{invite}");
    assert_eq!(seen(&server, &ann.leg), (json!(false), json!("active")));
    let heard = ann.is_heard_by(&bob, 0x33);
    assert!(heard.iter().all(|it| it.first() != Some(&0x22)), "Bob has heard Ann, who was on hold");
    let heard = bob.is_heard_by(&ann, 0x34);
    assert!(heard.iter().all(|it| it.first() != Some(&0x23)), "Ann has heard Bob while on hold");
    done(&server, &resume);
    let words = server.get(&format!("/calls/{}?format=text", ann.call)).text();
    assert!(words.contains("put on hold") && words.contains("taken back"), "{words}");
    hang_up(&server, &[&ann, &bob]);
}

#[test]
fn whoever_is_on_hold_stays_so_when_their_phone_asks_for_something() {
    let server = server(MUSIC);
    let (ann, bob) = two(&server);
    let hold = json!({ "command": "hold", "leg": bob.leg });
    let (held, _) = while_done(&server, &hold, || bob.phone.answer_again("recvonly"));
    assert_eq!(held["state"], "completed", "{held}");
    let answer = bob.phone.change(&bob.dialog, 20, "sendrecv");
    assert_eq!(direction_of(&answer), "sendonly", "{answer}");
    let resume = json!({ "command": "resume", "leg": bob.leg });
    let (back, invite) = while_done(&server, &resume, || bob.phone.answer_again("sendrecv"));
    assert_eq!((&back["state"], direction_of(&invite)), (&json!("completed"), "sendrecv"), "{back}");
    bob.is_heard_by(&ann, 0x41);
    hang_up(&server, &[&ann, &bob]);
}

#[test]
fn without_music_nothing_is_heard_and_a_party_alone_can_be_put_on_hold() {
    let server = server("");
    let ann = called(&server, "ann");
    let unknown = command(&server, &json!({ "command": "hold", "leg": ann.leg, "class": "none" }));
    assert_eq!(unknown["reason"], "media", "{unknown}");
    let hold = json!({ "command": "hold", "leg": ann.leg, "class": "" });
    let (held, invite) = while_done(&server, &hold, || ann.phone.answer_again("inactive"));
    assert_eq!((&held["state"], direction_of(&invite)), (&json!("completed"), "inactive"), "{held}");
    // An application that receives Ann resumes her.
    let handle = json!({ "command": "handle", "leg": ann.leg, "app": "echo" });
    let (handled, invite) = while_done(&server, &handle, || ann.phone.answer_again("sendrecv"));
    assert_eq!((&handled["state"], direction_of(&invite)), (&json!("completed"), "sendrecv"), "{handled}");
    assert_eq!(seen(&server, &ann.leg).0, json!(false));
    hang_up(&server, &[&ann]);
}

#[test]
fn a_hold_that_comes_to_nothing_changes_nothing() {
    let server = server(MUSIC);
    let (ann, bob) = two(&server);
    let hold = json!({ "command": "hold", "leg": ann.leg });
    let (failed, _) = while_done(&server, &hold, || ann.phone.refuse_again("488 Not Acceptable Here"));
    let end = (&failed["state"], &failed["reason"], &failed["status"]);
    assert_eq!(end, (&json!("failed"), &json!("refused"), &json!(488)), "{failed}");
    assert_eq!(seen(&server, &ann.leg), (json!(false), json!("active")));
    ann.is_heard_by(&bob, 0x51);
    bob.is_heard_by(&ann, 0x52);
    // The deadline passes before Ann's phone has answered: she is resumed afterwards.
    let late = json!({ "command": "hold", "leg": ann.leg, "id": "late", "deadline_s": 1 });
    assert_eq!(server.post("/commands", &late).status, 202);
    let (invite, peer) = ann.phone.hear("INVITE");
    let status = server.get("/commands/late?wait=60").json();
    assert_eq!(status["reason"], "deadline", "{status}");
    ann.phone.answer_to(&invite, peer);
    assert_eq!(direction_of(&ann.phone.answer_again("sendrecv")), "sendrecv");
    until("Ann back", || (seen(&server, &ann.leg) == (json!(false), json!("active"))).then_some(()));

    let nobody = command(&server, &json!({ "command": "hold", "leg": 4_711 }));
    assert_eq!(nobody["reason"], "gone", "{nobody}");
    let nobody = command(&server, &json!({ "command": "resume", "call": 4_711 }));
    assert_eq!(nobody["reason"], "gone", "{nobody}");
    // Ann hangs up instead of answering.
    let (gone, ()) = while_done(&server, &hold, || {
        ann.phone.hear("INVITE");
        ann.phone.hang_up(&ann.dialog);
    });
    assert_eq!((&gone["state"], &gone["reason"]), (&json!("failed"), &json!("gone")), "{gone}");
    bob.phone.let_go();
    all_quiet(&server);
}

#[test]
fn a_caller_who_is_not_answered_cannot_be_put_on_hold() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = server(&format!("[[route]]\ncalled = \".*\"\nto = [\"{}\"]\n", bob.uri()));
    ann.ask_for(server.sip, "200");
    let (invite, peer) = bob.hear("INVITE");
    bob.ring_to(&invite, peer);
    let call = server.get("/calls").json()["calls"][0]["call"].clone();
    for order in ["hold", "resume", "unbridge"] {
        let failed = command(&server, &json!({ "command": order, "call": call }));
        assert_eq!(failed["reason"], "wrong_state", "{failed}");
    }
    done(&server, &json!({ "command": "hangup", "call": call }));
}

#[test]
fn a_bridge_is_taken_down_and_both_parties_stay_each_with_a_call_of_its_own() {
    let server = server(MUSIC);
    let (ann, bob) = two(&server);
    ann.is_heard_by(&bob, 0x61);
    let unknown = command(&server, &json!({ "command": "unbridge", "leg": ann.leg, "app": "ivr/none" }));
    assert_eq!(unknown["reason"], "unknown", "{unknown}");
    ann.is_heard_by(&bob, 0x62);

    let unbridge = json!({ "command": "unbridge", "leg": bob.leg, "id": "part" });
    let (parted, ()) = while_done(&server, &unbridge, || {
        assert_eq!(direction_of(&bob.phone.answer_again("sendrecv")), "sendrecv");
        ann.phone.answer_again("sendrecv");
    });
    assert_eq!(parted["state"], "completed", "{parted}");
    let result = &parted["result"];
    assert_eq!((&result["leg"], &result["other"]["leg"]), (&bob.leg, &ann.leg), "{result}");
    assert_ne!(result["call"], result["other"]["call"]);
    let calls = server.get("/calls").json();
    assert_eq!(calls["total"], 2, "{calls}");
    for call in calls["calls"].as_array().expect("calls") {
        let (legs, bridge) = (call["legs"].as_array().map(Vec::len), &call["bridge"]);
        assert_eq!((legs, bridge), (Some(1), &Value::Null), "{call}");
    }
    assert_eq!(done(&server, &unbridge), *result, "the same again is the same");
    let again = command(&server, &json!({ "command": "unbridge", "leg": bob.leg }));
    assert_eq!(again["reason"], "wrong_state", "{again}");
    // The parties do not hear each other; then they are joined again.
    bob.phone.payloads();
    for n in 0..20 {
        ann.phone.sound(ann.rtp, 20_000 + n, &[0x63; 160]);
    }
    let silence = bob.phone.payloads();
    done(&server, &json!({ "command": "bridge", "leg": ann.leg, "with": bob.leg }));
    let heard = ann.is_heard_by(&bob, 0x64);
    assert!(silence.iter().chain(&heard).all(|it| it.first() != Some(&0x63)), "Bob has heard Ann");
    assert_eq!(server.get("/calls").json()["total"], 1);

    // Again, and Bob goes to an application.
    let unbridge = json!({ "command": "unbridge", "leg": ann.leg, "app": "echo" });
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_the_end = CallsOff(&over);
        scope.spawn(|| ann.phone.agree(&over));
        scope.spawn(|| bob.phone.agree(&over));
        let result = done(&server, &unbridge);
        let calls = server.get("/calls").json()["calls"].as_array().expect("calls").clone();
        let his = calls.iter().find(|it| it["call"] == result["other"]["call"]).expect("Bob's call");
        assert_eq!(his["application"], "echo", "{his}");
        for leg in [&ann.leg, &bob.leg] {
            done(&server, &json!({ "command": "hangup", "leg": leg }));
        }
        all_quiet(&server);
    });
}

#[tokio::test]
async fn who_a_program_has_put_on_hold_is_taken_back_when_the_program_is_gone() {
    let ann = Phone::new("ann");
    let server = given(PATIENT);
    let mut agent = program(&server).await;
    let (from, call_id) = ann.ask_for(server.sip, "200");
    let leg = offered(&mut agent).await["leg"].clone();
    agent.say(&json!({ "command": "answer", "leg": leg, "id": "a" })).await;
    let (answer, _) = ann.hear("SIP/2.0 200");
    let dialog = ann.confirmed(&answer, (from, call_id), server.sip);
    agent.end_of("a").await;
    // A program with one of the calls has to name the application for the other party.
    agent.say(&json!({ "command": "unbridge", "leg": leg, "id": "u" })).await;
    let refused = agent.hear_of("a word", |it| it["type"] == "refused").await;
    assert_eq!(refused["status"], 400, "{refused}");
    agent.say(&json!({ "command": "hold", "leg": leg, "id": "h" })).await;
    ann.answer_again("inactive");
    assert_eq!(agent.end_of("h").await["type"], "command_completed");
    drop(agent);
    assert_eq!(direction_of(&ann.answer_again("sendrecv")), "sendrecv");
    crate::server::remote::fallen_back(&server);
    ann.hang_up(&dialog);
    all_over(&server);
}

/// Samples of a WAV file by channel.
fn wav(server: &Server, result: &Value) -> Vec<Vec<i16>> {
    let path = server.folder.path().join(result["file"].as_str().expect("a file"));
    let mut reader = hound::WavReader::open(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let channels = usize::from(reader.spec().channels);
    let samples: Vec<i16> = reader.samples().map(|it| it.expect("a sample")).collect();
    (0..channels).map(|channel| samples.iter().skip(channel).step_by(channels).copied().collect()).collect()
}

fn loud(samples: &[i16]) -> bool {
    samples.iter().any(|it| it.unsigned_abs() > 1_000)
}

#[test]
fn one_leg_is_recorded_by_itself_what_it_says_or_both_sides() {
    let server = server("[recording]\nfolder = \"rec\"\n");
    let (ann, bob) = two(&server);
    let early = command(&server, &json!({ "command": "stop_recording", "leg": ann.leg, "what": "leg" }));
    assert_eq!(early["reason"], "wrong_state", "{early}");
    done(&server, &json!({ "command": "record", "leg": ann.leg, "what": "said" }));
    done(&server, &json!({ "command": "record", "leg": bob.leg, "what": "leg" }));
    done(&server, &json!({ "command": "record", "call": ann.call }));
    let twice = command(&server, &json!({ "command": "record", "leg": ann.leg, "what": "leg" }));
    assert_eq!(twice["reason"], "wrong_state", "{twice}");
    // Bob speaks, and Ann does not.
    bob.is_heard_by(&ann, 0x2a);
    let calls = server.get("/calls").json();
    let legs = calls["calls"][0]["legs"].as_array().expect("legs");
    assert!(legs.iter().all(|leg| leg["recording"]["file"].is_string()), "{calls}");

    let said = done(&server, &json!({ "command": "stop_recording", "leg": ann.leg, "what": "said" }));
    let [said] = wav(&server, &said).try_into().expect("one channel");
    assert!(!loud(&said), "Ann has said nothing");
    let both = done(&server, &json!({ "command": "stop_recording", "leg": bob.leg, "what": "leg" }));
    assert!(both["file"].as_str().expect("a file").contains("-leg-"), "{both}");
    let [left, right] = wav(&server, &both).try_into().expect("two channels");
    assert!(loud(&left) && !loud(&right), "what Bob says is on the left");
    let gone = command(&server, &json!({ "command": "record", "leg": 4_711, "what": "leg" }));
    assert_eq!(gone["reason"], "gone", "{gone}");
    let whole = done(&server, &json!({ "command": "stop_recording", "call": ann.call }));
    assert_eq!(wav(&server, &whole).len(), 2, "{whole}");
    // A recording that is not stopped is completed with its leg.
    done(&server, &json!({ "command": "record", "leg": ann.leg, "what": "said" }));
    hang_up(&server, &[&ann, &bob]);
    let files = || {
        let days = std::fs::read_dir(server.folder.path().join("rec")).expect("a folder");
        let days = days.filter_map(|day| std::fs::read_dir(day.expect("an entry").path()).ok());
        days.flatten()
            .filter(|it| it.as_ref().is_ok_and(|it| it.path().extension().is_some_and(|it| it == "wav")))
            .count()
    };
    until("four files", || (files() == 4).then_some(()));
}

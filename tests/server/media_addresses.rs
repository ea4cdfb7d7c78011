//! The addresses that parties name in their descriptions: what they must not name gets nothing, and they are
//! heard and answered where they are.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use super::media_lock::{CALLEE, CALLER, bystander, gets, host, public, report, talk};
use crate::common::child::{B2b, b2b};
use crate::server_support::phone::{Dialog, Phone, rtp_of};
use crate::server_support::{Server, configured, server, start, until};

/// A server with these networks inside.
fn with_inside(inside: &str, lines: &str) -> Server {
    let folder = configured(lines);
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    let text = text.replacen("[server]\n", &format!("[server]\ninside = [{inside}]\n"), 1);
    std::fs::write(&path, text).expect("a file");
    start(folder)
}

fn route_to(bob: &Phone) -> String {
    format!("[[route]]\ncalled = \"200\"\nto = [\"{}\"]\n", bob.uri())
}

/// Ann's dialog, and where b2b receives Ann's and Bob's media.
fn up(ann: &Phone, bob: &Phone, server: &Server) -> (Dialog, SocketAddr, SocketAddr) {
    let asked = ann.ask_for(server.sip, "200");
    let (invite, peer) = bob.hear("INVITE");
    let _ = bob.answer_to(&invite, peer);
    let (answer, _) = ann.hear("SIP/2.0 200");
    let dialog = ann.confirmed(&answer, asked, server.sip);
    (dialog, rtp_of(&answer), rtp_of(&invite))
}

#[test]
fn a_phone_behind_a_nat_is_heard_and_answered_though_its_private_address_is_one_of_ours_inside() {
    let ann = Phone::at("ann", [host(2), host(2), Ipv4Addr::new(192, 168, 1, 20)]);
    let bob = Phone::at("bob", [host(3), host(3), Ipv4Addr::new(192, 168, 1, 21)]);
    let server = with_inside("\"192.168.0.0/16\"", &route_to(&bob));
    let asked = ann.ask_for(server.sip, "200");
    let (invite, peer) = bob.hear("INVITE");
    bob.progress_to(&invite, peer);
    let (progress, _) = ann.hear("SIP/2.0 183");
    let (to_a, to_b) = (rtp_of(&progress), rtp_of(&invite));
    let mut n = 0;
    talk(&mut n, (&ann, to_a, CALLER), (&bob, to_b, CALLEE));
    let _ = bob.answer_to(&invite, peer);
    let (answer, _) = ann.hear("SIP/2.0 200");
    let dialog = ann.confirmed(&answer, asked, server.sip);
    talk(&mut n, (&ann, to_a, CALLER), (&bob, to_b, CALLEE));
    ann.change(&dialog, 2, "inactive");
    ann.change(&dialog, 3, "sendrecv");
    talk(&mut n, (&ann, to_a, CALLER), (&bob, to_b, CALLEE));
    ann.hang_up(&dialog);
}

#[test]
fn a_party_outside_names_no_host_inside_and_a_party_inside_does() {
    for (inside, may) in [("\"127.0.0.77/32\"", false), ("\"127.0.0.77/32\", \"127.0.0.2/32\"", true)] {
        let ann = Phone::at("ann", [host(2), host(2), host(77)]);
        let named = bystander(ann.rtp().port());
        let bob = public("bob", 3);
        let server = with_inside(inside, &route_to(&bob));
        let (dialog, to_a, to_b) = up(&ann, &bob, &server);
        let got = gets(&named, &bob, to_b, 0..100);
        assert!(if may { got > 50 } else { got == 0 }, "{inside}: {got}");
        let told = report(&server).to_string().contains("withheld");
        assert_eq!(told, !may, "the timeline");
        // By a later offer, too.
        ann.change(&dialog, 2, "sendrecv");
        assert_eq!(gets(&named, &bob, to_b, 100..200) > 0, may);
        if !may {
            talk(&mut 300, (&ann, to_a, CALLER), (&bob, to_b, CALLEE));
            assert_eq!(gets(&named, &bob, to_b, 600..700), 0);
        }
    }
}

#[test]
fn nobody_names_a_port_on_which_we_receive() {
    let (mut ann, bob) = (Phone::at("ann", [host(2), host(2), Ipv4Addr::LOCALHOST]), public("bob", 3));
    let server = server(&route_to(&bob));
    ann.told_port = Some(server.sip.port());
    let (dialog, to_a, to_b) = up(&ann, &bob, &server);
    let quiet = |bob: &Phone| {
        let sent = || report(&server)["legs"][0]["media"]["packets_sent"].clone();
        let before = sent();
        bob.speak(to_b, 50);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(sent(), before);
    };
    let withheld = |times: usize| {
        until("the timeline", || {
            (report(&server).to_string().matches("withheld").count() >= times).then_some(())
        });
    };
    withheld(1);
    quiet(&bob);
    // Bob's port at the server, and Ann's own.
    for (cseq, port) in [(2, to_b.port()), (3, to_a.port()), (4, to_b.port() + 1)] {
        ann.told_port = Some(port);
        ann.change(&dialog, cseq, "sendrecv");
        withheld(cseq as usize);
        quiet(&bob);
    }
    talk(&mut 100, (&ann, to_a, CALLER), (&bob, to_b, CALLEE));
}

/// A `b2b phone`, and its account as JSON lines.
fn phone(args: &[&str]) -> B2b {
    b2b(&[&["--role", "phone", "--json"], args].concat())
}

#[test]
fn direct_media_between_two_phones_of_ours_leaves_the_server() {
    let mut bob = phone(&["--identity", "sip:bob@127.0.0.1", "--answer", "1"]);
    let ready: Value = serde_json::from_str(&bob.wait_for_line("\"ready\"")).expect("JSON");
    let uri = ready["uri"].as_str().expect("a URI");
    let server = server(&format!("[[route]]\ncalled = \"200\"\nto = [\"{uri}\"]\nmedia = \"direct\"\n"));
    let target = format!("sip:200@{}", server.sip);
    let steps = format!("dial {target}; say 600 Hz; wait 30; hang up");
    let mut alice = phone(&["--identity", "sip:alice@127.0.0.1", "--steps", &steps]);
    let received = || {
        let calls = server.get("/calls").json();
        let call = calls["calls"][0]["call"].as_u64()?;
        let account = server.get(&format!("/calls/{call}")).json();
        let of = |leg: usize| account["legs"][leg]["media"]["packets_received"].as_u64();
        Some((of(0)? + of(1)?, account.to_string().matches("past b2b").count()))
    };
    let before = until("direct media", || {
        let (before, past) = received()?;
        std::thread::sleep(Duration::from_secs(1));
        let (after, _) = received()?;
        (past == 2 && before > 0 && after == before).then_some(before)
    });
    alice.assert_exit(0);
    bob.assert_exit(0);
    for phone in [&alice, &bob] {
        let lines = phone.stdout();
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let summary = lines.into_iter().find(|line| line["event"] == "summary").expect("a summary");
        let heard = summary["quality"]["received"].as_u64().expect("a count");
        assert!(heard > before + 100, "{heard} packets, {before} of both through the server");
    }
}

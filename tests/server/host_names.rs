//! Host names in `c=` of a gateway with `sdp_names`: the call does not wait for the address, and the address is
//! judged as any.

use std::net::SocketAddr;

use b2b_test_support::dns::{NameServer, Zone};

use super::media_lock::{CALLEE, CALLER, bystander, gets, host, public, report, talk};
use crate::server_support::phone::{Dialog, Phone, rtp_of};
use crate::server_support::{Server, configured, start, until};

const NAME: &str = "media.carrier.test";

/// A gateway at 127.0.0.3 that names a host for its media.
fn carrier() -> Phone {
    public("carrier", 3).described(|text| text.replace("c=IN IP4 127.0.0.3", &format!("c=IN IP4 {NAME}")))
}

/// A server that knows it by this key, asks this name server and has 127.0.0.77 inside.
fn server(carrier: &Phone, key: &str, names: &NameServer) -> Server {
    let at = carrier.uri();
    let at = at.rsplit('@').next().expect("an address");
    let folder = configured(&format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{at}\"]\noptions_s = 0\n{key}\n\
         [[route]]\ncalled = \"200\"\nto = \"gateway/carrier\"\n"
    ));
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("a file");
    let lines = format!("[server]\nresolver = \"{}\"\ninside = [\"127.0.0.77/32\"]\n", names.addr);
    std::fs::write(&path, text.replacen("[server]\n", &lines, 1)).expect("a file");
    start(folder)
}

/// The callee's dialog, the caller's, and where b2b receives the media of each.
fn up(caller: &Phone, callee: &Phone, server: &Server) -> ([Dialog; 2], [SocketAddr; 2]) {
    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = callee.hear("INVITE");
    let far = callee.answer_to(&invite, peer);
    let (answer, _) = caller.hear("SIP/2.0 200");
    let near = caller.confirmed(&answer, asked, server.sip);
    ([far, near], [rtp_of(&invite), rtp_of(&answer)])
}

/// What the timeline of the only call says of its host name, once it does; and the message before that.
fn noted(server: &Server) -> (String, Vec<String>) {
    until("a note", || {
        let account = report(server);
        let records = account["timeline"]["records"].as_array()?;
        let note = records.iter().position(|record| record.to_string().contains("\"host name\""))?;
        let before = records[..note].iter().map(ToString::to_string).collect();
        Some((records[note].to_string(), before))
    })
}

#[test]
fn a_gateways_host_name_is_looked_up_once_a_call_and_sent_to_at_once() {
    let names = NameServer::start(Some(Zone::default().a(NAME, host(3))));
    let (caller, callee) = (public("caller", 2), carrier());
    let server = server(&callee, "sdp_names = true", &names);
    let ([far, near], [_, to_caller]) = up(&caller, &callee, &server);
    let mut n = 0;
    until("RTP before any of the gateway's", || {
        n += 1;
        caller.sound(to_caller, n, &[CALLER; 160]);
        callee.payloads().iter().any(|it| it[0] == CALLER).then_some(())
    });
    assert!(noted(&server).0.contains("media.carrier.test is 127.0.0.3"));
    assert_eq!(names.questions(), 1, "of the one family");
    callee.change(&far, 2, "sendrecv");
    caller.sound(to_caller, n + 1, &[CALLER; 160]);
    callee.listen(1);
    assert_eq!(names.questions(), 1);
    caller.hang_up(&near);
    callee.let_go();
}

#[test]
fn a_name_that_leads_where_the_gateway_may_not_gets_nothing() {
    let names = NameServer::start(Some(Zone::default().a(NAME, host(77))));
    let (caller, callee) = (public("caller", 2), carrier());
    let inside = bystander(callee.rtp().port());
    let server = server(&callee, "sdp_names = true", &names);
    let (_, [to_callee, to_caller]) = up(&caller, &callee, &server);
    assert!(noted(&server).0.contains("media.carrier.test is 127.0.0.77"));
    until("the timeline", || report(&server).to_string().contains("withheld").then_some(()));
    assert_eq!(gets(&inside, &caller, to_caller, 0..100), 0);
    talk(&mut 200, (&caller, to_caller, CALLER), (&callee, to_callee, CALLEE));
    assert_eq!(gets(&inside, &caller, to_caller, 500..600), 0);
}

#[test]
fn a_name_server_that_says_nothing_delays_neither_the_answer_nor_its_ack() {
    let names = NameServer::start(None);
    let (caller, callee) = (public("caller", 2), carrier());
    let server = server(&callee, "sdp_names = true", &names);
    let (_, [to_callee, to_caller]) = up(&caller, &callee, &server);
    talk(&mut 0, (&caller, to_caller, CALLER), (&callee, to_callee, CALLEE));
    let (note, before) = noted(&server);
    assert!(note.contains("no address, or none in time"), "{note}");
    let acknowledged = before.iter().filter(|record| record.contains("ACK")).count();
    assert_eq!(acknowledged, 2, "both legs: {before:?}");
    assert!(names.questions() > 0);
}

#[test]
fn without_the_key_nobody_is_asked_for_a_host_name() {
    let names = NameServer::start(Some(Zone::default().a(NAME, host(3))));
    let (caller, callee) = (public("caller", 2), carrier());
    let server = server(&callee, "", &names);
    let ([_, near], [to_callee, to_caller]) = up(&caller, &callee, &server);
    for n in 0..20 {
        caller.sound(to_caller, n, &[CALLER; 160]);
    }
    assert_eq!(callee.heard_from(), None);
    talk(&mut 20, (&caller, to_caller, CALLER), (&callee, to_callee, CALLEE));
    caller.hang_up(&near);
    callee.let_go();
    assert_eq!(names.questions(), 0);
}

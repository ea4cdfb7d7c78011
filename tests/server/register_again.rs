//! A retry of a registration that the provider has refused, on request instead of after a wait.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::server_support::phone::{Phone, field};
use crate::server_support::{server, until};

/// Refuses the next REGISTER; returns its CSeq.
fn refused(provider: &Phone) -> String {
    let (register, peer) = provider.hear("REGISTER");
    provider.refuse_to("404 Not Found", &register, peer);
    field(&register, "CSeq")
}

#[test]
fn a_refused_registration_is_tried_at_once_by_sighup_and_by_command() {
    let provider = Phone::new("provider");
    let at = provider.uri().split_once('@').expect("an address").1.to_owned();
    let server = server(&format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{at}\"]\ntransport = \"udp\"\nusername = \"acme\"\n\
         password = \"a good secret\"\nregister = true\noptions_s = 0\n\
         [[gateway]]\nname = \"plain\"\nhosts = [\"127.0.0.1:9\"]\noptions_s = 0\n"
    ));
    let first = refused(&provider);
    let shown = until("the refusal", || {
        let gateways = server.get("/gateways").json();
        (gateways["gateways"][0]["registration"]["status"] == 404).then_some(gateways)
    });
    assert_eq!(shown["gateways"][0]["up"], json!(false));
    server.process.signal(Signal::SIGHUP);
    let second = refused(&provider);
    assert_ne!(first, second, "no retransmission");
    // A retry has no effect until the response has been processed.
    let third = until("a REGISTER", || {
        let answer = server.post("/gateways/carrier/register", &json!({}));
        assert_eq!(answer.status, 202, "{}", answer.text());
        provider.next("REGISTER")
    });
    assert_ne!(field(&third.0, "CSeq"), second);
    assert_eq!(server.post("/gateways/none/register", &json!({})).status, 404);
    let none = server.post("/gateways/plain/register", &json!({}));
    assert_eq!(none.status, 409, "{}", none.text());
    assert!(none.json()["fix"].as_str().is_some_and(|fix| fix.contains("register = true")));
}

#[test]
fn a_registration_that_is_granted_no_time_is_none_and_raises_an_alarm() {
    let provider = Phone::new("provider");
    let at = provider.uri().split_once('@').expect("an address").1.to_owned();
    let server = server(&format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{at}\"]\ntransport = \"udp\"\nusername = \"acme\"\n\
         password = \"a good secret\"\nregister = true\noptions_s = 0\n"
    ));
    let (register, peer) = provider.hear("REGISTER");
    provider.grant_for(0, &register, peer, "");
    let shown = until("the outcome", || {
        let gateways = server.get("/gateways").json();
        (gateways["gateways"][0]["registration"]["status"] == 200).then_some(gateways)
    });
    let gateway = &shown["gateways"][0];
    assert_eq!((&gateway["up"], &gateway["registration"]["registered"]), (&json!(false), &json!(false)));
    until("the alarm", || server.get("/alarms").text().contains("gateway_down").then_some(()));
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(!provider.has_heard("REGISTER"), "it does not insist");
}

//! A gateway with a low network effectiveness ratio, on the real program: taken out of use, tried by one
//! call, and restored.

use serde_json::Value;

use super::trunk::{at, phone};
use crate::server_support::{Server, server, until};

fn carrier_of(server: &Server) -> Value {
    server.get("/gateways").json()["gateways"][0].clone()
}

#[test]
fn a_gateway_that_brings_calls_to_nobody_is_out_of_use_until_one_gets_through() {
    let carrier = phone("carrier", 3);
    let at = at(&carrier);
    let server = server(&format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{at}\"]\ntransport = \"udp\"\noptions_s = 0\n\
         ner = {{ below = 40, calls = 3, out_s = 1 }}\n[[route]]\nto = \"gateway/carrier\"\n"
    ));
    for (name, number) in [("ann", "201"), ("bob", "202"), ("cat", "203")] {
        let caller = phone(name, 2);
        caller.ask_for(server.sip, number);
        let (invite, peer) = carrier.hear("INVITE");
        carrier.refuse_to("503 Service Unavailable", &invite, peer);
        caller.hear("SIP/2.0 500");
    }
    let out = carrier_of(&server);
    assert_eq!(
        (&out["up"], &out["ner"]["percent"], &out["ner"]["calls"]),
        (&false.into(), &0.into(), &3.into())
    );
    assert_eq!(server.metric("b2b_gateway_up{gateway=\"carrier\"}"), 0.0);
    assert_eq!(server.metric("b2b_gateway_ner_percent{gateway=\"carrier\"}"), 0.0);
    until("the alarm", || {
        server.get("/alarms").text().contains("0 of its last 3 calls succeeded").then_some(())
    });
    until("its time to be over", || (carrier_of(&server)["ner"]["out"] == "trying").then_some(()));
    assert_eq!(carrier_of(&server)["up"], false, "nobody knows yet");
    // One call tries it; the next one is refused locally meanwhile.
    let (dan, eve) = (phone("dan", 2), phone("eve", 2));
    dan.ask_for(server.sip, "204");
    let (invite, peer) = carrier.hear("INVITE");
    eve.ask_for(server.sip, "205");
    let (refused, _) = eve.hear("SIP/2.0 5");
    assert!(!carrier.has_heard("INVITE sip:205@"), "{refused}");
    carrier.ring_to(&invite, peer);
    until("its return", || {
        let carrier = carrier_of(&server);
        (carrier["up"] == true && carrier["ner"]["out"].is_null()).then_some(())
    });
    carrier.refuse_to("486 Busy Here", &invite, peer);
    dan.hear("SIP/2.0 486");
    let fay = phone("fay", 2);
    fay.ask_for(server.sip, "206");
    let (invite, peer) = carrier.hear("INVITE sip:206@");
    carrier.refuse_to("486 Busy Here", &invite, peer);
    fay.hear("SIP/2.0 486");
    until("the alarm's end", || (!server.get("/alarms").text().contains("gateway_down")).then_some(()));
}

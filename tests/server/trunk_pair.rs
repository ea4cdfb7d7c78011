//! Two servers, of which one is the other's provider.

use crate::server_support::phone::{Phone, field};
use crate::server_support::{server, until};

/// As docs/gateways.md says: the account is in the Request-URI, the called number in P-Called-Party-ID.
const PROVIDER: &str = "[[user]]\nname = \"office\"\npassword = \"a good secret\"\n\
    [[route]]\ncalled = '4420\\d+'\nto = \"user/office\"\nmode = \"translating\"\n\
    headers = [{ add = \"P-Called-Party-ID\", value = \"<sip:$0@trunk>\" }]\n";

#[test]
fn a_trunk_at_another_b2b_has_the_called_number() {
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let provider = server(PROVIDER);
    let office = server(&format!(
        "[[gateway]]\nname = \"provider\"\nhosts = [\"{}\"]\ntransport = \"udp\"\noptions_s = 0\n\
         username = \"office\"\npassword = \"a good secret\"\nregister = true\ncontact_token = true\n\
         called_from = \"p-called-party-id\"\n\
         [[route]]\ncalled = \"442079460001\"\nto = \"{}\"\n[[route]]\ncalled = \"442079460002\"\nto = \"{}\"\n",
        provider.sip,
        ann.uri(),
        bob.uri()
    ));
    until("the registration", || {
        (office.get("/gateways").json()["gateways"][0]["registration"]["registered"] == true).then_some(())
    });
    for (number, phone) in [("442079460001", &ann), ("442079460002", &bob)] {
        let caller = Phone::new("caller");
        caller.ask_for(provider.sip, number);
        let (invite, peer) = phone.hear("INVITE");
        assert!(field(&invite, "From").contains("caller"), "{invite}");
        phone.refuse_to("486 Busy Here", &invite, peer);
        caller.hear("SIP/2.0 486");
    }
    let called = |call: &serde_json::Value| call["to"].as_str().map(str::to_owned);
    let called = until("both records", || {
        let ended = office.get("/calls/ended").json();
        let calls = ended["calls"].as_array().filter(|calls| calls.len() == 2)?;
        Some(calls.iter().filter_map(called).collect::<Vec<_>>())
    });
    assert_eq!(called, ["442079460002", "442079460001"]);
}

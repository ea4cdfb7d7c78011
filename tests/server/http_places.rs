//! The control interface of the real binary: rooms, parking slots and gateways.

use serde_json::{Value, json};

use crate::server_support::phone::Phone;
use crate::server_support::{server, until};

#[test]
fn rooms_say_who_is_in_them_and_slots_who_is_parked() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = server(
        "[[conference]]\nname = \"blue\"\nmost = 7\nannounced = false\n[[conference]]\nname = \"red\"\npin = \"4711\"\n\
         [[park]]\nname = \"lot\"\nslots = \"701-703\"\n\
         [[route]]\ncalled = \"8000\"\napp = \"conference/blue\"\n[[route]]\ncalled = \"70\\\\d\"\napp = \"park/lot\"\n",
    );
    let rooms = server.get("/rooms").json();
    assert_eq!(rooms["rooms"].as_array().map(Vec::len), Some(2), "{rooms}");
    let red = server.get("/rooms/red").json();
    assert_eq!((&red["pin"], &red["members"], &red["most"]), (&json!(true), &json!([]), &json!(100)));
    let in_room = ann.call(server.sip, "8000");
    let blue = until("Ann in the room", || {
        let blue = server.get("/rooms/blue").json();
        (blue["members"].as_array().map(Vec::len) == Some(1)).then_some(blue)
    });
    assert_eq!((&blue["most"], &blue["pin"], &blue["locked"]), (&json!(7), &json!(false), &json!(false)));
    let member = &blue["members"][0];
    assert_eq!(
        (&member["number"], &member["muted"], &member["volume_db"]),
        (&json!("ann"), &json!(false), &json!(0))
    );
    let calls = server.get("/calls").json();
    assert_eq!(calls["calls"][0]["legs"][0]["leg"], member["leg"], "{calls}");
    assert_eq!(calls["calls"][0]["call"], member["call"]);
    assert_eq!(server.get("/rooms/green").status, 404);

    let parked = bob.call(server.sip, "700");
    let taken = |slots: &Value| slots["lots"][0]["taken"].as_array().map(Vec::len);
    let slots = until("Bob in a slot", || {
        let slots = server.get("/slots").json();
        (taken(&slots) == Some(1)).then_some(slots)
    });
    let lot = &slots["lots"][0];
    assert_eq!((&lot["name"], &lot["first"], &lot["last"]), (&json!("lot"), &json!(701), &json!(703)));
    assert_eq!((&lot["taken"][0]["slot"], &lot["taken"][0]["number"]), (&json!(701), &json!("bob")));
    bob.hang_up(&parked);
    ann.hang_up(&in_room);
    until("an empty lot", || (taken(&server.get("/slots").json()) == Some(0)).then_some(()));
    until("an empty room", || (server.get("/rooms/blue").json()["members"] == json!([])).then_some(()));
}

#[test]
fn gateways_say_whether_they_are_up_and_how_many_calls_they_have() {
    let (ann, carrier) = (Phone::new("ann"), Phone::new("carrier"));
    let at = carrier.uri();
    let host = at.rsplit('@').next().expect("a host");
    let server = server(&format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{host}\"]\nchannels = 3\noptions_s = 0\n\
         [[route]]\ncalled = \".*\"\nto = \"gateway/carrier/$0\"\n",
    ));
    let quiet = server.get("/gateways").json();
    let gateway = &quiet["gateways"][0];
    assert_eq!(
        (&gateway["name"], &gateway["up"], &gateway["channels"]),
        (&json!("carrier"), &json!(true), &json!(0))
    );
    // An assumption: it was never probed, and has no registration.
    assert_eq!(gateway["known"], false);
    assert_eq!(server.metric("b2b_gateway_known{gateway=\"carrier\"}"), 0.0);
    assert_eq!((&gateway["most"], &gateway["registration"]), (&json!(3), &Value::Null));
    assert_eq!(gateway["hosts"], json!([{ "host": host, "health": "unknown" }]));
    ann.ask_for(server.sip, "200");
    carrier.hear("INVITE");
    assert_eq!(server.get("/gateways").json()["gateways"][0]["channels"], 1);
}

#[test]
fn a_host_of_a_gateway_that_does_not_answer_is_down() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let host = nobody.local_addr().expect("an address");
    drop(nobody);
    let server = server(&format!("[[gateway]]\nname = \"carrier\"\nhosts = [\"{host}\"]\noptions_s = 1\n"));
    let down = json!([{ "host": host.to_string(), "health": "down" }]);
    until("the host is down, and known to be", || {
        (server.get("/gateways").json()["gateways"][0]["hosts"] == down).then_some(())
    });
    assert_eq!(server.get("/gateways").json()["gateways"][0]["up"], false);
}

//! A machine that moves from one network to another: in a network namespace of the test, the local address of
//! the route to the server changes.

use std::process::Command;

use b2b_client::ClientEvent;
use b2b_test_support::client::server::Hand;
use b2b_test_support::client::{named, within};

const NAME: &str = "address::a_client_whose_address_changes_says_so_to_its_registrar_and_in_its_calls";
const INSIDE: &str = "B2B_TEST_IN_A_NAMESPACE";

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2");
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Sets the local address of the route to the server.
fn begins_at(address: &str) {
    ip(&format!("route replace local 10.77.0.1 dev lo src {address} table local"));
}

#[test]
#[ignore = "needs network namespaces and iproute2"]
fn a_client_whose_address_changes_says_so_to_its_registrar_and_in_its_calls() {
    if std::env::var_os(INSIDE).is_some() {
        return tokio::runtime::Runtime::new().expect("a runtime").block_on(moves());
    }
    let this = std::env::current_exe().expect("a path");
    let inside = Command::new("unshare")
        .arg("-rn")
        .arg(this)
        .args(["--exact", NAME, "--ignored"])
        .env(INSIDE, "1")
        .output();
    let inside = inside.expect("unshare");
    let said = [inside.stdout, inside.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(inside.status.success() && said[0].contains("1 passed"), "{}\n{}", said[0], said[1]);
}

async fn moves() {
    for arguments in ["link set lo up", "addr add 10.77.0.1/32 dev lo", "addr add 10.77.0.2/32 dev lo"] {
        ip(arguments);
    }
    ip("addr add 10.77.0.3/32 dev lo");
    begins_at("10.77.0.2");
    let server = Hand::at("10.77.0.1:0".parse().expect("an address")).await;
    let client = named("alice").bind("0.0.0.0:0").registrar(server.uri()).build().expect("a client");
    let mut events = client.events().await.expect("started");
    let register = server.hear("REGISTER").await;
    let old = register.field("Contact").to_owned();
    assert!(old.contains("@10.77.0.2:"), "{old}");
    server.grant(&register, 3_600).await;
    let call = client.call(format!("sip:bob@{}", server.address())).await.expect("a call");
    let invite = server.hear("INVITE").await;
    assert!(invite.text.contains("c=IN IP4 10.77.0.2\r\n"), "{}", invite.text);
    server.accept(&invite).await;
    server.hear("ACK").await;
    within("answered", call.wait_for_answer()).await.expect("answered");

    begins_at("10.77.0.3");
    let (mut registered, mut told, mut taken_back) = (false, false, false);
    within("everything that follows", async {
        while !(registered && told && taken_back) {
            let heard = server.next().await;
            if heard.first_line().starts_with("INVITE ") {
                assert!(heard.text.contains("c=IN IP4 10.77.0.3\r\n"), "{}", heard.text);
                assert!(heard.field("Contact").contains("@10.77.0.3:"), "{}", heard.text);
                assert_eq!(heard.field("Call-ID"), invite.field("Call-ID"));
                server.accept(&heard).await;
                told = true;
            } else if heard.first_line().starts_with("REGISTER ") && heard.field("Expires") == "0" {
                assert_eq!(heard.field("Contact"), old);
                server.answer(&heard, "200 OK", "", "").await;
                taken_back = true;
            } else if heard.first_line().starts_with("REGISTER ") {
                assert!(heard.field("Contact").contains("@10.77.0.3:"), "{}", heard.text);
                server.grant(&heard, 3_600).await;
                registered = true;
            }
        }
    })
    .await;
    let changed = within("the event", async {
        loop {
            if let ClientEvent::AddressChanged { from, to } = events.next().await.expect("running") {
                return [from, to].map(|ip| ip.to_string());
            }
        }
    });
    assert_eq!(changed.await, ["10.77.0.2", "10.77.0.3"]);
    assert!(!call.state().is_over());
}

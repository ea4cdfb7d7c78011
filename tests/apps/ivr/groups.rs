//! A group that a menu calls rings as the group says.

use super::{PATIENCE, Sounds, is_empty, phone, phone_at, within};
use crate::server_support::server;

#[tokio::test(flavor = "multi_thread")]
async fn a_group_called_by_a_menu_rings_together_and_a_decline_is_one_members() {
    let sounds = Sounds::new(&["hello"]);
    let members = [phone_at("bob", "127.0.0.2:0"), phone_at("cat", "127.0.0.3:0")];
    let mut uris = Vec::new();
    for member in &members {
        member.start().await.expect("a client");
        uris.push(member.uri().expect("started"));
    }
    let server = server(&format!(
        "{}[[route]]\ncalled = \"desk\"\napp = \"ivr/desk\"\n[[ivr]]\nname = \"desk\"\n\
         [[ivr.node]]\nname = \"desk\"\nkind = \"transfer\"\nto = \"group/desk\"\nring_s = 50\n\
         [[group]]\nname = \"desk\"\nmembers = {uris:?}\ntimeout_s = 40\n",
        sounds.table()
    ));
    let mut incoming = Vec::new();
    for member in &members {
        incoming.push(member.incoming().await.expect("calls"));
    }
    let ann = phone("ann");
    let call = ann.call(format!("sip:desk@{}", server.sip)).await.expect("a call");
    within("the menu", call.wait_for_answer()).await.expect("answered");
    let at_bob = within("Bob's phone", incoming[0].next()).await.expect("a call");
    let at_cat = within("Cat's phone, beside Bob's", incoming[1].next()).await.expect("a call");
    within("a refusal", at_bob.reject(603)).await.expect("refused");
    let at_cat = within("acknowledged", at_cat.answer()).await.expect("it rings on");
    let bridged = async {
        while super::only_call(&server)["state"] != "bridged" {
            tokio::time::sleep(PATIENCE / 1_000).await;
        }
    };
    within("the bridge", bridged).await;
    within("hung up", at_cat.hangup()).await.expect("hung up");
    within("the end", call.wait_for_end()).await;
    is_empty(&server).await;
}

//! `GET /calls/ended` of the real binary: ended calls are found, also after the process was killed and
//! restarted.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::server_support::phone::Phone;
use crate::server_support::{Server, server, start, until};

fn configuration(bob: &Phone, kept: &str) -> String {
    format!("[ended_calls]\n{kept}\n[[route]]\nname = \"to bob\"\ncalled = '2.*'\nto = \"{}\"\n", bob.uri())
}

fn ended(server: &Server, query: &str) -> Vec<Value> {
    let answer = server.get(&format!("/calls/ended{query}"));
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.json()["calls"].as_array().expect("calls").clone()
}

/// A call that its caller ends.
fn talk(server: &Server, ann: &Phone, bob: &Phone) {
    let dialog = std::thread::scope(|scope| {
        scope.spawn(|| bob.answer());
        ann.call(server.sip, "200")
    });
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&dialog);
    });
}

#[test]
fn a_call_that_is_over_is_found_by_party_and_result_also_after_a_kill() {
    let [ann, cat, bob] = ["ann", "cat", "bob"].map(Phone::new);
    let server = server(&configuration(&bob, "store = \"sqlite:calls.sqlite\""));
    talk(&server, &ann, &bob);
    until("its end", || Some(()).filter(|_| ended(&server, "").len() == 1));
    cat.ask_for(server.sip, "900");
    let all = until("two ended calls", || Some(ended(&server, "")).filter(|all| all.len() == 2));
    let [refused, talked] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((&talked["disposition"], &talked["ended_by"]), (&json!("answered"), &json!("caller")));
    assert_eq!((&talked["route"], &talked["to"]), (&json!("to bob"), &json!("200")));
    assert_eq!((&talked["legs"], &talked["account"]), (&json!(2), &json!(true)));
    assert!(talked["talk_ms"].is_number() && talked["began"].is_string(), "{talked}");
    assert_eq!((&refused["disposition"], &refused["sip_status"]), (&json!("failed"), &json!(404)));
    assert_eq!(server.get(&format!("/calls/{}", talked["call"])).status, 200, "its account");
    for (query, found) in [
        ("?party=CAT", vec![refused]),
        ("?party=ann&disposition=answered", vec![talked]),
        ("?party=20", vec![talked]),
        ("?route=to%20bob&since=2026-01-01T00:00:00Z", vec![talked]),
        ("?until=2026-01-01T00:00:00Z", vec![]),
        ("?limit=1", vec![refused]),
        (&format!("?before={}", refused["id"]), vec![talked]),
        ("?audio=fault", vec![]),
    ] {
        assert_eq!(ended(&server, query).iter().collect::<Vec<_>>(), found, "{query}");
    }
    for (query, says) in [
        ("?since=yesterday", "is not a t"),
        ("?disposition=gone", "disposition=gone"),
        ("?audio=loud", "audio=loud"),
        ("?partie=ann", "unknown field `partie`"),
    ] {
        let answer = server.get(&format!("/calls/ended{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.json()["error"].as_str().is_some_and(|error| error.contains(says)), "{answer:?}");
    }

    let Server { mut process, folder, .. } = server;
    process.signal(Signal::SIGKILL);
    process.wait();
    let server = start(folder);
    let again = ended(&server, "");
    let accounts: Vec<&Value> = again.iter().map(|call| &call["account"]).collect();
    assert_eq!(accounts, [&json!(false), &json!(false)], "the accounts ended with the process");
    assert_eq!((&again[1]["id"], &again[1]["to"]), (&talked["id"], &json!("200")));
    let highest = again.iter().filter_map(|call| call["call"].as_u64()).max();
    cat.ask_for(server.sip, "900");
    let all = until("a third ended call", || Some(ended(&server, "")).filter(|all| all.len() == 3));
    let newest = all[0]["call"].as_u64();
    assert!(newest > highest, "{newest:?} is no number of before, {highest:?}");
}

#[test]
fn a_party_that_sends_an_application_nothing_is_a_fault() {
    let ann = Phone::new("ann");
    let server = server("[[route]]\napp = \"echo\"\n");
    let dialog = ann.call(server.sip, "200");
    // A call below a second is not judged (call/verdict/judge.rs).
    std::thread::sleep(std::time::Duration::from_secs(2));
    ann.hang_up(&dialog);
    let fault = until("its end", || ended(&server, "?audio=fault").pop());
    assert_eq!(fault["audio"], "only_from_callee", "{fault}");
    let alarms = server.get("/alarms").text();
    assert!(alarms.contains("bad_audio"), "{alarms}");
}

#[test]
fn an_account_outlives_a_server_that_is_stopped() {
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let server = server(&configuration(&bob, "store = \"sqlite:calls.sqlite\""));
    talk(&server, &ann, &bob);
    let call = until("its end", || ended(&server, "").first().map(|call| call["call"].clone()));
    let told = |server: &Server| {
        ["", "?format=text", "/messages", "/pcap"].map(|part| {
            let answer = server.get(&format!("/calls/{call}{part}"));
            assert_eq!(answer.status, 200, "{part}: {answer:?}");
            answer.body
        })
    };
    let before = told(&server);
    let messages = String::from_utf8_lossy(&before[2]);
    assert!(messages.contains("INVITE sip:200"), "{messages}");
    let Server { mut process, folder, .. } = server;
    process.signal(Signal::SIGTERM);
    process.wait();
    let server = start(folder);
    assert_eq!(ended(&server, "")[0]["account"], json!(true));
    assert_eq!(told(&server), before);
    assert_eq!(server.get("/calls/1").status, 404);
}

#[test]
fn a_server_that_keeps_no_ended_calls_says_so() {
    let server = server("[ended_calls]\nstore = \"sqlite:calls.sqlite\"\ncalls = 0\n");
    let answer = server.get("/calls/ended");
    assert_eq!(answer.status, 404);
    assert!(answer.json()["fix"].as_str().is_some_and(|fix| fix.contains("[ended_calls]")), "{answer:?}");
    assert!(!server.folder.path().join("calls.sqlite").exists());
}

//! Figures of a call: the codec in use, jitter, losses. Common behaviour of peers does not count as loss or
//! jitter.

use std::time::{Duration, Instant};

use b2b::media::rtp::rtcp;
use serde_json::Value;

use crate::server_support::phone::{Phone, direction_of, rtp_of};
use crate::server_support::{Server, server, until};

const BOTH: (&str, &str) = ("111 0", "a=rtpmap:111 opus/48000/2\r\na=rtcp-mux\r\n");
/// SSRC of these phones.
const SSRC: u32 = 7;

fn record_of(server: &Server, direction: &str) -> Value {
    let path = server.folder.path().join("cdr.jsonl");
    let text = until("two records", || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        (text.lines().count() == 2).then_some(text)
    });
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    records
        .into_iter()
        .find(|it| it["direction"] == direction)
        .unwrap_or_else(|| panic!("{direction}: {text}"))
}

/// The offer begins with Opus, but PCMU is used, every 20 ms: jitter is in PCMU's clock, in the account, in
/// the CDR and in RTCP to the far end.
#[test]
fn jitter_and_codec_are_those_of_what_is_spoken() {
    let (ann, bob) = (Phone::new("ann").speaking(BOTH.0, BOTH.1), Phone::new("bob").speaking(BOTH.0, BOTH.1));
    let server = server(&format!("[[route]]\nto = \"{}\"\n", bob.uri()));
    let asked = ann.ask_for(server.sip, "200");
    let (invite, peer) = bob.hear("INVITE");
    let first = invite.lines().find_map(|line| line.strip_prefix("m=audio ")).expect("audio");
    assert_eq!(first.split(' ').nth(2), Some("111"), "{invite}");
    let (to, theirs) = (rtp_of(&invite), bob.answer_to(&invite, peer));
    let (answer, _) = ann.hear("SIP/2.0 200");
    let mine = ann.confirmed(&answer, asked, server.sip);
    // Real time, because jitter depends on it; the sending delay of a busy machine is measured as well.
    let (start, mut reported, mut late) = (Instant::now(), None, Duration::ZERO);
    for n in 0..1_000u32 {
        let due = start + Duration::from_millis(20) * n;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        late = late.max(due.elapsed());
        bob.packet(to, 0, n as u16, n * 160);
        let heard = bob.packets_by_now();
        let mut blocks = heard.iter().filter_map(|it| rtcp::parse(it, SSRC).ok()?.block);
        reported = blocks.next_back().map(|block| block.jitter).or(reported);
        if reported.is_some() && n >= 150 {
            break;
        }
    }
    let allowed = 8.0 + 2_000.0 * late.as_secs_f64();
    let jitter = f64::from(reported.expect("a report")) / 8.0;
    assert!(jitter < allowed, "told to the far end: {jitter} ms");
    let call = server.get("/calls").json()["calls"][0]["call"].clone();
    let account = server.get(&format!("/calls/{call}")).json();
    let leg = &account["legs"][1];
    assert_eq!(leg["codec"], "PCMU", "{account}");
    assert!(leg["media"]["jitter_ms"].as_f64().is_some_and(|ms| ms < allowed), "{account}");
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&mine);
    });
    let record = record_of(&server, "outbound");
    assert_eq!(record["codec"], "PCMU", "{record}");
    assert!(record["jitter_ms"].as_f64().is_some_and(|ms| ms < allowed), "{record}");
    assert!(record["mos"].as_f64().is_some_and(|mos| mos > 4.3), "{record}");
    drop(theirs);
}

/// A peer whose sequence numbers continue during hold, as Asterisk's do, has lost nothing.
#[test]
fn a_hold_is_no_loss() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = server(&format!("[[route]]\nmode = \"transparent\"\nto = \"{}\"\n", bob.uri()));
    let asked = ann.ask_for(server.sip, "200");
    let (invite, peer) = bob.hear("INVITE");
    let to = rtp_of(&invite);
    bob.answer_to(&invite, peer);
    let (answer, _) = ann.hear("SIP/2.0 200");
    let dialog = ann.confirmed(&answer, asked, server.sip);
    let mut n = 0;
    let mut speak = |missing: u16| {
        let mut heard = 0;
        n += missing;
        until("Ann to hear Bob", || {
            bob.packet(to, 8, n, u32::from(n) * 160);
            n += 1;
            std::thread::sleep(Duration::from_millis(2));
            heard += ann.packets_by_now().len();
            (heard >= 20).then_some(())
        });
    };
    speak(0);
    for (cseq, direction, answer) in [(2, "sendonly", "recvonly"), (3, "sendrecv", "sendrecv")] {
        std::thread::scope(|scope| {
            let offered = scope.spawn(|| bob.answer_again(answer));
            ann.change(&dialog, cseq, direction);
            assert_eq!(direction_of(&offered.join().expect("an offer")), direction);
        });
    }
    speak(100);
    let call = server.get("/calls").json()["calls"][0]["call"].clone();
    let account = server.get(&format!("/calls/{call}")).json();
    let media = &account["legs"][1]["media"];
    assert!(media["packets_received"].as_u64() >= Some(40), "{account}");
    assert_eq!(media["packets_lost"], 0, "{account}");
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&dialog);
    });
    let record = record_of(&server, "outbound");
    assert_eq!(record["packets_lost"], 0, "{record}");
    assert!(record["mos"].as_f64().is_some_and(|mos| mos > 4.3), "{record}");
}

/// Also for an ended call, whose provider can be found nowhere else.
#[test]
fn an_account_has_the_gateway_of_each_leg() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let host = bob.uri().split_once('@').expect("a host").1.to_owned();
    let server = server(&format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{host}\"]\noptions_s = 0\n[[route]]\nto = \"gateway/carrier\"\n"
    ));
    let asked = ann.ask_for(server.sip, "200");
    bob.answer();
    let (answer, _) = ann.hear("SIP/2.0 200");
    let dialog = ann.confirmed(&answer, asked, server.sip);
    let call = server.get("/calls").json()["calls"][0]["call"].clone();
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&dialog);
    });
    let over = until("the end of the account", || {
        let account = server.get(&format!("/calls/{call}")).json();
        (account["over"] == true).then_some(account)
    });
    let gateways: Vec<_> = over["legs"].as_array().expect("legs").iter().map(|leg| &leg["gateway"]).collect();
    assert_eq!(gateways, [&Value::Null, &Value::from("carrier")], "{over}");
}

/// The list of calls has for each the route, the party of a leg, and, if requested, the quality.
#[test]
fn a_list_of_calls_has_route_party_and_if_asked_for_quality() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = server(&format!("[[route]]\nname = \"to bob\"\nto = \"{}\"\n", bob.uri()));
    let asked = ann.ask_for(server.sip, "200");
    let (invite, peer) = bob.hear("INVITE");
    let to = rtp_of(&invite);
    bob.answer_to(&invite, peer);
    let (answer, _) = ann.hear("SIP/2.0 200");
    let dialog = ann.confirmed(&answer, asked, server.sip);
    let mut n = 0;
    let call = until("a MOS", || {
        bob.packet(to, 8, n, u32::from(n) * 160);
        n += 1;
        let list = server.get("/calls?quality=true").json();
        let mos = &list["calls"][0]["legs"][1]["quality"]["mos"];
        (mos.as_f64() > Some(4.0)).then(|| list["calls"][0].clone())
    });
    assert_eq!(call["route"], "to bob");
    let unasked = server.get("/calls").json();
    assert_eq!(unasked["calls"][0]["legs"][1].get("quality"), None, "{unasked}");
    let account = server.get(&format!("/calls/{}", call["call"])).json();
    let parties: Vec<_> = account["legs"].as_array().expect("legs").iter().map(|it| &it["party"]).collect();
    assert_eq!(parties, ["ann", "bob"], "{account}");
    assert_eq!(server.get("/calls?quality=maybe").status, 400);
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&dialog);
    });
}

#[test]
fn a_leg_s_quality_over_time_is_kept_from_the_beginning_and_over_the_end() {
    let lab = crate::server_support::captured::Lab::new();
    let points = |at: usize| {
        let account = lab.server.get(&lab.path).json();
        account["legs"][at]["over_time"].as_array().cloned().unwrap_or_default()
    };
    // A report is due within some seconds; a page opened later shows earlier ones, too.
    until("a report of each leg", || {
        lab.talk(25);
        (points(0).len() >= 2 && !points(1).is_empty()).then_some(())
    });
    let all = points(0);
    for point in &all {
        assert!(point["at_s"].as_f64().is_some_and(|at| at > 0.0), "{point}");
        assert!(point["mos"].as_f64().is_none_or(|mos| (1.0..=4.5).contains(&mos)), "{point}");
        assert!(point["jitter_ms"].is_number() && point["loss_pct"].is_number(), "{point}");
    }
    let times: Vec<f64> = all.iter().filter_map(|it| it["at_s"].as_f64()).collect();
    assert!(times.is_sorted(), "{times:?}");
    lab.end();
    assert!(points(0).len() >= all.len());
}

#[test]
fn the_process_has_the_names_that_dashboards_of_others_know() {
    let server = server("");
    let value = |name: &str| server.metric(name);
    assert!(value("process_cpu_seconds_total") > 0.0 && value("process_resident_memory_bytes") > 1e6);
    assert!((10.0..=value("process_max_fds")).contains(&value("process_open_fds")));
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs_f64();
    assert!((now - 86_400.0..now + 60.0).contains(&value("process_start_time_seconds")));
}

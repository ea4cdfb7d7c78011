//! Who speaks when, and what a caller has heard of an agent that it interrupts.

use super::outward::house;
use super::*;
use crate::apps::ivr::records as records_of;

/// The message of this type, with this state if it has one.
fn message<'a>(told: &'a [Value], kind: &str, state: &str) -> Option<&'a Value> {
    told.iter().find(|it| it["type"] == kind && (state.is_empty() || it["state"] == state))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_told_what_its_caller_heard_before_they_interrupted() {
    let house = house("token = \"secret\"\nrate_hz = 8000\nstall_s = 60\n").await;
    let (mut ann, mut agent) = house.talk().await;
    let speech = speech_like(8_000, 20.0);
    agent.say(&speech).await;
    let begun = agent.until("its beginning", |it| message(&it.told, "utterance", "begun").cloned()).await;
    assert_eq!(begun, json!({"type": "utterance", "utterance": 1, "state": "begun"}), "nobody has asked");
    agent.beside(ann.hears(&speech[8_000..24_000])).await;
    let _said = ann.says_once(&speech[..12_000]).await;
    let cut =
        agent.until("the interruption", |it| message(&it.told, "utterance", "interrupted").cloned()).await;
    let [sent, least, most] =
        [&cut["sent_ms"], &cut["heard_ms"][0], &cut["heard_ms"][1]].map(|it| it.as_u64().unwrap());
    // between lie a packet and our jitter buffer, 60 ms, less the frame in which the speech begins
    assert!(0 < least && least < most && most + 40 <= sent && sent < 20_000, "{cut}");
    assert!(message(&agent.told, "speech", "").is_some_and(|it| it["on"] == true), "{:?}", agent.told);
    agent.tell(json!({"type": "clear"})).await;
    let cleared = agent.until("the end", |it| message(&it.told, "utterance", "cleared").cloned()).await;
    assert!((sent..20_000).contains(&cleared["sent_ms"].as_u64().unwrap()), "{cleared}");
    let hushed =
        |it: &mut Client| it.told.iter().find(|it| it["type"] == "speech" && it["on"] == false).cloned();
    let hushed = agent.until("silence", hushed).await;
    assert!((500..6_000).contains(&hushed["ms"].as_u64().unwrap()), "{hushed}");
    agent.say(&speech[..8_000]).await;
    let second = |it: &mut Client| it.told.iter().find(|it| it["utterance"] == 2).cloned();
    let second = agent.until("its answer", second).await;
    assert_eq!(second["state"], "begun");
    assert!(second["response_ms"].as_u64().is_some_and(|ms| ms >= 600), "{second}");
    let sent = agent.until("all of it", |it| message(&it.told, "utterance", "sent").cloned()).await;
    assert_eq!((&sent["utterance"], &sent["sent_ms"]), (&json!(2), &json!(1_000)));
    let call = only_call(&house.server)["call"].clone();
    let response = &second["response_ms"];
    until("its account", || {
        let text = house.server.get(&format!("/calls/{call}?format=text")).text();
        let heard =
            format!("utterance 1; interrupted, {least} to {most} of {} ms were heard\n", cut["sent_ms"]);
        let answer = format!("utterance 2, {response} ms after the party; all 1000 ms were sent\n");
        (text.contains(&heard) && text.contains(&answer) && text.contains("voice_agent/ada: cleared"))
            .then_some(())
    });
    let account = house.server.get(&format!("/calls/{call}")).json();
    let records = account["timeline"]["records"].as_array().expect("records");
    let utterances: Vec<&Value> = records.iter().filter(|it| it["kind"] == "utterance").collect();
    assert_eq!(utterances.len(), 2, "{account}");
    for (key, said) in [("sent_ms", &cut["sent_ms"]), ("heard_ms", &cut["heard_ms"])] {
        assert_eq!(&utterances[0][key], said, "{account}");
    }
    assert_eq!((&utterances[1]["leg"], &utterances[1]["state"]), (&agent.start["leg"], &json!("sent")));
    ann.hangs_up().await;
    assert_eq!(agent.reads_to_the_end().await, (1000, "closed".to_owned()));
    nothing_is_left(&house.server).await;
    let sums = json!({"utterances": 2, "interruptions": 1, "first_response_ms": response,
                      "median_response_ms": response, "worst_response_ms": response});
    assert_eq!(records_of(&house.server, 1)[0]["voice_agent"], sums);
    let ended = house.server.get("/calls/ended").json();
    assert_eq!(ended["calls"][0]["voice_agent"], sums, "{ended}");
    let account = house.server.get(&format!("/calls/{call}")).json();
    assert_eq!(account["legs"][0]["voice_agent"], sums);
    // Both were heard to be loud, and not all the time.
    let loudness = &account["legs"][0]["loudness"];
    for side in ["party", "agent"] {
        let levels = loudness[side].as_str().unwrap_or_default();
        let loud = levels.chars().filter(|level| *level > '8').count();
        assert!((3..levels.len()).contains(&loud), "{side}: {loudness}");
    }
    assert_eq!(loudness["step_ms"], 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_without_end_leave_the_account_of_a_call_readable() {
    let house = house("token = \"secret\"\nrate_hz = 8000\nstall_s = 60\n").await;
    let (ann, mut agent) = house.talk().await;
    let call = only_call(&house.server)["call"].clone();
    for number in 0..60 {
        agent.say(&speech_like(8_000, 0.02)).await;
        agent.tell(json!({"type": "mark", "name": format!("a long name of the mark {number}")})).await;
    }
    agent
        .until("the last mark", |it| message(&it.told, "mark", "").filter(|_| it.told.len() > 60).cloned())
        .await;
    agent.tell(json!({"type": "stop", "transfer": "600"})).await;
    agent.reads_to_the_end().await;
    let text = until("the transfer", || {
        let text = house.server.get(&format!("/calls/{call}?format=text")).text();
        text.contains("transferred").then_some(text)
    });
    assert_eq!(text.matches("played: a long name").count(), 16, "{text}");
    assert!(text.contains("voice_agent/ada: more marks and clears (44 times)\n"), "{text}");
    assert!(!text.contains('…'), "the texts have room: {text}");
    ann.hangs_up().await;
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_digital_silence_is_told_and_raises_an_alarm() {
    let house = house("token = \"secret\"\nrate_hz = 8000\nstall_s = 60\n").await;
    let (ann, mut agent) = house.talk().await;
    agent.say(&speech_like(8_000, 20.0)).await;
    agent.is_told(json!({"type": "silent", "heard_before": false})).await;
    let alarms = until("an alarm", || {
        let alarms = house.server.get("/alarms").text();
        alarms.contains("bad_audio").then_some(alarms)
    });
    assert!(alarms.contains("since its first packet"), "{alarms}");
    ann.hangs_up().await;
    agent.reads_to_the_end().await;
    nothing_is_left(&house.server).await;
}

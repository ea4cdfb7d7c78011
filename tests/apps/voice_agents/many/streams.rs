//! Two calls on one connection stay separate.

use super::*;

/// Distinguishable voices of two seconds each.
fn voices() -> [Vec<i16>; 4] {
    let all = speech_like(8_000, 8.0);
    [0, 1, 2, 3].map(|n| all[n * 16_000..][..16_000].to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_callers_on_one_connection_hear_their_own_agent_and_are_heard_by_it() {
    let house = house("calls_per_connection = 2\nstall_s = 60\n");
    let (mut ann, mut program) = house.first().await;
    let mut bob = house.joins(&mut program, 2).await;
    for stream in [1, 2] {
        let start = &program.streams[&stream].start;
        assert_eq!(
            (&start["type"], &start["agent"], &start["called"]),
            (&json!("start"), &json!("ada"), &json!("700"))
        );
    }
    assert_ne!(program.streams[&1].start["call"], program.streams[&2].start["call"]);
    let [by_ann, by_bob, to_ann, to_bob] = voices();
    let _said = (ann.says(&by_ann).await, bob.says(&by_bob).await);
    program.hears(1, &by_ann[2_400..]).await;
    program.hears(2, &by_bob[2_400..]).await;
    for (stream, foreign) in [(1, &by_bob), (2, &by_ann)] {
        let heard = &program.streams[&stream].heard;
        assert!(!has_any_part(heard, 0..heard.len(), &foreign[2_400..]), "{stream} hears the other one");
    }
    for _ in 0..4 {
        program.says(1, &to_ann).await;
        program.says(2, &to_bob).await;
    }
    program.beside(async { tokio::join!(ann.hears(&to_ann[2_400..]), bob.hears(&to_bob[2_400..])) }).await;
    for (caller, foreign) in [(&ann, &to_bob), (&bob, &to_ann)] {
        let heard = &caller.heard;
        assert!(!has_any_part(heard, 0..heard.len(), &foreign[2_400..]), "the other one's sound");
    }
    house.has_been_asked_no_more();
    assert_eq!(house.connections(), 1.0);
    program.beside(async { tokio::join!(ann.hangs_up(), bob.hangs_up()) }).await;
    assert_eq!((program.is_over(1).await, program.is_over(2).await), ("closed".into(), "closed".into()));
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_and_clear_are_of_the_stream_that_they_name() {
    let house = house("calls_per_connection = 2\nstall_s = 60\n");
    let (mut ann, mut program) = house.first().await;
    let mut bob = house.joins(&mut program, 2).await;
    for stream in [1, 2] {
        program.says(stream, &[9_000; 8_000]).await;
        program.tells(stream, json!({"type": "mark", "name": format!("soon {stream}")})).await;
        program.says(stream, &[9_000; 320_000]).await;
        program.tells(stream, json!({"type": "mark", "name": format!("never {stream}")})).await;
    }
    for stream in [1, 2] {
        program
            .is_told(stream, json!({"type": "mark", "name": format!("soon {stream}"), "played": true}))
            .await;
    }
    program.beside(async { tokio::join!(ann.hears_sound(true), bob.hears_sound(true)) }).await;
    program.tells(1, json!({"type": "clear"})).await;
    program.is_told(1, json!({"type": "mark", "name": "never 1", "played": false})).await;
    program.beside(ann.hears_sound(false)).await;
    bob.forgets();
    program.beside(bob.hears_sound(true)).await;
    assert_eq!(program.told(2).len(), 1, "{:?}", program.told(2));
    program.tells(2, json!({"type": "clear"})).await;
    program.is_told(2, json!({"type": "mark", "name": "never 2", "played": false})).await;
    assert_eq!(program.told(1).len(), 2, "{:?}", program.told(1));
    program.beside(async { tokio::join!(ann.hangs_up(), bob.hangs_up()) }).await;
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn digits_pass_both_ways_in_their_own_stream() {
    let house = house("calls_per_connection = 2\nstall_s = 60\n");
    let (ann, mut program) = house.first().await;
    let bob = house.joins(&mut program, 2).await;
    ann.call.send_digits("5", None).await.expect("pressed");
    bob.call.send_digits("7", None).await.expect("pressed");
    program.is_told(1, json!({"type": "dtmf", "digit": "5"})).await;
    program.is_told(2, json!({"type": "dtmf", "digit": "7"})).await;
    let mut events = [ann.call.events(), bob.call.events()];
    // Two messages: their digits are sent one after the other.
    program.tells(1, json!({"type": "dtmf", "digits": "12"})).await;
    program.tells(2, json!({"type": "dtmf", "digits": "89"})).await;
    program.tells(1, json!({"type": "dtmf", "digits": "3"})).await;
    for (events, wanted) in events.iter_mut().zip(["123", "89"]) {
        let mut seen = String::new();
        let pressed = async {
            while seen.len() < wanted.len() {
                if let Some(ClientEvent::Digit { digit, .. }) = events.next().await {
                    seen.push(digit);
                }
            }
        };
        program.beside(within("digits", pressed)).await;
        assert_eq!(seen, wanted);
    }
    assert_eq!((program.told(1).len(), program.told(2).len()), (1, 1));
    program.beside(async { tokio::join!(ann.hangs_up(), bob.hangs_up()) }).await;
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_its_own_stream_and_the_connection_goes_on() {
    let house = house("calls_per_connection = 2\nstall_s = 60\n");
    let (ann, mut program) = house.first().await;
    let bob = house.joins(&mut program, 2).await;
    program.tells(1, json!({"type": "stop"})).await;
    assert_eq!(program.is_over(1).await, "finished");
    program.beside(within("the end", ann.call.wait_for_end())).await;
    program.is_well(2).await;
    // Ann's place is free; her stream number is not reused.
    let carl = house.joins(&mut program, 3).await;
    program.tells(3, json!({"type": "stop", "transfer": "600"})).await;
    assert_eq!(program.is_over(3).await, "finished");
    until("the echo", || (house.calls_at("echo") == 1).then_some(()));
    // Messages for an ended stream are ignored without an answer.
    program.says(1, &[9_000; 1_600]).await;
    program.tells(1, json!({"type": "clear"})).await;
    program.is_well(2).await;
    assert_eq!(program.told(1).len(), 1, "{:?}", program.told(1));
    house.has_been_asked_no_more();
    program.beside(async { tokio::join!(bob.hangs_up(), carl.hangs_up()) }).await;
    nothing_is_left(&house.server).await;
    assert_eq!(house.server.metric("b2b_voice_ends_total{end=\"stopped\"}"), 2.0);
    assert_eq!(house.server.metric("b2b_voice_ends_total{end=\"closed\"}"), 1.0);
}

//! Errors that end a stream, after which the other calls go on, and errors that end a connection, whose calls
//! go to the fallback.

use nix::sys::socket::{setsockopt, sockopt};

use super::*;
use crate::apps::voice_agents::trouble::ends;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_gives_every_caller_to_the_fall_back() {
    let cases = [
        ("gone", vec![], None, "left"),
        ("closes", vec![Message::Close(None)], None, "left"),
        ("too long", vec![Message::binary(vec![0; 3 * 1_024 * 1_024 + 6])], Some(1009), "too_long"),
        ("strays", vec![sound(77, &[]); 40_000], Some(1008), "flood"),
        ("pings", vec![Message::Ping(Default::default()); 40_000], Some(1008), "flood"),
    ];
    let house = house("calls_per_connection = 2\nstall_s = 60\n");
    for (what, messages, code, word) in cases {
        let before = ends(&house.server, word);
        let (mut ann, mut program) = house.first().await;
        let mut bob = house.joins(&mut program, 2).await;
        if what == "gone" {
            drop(program);
        } else {
            for message in messages {
                // The connection may have been closed by now.
                if program.socket.feed(message).await.is_err() {
                    break;
                }
            }
            let _ = program.socket.flush().await;
            within("the end", async { while program.turn().await {} }).await;
            assert_eq!(program.closed.as_ref().map(|(code, _)| *code), code, "{what}: {:?}", program.closed);
        }
        until(what, || (house.calls_at("milliwatt") == 2).then_some(()));
        tokio::join!(ann.hears_sound(true), bob.hears_sound(true));
        assert_eq!(ends(&house.server, word), before + 2.0, "{what}");
        ann.hangs_up().await;
        bob.hangs_up().await;
        is_empty(&house.server).await;
    }
    nothing_is_left(&house.server).await;
    until("no connection", || (house.connections() == 0.0).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_answers_nothing_is_given_up_and_both_of_its_callers_fall_back() {
    let house = house("calls_per_connection = 2\nstall_s = 2\n");
    let (mut ann, mut program) = house.first().await;
    let mut bob = house.joins(&mut program, 2).await;
    // The connection stays open, but the program neither reads nor answers.
    until("stalled", || (ends(&house.server, "stalled") == 2.0).then_some(()));
    tokio::join!(ann.hears_sound(true), bob.hears_sound(true));
    assert_eq!(house.calls_at("milliwatt"), 2);
    drop(program);
    ann.hangs_up().await;
    bob.hangs_up().await;
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_in_one_stream_ends_that_one_and_its_caller_alone_falls_back() {
    let house = house("calls_per_connection = 2\nstall_s = 60\n");
    let (bob, mut program) = house.first().await;
    let text = |stream: u32, text: &str| Message::text(format!("{{\"stream\":{stream},{text}}}"));
    type Wrong = Box<dyn Fn(u32) -> Vec<Message>>;
    let cases: Vec<(&str, Wrong)> = vec![
        ("flood", Box::new(move |n| vec![text(n, "\"type\":\"clear\""); 1_000])),
        ("flood", Box::new(move |n| vec![sound(n, &[]); 9_000])),
    ];
    for (place, (word, wrong)) in cases.into_iter().enumerate() {
        let (before, stream) = (ends(&house.server, word), place as u32 + 2);
        let mut ann = house.joins(&mut program, stream).await;
        for message in wrong(stream) {
            program.socket.feed(message).await.expect("the connection is there");
        }
        program.socket.flush().await.expect("sent");
        assert_eq!(program.is_over(stream).await, word);
        let stop = program.told(stream).iter().find(|it| it["type"] == "stop").expect("its end");
        assert!(stop["error"].as_str().is_some_and(|error| !error.is_empty()), "{stop}");
        program.is_well(1).await;
        program.beside(ann.hears_sound(true)).await;
        assert_eq!((house.calls_at("milliwatt"), house.calls_at("voice_agent/ada")), (1, 1), "{word}");
        assert_eq!(ends(&house.server, word), before + 1.0, "{word}");
        program.beside(ann.hangs_up()).await;
    }
    house.has_been_asked_no_more();
    program.beside(bob.hangs_up()).await;
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_one_stream_or_in_none_is_told_there_and_ends_nothing() {
    let house = house("calls_per_connection = 2\nstall_s = 60\n");
    let (mut ann, mut program) = house.first().await;
    let bob = house.joins(&mut program, 2).await;
    let text = |text: &str| Message::text(text.to_owned());
    let odd = Message::binary([&2u32.to_le_bytes()[..], &[0; 3]].concat());
    let error =
        |told: &[Value], kind: &str| told.iter().any(|it| it["type"] == "error" && it["reason"] == kind);
    for (kind, message) in [
        ("odd", odd),
        ("junk", text("{\"stream\":2,\"type\":\"dance\"}")),
        ("field", text("{\"stream\":2,\"type\":\"clear\",\"when\":\"now\"}")),
        // More than a minute.
        ("full", sound(2, &[0; 65 * 8_000])),
    ] {
        program.sends(message).await;
        program.until(kind, |it| error(it.told(2), kind).then_some(())).await;
        assert!(program.told(1).iter().all(|it| it["type"] != "error"), "{kind}");
    }
    program.until("dropped", |it| it.told(2).iter().any(|it| it["type"] == "dropped").then_some(())).await;
    for (kind, message) in [
        ("junk", text("hello")),
        ("junk", text("{\"type\":\"clear\"}")),
        ("junk", Message::binary(vec![1, 0, 0])),
        ("long_text", text(&" ".repeat(5_000))),
    ] {
        program.sends(message).await;
        program.until(kind, |it| error(&it.errors, kind).then_some(())).await;
    }
    assert_eq!(program.errors.len(), 2, "once for each kind: {:?}", program.errors);
    program.tells(2, json!({"type": "clear"})).await;
    let voice = speech_like(8_000, 4.0);
    program.says(1, &voice).await;
    program.beside(ann.hears(&voice[2_400..])).await;
    program.is_well(1).await;
    program.is_well(2).await;
    program.beside(async { tokio::join!(ann.hangs_up(), bob.hangs_up()) }).await;
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_no_stream_has_is_answered_with_stop_and_the_calls_go_on() {
    let mut house = house("calls_per_connection = 2\nstall_s = 60\n");
    let (ann, mut program) = house.first().await;
    let bob = house.joins(&mut program, 2).await;
    for number in [0, 3, 0x0100_0000, u32::MAX] {
        program.sends(sound(number, &[9_000; 160])).await;
        assert_eq!(program.is_over(number).await, "unknown");
        program.is_well(1).await;
        program.is_well(2).await;
    }
    program.tells(7, json!({"type": "stop"})).await;
    assert_eq!(program.is_over(7).await, "unknown");
    // Thousands of them are not answered individually.
    program.streams.remove(&0);
    for _ in 0..5_000 {
        program.socket.feed(sound(0, &[])).await.expect("sent");
    }
    program.socket.flush().await.expect("sent");
    program.is_well(1).await;
    program.is_well(2).await;
    assert!((1..2_000).contains(&program.told(0).len()), "{}", program.told(0).len());
    assert!(house.server.process.wait_for_line("unknown stream 0").contains("voice agent ada"));
    program.beside(async { tokio::join!(ann.hangs_up(), bob.hangs_up()) }).await;
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_a_minute_ahead_keeps_no_other_from_being_heard() {
    let house = house("calls_per_connection = 2\nstall_s = 60\n");
    let (mut ann, mut program) = house.first().await;
    let mut bob = house.joins(&mut program, 2).await;
    // All of Ann's audio waits; Bob's follows it on the same connection.
    program.says(1, &[9_000; 120_000]).await;
    program.tells(1, json!({"type": "mark", "name": "15 s"})).await;
    program.says(1, &[9_000; 350_000]).await;
    let voice = speech_like(8_000, 4.0);
    program.says(2, &voice).await;
    program.tells(2, json!({"type": "mark", "name": "said"})).await;
    program.beside(bob.hears(&voice[2_400..])).await;
    program.is_told(2, json!({"type": "mark", "name": "said", "played": true})).await;
    assert!(
        program.told(1).is_empty(),
        "4 s of Bob's are played before 15 s of Ann's: {:?}",
        program.told(1)
    );
    program.tells(1, json!({"type": "clear"})).await;
    program.beside(ann.hears_sound(false)).await;
    program.beside(async { tokio::join!(ann.hangs_up(), bob.hangs_up()) }).await;
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_too_slowly_is_told_in_each_stream_what_that_one_has_lost() {
    let socket = TcpSocket::new_v4().expect("a socket");
    // Small buffers, so that they fill soon.
    socket.set_recv_buffer_size(4_096).expect("a size");
    setsockopt(&socket, sockopt::TcpMaxSeg, &536).expect("a size");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let house = house_at(socket, "calls_per_connection = 2\nstall_s = 60\n");
    let (ann, mut program) = house.first().await;
    let bob = house.joins(&mut program, 2).await;
    let lost = |it: &Program, stream: u32| {
        it.told(stream).iter().any(|it| it["type"] == "lost" && it["ms"].as_u64() > Some(0))
    };
    let reads = async {
        while !(lost(&program, 1) && lost(&program, 2)) {
            assert!(program.turn().await, "{:?}", program.closed);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    within("something lost", reads).await;
    // Both are heard all the time, and receive their answers when the program reads again.
    for stream in [1, 2] {
        program.tells(stream, json!({"type": "mark", "name": "still here"})).await;
        program.is_told(stream, json!({"type": "mark", "name": "still here", "played": true})).await;
    }
    program.beside(async { tokio::join!(ann.hangs_up(), bob.hangs_up()) }).await;
    nothing_is_left(&house.server).await;
}

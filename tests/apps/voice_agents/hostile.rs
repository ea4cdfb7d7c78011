//! WebSockets that break their protocol, are slow, or end in the middle of a word: clients here, agents in
//! `agents_gone`.

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use super::trouble::{Witness, ends, newest_leg};
use super::*;

/// A client's frame (RFC 6455 §5.2) with this first octet, masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_web_socket_any_more_is_closed_and_counted_and_its_call_goes_on() {
    let server = server(ROUTES);
    let witness = Witness::new(&server).await;
    let ann = Caller::calls(&server, "600").await;
    let leg = newest_leg(&server);
    let (text, binary, more, ping, fin) = (1, 2, 0, 9, 0x80);
    let pieces = |count: usize| -> Vec<u8> {
        let first = masked(binary, &[0; 700]);
        first.into_iter().chain((1..count).flat_map(|_| masked(more, &[0; 700]))).collect()
    };
    let huge = [&[fin | binary, 0xff][..], &(1u64 << 62).to_be_bytes(), &[0; 4]].concat();
    let cases = [
        ("not masked", vec![fin | text, 2, b'h', b'i'], 1002, "broken"),
        ("an opcode that there is not", masked(fin | 3, b""), 1002, "broken"),
        ("a reserved bit", masked(fin | 0x40 | text, b"{}"), 1002, "broken"),
        ("more of nothing", masked(fin | more, b"{}"), 1002, "broken"),
        ("a ping in pieces", masked(ping, b""), 1002, "broken"),
        ("a ping that is too long", masked(fin | ping, &[0; 126]), 1002, "broken"),
        ("text in sound", [masked(binary, b""), masked(fin | text, b"{}")].concat(), 1002, "broken"),
        ("no UTF-8", masked(fin | text, &[0xff, 0xfe]), 1007, "utf8"),
        ("a length without end", huge, 1009, "too_long"),
        ("a message of many pieces", pieces(5_000), 1009, "too_long"),
    ];
    for (what, octets, code, word) in cases {
        let before = ends(&server, word);
        let mut client = Client::open(&server, &format!("/legs/{leg}/audio")).await;
        // The server may close the connection before all of it is written.
        let _ = client.socket.get_mut().write_all(&octets).await;
        let (closed, reason) = client.reads_to_the_end().await;
        assert_eq!(closed, code, "{what}: {reason}");
        assert!(!reason.is_empty(), "{what}");
        until(what, || (ends(&server, word) == before + 1.0).then_some(()));
        assert!(!ann.call.state().is_over(), "{what}");
    }
    witness.has_noticed_nothing().await;
    ann.hangs_up().await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_loses_sound_is_told_how_much_and_stays() {
    let server = server(ROUTES);
    let witness = Witness::new(&server).await;
    let ann = Caller::calls(&server, "600").await;
    let leg = newest_leg(&server);
    // Small buffers, so that they fill soon.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a size");
    setsockopt(&socket, sockopt::TcpMaxSeg, &536).expect("a size");
    let stream = socket.connect(server.http).await.expect("the server");
    let url = format!("ws://{}/legs/{leg}/audio?rate=24000", server.http);
    let (socket, _) = client_async(url, stream).await.expect("a WebSocket");
    let mut slow = Client::begin(socket).await;
    let lost = |told: &[Value]| told.iter().any(|it| it["type"] == "lost" && it["ms"].as_u64() > Some(0));
    let reads = async {
        while !lost(&slow.told) {
            assert!(slow.turn().await, "{:?} {:?}", slow.told, slow.closed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("something lost", reads).await;
    // It is heard all the time, and receives its answer when it reads again.
    slow.tell(json!({"type": "mark", "name": "still here"})).await;
    slow.is_told(json!({"type": "mark", "name": "still here", "played": true})).await;
    slow.tell(json!({"type": "stop"})).await;
    assert_eq!(slow.reads_to_the_end().await, (1000, "stopped".to_owned()));
    until("samples counted", || (server.metric("b2b_media_streams_lost_samples_total") > 0.0).then_some(()));
    witness.has_noticed_nothing().await;
    ann.hangs_up().await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_in_the_middle_of_a_word_leaves_the_party_to_its_application() {
    let server = server(ROUTES);
    let witness = Witness::new(&server).await;
    let mut ann = Caller::calls(&server, "600").await;
    let leg = newest_leg(&server);
    for closes in [false, true] {
        let before = ends(&server, "left");
        let mut client = Client::open(&server, &format!("/legs/{leg}/audio?rate=8000")).await;
        // A minute, followed by a mark that is never returned.
        client.say(&[9_000; 480_000]).await;
        client.tell(json!({"type": "mark", "name": "never"})).await;
        client.beside(ann.hears_sound(true)).await;
        match closes {
            true => client.socket.close(None).await.expect("closed"),
            false => drop(client),
        }
        until("left", || (ends(&server, "left") == before + 1.0).then_some(()));
        // Ann is silent, and hears her echo.
        ann.hears_sound(false).await;
    }
    // Ann is back with her application, the echo.
    let _said = ann.says(&[8_000; 8_000]).await;
    ann.hears_sound(true).await;
    witness.has_noticed_nothing().await;
    ann.hangs_up().await;
    nothing_is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_comes_before_start_is_read_is_heard_and_start_is_first_all_the_same() {
    let server = server(ROUTES);
    let mut ann = Caller::calls(&server, "600").await;
    let stream = TcpStream::connect(server.http).await.expect("the server");
    let url = format!("ws://{}{}", server.http, path(&server, "?rate=8000"));
    let (mut socket, _) = client_async(url, stream).await.expect("a WebSocket");
    let speech = speech_like(8_000, 4.0);
    for part in speech.chunks(480) {
        let octets: Vec<u8> = part.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        socket.send(Message::Binary(octets.into())).await.expect("sent");
    }
    socket.send(Message::text(json!({"type": "mark", "name": "early"}).to_string())).await.expect("sent");
    let mut client = Client::begin(socket).await;
    client.beside(ann.hears(&speech[8_000..27_200])).await;
    client.is_told(json!({"type": "mark", "name": "early", "played": true})).await;
    ann.hangs_up().await;
    client.reads_to_the_end().await;
    nothing_is_left(&server).await;
}

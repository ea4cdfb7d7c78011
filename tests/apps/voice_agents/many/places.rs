//! Which connection a call takes, and how long connections stay open; programs without the extension.

use tokio_tungstenite::accept_async;

use super::*;
use crate::server_support::control::Socket;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_the_limit_opens_another_connection_which_closes_when_it_is_idle() {
    let house = house("calls_per_connection = 2\nstall_s = 60\n");
    let (ann, mut program) = house.first().await;
    let bob = house.joins(&mut program, 2).await;
    let (carl, mut second) = program.beside(house.first()).await;
    assert_eq!(house.connections(), 2.0);
    second.is_well(1).await;
    program.is_well(1).await;
    program.beside(carl.hangs_up()).await;
    assert_eq!(second.is_over(1).await, "closed");
    // The fullest with room: the first, once a call has left it.
    program.beside(ann.hangs_up()).await;
    assert_eq!(program.is_over(1).await, "closed");
    let dora = house.joins(&mut program, 3).await;
    let closed = program.beside(second.reads_to_the_end()).await;
    assert_eq!(closed, (1000, "idle".to_owned()));
    until("one connection", || (house.connections() == 1.0).then_some(()));
    program.is_well(2).await;
    program.beside(async { tokio::join!(bob.hangs_up(), dora.hangs_up()) }).await;
    nothing_is_left(&house.server).await;
    assert_eq!(house.server.metric("b2b_voice_agents_total{result=\"connected\"}"), 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_come_at_once_wait_for_one_connection() {
    let house = house("calls_per_connection = 3\nstall_s = 60\n");
    let call = || Caller::calls(&house.server, "700");
    let meets = async {
        while house.server.get("/calls").json()["total"] != 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut program = house.accepts().await;
        for stream in 1..=3 {
            program.has(stream).await;
        }
        program
    };
    let (ann, bob, carl, mut program) = tokio::join!(call(), call(), call(), meets);
    house.has_been_asked_no_more();
    assert_eq!(house.connections(), 1.0);
    program.beside(async { tokio::join!(ann.hangs_up(), bob.hangs_up(), carl.hangs_up()) }).await;
    nothing_is_left(&house.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_confirm_the_extension_is_told_of_and_its_caller_goes_to_the_fall_back() {
    let mut house = house("calls_per_connection = 2\n");
    let mut events = Socket::to(&house.server, "/events").await;
    let meets = async {
        let (stream, _) = within("a connection", house.listener.accept()).await.expect("a connection");
        // Behaves as a program that takes one call per connection.
        let mut socket = accept_async(stream).await.expect("a WebSocket");
        while let Some(Ok(message)) = socket.next().await {
            assert!(!message.is_text(), "nothing is told to it: {message:?}");
        }
    };
    let (mut ann, ()) = tokio::join!(Caller::calls(&house.server, "700"), meets);
    ann.hears_sound(true).await;
    assert_eq!(house.calls_at("milliwatt"), 1);
    let failed = |it: &Value| it.to_string().contains("failed");
    let event = events.hear_of("the event", failed).await.to_string();
    assert!(event.contains(SUBPROTOCOL) && event.contains("milliwatt"), "{event}");
    let logged = house.server.process.wait_for_line(SUBPROTOCOL);
    for what in ["voice agent ada", "Sec-WebSocket-Protocol", "calls_per_connection"] {
        assert!(logged.contains(what), "{logged}");
    }
    ann.hangs_up().await;
    nothing_is_left(&house.server).await;
    assert_eq!(house.server.metric("b2b_voice_agents_total{result=\"failed\"}"), 1.0);
    assert_eq!(house.connections(), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_a_connection_for_each_call_is_not_asked_for_the_extension() {
    let house = house("stall_s = 60\n");
    #[allow(clippy::result_large_err, reason = "the type is the crate's")]
    let look = |request: &Request, response: Response| {
        assert_eq!(request.headers().get("sec-websocket-protocol"), None);
        Ok(response)
    };
    let meets = async {
        let (stream, _) = within("a connection", house.listener.accept()).await.expect("a connection");
        Client::begin(accept_hdr_async(stream, look).await.expect("a WebSocket")).await
    };
    let (ann, mut agent) = tokio::join!(Caller::calls(&house.server, "700"), meets);
    assert_eq!(agent.start.get("stream"), None);
    assert_eq!(house.connections(), 0.0);
    ann.hangs_up().await;
    agent.reads_to_the_end().await;
    nothing_is_left(&house.server).await;
}

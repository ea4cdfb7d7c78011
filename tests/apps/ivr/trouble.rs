//! Failures: callers that hang up at each step, missing prompts, URLs that are slow or do not respond.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use super::{MENU, NAMES, Sounds, calls, is_empty, main_menu, phone, phone_at, records, within};
use crate::server_support::{Server, server, until};

/// All held resources are back to zero.
fn nothing_is_held(server: &Server) {
    for name in ["calls", "legs", "media_endpoints", "timers"] {
        until(name, || (held(server, name) == 0.0).then_some(()));
    }
}

fn held(server: &Server, what: &str) -> f64 {
    let page = server.get("/metrics").text();
    let line =
        page.lines().find(|line| line.starts_with("b2b_held{") && line.contains(&format!("\"{what}\"")));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {what} in\n{page}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_hang_up_at_each_step() {
    let sounds = Sounds::new(&NAMES);
    let bob = phone_at("bob", "127.0.0.2:0");
    bob.start().await.expect("a client");
    let server = main_menu(&sounds, &bob.uri().expect("started"));
    let mut incoming = bob.incoming().await.expect("calls");
    let ann = phone("ann");
    // The prompts heard before hanging up, and the digits pressed after each.
    let steps: [&[(&str, &str)]; 6] = [
        &[],
        &[("hello", "")],
        &[("menu", "")],
        &[("menu", "9"), ("wrong", "")],
        &[("menu", "1"), ("pin", "27")],
        &[("menu", "2")],
    ];
    for step in steps {
        let (call, mut ear) = calls(&ann, &server, "main", &sounds).await;
        for (word, keys) in step {
            ear.hears(word).await;
            if !keys.is_empty() {
                call.send_digits(keys, None).await.expect("digits");
            }
        }
        let rings = step.last() == Some(&("menu", "2"));
        let ringing = if rings { within("a call", incoming.next()).await } else { None };
        within("hung up", call.hangup()).await.expect("hung up");
        drop(ringing);
        is_empty(&server).await;
    }
    nothing_is_held(&server);
    assert!(records(&server, steps.len()).len() >= steps.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_vanishes_is_passed_over_and_one_that_was_never_there_is_refused() {
    let sounds = Sounds::new(&NAMES);
    let server = main_menu(&sounds, "sip:nobody@127.0.0.1:9");
    std::fs::remove_file(sounds.path("hello")).expect("a file");
    let ann = phone("ann");
    let (call, mut ear) = calls(&ann, &server, "main", &sounds).await;
    ear.hears("menu").await;
    within("hung up", call.hangup()).await.expect("hung up");
    is_empty(&server).await;

    let path = server.folder.path().join("second.toml");
    std::fs::write(&path, format!("{}{MENU}", sounds.table()).replace("2 = \"bob\", ", "")).expect("a file");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.args(["--role", "b2bua", "--dry-run", "--config", path.to_str().expect("UTF-8")]);
    let output = command.output().expect("run");
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("second.toml:10: `ivr.node.name` = \"hello\": /"), "{said}");
    assert!(said.contains("hello.wav (No such file"), "{said}");
}

/// Answers successive POSTs, and passes their bodies on. `None`: it does not respond.
fn url(answers: Vec<Option<&'static str>>) -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("an address");
    let (asked, questions) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut read = Vec::new();
            let mut piece = [0; 4_096];
            while !read.ends_with(b"}") {
                match stream.read(&mut piece) {
                    Ok(length) if length > 0 => read.extend_from_slice(&piece[..length]),
                    _ => return,
                }
            }
            let _ = asked.send(String::from_utf8_lossy(&read).into_owned());
            match answer {
                Some(body) => {
                    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                }
                None => kept.push(stream),
            }
        }
    });
    (address, questions)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_says_where_it_goes_on_and_a_silent_one_is_given_up() {
    let sounds = Sounds::new(&["vip", "down"]);
    let (address, questions) = url(vec![Some(r#"{"next": "vip", "variables": {"level": 3}}"#), None]);
    let tree = format!(
        "[[route]]\ncalled = \"crm\"\napp = \"ivr/crm\"\n[[ivr]]\nname = \"crm\"\n\
         [[ivr.node]]\nname = \"ask\"\nkind = \"http\"\nurl = \"http://{address}/next?who=${{caller}}\"\n\
         timeout_s = 1\nfailed = \"down\"\n\
         [[ivr.node]]\nname = \"vip\"\nkind = \"play_prompt\"\nprompt = \"vip.wav\"\n\
         [[ivr.node]]\nname = \"down\"\nkind = \"play_prompt\"\nprompt = \"down.wav\"\n"
    );
    let server = server(&format!("{}{tree}", sounds.table()));
    let ann = phone("ann");
    for word in ["vip", "down"] {
        let (call, mut ear) = calls(&ann, &server, "crm", &sounds).await;
        ear.hears(word).await;
        within("the end", call.wait_for_end()).await;
        is_empty(&server).await;
        let question = questions.recv_timeout(super::PATIENCE).expect("a question");
        assert!(question.starts_with("POST /next?who=ann HTTP/1.1\r\n"), "{question}");
        assert!(question.contains("\"called\":\"crm\""), "{question}");
    }
    let levels: Vec<_> = records(&server, 2).iter().map(|it| it["variables"]["level"].clone()).collect();
    assert!(levels.contains(&serde_json::json!("3")), "{levels:?}");
    let alarms = server.get("/alarms").text();
    assert!(alarms.contains("handler_failed"), "{alarms}");
}

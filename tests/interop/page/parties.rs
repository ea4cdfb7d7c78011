//! The parties of a call on the page: users with passwords, one of them an agent of a queue.

use std::net::UdpSocket;
use std::path::Path;

use serde_json::json;

use super::browser::Tab;
use super::{is_narrow_enough, phone};
use crate::interop::support::Running;
use crate::server_support::phone::Phone;
use crate::server_support::{Server, server, start};

const QUEUE: &str = "[[user]]\nname = \"1001\"\npassword = \"one\"\n[[user]]\nname = \"1002\"\npassword = \"two\"\n\
    display_name = \"Bob\"\n[[agent]]\nname = \"1002\"\n[[queue]]\nname = \"sales\"\nagents = [\"1002\"]\nring_s = 30\n\
    [[route]]\nname = \"to sales\"\ncalled = \"8000\"\napp = \"queue/sales\"\n\
    [[route]]\nname = \"users\"\ncalled = '10\\d\\d'\nto = \"user/$0\"\n";

/// A server without trusted addresses.
pub(super) fn untrusting(lines: &str) -> Server {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "[server]\nlisten = [\"udp:127.0.0.1:0\"]\nstore = \"memory\"\ndomains = [\"127.0.0.1\"]\n\
         [http]\nlisten = \"127.0.0.1:0\"\ntoken = \"off\"\n{lines}"
    );
    std::fs::write(folder.path().join("b2bua.toml"), text).expect("a file");
    start(folder)
}

/// The registered phone of a user.
pub(super) fn of_user(server: &Server, folder: &Path, user: &str, password: &str, more: &[&str]) -> Running {
    let file = folder.join(format!("{user}.password"));
    std::fs::write(&file, password).expect("a file");
    let identity = format!("sip:{user}@{}", server.sip);
    let mut arguments = vec!["--identity", &identity, "--password-file", file.to_str().expect("UTF-8")];
    arguments.extend(more);
    phone(folder, &arguments)
}

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_names_the_agent_who_serves_a_call_and_shows_no_challenge_as_a_failure() {
    let mut tab = Tab::new();
    tab.size(1_400, 800);
    let folder = tempfile::tempdir().expect("a folder");
    let server = untrusting(QUEUE);
    let mut agent = of_user(&server, folder.path(), "1002", "two", &["--answer", "1"]);
    agent.line("\"registered\"");
    tab.open(&format!("http://{}/", server.http));
    let to = format!("sip:8000@{}", server.sip);
    let _caller = of_user(&server, folder.path(), "1001", "one", &["--call", &to]);
    tab.reads("1002 (Bob, 8000)");
    let cell = |name: &str| format!("document.querySelector('tbody tr td[data-label=\"{name}\"]').innerText");
    tab.until("a MOS", &format!("Number({}) > 1", cell("MOS")));
    assert_eq!(tab.value(&cell("route")), json!("to sales"));
    assert_eq!(tab.value(&cell("from")), json!("1001"));
    tab.value("document.querySelector('td a').click()");
    tab.until("the ladder", "document.querySelector('ol.words').textContent.includes('bridged')");
    let titles = "[...document.querySelectorAll('.leg h4 .address')].map((it) => [it.innerText, it.title])";
    let titles = tab.value(titles);
    assert_eq!((&titles[0][0], &titles[1][0]), (&json!("1001"), &json!("1002")), "{titles}");
    assert!(titles[1][1].as_str().is_some_and(|it| it.starts_with("sip:1002")), "{titles}");
    // A 407 and its answer: the exchange of every user with a password.
    let words = tab.value("document.querySelector('ol.words').textContent");
    assert!(words.as_str().is_some_and(|it| it.contains("407 asks for a password")), "{words}");
    assert_eq!(tab.value("document.querySelectorAll('svg.ladder .refused').length"), json!(0), "{words}");
    tab.size(360, 760);
    is_narrow_enough(&mut tab, "a call of users");
    tab.is_sound();
}

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_gives_no_name_of_a_user_to_a_caller_who_claims_its_number() {
    let mut tab = Tab::new();
    tab.size(1_000, 700);
    let carol = Phone::new("carol");
    let server = server(&format!(
        "[[user]]\nname = \"1002\"\npassword = \"two\"\ndisplay_name = \"Bob\"\n\
         [[route]]\ncalled = \".*\"\nto = \"{}\"\n",
        carol.uri()
    ));
    tab.open(&format!("http://{}/", server.http));
    tab.until("the link", "document.querySelector('#link').dataset.link === 'live'");
    let names = "performance.getEntriesByType('resource').some((it) => it.name.includes('users?limit'))";
    tab.until("the names", names);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let (at, to) = (socket.local_addr().expect("an address"), server.sip);
    let invite = format!(
        "INVITE sip:2000@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKliar\r\nMax-Forwards: 70\r\n\
         From: <sip:1002@{at}>;tag=liar\r\nTo: <sip:2000@{to}>\r\nCall-ID: liar\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:liar@{at}>\r\nContent-Length: 0\r\n\r\n"
    );
    socket.send_to(invite.as_bytes(), to).expect("loopback");
    carol.hear("INVITE");
    let from = "(document.querySelector('tbody tr td[data-label=\"from\"]') || {}).innerText";
    tab.until("the caller", &format!("({from} || '').startsWith('1002')"));
    assert_eq!(tab.value(from), json!("1002"));
    tab.is_sound();
}

//! The page in Chromium, during calls of b2b's own phones: its content, by keyboard, on a mobile phone, in
//! dark and light, with hostile names, and when the server is unavailable.
//! `cargo test --test program interop::page:: -- --ignored` needs `chromium`. With
//! `B2B_WRITE_DOCS=1` it writes the screenshots of docs/page.md.

mod browser;
mod ended;
mod figures;
mod parties;
mod report;
mod turns;
mod ways;

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::interop::support::{Running, file, free_port, print_version};
use crate::server_support::{Server, server, start, until};
use browser::Tab;

const VIEWS: [&str; 10] = [
    "calls",
    "queues",
    "rooms",
    "parking",
    "agents",
    "registrations",
    "gateways",
    "alarms",
    "server",
    "routes",
];

/// One of each, so that no list is empty.
const EVERYTHING: &str = "[recording]\nfolder = \"recordings\"\n\
    [[user]]\nname = \"1001\"\npassword = \"x\"\n\
    [[gateway]]\nname = \"carrier\"\nhosts = [\"127.0.0.1:9\"]\noptions_s = 0\n\
    [[agent]]\nname = \"1001\"\n\
    [[queue]]\nname = \"sales\"\nagents = [\"1001\"]\ngoal_s = 1\n\
    [[conference]]\nname = \"team\"\n[[park]]\nname = \"lot\"\nslots = \"701-720\"\n\
    [[route]]\ncalled = \"8000\"\napp = \"queue/sales\"\n";

/// A phone that answers, or calls, and plays audio for as long as the test lasts.
fn phone(folder: &Path, arguments: &[&str]) -> Running {
    let voice = folder.join("voice.wav");
    if !voice.exists() {
        crate::common::audio::write_wav(&voice, 8_000, &crate::common::audio::speech_like(8_000, 60.0));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.args(["--role", "phone", "--json", "--codecs", "pcma", "--hangup-after", "120", "--play"]);
    Running::start("phone", command.arg(voice).args(arguments))
}

/// A server with a call between two phones: Ann, 1001, has called 200, which is Bob.
fn with_a_call(tab: &mut Tab) -> (Server, [Running; 2]) {
    print_version("chromium", "--version", "Chromium");
    let folder = tempfile::tempdir().expect("a folder");
    let mut bob = phone(folder.path(), &["--identity", "sip:bob@127.0.0.1", "--answer", "1"]);
    let ready: Value = serde_json::from_str(&bob.line("\"ready\"")).expect("JSON");
    let uri = ready["uri"].as_str().expect("a URI");
    let server =
        server(&format!("{EVERYTHING}[[route]]\nname = \"to bob\"\ncalled = \"200\"\nto = \"{uri}\"\n"));
    tab.open(&format!("http://{}/", server.http));
    tab.until("live events", "document.querySelector('#link').dataset.link === 'live'");
    tab.reads("There are no active calls.");
    let to = format!("sip:200@{}", server.sip);
    let ann = phone(folder.path(), &["--identity", "sip:1001@127.0.0.1", "--call", &to]);
    tab.reads("bridged");
    (server, [ann, bob])
}

/// The number of the only call.
fn only_call(server: &Server) -> u64 {
    until("a call", || server.get("/calls").json()["calls"][0]["call"].as_u64())
}

/// Writes a screenshot into the docs if requested.
fn picture(tab: &mut Tab, name: &str) {
    if std::env::var_os("B2B_WRITE_DOCS").is_some() {
        tab.picture(&file("docs").join(name));
    }
}

fn is_narrow_enough(tab: &mut Tab, what: &str) {
    let wide = tab.value(
        "[...document.querySelectorAll('body *')].filter((it) => it.getBoundingClientRect().right > innerWidth + 1 && \
         getComputedStyle(it).position !== 'absolute' && !it.closest('svg')).map((it) => it.outerHTML.slice(0, 80)).slice(0, 5)",
    );
    let scroll = tab.value("[document.documentElement.scrollWidth, innerWidth]");
    assert_eq!(scroll[0], scroll[1], "{what} scrolls sideways: {wide}");
}

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_shows_a_call_as_it_happens_and_ends_it_after_a_question() {
    let mut tab = Tab::new();
    tab.size(1_100, 640);
    tab.colours("light");
    let (server, _phones) = with_a_call(&mut tab);
    let id = only_call(&server);
    tab.reads("1001");
    tab.reads("1 up");
    // Calls that do not match the filter are hidden.
    tab.press("/");
    tab.until("the filter", "document.activeElement.id === 'filter'");
    tab.types("nobody-here");
    tab.reads("0 shown, 1 up");
    tab.value("document.querySelector('#filter').value = ''");
    tab.types("1001");
    tab.reads("bridged");
    tab.press("Escape");
    picture(&mut tab, "page-calls.png");

    tab.value("document.querySelector('td a').click()");
    tab.until("the ladder", "document.querySelectorAll('svg.ladder .signal').length >= 8");
    tab.until("the first packets", "document.querySelectorAll('svg.ladder .media .arrow').length >= 2");
    tab.until("both bands of media", "document.querySelectorAll('svg.ladder .flow').length === 2");
    tab.reads("audio both ways");
    tab.until("charts", "document.querySelectorAll('.chart polyline').length >= 4");
    tab.until("counters that grow", "document.body.innerText.match(/received\\s+\\d+ packets/)");
    // The text below the diagram is that of the account.
    let words = tab.value("document.querySelector('ol.words').textContent");
    for part in ["INVITE · offer", "200 OK", "route", "first packet"] {
        assert!(words.as_str().is_some_and(|words| words.contains(part)), "{part} in {words}");
    }
    tab.value("document.querySelector('details.messages > summary').click()");
    tab.until("messages to be read", "document.querySelectorAll('.messages details').length >= 5");
    tab.value("document.querySelector('.messages details summary').click()");
    tab.until(
        "a message",
        "document.querySelector('.messages details[open] pre').innerText.includes('Call-ID')",
    );
    tab.value("document.querySelector('details.messages > summary').click()");
    tab.size(760, 1_100);
    tab.until("another width", "document.querySelector('svg.ladder').clientWidth < 760");
    tab.value("document.querySelector('svg.ladder').scrollIntoView({ block: 'end' })");
    picture(&mut tab, "page-call.png");
    tab.value("scrollTo(0, 0)");

    tab.press("c");
    tab.reads("Stop capture");
    tab.reads("packets,");
    let captured = || server.get(&format!("/calls/{id}")).json()["media_captured"]["running"].clone();
    assert_eq!(captured(), json!(true));
    tab.press("c");
    tab.reads("Capture stopped");
    assert_eq!(captured(), json!(false));
    tab.press("e");
    tab.reads("Stop recording");
    tab.until(
        "the pause",
        "[...document.querySelectorAll('button')].find((it) => it.textContent === 'Pause recording')",
    );
    tab.value(
        "[...document.querySelectorAll('button')].find((it) => it.textContent === 'Pause recording').click()",
    );
    tab.reads("Resume recording");
    let paused = server.get(&format!("/calls/{id}")).json()["now"]["recording"]["paused"].clone();
    assert_eq!(paused, json!(true));

    // No is the default, for users who press Enter without reading.
    tab.press("x");
    tab.until("the question", "document.querySelector('#ask').open");
    tab.press("Enter");
    tab.until("no question", "!document.querySelector('#ask').open");
    assert_eq!(server.get("/calls").json()["total"], 1);
    tab.press("x");
    tab.until("the question", "document.querySelector('#ask').open");
    tab.value("document.querySelector('#ask-yes').click()");
    tab.reads("is hung up");
    until("the end", || (server.get("/calls").json()["total"] == 0).then_some(()));
    tab.reads("ended");
    tab.until("no button to hang up", "!document.querySelector('button.danger:not(#ask-yes)')");
    tab.press("Escape");
    tab.reads("There are no active calls.");
    tab.until(
        "the ended call in the list",
        &format!("document.querySelector('.ended td a[href=\"#call/{id}\"]')"),
    );
    tab.is_sound();
}

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_goes_by_keyboard_alone_with_the_focus_in_sight() {
    let mut tab = Tab::new();
    tab.size(1_000, 700);
    let (server, _phones) = with_a_call(&mut tab);
    let id = only_call(&server);
    for (at, view) in VIEWS.iter().enumerate() {
        tab.press(&((at + 1) % 10).to_string());
        tab.until(view, &format!("document.querySelector('[aria-current=page]').dataset.view === '{view}'"));
        let twice = tab.value(
            "[...document.querySelectorAll('main caption')].filter((it) => it.offsetWidth > 1 && it.innerText === document.querySelector('main h2')?.innerText).length",
        );
        assert_eq!(twice, json!(0), "{view}: a visible caption repeats the title");
    }
    tab.press("?");
    tab.until("the list of keys", "document.querySelector('#help').open");
    let listed = tab.value("document.querySelector('#help-list').innerText");
    for key in ["j k", "Enter", "Esc", "filter"] {
        assert!(listed.as_str().is_some_and(|text| text.contains(key)), "{key} in {listed}");
    }
    // Elements behind a dialog receive no keys.
    tab.press("2");
    assert_eq!(tab.value("location.hash"), json!("#routes"));
    tab.press("Escape");
    tab.until("the list is away", "!document.querySelector('#help').open");
    tab.press("1");
    // The row of a call, and not of the routes, which are there until the view has changed.
    tab.until("a row", &format!("document.querySelector('tbody tr')?.dataset.key === '{id}'"));
    tab.press("j");
    tab.until("a row with the focus", "document.activeElement.matches('tbody tr')");
    let outline = tab.value("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, json!("solid"), "the focus is in sight");
    // The focus stays while the content of the row changes.
    tab.value("window.was = document.activeElement; window.text = was.innerText");
    tab.until("another second", "was.innerText !== text && document.activeElement === was");
    tab.press("Enter");
    tab.until("the call", &format!("location.hash === '#call/{id}'"));
    // The hash changes before the content, and keys apply to the current content.
    tab.reads(&format!("Call {id}"));
    tab.press("Escape");
    tab.until("all calls", "location.hash === '#calls'");
    // With Tab: first the link past the navigation, then everything that can be pressed.
    tab.reload();
    tab.until("the calls", "document.querySelector('tbody tr')");
    tab.press("Tab");
    tab.until("the skip link", "document.activeElement.id === 'skip'");
    tab.press("Enter");
    tab.until("the content", "document.activeElement.id === 'main'");
    let named = tab.value(
        "[...document.querySelectorAll('#skip, header button, nav a, main *:is(button, a, input)')].filter((it) => !(it.getAttribute('aria-label') || it.textContent || \
         it.labels?.length)).map((it) => it.outerHTML)",
    );
    assert_eq!(named, json!([]), "everything that can be pressed has a name");
    // Users of speech input say the visible text (WCAG 2.5.3).
    let unlike = tab.value(
        "[...document.querySelectorAll('button[aria-label]')].filter((it) => !it.ariaLabel.toLowerCase().includes(it.innerText.replace(/[^\\w ]/g, '').trim().toLowerCase())).map((it) => it.outerHTML)",
    );
    assert_eq!(unlike, json!([]), "names contain the visible text");
    tab.is_sound();
}

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_fits_a_phone_and_is_dark_and_light() {
    let mut tab = Tab::new();
    tab.size(360, 760);
    tab.colours("dark");
    let (server, _phones) = with_a_call(&mut tab);
    let id = only_call(&server);
    // A caller waits longer than the goal: an alarm, and a row in two tables.
    let asks = crate::server_support::phone::Phone::new("carl");
    asks.ask_for(server.sip, "8000");
    asks.hear("SIP/2.0 200");
    for view in VIEWS.iter().map(|view| (*view).to_owned()).chain([format!("call/{id}")]) {
        tab.value(&format!("location.hash = '{view}'"));
        tab.until(&view, "document.querySelector('main h2')");
        match view.as_str() {
            "queues" => drop(tab.until("who waits", "document.body.innerText.includes('carl')")),
            "agents" => tab.reads("not reachable"),
            "gateways" => tab.reads("not monitored"),
            "routes" => tab.reads("app queue/sales"),
            "rooms" => tab.reads("team"),
            "parking" => tab.reads("701 to 720"),
            "alarms" => tab.reads("queue over goal: sales"),
            "server" => tab.reads("memory"),
            "calls" => tab.reads("in queue"),
            _ => {}
        }
        is_narrow_enough(&mut tab, &view);
        if view == "calls" {
            picture(&mut tab, "page-narrow.png");
        }
    }
    tab.until("the ladder", "document.querySelectorAll('svg.ladder .signal').length >= 8");
    tab.value("document.querySelector('svg.ladder').scrollIntoView()");
    is_narrow_enough(&mut tab, "the ladder");
    let paper = |tab: &mut Tab| {
        let rgb = tab.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)");
        rgb.as_array().expect("a colour").iter().filter_map(Value::as_u64).take(3).sum::<u64>()
    };
    assert!(paper(&mut tab) < 150, "dark as the system is");
    tab.colours("light");
    assert!(paper(&mut tab) > 600, "light as the system is");
    tab.press("t");
    assert!(paper(&mut tab) < 150, "dark by choice");
    tab.reload();
    tab.until(
        "the choice again",
        "document.documentElement.dataset.theme === 'dark' && document.querySelector('main h2')",
    );
    tab.size(1_100, 640);
    tab.value("location.hash = 'alarms'");
    tab.reads("queue over goal: sales");
    picture(&mut tab, "page-alarms.png");
    tab.press("t");
    assert!(paper(&mut tab) > 600, "light by choice");
    tab.is_sound();
}

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_hostile_names_stay_text() {
    let mut tab = Tab::new();
    tab.size(1_000, 700);
    tab.before_each("window.hacked = 0; window.alert = () => { window.hacked = 1; };");
    let bob = crate::server_support::phone::Phone::new("bob");
    let server = server(&format!("[[route]]\ncalled = \".*\"\nto = \"{}\"\n", bob.uri()));
    tab.open(&format!("http://{}/", server.http));
    tab.until("live events", "document.querySelector('#link').dataset.link === 'live'");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let (at, to) = (socket.local_addr().expect("an address"), server.sip);
    // In the URI, where it is unescaped, and in the display name.
    let evil = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E";
    let name = "<svg onload=alert(1)><a href='javascript:alert(1)'>";
    let invite = format!(
        "INVITE sip:{evil}@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKevil\r\nMax-Forwards: 70\r\n\
         From: \"{name}\" <sip:{evil}@{at}>;tag=evil\r\nTo: <sip:{evil}@{to}>\r\nCall-ID: evil\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:evil@{at}>\r\nUser-Agent: {name}\r\nContent-Length: 0\r\n\r\n"
    );
    socket.send_to(invite.as_bytes(), to).expect("loopback");
    bob.hear("INVITE");
    // It is readable, and only text.
    tab.reads("<img src=x onerror=alert(1)>");
    tab.value("document.querySelector('td a').click()");
    tab.until("the ladder", "document.querySelectorAll('svg.ladder .signal').length >= 2");
    tab.press("9");
    tab.reads("Latest events");
    tab.reads("dialling");
    for place in ["main img", "main svg [onload]", "main a[href^=javascript]", "main script"] {
        assert_eq!(tab.value(&format!("document.querySelectorAll({place:?}).length")), json!(0), "{place}");
    }
    assert_eq!(tab.value("window.hacked"), json!(0));
    // If any code turned text into markup, the policy would prevent it.
    let blocked = tab.value("(() => { try { document.body.innerHTML = '<b>x</b>'; return 'done'; } catch (it) { return it.name; } })()");
    assert_eq!(blocked, json!("TypeError"));
    tab.trouble.retain(|it| !it.contains("TrustedHTML"));
    tab.is_sound();
}

/// Configures a server with these ports in this folder.
fn at_ports(folder: &Path, [sip, http]: [u16; 2], lines: &str) {
    let text = format!(
        "[server]\nlisten = [\"udp:127.0.0.1:{sip}\"]\ntrusted = [\"127.0.0.0/8\"]\nstore = \"memory\"\n\
         domains = [\"b2b.example\"]\n[http]\nlisten = \"127.0.0.1:{http}\"\ntoken = \"open sesame\"\n{lines}"
    );
    std::fs::write(folder.join("b2bua.toml"), text).expect("a file");
}

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_asks_for_the_token_says_that_the_server_is_away_and_takes_up_again() {
    let mut tab = Tab::new();
    tab.size(1_000, 700);
    let folder = tempfile::tempdir().expect("a folder");
    let bob = crate::server_support::phone::Phone::new("bob");
    let lines = format!("[[route]]\ncalled = \".*\"\nto = \"{}\"\n", bob.uri());
    let ports = [free_port(), free_port()];
    at_ports(folder.path(), ports, &lines);
    let Server { process, folder, http, .. } = start(folder);
    tab.open(&format!("http://{http}/"));
    for (token, shown) in
        [("open sesam", "The token was not accepted"), ("open sesame", "There are no active calls.")]
    {
        tab.until("the question", "document.querySelector('#token').open");
        tab.value("document.querySelector('#token-text').focus()");
        tab.types(token);
        tab.press("Enter");
        tab.reads(shown);
    }
    tab.until("live events", "document.querySelector('#link').dataset.link === 'live'");
    assert_eq!(tab.value("Object.keys(localStorage).filter((it) => it.includes('token'))"), json!([]));
    assert_eq!(tab.value("location.href.includes('sesame')"), json!(false));
    drop(process);
    tab.reads("disconnected since");
    let server = start(folder);
    tab.until("live again", "document.querySelector('#link').dataset.link === 'live'");
    let ann = crate::server_support::phone::Phone::new("ann");
    ann.ask_for(server.sip, "200");
    bob.hear("INVITE");
    tab.reads("incoming call");
    tab.is_sound();
}

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_polls_where_no_web_socket_goes_through() {
    let mut tab = Tab::new();
    tab.before_each(
        "window.WebSocket = class { constructor() { setTimeout(() => this.onclose && this.onclose({}), 0); } };",
    );
    let bob = crate::server_support::phone::Phone::new("bob");
    let server = server(&format!("[[route]]\ncalled = \".*\"\nto = \"{}\"\n", bob.uri()));
    tab.open(&format!("http://{}/", server.http));
    tab.reads("polling");
    let ann = crate::server_support::phone::Phone::new("ann");
    ann.ask_for(server.sip, "200");
    bob.hear("INVITE");
    tab.reads("incoming call");
    tab.press("8");
    tab.reads("no live events");
    tab.is_sound();
}

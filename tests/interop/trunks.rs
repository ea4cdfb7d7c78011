//! Messages that provider profiles must and must never send: one server with a gateway of each profile,
//! emulated providers with names (DNS, TLS, TCP, UDP), and tshark, which decrypts TLS with the providers' key
//! log. `cargo test --test program interop::trunks -- --ignored` needs `tshark`.
//!
//! The providers are emulated here: the test proves what is sent, not what a real provider accepts.

mod providers;
mod seen;

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::interop::support::wire::Capture;
use crate::server_support::phone::Phone;
use crate::server_support::{start, until};
use b2b_test_support::dns::{NameServer, Zone};
use b2b_test_support::tls::{Authority, Keys};
use providers::{Provider, Way};
use seen::Seen;

/// A property of a message, and its check.
type Said = (&'static str, fn(&Seen) -> bool);

/// A profile, and its assertions.
struct Row {
    profile: &'static str,
    /// The last octet of the provider's address; the next field is its transport.
    last: u8,
    way: Way,
    /// Its names.
    names: &'static [&'static str],
    /// Additional lines of its `[[gateway]]`.
    lines: &'static str,
    /// The target of the route, in which `$1` is the number; the next field has additional lines of the
    /// route.
    to: &'static str,
    route: &'static str,
    /// Each holds for at least one message.
    must: &'static [Said],
    /// Each holds for no message.
    never: &'static [Said],
}

const ACCOUNT: &str = "username = \"acme\"\npassword = \"a good secret\"\n";
const CALLED: &str = "+442079460002";
const CALLER: &str = "+442079460001";

const REGISTERS: Said = ("REGISTER", |it| it.is("REGISTER"));
const OPTIONS: Said = ("OPTIONS", |it| it.is("OPTIONS"));
const WITH_PLUS: Said = ("INVITE of +44…", |it| it.is("INVITE") && it.uri_user == CALLED);
const SECURED: Said = ("an INVITE over TLS that offers RTP/SAVP with SHA1_80", |it| {
    it.is("INVITE") && it.tls && it.proto == "RTP/SAVP" && it.suites == "AES_CM_128_HMAC_SHA1_80"
});
const PLAIN: Said = ("plain RTP", |it| it.proto.contains("RTP/AVP"));
const ENCRYPTED: Said = ("SRTP", |it| it.proto.contains("SAVP") || it.has("a=crypto"));
const IN_CLEAR: Said = ("SIP without TLS", |it| it.is_sip() && !it.tls);
const OVER_TCP: Said = ("TCP", |it| it.stream.is_some());
const OVER_UDP: Said = ("SIP over UDP", |it| it.is_sip() && it.stream.is_none());
const ASSERTED: Said = ("P-Asserted-Identity", |it| it.has("P-Asserted-Identity:"));
const REMOTE_PARTY: Said = ("Remote-Party-ID", |it| it.has("Remote-Party-ID:"));
const AGAIN: Said =
    ("a re-INVITE or UPDATE", |it| (it.is("INVITE") && !it.to_tag.is_empty()) || it.is("UPDATE"));

/// Properties that no message may have.
const NOBODY: &[Said] = &[
    ("an address of our side", |it| it.has("127.0.")),
    ("a sips: URI", |it| it.has("sips:")),
    ("Replaces", |it| it.has("\nReplaces:")),
];

const ROWS: &[Row] = &[
    Row {
        profile: "twilio",
        last: 11,
        way: Way::Tls,
        names: &["example.pstn.twilio.com"],
        lines: ACCOUNT,
        to: "gateway/twilio/$1",
        route: "",
        must: &[
            OPTIONS,
            WITH_PLUS,
            ("two suites, SHA1_80 first", |it| {
                it.is("INVITE") && it.suites == "AES_CM_128_HMAC_SHA1_80,AES_CM_128_HMAC_SHA1_32"
            }),
            ("the name of the Termination URI", |it| {
                it.is("INVITE") && it.uri_host == "example.pstn.twilio.com"
            }),
            ("its name in SNI", |it| it.server_name == "example.pstn.twilio.com"),
        ],
        never: &[REGISTERS, PLAIN, IN_CLEAR, ("GCM", |it| it.has("GCM")), ("an MKI", |it| it.has("|1:1"))],
    },
    Row {
        profile: "telnyx",
        last: 12,
        way: Way::Udp,
        names: &["sip.telnyx.com"],
        lines: "username = \"acme\"\npassword = \"a good secret\"\nregister = true\n",
        to: "gateway/telnyx/$1",
        route: "",
        must: &[REGISTERS, OPTIONS, WITH_PLUS],
        never: &[ENCRYPTED],
    },
    Row {
        profile: "sipgate",
        last: 13,
        way: Way::Udp,
        names: &["sipconnect.sipgate.de"],
        lines: "username = \"1234567t0\"\npassword = \"a good secret\"\n",
        to: "gateway/sipgate/$1",
        route: "",
        must: &[
            REGISTERS,
            OPTIONS,
            ("the SIP-ID in From", |it| it.is("INVITE") && it.from_user == "1234567t0"),
            ("the number in P-Preferred-Identity", |it| {
                it.has("P-Preferred-Identity: <sip:442079460001@sipconnect.sipgate.de>")
            }),
            ("a number without a plus", |it| it.is("INVITE") && it.uri_user == "442079460002"),
        ],
        never: &[ASSERTED, REMOTE_PARTY, ("a plus", |it| it.has("sip:+"))],
    },
    Row {
        profile: "telekom",
        last: 14,
        way: Way::Tcp,
        names: &["tel.t-online.de"],
        lines: "username = \"+4930123456\"\npassword = \"a good secret\"\n",
        to: "gateway/telekom/$1",
        route: "",
        must: &[
            ("REGISTER over TCP", |it| it.is("REGISTER") && it.stream.is_some()),
            OPTIONS,
            WITH_PLUS,
            ("P-Preferred-Identity with a plus", |it| it.has("P-Preferred-Identity: <sip:+442079460001@")),
        ],
        never: &[OVER_UDP, ASSERTED, REMOTE_PARTY],
    },
    Row {
        profile: "vonage",
        last: 15,
        way: Way::Udp,
        names: &["example.sip-eu.vonage.com"],
        lines: ACCOUNT,
        to: "gateway/vonage/$1",
        route: "",
        must: &[
            OPTIONS,
            ("numbers without a plus", |it| {
                it.is("INVITE") && it.uri_user == "442079460002" && it.from_user == "442079460001"
            }),
            ("G.722", |it| it.has("G722/8000")),
        ],
        never: &[REGISTERS, ("a plus", |it| it.has("sip:+")), ("Opus", |it| it.has("opus"))],
    },
    Row {
        profile: "teams",
        last: 16,
        way: Way::MutualTls,
        names: &["sip.pstnhub.microsoft.com", "sip2.pstnhub.microsoft.com", "sip3.pstnhub.microsoft.com"],
        lines: "from_domain = \"sbc.example.com\"\n",
        to: "gateway/teams/$1",
        route: "",
        must: &[
            ("OPTIONS with our name, and without a user", |it| {
                let name = "sbc.example.com";
                it.is("OPTIONS")
                    && it.contact_host == name
                    && it.contact_user.is_empty()
                    && it.from_host == name
            }),
            ("INVITE with our name", |it| {
                it.is("INVITE") && it.contact_host == "sbc.example.com" && it.from_host == "sbc.example.com"
            }),
            WITH_PLUS,
            SECURED,
            ("comfort noise", |it| it.is("INVITE") && it.has("CN/8000")),
            ("our certificate", |it| it.handshakes.split(',').any(|it| it == "11")),
            ("the second name", |it| it.server_name == "sip2.pstnhub.microsoft.com"),
            ("the third name", |it| it.server_name == "sip3.pstnhub.microsoft.com"),
        ],
        never: &[REGISTERS, PLAIN, IN_CLEAR],
    },
    Row {
        profile: "openai",
        last: 17,
        way: Way::Tls,
        names: &["sip.api.openai.com"],
        lines: "",
        to: "gateway/openai/proj_0123456789",
        route: "",
        must: &[("the project", |it| {
            it.is("INVITE")
                && it.tls
                && it.uri_user == "proj_0123456789"
                && it.uri_host == "sip.api.openai.com"
        })],
        never: &[REGISTERS, OPTIONS, IN_CLEAR],
    },
    Row {
        profile: "whatsapp",
        last: 18,
        way: Way::Tls,
        names: &["wa.meta.vc"],
        lines: "username = \"442079460000\"\npassword = \"a good secret\"\nfrom_domain = \"sbc.example.com\"\n",
        to: "gateway/whatsapp/$1",
        // This mode would forward a phone's hold.
        route: "mode = \"transparent\"\n",
        must: &[
            WITH_PLUS,
            SECURED,
            ("Opus", |it| it.is("INVITE") && it.has("opus/48000/2")),
            ("our number and name in From", |it| {
                it.is("INVITE") && it.from_user == "442079460000" && it.from_host == "sbc.example.com"
            }),
            ("BYE", |it| it.is("BYE")),
        ],
        never: &[
            REGISTERS,
            OPTIONS,
            PLAIN,
            IN_CLEAR,
            AGAIN,
            ("session timers", |it| it.has("Session-Expires") || it.has("timer")),
            ("PRACK", |it| it.has("100rel") || it.is("PRACK")),
            ("G.711", |it| it.has("PCMA") || it.has("PCMU")),
        ],
    },
    Row {
        profile: "asterisk",
        last: 19,
        way: Way::Udp,
        names: &["asterisk.example.com"],
        lines: "hosts = [\"asterisk.example.com\"]\n",
        to: "gateway/asterisk/$1",
        // A phone's hold must reach the PBX.
        route: "mode = \"transparent\"\n",
        must: &[
            OPTIONS,
            ("who calls", |it| it.is("INVITE") && it.has("P-Asserted-Identity: <sip:+442079460001@")),
            ("hold, by re-INVITE", |it| {
                it.is("INVITE") && !it.to_tag.is_empty() && it.attributes.contains("sendonly")
            }),
            ("session timers and PRACK", |it| it.has("Session-Expires:") && it.has("100rel")),
        ],
        never: &[REGISTERS, OVER_TCP],
    },
    Row {
        profile: "freeswitch",
        last: 20,
        way: Way::Udp,
        names: &["freeswitch.example.com"],
        lines: "hosts = [\"freeswitch.example.com\"]\n",
        to: "gateway/freeswitch/$1",
        route: "",
        must: &[
            OPTIONS,
            ("who calls", |it| it.is("INVITE") && it.has("Remote-Party-ID: <sip:+442079460001@")),
        ],
        never: &[REGISTERS, OVER_TCP, ("PRACK", |it| it.has("100rel"))],
    },
];

/// Address of the server.
const OURS: &str = "127.0.76.1";

fn provider_at(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 77, last)
}

fn configuration(resolver: &str) -> String {
    let mut text = format!(
        "[server]\nlisten = [\"udp:{OURS}:5060\", \"tls:{OURS}:5061\"]\nadvertise = \"sbc.example.com\"\n\
         inside = [\"127.0.0.0/24\"]\ntrusted = [\"127.0.0.0/24\"]\nstore = \"memory\"\ndomains = [\"b2b.example\"]\n\
         resolver = \"{resolver}\"\ndrain_s = 2\n[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"off\"\n\
         [media]\nadvertise = \"203.0.113.5\"\n\
         [tls]\ncertificate = \"sbc.pem\"\nkey = \"sbc.key\"\nauthorities = \"authority.pem\"\n\
         client_authorities = \"authority.pem\"\nclient_request = \"tls:{OURS}:5061\"\n"
    );
    for (index, Row { profile, names, lines, to, route, .. }) in ROWS.iter().enumerate() {
        let host = match *profile {
            "twilio" | "vonage" => format!("hosts = [{:?}]\n", names[0]),
            _ => String::new(),
        };
        text += &format!(
            "[[gateway]]\nname = \"{profile}\"\nprofile = \"{profile}\"\n{host}{lines}\
             [[route]]\ncalled = '9{index}(.*)'\nclass = \"trusted\"\nto = \"{to}\"\n{route}"
        );
    }
    text
}

/// A phone calls, holds, and hangs up.
fn call(number: &str) {
    let name: &'static str = CALLER;
    let phone = Phone::at(name, [Ipv4Addr::new(127, 0, 0, 2); 3])
        .speaking("8 0 9 96 101", "a=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n");
    let dialog = phone.call(format!("{OURS}:5060").parse().expect("an address"), number);
    phone.change(&dialog, 2, "sendonly");
    phone.hang_up(&dialog);
}

fn providers(folder: &Path) -> (Vec<Provider>, NameServer) {
    let authority = Authority::new(folder, "authority");
    authority.issue("sbc", &["sbc.example.com"]);
    let keys = Keys::to(&folder.join("keys.log"));
    let mut zone = Zone::default();
    let mut running = Vec::new();
    for row in ROWS {
        for name in row.names {
            zone = zone.a(name, provider_at(row.last));
        }
        let pair = authority.issue(row.profile, row.names);
        running.push(Provider::start(
            provider_at(row.last),
            row.way,
            row.names[0],
            pair,
            &authority.pem,
            &keys,
        ));
    }
    (running, NameServer::start(Some(zone)))
}

#[test]
#[ignore = "needs tshark; run by .ci/run"]
fn interop_trunks_leave_what_they_must_and_nothing_that_they_must_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let capture_folder = tempfile::tempdir().expect("a folder");
    let capture = Capture::start(capture_folder.path(), "net 127.0.77.0/24");
    let (running, names) = providers(folder.path());
    std::fs::write(folder.path().join("b2bua.toml"), configuration(&names.addr.to_string())).expect("a file");
    let keys = std::fs::canonicalize(folder.path().join("keys.log")).expect("the keys");
    let begun = Instant::now();
    let server = start(folder);
    let gateways = || server.get("/gateways").json()["gateways"].clone();
    until("each registration", || {
        let waits = |it: &serde_json::Value| it["registration"]["registered"] == false;
        gateways().as_array().is_some_and(|all| !all.iter().any(waits)).then_some(())
    });
    for (index, row) in ROWS.iter().enumerate() {
        let to = if row.to.contains("$1") { CALLED } else { "" };
        call(&format!("9{index}{to}"));
    }
    // The first OPTIONS are sent within half of 5 s; any that must not be sent would have been sent by then.
    std::thread::sleep(Duration::from_secs(4).saturating_sub(begun.elapsed()));
    for (row, provider) in ROWS.iter().zip(&running) {
        let wants_options = row.must.iter().any(|(words, _)| words.contains("OPTIONS"));
        until("OPTIONS", || (!wants_options || provider.has_heard("OPTIONS ")).then_some(()));
        assert!(provider.has_heard("BYE "), "{}: the call has come through", row.profile);
    }
    let seen = seen::read(&capture.stop(), &keys);
    let mut wrong = Vec::new();
    for row in ROWS {
        let to = provider_at(row.last).to_string();
        let sent: Vec<&Seen> = seen.iter().filter(|it| it.to == to).collect();
        assert!(sent.iter().any(|it| it.is("INVITE")), "{}: tshark has read the call", row.profile);
        for (words, is_so) in row.must {
            if !sent.iter().any(|it| is_so(it)) {
                wrong.push(format!("{}: nothing was {words}", row.profile));
            }
        }
        for (words, is_so) in row.never.iter().chain(NOBODY) {
            for message in sent.iter().filter(|it| is_so(it)) {
                wrong.push(format!("{}: {words} in {message:?}", row.profile));
            }
        }
        println!(
            "{:<10} {} frames, {} assertions",
            row.profile,
            sent.len(),
            row.must.len() + row.never.len()
        );
    }
    // Specific to Telekom: all messages use the connection of the registration.
    let telekom = provider_at(14).to_string();
    let by_telekom = seen.iter().filter(|it| it.to == telekom && it.is_sip());
    let mut streams: Vec<_> = by_telekom.map(|it| it.stream.clone()).collect();
    streams.dedup();
    assert_eq!(streams.len(), 1, "one connection: {streams:?}");
    assert_eq!(wrong, [""; 0], "{}", wrong.join("\n"));
}

#[test]
#[ignore = "with the one above"]
fn interop_trunks_has_a_row_for_each_profile() {
    let page = include_str!("../../docs/providers.md");
    let named: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("`profile = \"")?.split('"').next()).collect();
    assert_eq!(named, ROWS.iter().map(|row| row.profile).collect::<Vec<_>>());
}

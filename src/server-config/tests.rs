//! What a configuration becomes.

use std::path::Path;

use super::route::StatusRange;
use super::*;

/// An environment with one variable and one file.
struct Made;

impl Outside for Made {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "B2B_PW").then(|| "from the environment".to_string())
    }

    fn secret_file(&self, path: &Path) -> std::io::Result<String> {
        match path == Path::new("/etc/b2b/pw") {
            true => Ok("from a file\nsecond line\n".to_string()),
            false => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
        }
    }

    fn is_file(&self, path: &Path) -> bool {
        !path.to_string_lossy().contains("missing")
    }

    fn sound(&self, path: &Path) -> Result<(), String> {
        self.is_file(path).then_some(()).ok_or_else(|| format!("there is no file {}", path.display()))
    }

    fn sounds(&self, folder: &Path) -> Result<(), String> {
        self.sound(folder)
    }

    fn resolve(&self, path: &str) -> PathBuf {
        Path::new("/etc/b2b").join(path)
    }
}

/// A configuration that refers to nothing outside of its text, or the first thing that is wrong.
pub(crate) fn parse_made(text: &str) -> Result<ServerConfig, ConfigError> {
    parse(text, &Made).map_err(|errors| *errors.first)
}

/// Everything that is wrong with a configuration.
pub(super) fn errors(text: &str) -> Vec<String> {
    match parse(text, &Made) {
        Ok(_) => panic!("taken: {text}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn good(text: &str) -> ServerConfig {
    parse(text, &Made).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn an_empty_configuration_is_the_defaults() {
    let config = good("");
    assert_eq!(config.server.listen.len(), 2);
    assert!(config.server.listen.iter().all(|listener| listener.bind.ip().is_loopback()));
    assert_eq!(config.server.realm, "b2b");
    assert_eq!(config.media.rtp_timeout, Some(b2b_base::rtp_timeout::SERVER));
    let md5_only = |agent: &str| config.server.md5_only.iter().any(|it| it.matches(agent));
    assert!(md5_only("baresip v1.0.0 (x86_64/linux)") && md5_only("baresip v3.11.0 (x86_64/Linux)"));
    assert!(md5_only("Janus WebRTC Server SIP Plugin 0.0.8"));
    assert!(!md5_only("baresip v3.12.0 (x86_64/Linux)") && !md5_only("Linphone/5.0"));
    assert_eq!(
        config.http,
        Some(Http {
            bind: "127.0.0.1:8080".parse().unwrap(),
            token: tokens::MainToken::Made("/etc/b2b/http.token".into()),
            tokens: vec![],
            trusted_proxies: vec![]
        })
    );
    assert!(config.server.trusted.is_empty() && config.routes.is_empty());
}

/// Every key there is, none as it is by default.
const FULL: &str = include_str!("full_tests.toml");

#[test]
fn every_documented_key_is_read() {
    let config = good(FULL);
    let missing: Vec<String> = sections::SECTIONS
        .iter()
        .flat_map(|section| section.keys.iter().map(move |key| (section.name, key.name)))
        .filter(|(_, key)| {
            let written = |line: &str| line.trim_start().starts_with(&format!("{key} = "));
            let inline = FULL.contains(&format!("{{ {key} = ")) || FULL.contains(&format!(", {key} = "));
            let tables = FULL.contains(&format!(".{key}]]\n"));
            !FULL.lines().any(written) && !inline && !tables
        })
        .map(|(section, key)| format!("{section}.{key}"))
        // its other half is there: a secret is in the file or in one of its own
        .filter(|key| !["http.token", "http.tokens.token_file", "hep.password"].contains(&key.as_str()))
        .collect();
    assert_eq!(missing, [""; 0]);
    assert_eq!(config.server.realm, "example");
}

#[test]
fn keys_become_what_they_say() {
    let ServerConfig {
        server,
        listeners,
        tls,
        media,
        http,
        registrar,
        limits,
        emergency,
        recording,
        ended_calls,
        survive,
        hep,
        log,
        users,
        gateways,
        groups,
        routes,
        apps,
        asked: _,
        unchecked: _,
        text: _,
    } = good(FULL);
    let emergency = emergency.unwrap();
    assert_eq!((emergency.numbers.len(), emergency.calls), (2, 6));
    assert_eq!(emergency.gateways, ["carrier", "other"]);
    assert_eq!(emergency.services[1], ("physician.dentist".to_owned(), "116".to_owned()));
    assert_eq!((recording.folder, recording.rate_hz), (Some("/etc/b2b/rec".into()), 16_000));
    assert_eq!(
        (recording.keep, recording.keep_bytes),
        (Some(Duration::from_secs(30 * 86_400)), Some(2_000_000_000))
    );
    assert_eq!(
        (recording.code.as_str(), recording.pause_code.as_str(), recording.free_bytes),
        ("*9", "", 7_000_000)
    );
    let kept = Store::Sqlite("/etc/b2b/calls.sqlite".into());
    let age = Some(Duration::from_secs(90 * 86_400));
    assert_eq!(ended_calls, EndedCalls { store: kept, calls: 7, age });
    let max_age = Duration::from_secs(20);
    assert_eq!(survive, Some(Survive { file: "/etc/b2b/calls".into(), size: 8 << 20, max_age }));
    let [trunks] = listeners.as_slice() else { panic!("{listeners:?}") };
    assert_eq!((trunks.name.as_str(), trunks.listen.len(), trunks.media.len()), ("trunks", 2, 2));
    assert_eq!(trunks.stun, Some(("stun.carrier.example".to_owned(), 3479)));
    assert_eq!((trunks.advertise[0].port, trunks.media_advertise.len()), (Some(5090), 1));
    assert_eq!(gateways[0].listener.as_deref(), Some("trunks"));
    let hep = hep.unwrap();
    assert_eq!((hep.capture_id, hep.calls, hep.password.is_some()), (7, HepCalls::Captured, true));
    let listen: Vec<String> = server.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["udp:127.0.0.1:5070", "tcp:[::1]:5070", "tls:127.0.0.1:5071", "tls:127.0.0.1:5072"]);
    let advertised: Vec<_> = server.advertise.iter().map(|it| (it.host.as_str(), it.port)).collect();
    assert_eq!(advertised, [("pbx.example.com", Some(5080)), ("2001:db8::5", None)]);
    assert_eq!(server.resolver, Some("127.0.0.1:5353".parse().unwrap()));
    assert_eq!(server.domains, ["example.com", "192.0.2.1"]);
    assert_eq!((server.store, server.cdr), (Store::Memory, Some("/etc/b2b/cdr.jsonl".into())));
    let tls = tls.unwrap();
    let files: Vec<_> = tls.certificates.iter().map(|it| it.files.clone()).collect();
    let further = ("/etc/b2b/other.pem".into(), "/etc/b2b/other.key".into());
    assert_eq!(files, [("/etc/b2b/chain.pem".into(), "/keys/key.pem".into()), further]);
    let asking: Vec<_> = tls.asking.iter().map(|(listener, ask)| (listener.to_string(), *ask)).collect();
    assert_eq!(
        asking,
        [
            ("tls:127.0.0.1:5071".to_owned(), super::tls::AskClient::Request),
            ("tls:127.0.0.1:5072".to_owned(), super::tls::AskClient::Require)
        ]
    );
    assert_eq!(tls.client_authorities, Some("/etc/b2b/clients.pem".into()));
    assert_eq!((tls.reload, media.rtp_timeout, limits.duration), (None, None, None));
    assert_eq!((media.ports, media.threads), ((30_000, 30_999), Some(2)));
    assert_eq!(media.srtp, srtp::SrtpOffer::Savp.into());
    let http = http.unwrap();
    assert_eq!(http.token, tokens::MainToken::Given(Secret::new("from a file")));
    let [token] = &http.tokens[..] else { panic!() };
    assert_eq!((token.name.as_str(), token.secret.reveal()), ("dashboard", "look"));
    let may = |scope| token.scopes.has(scope);
    assert_eq!(
        [tokens::Scope::Read, tokens::Scope::Agents, tokens::Scope::Calls].map(may),
        [true, true, false]
    );
    assert_eq!((registrar.max_contacts, limits.redirects), (2, 0));
    assert_eq!((registrar.contacts_replace, registrar.local_phones), (true, true));
    assert_eq!((log.level, log.redact), (tracing::Level::DEBUG, Redaction::Numbers));
    assert!(
        !log.call_journals && good("").log.call_journals,
        "journals are off, and on where nothing is said"
    );
    let secrets: Vec<_> = users.iter().map(|user| &user.credentials).collect();
    let parties::Credentials::Password(first) = secrets[0] else { panic!() };
    let parties::Credentials::Ha1 { md5: Some(md5), sha256: Some(_) } = secrets[2] else { panic!() };
    assert_eq!((first.reveal(), md5.reveal()), ("from the environment", "00112233445566778899aabbccddeeff"));
    assert_eq!(users[1].class, "internal");
    let alice = &users[0].sound;
    assert_eq!((alice.dtmf, alice.ptime, alice.opus_kbps), (sound::Dtmf::Inband, Some(40), Some(24)));
    assert_eq!((alice.codecs.as_slice(), alice.opus_fec), (&["pcma", "gsm"][..], false));
    assert_eq!((alice.comfort_noise, alice.early_media), (true, sound::EarlyMedia::Ignore));
    let defaults = sound::PartySound::default();
    assert_eq!([&users[1].sound, &gateways[1].sound], [&defaults; 2], "the same of both");
    let hosts: Vec<_> = gateways[0].hosts.iter().map(|host| (host.to_string(), host.priority)).collect();
    let expected = [("sip.example.com", 0), ("[2001:db8::1]:5060", 1), ("192.0.2.9", 3)];
    assert_eq!(hosts, expected.map(|(host, priority)| (host.to_string(), priority)));
    assert_eq!((gateways[0].register, gateways[0].options), (Some(Duration::from_secs(120)), None));
    assert_eq!((gateways[1].register, gateways[1].options), (None, Some(Duration::from_secs(30))));
    let tls = &gateways[0].tls;
    assert_eq!(tls.clients, ["sip.example.com", "*.hub.example.com"]);
    let files = ("/etc/b2b/customer.pem".into(), "/etc/b2b/customer.key".into());
    assert_eq!(tls.outward.certificate, Some(files));
    assert_eq!(tls.outward.authorities, Some("/etc/b2b/carrier.pem".into()));
    assert_eq!(tls.outward.name.as_deref(), Some("sbc.example.com"));
    assert_eq!(gateways[1].tls, GatewayTls::default());
    assert_eq!(gateways[0].redirects, Redirects::Gateways(vec!["other".to_string()]));
    assert_eq!(gateways[1].redirects, Redirects::Own);
    assert_eq!((groups[0].strategy, groups[0].members.len()), (Strategy::Serial, 3));
    let Action::Dial { targets, policy } = &routes[0].action else { panic!() };
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    assert_eq!(targets, ["user/$1", "gateway/carrier/${rest}", "group/sales", "sips:x$1@host.example"]);
    assert_eq!(
        (policy.mode, policy.media, policy.record),
        (BridgeMode::Translating, MediaPath::Direct, true)
    );
    assert_eq!(policy.failover, Failover::On(vec![StatusRange(404, 404), StatusRange(500, 599)]));
    assert_eq!(policy.headers.len(), 4);
    assert_eq!(routes[1].action, Action::Reject { status: 603, reason: Some("Not today".into()) });
    assert_eq!(
        (routes[2].name.as_str(), &routes[2].action),
        ("#3", &Action::App { name: Template::new("ivr/main", None).unwrap(), record: false })
    );
    assert_eq!(apps.prompts, b2b_app::Prompts { folder: "/etc/b2b/sounds".into(), ending: "mp3".into() });
    assert_eq!(apps.ivrs.iter().map(|flow| flow.name.as_str()).collect::<Vec<_>>(), ["main", "second"]);
}

#[test]
fn documented_defaults_are_the_defaults() {
    let base = |section: &str, key: &str| match section {
        "listener" => "[[listener]]\nname = \"a\"\nlisten = \"udp:127.0.0.1:1\"\n",
        "user" => "[[user]]\nname = \"a\"\npassword = \"x\"\n",
        "gateway" => "[[gateway]]\nname = \"a\"\nhosts = \"h\"\n",
        "group" => "[[group]]\nname = \"a\"\nmembers = \"sip:a@b\"\n",
        "route" => "[[route]]\nto = \"sip:a@b\"\n",
        "music" => "[[music]]\nname = \"a\"\ntone = \"440\"\n",
        "agent" => "[[agent]]\nname = \"a\"\ntarget = \"sip:a@b\"\n",
        "queue" => "[[agent]]\nname = \"a\"\ntarget = \"sip:a@b\"\n[[queue]]\nname = \"a\"\nagents = \"a\"\n",
        "conference" => "[[conference]]\nname = \"a\"\n",
        "park" => "[[park]]\nname = \"a\"\n",
        "remote" => "[[remote]]\nname = \"a\"\n",
        "voice_agent" if key == "control_message_format" => {
            "[[voice_agent]]\nname = \"a\"\nurl = \"ws://127.0.0.1:1/\"\nprotocol = \"chan_websocket\"\n"
        }
        "voice_agent" => "[[voice_agent]]\nname = \"a\"\nurl = \"ws://127.0.0.1:1/\"\n",
        "mailbox" => "[[mailbox]]\nname = \"a\"\npin = \"1111\"\n",
        "ivr" => "[[ivr]]\nname = \"a\"\nnode = [{ name = \"x\", kind = \"hangup\" }]\n",
        "srtp" => "[media.srtp]\n",
        "ner" => "[[gateway]]\nname = \"a\"\nhosts = \"h\"\n[gateway.ner]\n",
        "ivr.node" if key == "early_media" => {
            "[[ivr]]\nname = \"a\"\n[[ivr.node]]\nname = \"x\"\nkind = \"transfer\"\nto = \"sip:a@b\"\n"
        }
        "ivr.node" => "[[ivr]]\nname = \"a\"\n[[ivr.node]]\nname = \"x\"\nkind = \"collect_input\"\n",
        _ => "",
    };
    let mut checked = 0;
    for section in sections::SECTIONS {
        for key in section.keys.iter().filter(|key| !key.default.is_empty()) {
            let head = match base(section.name, key.name) {
                "" => format!("{}\n", section.written),
                base => base.to_string(),
            };
            let set = good(&format!("{head}{} = {}\n", key.name, key.default));
            assert_eq!(set, good(&head), "{}.{}", section.name, key.name);
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

#[test]
fn no_debug_output_shows_a_secret() {
    let text = format!("{:?}", good(FULL));
    for secret in ["from the environment", "from a file", "00112233445566778899", "4711", "8150", "998877"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn failover_can_be_on_off_or_a_list() {
    let failover = |value: &str| {
        let config = good(&format!("[[route]]\nto = \"sip:a@b\"\nfailover = {value}\n"));
        let Action::Dial { policy, .. } = &config.routes[0].action else { panic!() };
        policy.failover.clone()
    };
    assert_eq!(failover("true"), Failover::On(vec![StatusRange(400, 599)]));
    assert_eq!(failover("false"), Failover::Never);
    assert_eq!(failover("[\"4xx\"]"), Failover::On(vec![StatusRange(400, 499)]));
}

#[test]
fn what_is_hardly_meant_is_warned_about() {
    let warnings = |text: &str| good(text).warnings().join("\n");
    for (written, meant) in
        [("_1XXX", r"1\d\d\d"), ("_0ZN.", "0[1-9][2-9].+"), ("_+44!", r"\+44.*"), ("_9(X.)", r"9(\d.+)")]
    {
        let told = warnings(&format!("[[route]]\ncalled = '{written}'\nto = \"sip:a@b\"\n"));
        assert!(told.contains("Asterisk") && told.ends_with(&format!("write '{meant}'")), "{told}");
    }
    assert_eq!(warnings("[[route]]\ncalled = '_[a-z]+'\nto = \"sip:a@b\"\n"), "");
    let spelt = "[[route]]\ncalled = '20-01'\nto = \"sip:a@b\"\n";
    assert!(warnings(spelt).ends_with("without visual separators; write '2001'"), "{}", warnings(spelt));
    let user = "[[user]]\nname = \"20-01\"\npassword = \"a right horse\"\n";
    assert_eq!(warnings(&format!("{user}{spelt}")), "");
    assert!(warnings("").contains("no [[route]]"));
    for (listen, rest, told) in [
        (r#""udp:10.7.0.1:5060", "udp:10.8.0.1:5060""#, "", true),
        (r#""udp:10.7.0.1:5060", "tcp:10.7.0.1:5060", "tcp:10.8.0.1:5061""#, "", true),
        (r#""udp:10.7.0.1:5060", "tcp:10.7.0.1:5060""#, "", false),
        (r#""udp:10.7.0.1:5060", "udp:[fd00::1]:5060""#, "", false),
        (r#""udp:10.7.0.1:5060", "udp:10.8.0.1:5060""#, "[media]\nbind = \"10.8.0.1\"\n", false),
    ] {
        let text = warnings(&format!("[server]\nlisten = [{listen}]\n{rest}"));
        assert_eq!(
            text.contains("hears nothing; give the second network a [[listener]]"),
            told,
            "{listen}: {text}"
        );
    }
    let open =
        "[[gateway]]\nname = \"c\"\nhosts = \"h\"\nsources = \"192.0.2.1\"\n[[route]]\nto = \"gateway/c\"\n";
    assert!(
        warnings(open).contains("(line 5) sends calls from any source to gateway/c"),
        "{}",
        warnings(open)
    );
    assert_eq!(warnings(&format!("{open}source = \"users\"\n")), "");
    let shared = |user: &str| {
        let user = format!("[[user]]\nname = \"1001\"\npassword = \"a right horse\"\n{user}");
        let gateway = "[[gateway]]\nname = \"c\"\nhosts = \"h\"\nchannels = 8\n";
        warnings(&format!("{user}{gateway}[[route]]\nsource = \"users\"\nto = \"gateway/c\"\n"))
    };
    assert!(shared("").contains("gateway c has channels = 8, and user 1001 no max_calls"), "{}", shared(""));
    assert_eq!(shared("max_calls = 2\n"), "");
    assert!(warnings(&format!("[server]\ntrusted = \"0.0.0.0/0\"\n{open}")).contains("whole Internet"));
    let apps = "[[gateway]]\nname = \"c\"\nhosts = \"h\"\nsources = \"192.0.2.1\"\n[[park]]\nname = \"lot\"\n\
                slots = \"701-709\"\n[voicemail]\nfolder = \"/v\"\n[[mailbox]]\nname = \"1001\"\npin = \"4711\"\n\
                [[conference]]\nname = \"open\"\n[[conference]]\nname = \"shut\"\npin = \"4711\"\n";
    for (app, harm) in [
        ("park/lot", "take parked calls"),
        ("conference/open", "has no pin"),
        ("voicemail", "guess the PINs"),
        ("conference/shut", ""),
        ("voicemail/1001", ""),
    ] {
        let route = format!("{apps}[[route]]\ncalled = '9'\napp = \"{app}\"\n");
        let told = warnings(&route);
        assert!(told.contains(harm) && told.is_empty() == harm.is_empty(), "{app}: {told}");
        assert_eq!(warnings(&format!("{route}source = \"users\"\n")), "", "{app}");
    }
}

//! Every table and key of the configuration: the reader refuses what is not here, takes ranges and
//! defaults from here, and `docs/server.md` and the schema print it.

use b2b_config::table::Takes::{Choice, ChoiceOrTable, Choices, Secret, Switch, Tables, Texts, Whole};
use b2b_config::table::{Table, any};
use b2b_config::value::{LOG_FORMATS, LOG_LEVELS};
use b2b_config::{rows, text, texts};

use super::apps::{self, ivr};
pub use super::emergency::EMERGENCY;
pub use super::ended_calls::ENDED_CALLS;
pub use super::hep::HEP;
pub use super::listener::LISTENER;
pub use super::markdown::markdown;
use super::ner;
pub use super::party_keys::{GATEWAY, GROUP, HEADER, HOST, ROUTE, RULE, USER};
use super::pattern::Pattern;
pub use super::recording::RECORDING;
pub use super::schema::schema;
use super::srtp;
use super::texts::{self, NETWORKS, PATH};
pub use super::tls::{CERTIFICATE, TLS};
use super::tokens::TOKENS;
use super::{Codec, KeepAlive, MinAlgorithm};

pub const SERVER: Table = Table {
    name: "server",
    written: "[server]",
    about: "The server itself.",
    keys: rows! {
        listen: texts!("list of `udp:`, `tcp:` or `tls:` and an address with port", texts::listener) => ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"], at_restart(),
            "Where SIP listens. Port 0 takes a free port; `[::]:5060` is every IPv6 address.";
        advertise: texts!("host or `host:port`, or a list of them", texts::advertise) => [], at_restart(),
            "The address that peers are told instead of the bound one, behind NAT: an IPv4 address those that are reached over IPv4, an IPv6 address those over IPv6, a name all. TLS keeps the listener's port. Without it: the address that a listener is bound to, or for a wildcard the one that the peer is reached from.";
        stun: text!("host or `host:port`", texts::advertise), at_restart(),
            "A STUN server (RFC 8489), port 3478 unless it says another, that tells by which address the outside sees the UDP listeners of `listen`: where that changes. It goes before `advertise`. See [gateways.md](gateways.md#an-address-that-changes).";
        stun_s: Whole(10, 3_600) => 30, at_restart(), "How often each of them asks.";
        resolver: text!("IP address or `address:port`", texts::name_server), at_restart(),
            "The name server to ask. Without it: those of the system.";
        domains: texts!("list of host names", texts::domain) => [],
            "Domains that are ours besides the listeners' addresses. Phones register in them, calls to them are routed.";
        realm: text!("text", texts::quotable),
            "The realm of digest challenges. Without it: the first of `domains`, else `b2b`. `ha1` values belong to one realm.";
        md5_only: texts!("list of patterns", Pattern::new) => ["baresip v[0-2]\\..*", "baresip v3\\.\\d\\..*", "baresip v3\\.1[01]\\..*", "Janus WebRTC .*"],
            // up to 3.11, libre fails at a challenge that is not MD5 (ENOSYS in `sip/auth.c`)
            "Phones, by their whole `User-Agent`, that are asked for an MD5 digest only. All others may use SHA-256; these do not register when they are given the choice.";
        min_algorithm: Choice(&MinAlgorithm::NAMED) => "md5",
            "The weakest digest that phones may answer with. `sha-256` shuts out phones that know MD5 only, and users that have `ha1` only.";
        require_qop: Switch => false,
            "Whether answers without `qop`, as of phones from before 1999, are refused.";
        user_agent: text!("text", texts::quotable), at_restart(),
            "`User-Agent` and `Server` of our messages. Without it: `b2b/` and the version.";
        weak_passwords: Switch => false,
            "Whether passwords of users may be their names or have fewer than 8 characters. Without it `--dry-run` refuses the configuration, and at start a line in the log names each.";
        trusted: NETWORKS => [],
            "Sources that may call without a password. REGISTER always needs one. UDP sources can be forged: trust networks, not the Internet.";
        inside: NETWORKS => [],
            "Networks of yours, without NAT between them and b2b. What is in them is reached where it says, is sent no keep-alive, proves nothing before media are sent to it, and is told our own address instead of `advertise`, in signalling (after a restart) and in SDP.";
        store: text!("`memory` or `sqlite:` and a path", texts::store) => "sqlite:b2b.sqlite", at_restart(),
            "Where bindings are kept. `memory` loses them at a restart.";
        cdr: PATH, at_restart(),
            "Call records are appended to this file, one JSON object a line. Without it: none are written.";
        file_mode: text!("octal digits", texts::file_mode) => "0600", at_restart(),
            "Who may read what b2b writes: the database, call records, the SIP trace, recordings, messages. Files that are there keep theirs. Folders that it makes are open to the same.";
        drain_s: Whole(0, 86_400) => 30, "How long calls may go on after SIGTERM before b2b hangs up.";
        session_expires_s: Whole(90, 86_400) => 1800,
            "Session timers: the interval that b2b asks for, and the longest that it agrees to.";
        min_se_s: Whole(90, 86_400) => 90,
            "Session timers: the shortest interval that b2b agrees to; 422 below it.";
    },
};

pub const MEDIA: Table = Table {
    name: "media",
    written: "[media]",
    about: "RTP.",
    keys: rows! {
        controller: Texts("`embedded`, `rtpengine://ADDRESS:PORT`, `http://HOST:PORT` or `grpc://HOST:PORT`, or a list of the last two", any) => "embedded", at_restart(),
            "Who carries the media: b2b itself, rtpengine at its `--listen-ng`, or media servers (`b2b --role media`): new calls go to the first of the list that takes them. docs/media-servers.md says what each can do.";
        token: Secret("text"), at_restart(), "The token of the media servers.";
        token_file: PATH, at_restart(), "A file with that token in its first line.";
        bind: text!("IP address", texts::ip), at_restart(),
            "Where RTP is bound. Without it: the address of the SIP listener that the leg uses.";
        advertise: text!("IP address", texts::reachable_ip), at_restart(),
            "The address that SDP names. Without it: `server.advertise` if that is an IP address, else the bound one.";
        ports: text!("`first-last`", texts::ports) => "16384-65535", at_restart(),
            "Ports of RTP and RTCP. A leg takes two, a call four.";
        threads: Whole(1, 64), at_restart(),
            "Media threads. Without it: one for each core but one, and enough to hold the descriptors of `limits.calls`.";
        codecs: Choices(&Codec::OWN) => ["opus", "g722", "pcmu", "pcma"], at_restart(),
            "What b2b adds to an offer when it may transcode, best first.";
        rtp_timeout_s: Whole(0, 86_400) => 120, at_restart(),
            "A leg that is not held and gets no RTP for this long is ended; 0: never.";
        media_from: NETWORKS => [],
            "From where any party may send RTP, beside the address that it names and the one that its SIP comes from. Gateways and users have a list of their own; RTP from elsewhere is dropped.";
        srtp: ChoiceOrTable(&srtp::WORDS, &srtp::SRTP) => "off", at_restart(),
            needs(&srtp::ASKING, "encryption", "write srtp = \"off\""),
            "Encrypted media (SRTP, keys in SDP), on each leg by itself: never, where the other side can, or always. As secret as the signalling: use TLS. Users, gateways and routes may say it for themselves.";
    },
};

pub const HTTP: Table = Table {
    name: "http",
    written: "[http]",
    about: "Control and observation.",
    keys: rows! {
        listen: text!("address with port, or `off`", texts::http_listen) => "127.0.0.1:8080", at_restart(),
            "Where it listens.";
        token: Secret("secret"), at_restart(),
            "The bearer token that requests have to carry; it may do all. Where neither it nor `token_file` nor `[[http.tokens]]` is there, b2b makes one at its first start and keeps it in `http.token`, in the folder of `server.store`, else beside the configuration; only its own user can read it. `off`: none is wanted, of whoever is on this machine; for trying things, on loopback only.";
        token_file: PATH, at_restart(), "A file with the token in its first line.";
        tokens: Tables("list of tables", &TOKENS), at_restart(), "Further tokens, each an `[[http.tokens]]`.";
        trusted_proxies: NETWORKS => [], at_restart(),
            "Web proxies of yours in front of it. From them `X-Forwarded-For` says who asks; from others it counts for nothing.";
    },
};

pub const REGISTRAR: Table = Table {
    name: "registrar",
    written: "[registrar]",
    about: "REGISTER.",
    keys: rows! {
        min_expires_s: Whole(1, 86_400) => 60, "Shorter bindings are refused with 423.";
        max_expires_s: Whole(1, 604_800) => 7200, "Longer bindings are cut to this.";
        default_expires_s: Whole(1, 604_800) => 3600, "For requests that name no time.";
        nonce_s: Whole(10, 86_400) => 7200,
            "How long a nonce may be used. Longer than bindings last, so that a refresh takes one round.";
        keep_alive: Choice(&KeepAlive::NAMED) => "crlf",
            "What is sent to phones that registered over UDP, to keep the way through a NAT open; not to those in `server.inside`, nor to `proxies`.";
        keep_alive_s: Whole(5, 600) => 25, "How often.";
        proxies: NETWORKS => [],
            "Edge proxies of yours. From them a `Path` (RFC 3327) and a second `Via` count, and limits, bans and belief by source are those of the phone behind them; from elsewhere both are ignored. docs/registrar.md, Edge proxies.";
        max_contacts: Whole(1, 1_000) => 10, "Bindings of one user, unless the user says otherwise.";
        max_bindings: Whole(1, 10_000_000) => 100000, "Bindings of all users.";
    },
};

pub const LIMITS: Table = Table {
    name: "limits",
    written: "[limits]",
    about: "What anyone may cost us.",
    keys: rows! {
        calls: Whole(1, 1_000_000) => 10000, "Calls at once; more are answered with 503.";
        calls_per_s: Whole(1, 100_000) => 500, "New calls a second, all sources together.";
        user_calls_per_s: Whole(1, 100_000) => 20,
            "New calls a second of one user, counted before those of all.";
        source_calls_per_s: Whole(1, 100_000) => 100,
            "New calls a second of one source that is not trusted and no gateway, counted before those of all.";
        source_calls: Whole(1, 1_000_000) => 100,
            "Calls at once of one source that is not trusted and no gateway.";
        source_messages_per_s: Whole(1, 1_000_000) => 10000, at_restart(),
            "Messages a second of one source; more are dropped unread.";
        source_challenges_per_s: Whole(1, 1_000_000) => 50,
            "Requests without a right password that one source gets an answer to, a second; ten times as many after a rest. More are ignored. Trusted sources and gateways are exempt.";
        connections: Whole(1, 1_000_000) => 1000, at_restart(), "TCP and TLS connections at once.";
        source_connections: Whole(1, 1_000_000) => 20, at_restart(),
            "Those of one source by which no right password has come yet; one more, and the oldest is closed. Sources that are named or registered from may have more.";
        auth_failures: Whole(1, 10_000) => 12,
            "Wrong passwords of one source for one user within `ban_s` before no more are looked at; names that a source fails for before it is banned.";
        ban_s: Whole(1, 86_400) => 600, "How long either lasts.";
        trying_s: Whole(1, 32),
            "How long a target may give no response at all, 100 Trying included, before the next one is tried, where its gateway does not say. Without it: 32.";
        ring_s: Whole(1, 3_600) => 60, "How long a target rings, where route and group do not say.";
        call_s: Whole(0, 604_800) => 43200, "How long a call may last; 0: without end.";
        redirects: Whole(0, 20) => 5, "3xx answers that are followed for one call.";
        subscriptions: Whole(1, 1_000_000) => 10000,
            "Subscriptions at once, for BLF and message waiting; more get 503.";
        user_subscriptions: Whole(1, 1_000_000) => 250,
            "Subscriptions at once of one user, or of one trusted address; more get 480.";
    },
};

pub const LOG: Table = Table {
    name: "log",
    written: "[log]",
    about: "Log lines; the flags `--log-level` and `--log-format` win.",
    keys: rows! {
        level: Choice(&LOG_LEVELS) => "info", "The lowest level that is written. A reload changes it.";
        format: Choice(&LOG_FORMATS) => "text", at_restart(), "How lines are written.";
        redact: Choice(&texts::REDACTION) => "off",
            "`numbers` leaves the first three and last two digits of numbers of seven or more.";
        sip_trace: PATH,
            "Every SIP message is written to this file, whatever `redact` says; keys that are pressed are covered. Without it: none. A reload begins and ends that.";
        call_journals: Switch => true, at_restart(),
            "Whether what comes into each call is kept in memory beside its account, 256 KiB at most, so that `b2b replay` can run the call again. See [operations.md](operations.md#a-call-run-again).";
    },
};

/// Every table, in the order of the documentation.
pub const SECTIONS: [&Table; 36] = [
    &SERVER,
    &LISTENER,
    &TLS,
    &CERTIFICATE,
    &MEDIA,
    &HTTP,
    &TOKENS,
    &REGISTRAR,
    &LIMITS,
    &EMERGENCY,
    &RECORDING,
    &ENDED_CALLS,
    &HEP,
    &LOG,
    &USER,
    &GATEWAY,
    &HOST,
    &RULE,
    &GROUP,
    &ROUTE,
    &HEADER,
    &srtp::SRTP,
    &ner::NER,
    &apps::PROMPTS,
    &ivr::IVR,
    &ivr::NODE,
    &apps::music::MUSIC,
    &apps::queue::QUEUES,
    &apps::queue::AGENT,
    &apps::queue::QUEUE,
    &apps::conference::CONFERENCE,
    &apps::park::PARK,
    &apps::remote::REMOTE,
    &apps::voicemail::VOICEMAIL,
    &apps::voicemail::MAILBOX,
    &apps::voice_agent::VOICE_AGENT,
];

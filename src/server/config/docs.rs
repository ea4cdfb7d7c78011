//! Every table and key of the configuration: the reader refuses what is not here,
//! and `docs/server.md` prints it.

use super::apps::{self, ivr};
pub use super::docs_parties::{GATEWAY, GROUP, HEADER, HOST, ROUTE, RULE, USER};
pub use super::hep::HEP;
pub use super::markdown::markdown;
pub use super::recording::RECORDING;

/// A table of the file.
#[derive(Debug)]
pub struct SectionDoc {
    /// Its name: `server`, `user`.
    pub name: &'static str,
    /// How it is written: `[server]`, `[[user]]`, `{ … }` for tables in a list.
    pub written: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [KeyDoc],
}

/// A key of a table.
#[derive(Debug)]
pub struct KeyDoc {
    /// As written in the file.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// What it is without being set, as TOML; empty where that needs words.
    pub default: &'static str,
    /// What it means, and what holds without it where `default` is empty.
    pub about: &'static str,
}

pub(super) const fn key(
    name: &'static str,
    takes: &'static str,
    default: &'static str,
    about: &'static str,
) -> KeyDoc {
    KeyDoc { name, takes, default, about }
}

pub const SERVER: SectionDoc = SectionDoc {
    name: "server",
    written: "[server]",
    about: "The server itself.",
    keys: &[
        key(
            "listen",
            "list of `udp:`, `tcp:` or `tls:` and an address with port",
            r#"["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]"#,
            "Where SIP listens. Port 0 takes a free port; `[::]:5060` is every IPv6 address.",
        ),
        key(
            "advertise",
            "host or `host:port`, or a list of them",
            "[]",
            "The address that peers are told instead of the bound one, behind NAT: an IPv4 address those that are reached over IPv4, an IPv6 address those over IPv6, a name all. TLS keeps the listener's port. Without it: the address that a listener is bound to, or for a wildcard the one that the peer is reached from.",
        ),
        key(
            "resolver",
            "IP address or `address:port`",
            "",
            "The name server to ask. Without it: those of the system.",
        ),
        key(
            "domains",
            "list of host names",
            "[]",
            "Domains that are ours besides the listeners' addresses. Phones register in them, calls to them are routed.",
        ),
        key(
            "realm",
            "text",
            "",
            "The realm of digest challenges. Without it: the first of `domains`, else `b2b`. `ha1` values belong to one realm.",
        ),
        key(
            "md5_only",
            "list of patterns",
            r"['baresip v[0-2]\..*', 'baresip v3\.\d\..*', 'baresip v3\.1[01]\..*']",
            "Phones, by their whole `User-Agent`, that are asked for an MD5 digest only. All others may use SHA-256; these do not register when they are given the choice.",
        ),
        key(
            "min_algorithm",
            "`md5` or `sha-256`",
            r#""md5""#,
            "The weakest digest that phones may answer with. `sha-256` shuts out phones that know MD5 only, and users that have `ha1` only.",
        ),
        key(
            "require_qop",
            "true or false",
            "false",
            "Whether answers without `qop`, as of phones from before 1999, are refused.",
        ),
        key(
            "user_agent",
            "text",
            "",
            "`User-Agent` and `Server` of our messages. Without it: `b2b/` and the version.",
        ),
        key(
            "weak_passwords",
            "true or false",
            "false",
            "Whether passwords of users may be their names or have fewer than 8 characters. Without it `--dry-run` refuses the configuration, and at start a line in the log names each.",
        ),
        key(
            "trusted",
            "list of addresses or CIDR blocks",
            "[]",
            "Sources that may call without a password. REGISTER always needs one. UDP sources can be forged: trust networks, not the Internet.",
        ),
        key(
            "inside",
            "list of addresses or CIDR blocks",
            "[]",
            "Networks of yours, without NAT between them and b2b. What is in them is reached where it says, is sent no keep-alive, and proves nothing before media are sent to it.",
        ),
        key(
            "store",
            "`memory` or `sqlite:` and a path",
            r#""sqlite:b2b.sqlite""#,
            "Where bindings are kept. `memory` loses them at a restart.",
        ),
        key(
            "cdr",
            "path",
            "",
            "Call records are appended to this file, one JSON object a line. Without it: none are written.",
        ),
        key(
            "file_mode",
            "octal digits",
            r#""0600""#,
            "Who may read what b2b writes: the database, call records, the SIP trace, recordings, messages. Files that are there keep theirs. Folders that it makes are open to the same.",
        ),
        key("drain_s", "0 to 86400", "30", "How long calls may go on after SIGTERM before b2b hangs up."),
        key(
            "session_expires_s",
            "90 to 86400",
            "1800",
            "Session timers: the interval that b2b asks for, and the longest that it agrees to.",
        ),
        key(
            "min_se_s",
            "90 to 86400",
            "90",
            "Session timers: the shortest interval that b2b agrees to; 422 below it.",
        ),
    ],
};

pub const TLS: SectionDoc = SectionDoc {
    name: "tls",
    written: "[tls]",
    about: "Needed by a `tls:` listener.",
    keys: &[
        key(
            "certificate",
            "path",
            "",
            "PEM, the server's certificate first, then the chain. A `tls:` listener needs it.",
        ),
        key("key", "path", "", "PEM, the private key of the certificate."),
        key(
            "authorities",
            "path",
            "",
            "PEM of the authorities that gateways and others whom we call over TLS are checked against. Without it: the system's.",
        ),
        key(
            "reload_s",
            "0 to 86400",
            "3600",
            "How often the files are looked at for a new certificate; 0: at SIGHUP only.",
        ),
    ],
};

pub const MEDIA: SectionDoc = SectionDoc {
    name: "media",
    written: "[media]",
    about: "RTP.",
    keys: &[
        key(
            "controller",
            "`embedded`, `rtpengine://ADDRESS:PORT`, `http://HOST:PORT` or `grpc://HOST:PORT`, or a list of the last two",
            r#""embedded""#,
            "Who carries the media: b2b itself, rtpengine at its `--listen-ng`, or media servers (`b2b --role media`): new calls go to the first of the list that takes them. docs/media-servers.md says what each can do.",
        ),
        key("token", "text", "", "The token of the media servers."),
        key("token_file", "path", "", "A file with that token in its first line."),
        key(
            "bind",
            "IP address",
            "",
            "Where RTP is bound. Without it: the address of the SIP listener that the leg uses.",
        ),
        key(
            "advertise",
            "IP address",
            "",
            "The address that SDP names. Without it: `server.advertise` if that is an IP address, else the bound one.",
        ),
        key(
            "ports",
            "`first-last`",
            r#""16384-65535""#,
            "Ports of RTP and RTCP. A leg takes two, a call four.",
        ),
        key(
            "threads",
            "1 to 64",
            "",
            "Media threads. Without it: one for each core but one, and enough to hold the descriptors of `limits.calls`.",
        ),
        key(
            "codecs",
            "list of `opus`, `g722`, `pcmu`, `pcma`",
            r#"["opus", "g722", "pcmu", "pcma"]"#,
            "What b2b adds to an offer when it may transcode, best first.",
        ),
        key(
            "rtp_timeout_s",
            "0 to 86400",
            "120",
            "A leg that is not held and gets no RTP for this long is ended; 0: never.",
        ),
        key(
            "media_from",
            "list of addresses or CIDR blocks",
            "[]",
            "From where any party may send RTP, beside the address that it names and the one that its SIP comes from. Gateways and users have a list of their own; RTP from elsewhere is dropped.",
        ),
        key(
            "srtp",
            "`off`, `offered` or `required`",
            r#""off""#,
            "Encrypted media (SRTP, keys in SDP), on each leg by itself: never, where the other side can, or always. As secret as the signalling: use TLS.",
        ),
    ],
};

pub const HTTP: SectionDoc = SectionDoc {
    name: "http",
    written: "[http]",
    about: "Control and observation.",
    keys: &[
        key("listen", "address with port, or `off`", r#""127.0.0.1:8080""#, "Where it listens."),
        key(
            "token",
            "secret",
            "",
            "The bearer token that requests have to carry; it may do all. Where neither it nor `token_file` nor `[[http.tokens]]` is there, b2b makes one at its first start and keeps it in `http.token`, in the folder of `server.store`, else beside the configuration; only its own user can read it. `off`: none is wanted, of whoever is on this machine; for trying things, on loopback only.",
        ),
        key("token_file", "path", "", "A file with the token in its first line."),
        key("tokens", "list of tables", "", "Further tokens, each an `[[http.tokens]]`."),
        key(
            "trusted_proxies",
            "list of addresses or CIDR blocks",
            "[]",
            "Web proxies of yours in front of it. From them `X-Forwarded-For` says who asks; from others it counts for nothing.",
        ),
    ],
};

pub const REGISTRAR: SectionDoc = SectionDoc {
    name: "registrar",
    written: "[registrar]",
    about: "REGISTER.",
    keys: &[
        key("min_expires_s", "1 to 86400", "60", "Shorter bindings are refused with 423."),
        key("max_expires_s", "1 to 604800", "7200", "Longer bindings are cut to this."),
        key("default_expires_s", "1 to 604800", "3600", "For requests that name no time."),
        key(
            "nonce_s",
            "10 to 86400",
            "7200",
            "How long a nonce may be used. Longer than bindings last, so that a refresh takes one round.",
        ),
        key(
            "keep_alive",
            "`crlf`, `options` or `off`",
            r#""crlf""#,
            "What is sent to phones that registered over UDP, to keep the way through a NAT open; not to those in `server.inside`, nor to `proxies`.",
        ),
        key("keep_alive_s", "5 to 600", "25", "How often."),
        key(
            "proxies",
            "list of addresses or CIDR blocks",
            "[]",
            "Edge proxies of yours. From them a `Path` (RFC 3327) and a second `Via` count, and limits, bans and belief by source are those of the phone behind them; from elsewhere both are ignored. docs/registrar.md, Edge proxies.",
        ),
        key("max_contacts", "1 to 1000", "10", "Bindings of one user, unless the user says otherwise."),
        key("max_bindings", "1 to 10000000", "100000", "Bindings of all users."),
    ],
};

pub const LIMITS: SectionDoc = SectionDoc {
    name: "limits",
    written: "[limits]",
    about: "What anyone may cost us.",
    keys: &[
        key("calls", "1 to 1000000", "10000", "Calls at once; more are answered with 503."),
        key("calls_per_s", "1 to 100000", "500", "New calls a second, all sources together."),
        key(
            "user_calls_per_s",
            "1 to 100000",
            "20",
            "New calls a second of one user, counted before those of all.",
        ),
        key(
            "source_calls_per_s",
            "1 to 100000",
            "100",
            "New calls a second of one source that is not trusted and no gateway, counted before those of all.",
        ),
        key(
            "source_calls",
            "1 to 1000000",
            "100",
            "Calls at once of one source that is not trusted and no gateway.",
        ),
        key(
            "source_messages_per_s",
            "1 to 1000000",
            "10000",
            "Messages a second of one source; more are dropped unread.",
        ),
        key(
            "source_challenges_per_s",
            "1 to 1000000",
            "50",
            "Requests without a right password that one source gets an answer to, a second; ten times as many after a rest. More are ignored. Trusted sources and gateways are exempt.",
        ),
        key("connections", "1 to 1000000", "1000", "TCP and TLS connections at once."),
        key(
            "source_connections",
            "1 to 1000000",
            "20",
            "Those of one source by which no right password has come yet; one more, and the oldest is closed. Sources that are named or registered from may have more.",
        ),
        key(
            "auth_failures",
            "1 to 10000",
            "12",
            "Wrong passwords of one source for one user within `ban_s` before no more are looked at; names that a source fails for before it is banned.",
        ),
        key("ban_s", "1 to 86400", "600", "How long either lasts."),
        key(
            "trying_s",
            "1 to 32",
            "",
            "How long a target may give no response at all, 100 Trying included, before the next one is tried, where its gateway does not say. Without it: 32.",
        ),
        key("ring_s", "1 to 3600", "60", "How long a target rings, where route and group do not say."),
        key("call_s", "0 to 604800", "43200", "How long a call may last; 0: without end."),
        key("redirects", "0 to 20", "5", "3xx answers that are followed for one call."),
        key(
            "subscriptions",
            "1 to 1000000",
            "10000",
            "Subscriptions at once, for BLF and message waiting; more get 503.",
        ),
        key(
            "user_subscriptions",
            "1 to 1000000",
            "250",
            "Subscriptions at once of one user, or of one trusted address; more get 480.",
        ),
    ],
};

pub const LOG: SectionDoc = SectionDoc {
    name: "log",
    written: "[log]",
    about: "Log lines; the flags `--log-level` and `--log-format` win.",
    keys: &[
        key(
            "level",
            "`error`, `warn`, `info`, `debug` or `trace`",
            r#""info""#,
            "The lowest level that is written. A reload changes it.",
        ),
        key("format", "`text` or `json`", r#""text""#, "How lines are written."),
        key(
            "redact",
            "`off` or `numbers`",
            r#""off""#,
            "`numbers` leaves the first three and last two digits of numbers of seven or more.",
        ),
        key(
            "sip_trace",
            "path",
            "",
            "Every SIP message is written to this file, unredacted. Without it: none. A reload begins and ends \
             that.",
        ),
    ],
};

/// Every table, in the order of the documentation.
pub const SECTIONS: [&SectionDoc; 30] = [
    &SERVER,
    &TLS,
    &MEDIA,
    &HTTP,
    &super::tokens::TOKENS,
    &REGISTRAR,
    &LIMITS,
    &RECORDING,
    &HEP,
    &LOG,
    &USER,
    &GATEWAY,
    &HOST,
    &RULE,
    &GROUP,
    &ROUTE,
    &HEADER,
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

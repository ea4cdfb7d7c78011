//! Every table and key of the configuration: the reader refuses what is not here,
//! and `docs/server.md` prints it.

pub use super::markdown::markdown;

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

const fn key(name: &'static str, takes: &'static str, default: &'static str, about: &'static str) -> KeyDoc {
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
            "user_agent",
            "text",
            "",
            "`User-Agent` and `Server` of our messages. Without it: `b2b/` and the version.",
        ),
        key(
            "trusted",
            "list of addresses or CIDR blocks",
            "[]",
            "Sources that may call without a password. REGISTER always needs one. UDP sources can be forged: trust networks, not the Internet.",
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
        key("drain_s", "0 to 86400", "30", "How long calls may go on after SIGTERM before b2b hangs up."),
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
    ],
};

pub const HTTP: SectionDoc = SectionDoc {
    name: "http",
    written: "[http]",
    about: "Control and observation.",
    keys: &[
        key(
            "listen",
            "address with port, or `off`",
            r#""127.0.0.1:8080""#,
            "Where it listens. Any address but loopback needs a token.",
        ),
        key("token", "secret", "", "The bearer token that requests have to carry."),
        key("token_file", "path", "", "A file with the token in its first line."),
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
            "What is sent to phones behind NAT that registered over UDP, to keep the way open.",
        ),
        key("keep_alive_s", "5 to 600", "25", "How often."),
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
            "auth_failures",
            "1 to 10000",
            "12",
            "Failed authentications of one source within `ban_s` before it is banned.",
        ),
        key("ban_s", "1 to 86400", "600", "How long a source stays banned."),
        key("ring_s", "1 to 3600", "60", "How long a target rings, where route and group do not say."),
        key("call_s", "0 to 604800", "43200", "How long a call may last; 0: without end."),
        key("redirects", "0 to 20", "5", "3xx answers that are followed for one call."),
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
            "The lowest level that is written.",
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
            "Every SIP message is written to this file, unredacted. Without it: none.",
        ),
    ],
};

pub const USER: SectionDoc = SectionDoc {
    name: "user",
    written: "[[user]]",
    about: "Someone who registers and calls. One of `password`, `password_file`, `ha1`, `ha1_sha256` is needed.",
    keys: &[
        key("name", "text", "", "User part of the address and username of the password. Needed."),
        key("password", "secret", "", "The password."),
        key("password_file", "path", "", "A file with the password in its first line."),
        key("ha1", "secret, 32 hex digits", "", "MD5 of `name:realm:password` instead of a password."),
        key("ha1_sha256", "secret, 64 hex digits", "", "SHA-256 of the same; may stand beside `ha1`."),
        key("aliases", "list of texts", "[]", "Other names and numbers that reach the user."),
        key("display_name", "text", "", "The name that callees see. Without it: what the phone says."),
        key("caller_id", "text", "", "The number that callees see. Without it: `name`."),
        key("class", "text", r#""internal""#, "The caller class that routes ask for."),
        key("max_contacts", "1 to 1000", "", "Bindings at once. Without it: `registrar.max_contacts`."),
        key("max_calls", "1 to 100000", "", "Calls at once. Without it: any number."),
    ],
};

pub const GATEWAY: SectionDoc = SectionDoc {
    name: "gateway",
    written: "[[gateway]]",
    about: "A trunk to a provider or another PBX.",
    keys: &[
        key("name", "text", "", "Its name in routes and records. Needed."),
        key(
            "hosts",
            "list of `host[:port]` or of tables",
            "",
            "Where it is reached, tried in this order. Needed.",
        ),
        key("transport", "`udp`, `tcp` or `tls`", "", "Without it: as DNS says (RFC 3263)."),
        key("username", "text", "", "The username for its challenges."),
        key("password", "secret", "", "The password for them."),
        key("password_file", "path", "", "A file with the password in its first line."),
        key("from_user", "text", "", "User part of From. Without it: the caller's number."),
        key("from_domain", "host name", "", "Host part of From. Without it: the host that is called."),
        key("register", "true or false", "false", "Whether b2b registers there; needs `username`."),
        key("expires_s", "60 to 86400", "3600", "The expiry that it asks for."),
        key("options_s", "0 to 3600", "30", "OPTIONS this often tell whether it is alive; 0: never."),
        key(
            "sources",
            "list of addresses or CIDR blocks",
            "[]",
            "Calls from these addresses come from this gateway and need no password.",
        ),
        key("class", "text", r#""external""#, "The caller class of its calls."),
        key("channels", "1 to 100000", "", "Calls at once, both ways together. Without it: any number."),
        key(
            "called",
            "list of rules",
            "[]",
            "Rewrite the called number of calls to it; the first rule that matches applies.",
        ),
        key("caller", "list of rules", "[]", "Rewrite the caller's number of calls to it."),
        key(
            "codecs",
            "list of codecs",
            "[]",
            "What may be offered to it, best first. Empty: as the route says.",
        ),
    ],
};

pub const HOST: SectionDoc = SectionDoc {
    name: "host",
    written: "{ … } in `hosts`",
    about: "One host of a gateway.",
    keys: &[
        key("host", "`host[:port]`", "", "A name or an IP address. Needed."),
        key(
            "priority",
            "0 to 65535",
            "",
            "Lower ones first, equal ones share the calls. Without it: its place in the list, from 1.",
        ),
    ],
};

pub const RULE: SectionDoc = SectionDoc {
    name: "rule",
    written: "{ … } in `called` and `caller`",
    about: "A rule on a number.",
    keys: &[
        key("match", "pattern", "", "What it applies to. Needed."),
        key("to", "template", "", "What the number becomes. Needed."),
    ],
};

pub const GROUP: SectionDoc = SectionDoc {
    name: "group",
    written: "[[group]]",
    about: "Several that are called as one.",
    keys: &[
        key("name", "text", "", "Its name in routes. Needed."),
        key("members", "list of targets", "", "Whom it calls: `user/…`, `gateway/…/…`, `sip:…`. Needed."),
        key("strategy", "`serial` or `parallel`", r#""parallel""#, "One after the other, or all at once."),
        key("timeout_s", "1 to 3600", "30", "How long a member rings (serial), or all of them (parallel)."),
    ],
};

pub const ROUTE: SectionDoc = SectionDoc {
    name: "route",
    written: "[[route]]",
    about: "Routes are asked in the order of the file; the first that matches decides. One of `to`, `reject`, `app` is needed.",
    keys: &[
        key("name", "text", "", "For logs and records. Without it: its number, `#3`."),
        key("called", "pattern", "", "The called number. Without it: any."),
        key("caller", "pattern", "", "The caller's number. Without it: any."),
        key(
            "class",
            "text or list of texts",
            "[]",
            "Classes of callers: of users, of gateways, or `trusted`. Empty: any.",
        ),
        key(
            "source",
            "text or list of texts",
            "[]",
            "`gateway/name`, `user/name`, `users` (any that gave a password), `trusted`, an address, a CIDR block. Empty: any.",
        ),
        key(
            "method",
            "text or list of texts",
            r#"["INVITE"]"#,
            "`INVITE`, or `MESSAGE` and others that come outside of a call.",
        ),
        key(
            "to",
            "target or list of targets",
            "",
            "Whom to call: `user/$1`, `gateway/carrier`, `gateway/carrier/$1`, `group/sales`, `sip:…`.",
        ),
        key("reject", "400 to 699", "", "Answer with this status."),
        key("reason", "text", "", "The reason phrase of `reject`. Without it: the usual one."),
        key("app", "text", "", "Give the call to this application."),
        key("strategy", "`serial` or `parallel`", r#""serial""#, "How several targets are tried."),
        key("set_called", "template", "", "What the called number becomes, with the groups of `called`."),
        key("set_caller", "template", "", "What the caller's number becomes, with the groups of `caller`."),
        key("set_caller_name", "text", "", "What the caller's name becomes."),
        key(
            "mode",
            "`transparent`, `intercepting` or `translating`",
            r#""intercepting""#,
            "What passes through: everything that the far end can understand; all but REFER, INFO digits and hold, which b2b handles; or that with `headers` and transcoding.",
        ),
        key(
            "media",
            "`relay` or `direct`",
            r#""relay""#,
            "RTP through b2b, or between the parties where both can.",
        ),
        key(
            "record",
            "true or false",
            "false",
            "Whether the call is recorded; refused at start if the media controller cannot.",
        ),
        key(
            "timeout_s",
            "1 to 3600",
            "",
            "How long each target rings. Without it: as a group says, else `limits.ring_s`.",
        ),
        key(
            "failover",
            "true, false or list of codes",
            r#"[408, 480, "5xx"]"#,
            "After which answers the next target is tried; `true`: after every failure below 600. One that rang without being answered counts as 408. After silence it always is.",
        ),
        key("headers", "list of tables", "[]", "Changes to headers, in `translating` mode only."),
        key(
            "codecs",
            "list of codecs",
            "[]",
            "What may be offered, best first; a gateway's own list wins. Empty: whatever the caller offers, and what `[media]` adds.",
        ),
    ],
};

pub const HEADER: SectionDoc = SectionDoc {
    name: "header",
    written: "{ … } in `headers`",
    about: "A change to a header of what goes to the far side, or comes back. One of `add`, `remove`, `replace`, `pass` is needed.",
    keys: &[
        key("add", "header name", "", "One more line of this name."),
        key("remove", "header name", "", "All lines of this name go."),
        key("replace", "header name", "", "One line instead of all of this name."),
        key("pass", "header name", "", "The lines of this name go across as they came."),
        key("value", "template", "", "The value of `add` and `replace`, with the groups of `called`."),
        key(
            "on",
            "`request`, `response` or `both`",
            "",
            "The INVITE to the far side, or the responses to it that the caller gets. Without it: `request`.",
        ),
    ],
};

/// Every table, in the order of the documentation.
pub const SECTIONS: [&SectionDoc; 14] = [
    &SERVER, &TLS, &MEDIA, &HTTP, &REGISTRAR, &LIMITS, &LOG, &USER, &GATEWAY, &HOST, &RULE, &GROUP, &ROUTE,
    &HEADER,
];

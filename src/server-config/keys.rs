//! The keys of the tables that occur once: server, media, HTTP, registrar, limits, log.

use b2b_config::table::Takes::{Choice, ChoiceOrTable, Choices, Secret, Switch, Tables, Texts, Whole};
use b2b_config::table::{Table, any};
use b2b_config::value::{LOG_FORMATS, LOG_LEVELS};
use b2b_config::{rows, text, texts};

use super::codecs;
use super::pattern::Pattern;
use super::srtp;
use super::texts::{self, NETWORKS, PATH};
use super::tokens::TOKENS;
use super::{CONTACTS, KeepAlive, MinAlgorithm};

pub const SERVER: Table = Table {
    name: "server",
    written: "[server]",
    about: "The server itself.",
    keys: rows! {
        listen: texts!("list of `udp:`, `tcp:` or `tls:` and an address with port", texts::listener) => ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"], at_restart(),
            "The SIP listeners. Port 0 selects a free port; `[::]:5060` is every IPv6 address.";
        advertise: texts!("host or `host:port`, or a list of them", texts::advertise) => [], at_restart(),
            "The address in Via, Contact and SDP if b2b is behind NAT: an IPv4 address for peers that are reached over IPv4, an IPv6 address for those over IPv6, a host name for all. TLS keeps the listener's port. Without it: the bound address, or for a wildcard the local address towards the peer.";
        stun: text!("host or `host:port`", texts::advertise), at_restart(),
            "A STUN server (RFC 8489), port 3478 by default, that reports the public address of the UDP listeners of `listen`, for a public address that changes. It takes precedence over `advertise`. See [gateways.md](gateways.md#an-address-that-changes).";
        stun_s: Whole(10, 3_600) => 30, at_restart(), "The interval of STUN requests from each of them.";
        resolver: text!("IP address or `address:port`", texts::name_server), at_restart(),
            "The DNS server. Without it: the system's.";
        domains: texts!("list of host names", texts::domain) => [],
            "Domains of this server besides the listeners' addresses. Phones register in them, and calls to them are routed.";
        realm: text!("text", texts::quotable),
            "The realm of digest challenges. Without it: the first of `domains`, otherwise `b2b`. `ha1` values are valid for one realm only.";
        md5_only: texts!("list of patterns", Pattern::new) => ["baresip v[0-2]\\..*", "baresip v3\\.\\d\\..*", "baresip v3\\.1[01]\\..*", "Janus WebRTC .*"],
            // up to 3.11, libre fails at a challenge other than MD5 (ENOSYS in `sip/auth.c`)
            "Patterns for the whole `User-Agent` of phones that are challenged for MD5 only. All others may use SHA-256; these phones fail to register if they are offered both.";
        min_algorithm: Choice(&MinAlgorithm::NAMED) => "md5",
            "The weakest digest algorithm that phones may use. `sha-256` excludes phones that support MD5 only, and users that have `ha1` only.";
        require_qop: Switch => false,
            "Whether credentials without `qop`, as sent by phones from before 1999, are refused.";
        user_agent: text!("text", texts::quotable), at_restart(),
            "`User-Agent` and `Server` of b2b's messages. Without it: `b2b/` and the version.";
        weak_passwords: Switch => false,
            "Whether users may have passwords that equal their name or have fewer than 8 characters. If false, `--dry-run` refuses the configuration, and the log names each such user at start.";
        trusted: NETWORKS => [],
            "Sources that may call without a password. REGISTER always needs one. A UDP source address can be forged: list your own networks, never the Internet.";
        inside: NETWORKS => [],
            "Your own networks, without NAT between them and b2b. Parties in them are reached at the address that they signal, get no keep-alive, get media without proof of their address, alone may name addresses in them, and are given b2b's own address instead of `advertise`, in signalling (after a restart) and in SDP.";
        store: text!("`memory` or `sqlite:` and a path", texts::store) => "sqlite:b2b.sqlite", at_restart(),
            "Where bindings, the states of agents and who has got in with a PIN are stored. `memory` loses them at a restart.";
        cdr: PATH, at_restart(),
            "Call records are appended to this file, one JSON object per line. Without it: no call records.";
        file_mode: text!("octal digits", texts::file_mode) => "0600", at_restart(),
            "The permissions of files that b2b creates: the database, call records, the SIP trace, recordings, messages. Existing files keep theirs. Folders that b2b creates get matching permissions.";
        drain_s: Whole(0, 86_400) => 30, "How long calls may continue after SIGTERM before b2b hangs up.";
        session_expires_s: Whole(90, 86_400) => 1800,
            "Session timers: the interval that b2b requests, and the longest that it accepts.";
        min_se_s: Whole(90, 86_400) => 90,
            "Session timers: the shortest interval that b2b accepts; the response to a shorter one is 422.";
    },
};

pub const MEDIA: Table = Table {
    name: "media",
    written: "[media]",
    about: "RTP.",
    keys: rows! {
        controller: Texts("`embedded`, `rtpengine://ADDRESS:PORT`, `http://HOST:PORT` or `grpc://HOST:PORT`, or a list of the last two", any) => "embedded", at_restart(),
            "The media engine: b2b itself, rtpengine at its `--listen-ng`, or media servers (`b2b media`), of which a new call uses the first that accepts it. docs/media-servers.md compares them.";
        token: Secret("text"), at_restart(), "The token of the media servers.";
        token_file: PATH, at_restart(), "A file with that token in its first line.";
        bind: text!("IP address", texts::ip), at_restart(),
            "The local address of RTP. Without it: the address of the SIP listener that the leg uses.";
        advertise: text!("IP address", texts::reachable_ip), at_restart(),
            "The address in SDP. Without it: `server.advertise` if that is an IP address, otherwise the bound address.";
        ports: text!("`first-last`", texts::ports) => "16384-65535", at_restart(),
            "Ports of RTP and RTCP. A leg uses two, a call four.";
        threads: Whole(1, 64), at_restart(),
            "Media threads. Without it: one for each core except one, and enough for the descriptors of `limits.calls`.";
        codecs: Choices(&codecs::OWN) => ["opus", "g722", "pcmu", "pcma"], at_restart(),
            "Codecs that b2b adds to an offer if it may transcode, best first.";
        rtp_timeout_s: Whole(0, 86_400) => 120, at_restart(),
            "A leg that is not on hold and receives no RTP for this long is ended; 0: never.";
        media_from: NETWORKS => [],
            "Source addresses from which any party may send RTP, besides the address that it signals and the source of its SIP. Gateways and users have a list of their own; RTP from other addresses is dropped.";
        srtp: ChoiceOrTable(&srtp::WORDS, &srtp::SRTP) => "off", at_restart(),
            needs(&srtp::ASKING, "encryption", "write srtp = \"off\""),
            "Encrypted media (SRTP, keys in SDP), on each leg separately: never, if the other side supports it, or always. The keys are only as secret as the signalling: use TLS. Users, gateways and routes may override it.";
    },
};

pub const HTTP: Table = Table {
    name: "http",
    written: "[http]",
    about: "The HTTP interface: control, metrics and the web page.",
    keys: rows! {
        listen: text!("address with port, or `off`", texts::http_listen) => "127.0.0.1:8080", at_restart(),
            "The address of the HTTP interface.";
        token: Secret("secret"), at_restart(),
            "The bearer token with all rights. If `token`, `token_file` and `[[http.tokens]]` are all absent, b2b creates a token at its first start and keeps it in `http.token`, in the folder of `server.store`, otherwise beside the configuration; only b2b's own user can read it. `off`: no token is required, so every program on this machine has all rights; for tests, on loopback only.";
        token_file: PATH, at_restart(), "A file with the token in its first line.";
        tokens: Tables("list of tables", &TOKENS), at_restart(), "Further tokens, each an `[[http.tokens]]`.";
        trusted_proxies: NETWORKS => [], at_restart(),
            "Your reverse proxies in front of it. `X-Forwarded-For` is accepted from them and ignored from all others.";
    },
};

pub const REGISTRAR: Table = Table {
    name: "registrar",
    written: "[registrar]",
    about: "The registrar.",
    keys: rows! {
        min_expires_s: Whole(1, 86_400) => 60, "REGISTER requests with a shorter expiry get 423.";
        max_expires_s: Whole(1, 604_800) => 7200, "A longer expiry is reduced to this.";
        default_expires_s: Whole(1, 604_800) => 3600, "The expiry if the request has none.";
        nonce_s: Whole(10, 86_400) => 7200,
            "How long a nonce is valid. If it exceeds the expiry of bindings, a refresh needs no new challenge.";
        keep_alive: Choice(&KeepAlive::NAMED) => "crlf",
            "The keep-alive for phones that registered over UDP, which keeps NAT mappings open; not for phones in `server.inside`, nor for `proxies`.";
        keep_alive_s: Whole(5, 600) => 25, "The interval of keep-alives.";
        proxies: NETWORKS => [],
            "Your edge proxies. Their `Path` (RFC 3327) and a second `Via` are evaluated, and limits, bans and trust by source apply to the phone behind them; from other sources both are ignored. See docs/registrar.md, Edge proxies.";
        max_contacts: Whole(1, 1_000) => 10, "Bindings of one user, unless the user overrides it.";
        contacts: Choice(&CONTACTS) => "refuse",
            "What happens to a contact beyond `max_contacts`: it gets 403, or it replaces the binding that expires first. Bindings whose connection is gone give way in any case.";
        local_phones: Switch => false,
            "Whether a phone on this host that registers over UDP from one port with another in its Contact is reached at the latter: SIPp on a desk. Never one below 1024, or one of b2b's own.";
        max_bindings: Whole(1, 10_000_000) => 100000, "Bindings of all users together.";
    },
};

pub const LIMITS: Table = Table {
    name: "limits",
    written: "[limits]",
    about: "Limits on calls, messages, connections and failures.",
    keys: rows! {
        calls: Whole(1, 1_000_000) => 10000, "Concurrent calls; further ones get 503.";
        calls_per_s: Whole(1, 100_000) => 500, "New calls per second, from all sources together.";
        user_calls_per_s: Whole(1, 100_000) => 20,
            "New calls per second from one user, or of one of `[[http.tokens]]`, checked before `calls_per_s`.";
        source_calls_per_s: Whole(1, 100_000) => 100,
            "New calls per second from one source that is neither trusted nor a gateway, checked before `calls_per_s`.";
        source_calls: Whole(1, 1_000_000) => 100,
            "Concurrent calls from one source that is neither trusted nor a gateway.";
        source_messages_per_s: Whole(1, 1_000_000) => 10000, at_restart(),
            "Messages per second from one source; further ones are dropped before they are parsed.";
        source_challenges_per_s: Whole(1, 1_000_000) => 50,
            "Requests per second without valid credentials that b2b answers for one source, with bursts of ten times as many, four times over UDP, where the address may be forged; further ones are ignored. Trusted sources and gateways are exempt.";
        connections: Whole(1, 1_000_000) => 1000, at_restart(), "Concurrent TCP and TLS connections.";
        source_connections: Whole(1, 1_000_000) => 20, at_restart(),
            "Concurrent connections of one source that have carried no valid credentials yet; above this limit the oldest is closed. Sources that the configuration names, and sources of registered phones, may have more. The same number of TLS handshakes per second, five times as many at once.";
        auth_failures: Whole(1, 10_000) => 12,
            "Wrong passwords from one source for one user within `ban_s` before further ones are ignored; also the number of user names for which a source may fail before it is banned.";
        ban_s: Whole(1, 86_400) => 600, "The duration of both.";
        trying_s: Whole(1, 32),
            "How long a target may send no response at all, 100 Trying included, before the next one is tried, unless its gateway overrides it. Without it: 32.";
        ring_s: Whole(1, 3_600) => 60, "How long a target rings, unless route or group override it.";
        call_s: Whole(0, 604_800) => 43200, "The longest call; 0: no limit.";
        redirects: Whole(0, 20) => 5, "3xx responses that are followed for one call.";
        subscriptions: Whole(1, 1_000_000) => 10000,
            "Concurrent subscriptions, for BLF and message waiting; further ones get 503.";
        user_subscriptions: Whole(1, 1_000_000) => 250,
            "Concurrent subscriptions of one user, or of one trusted address; further ones get 480.";
    },
};

pub const LOG: Table = Table {
    name: "log",
    written: "[log]",
    about: "Logging; the flags `--log-level` and `--log-format` take precedence.",
    keys: rows! {
        level: Choice(&LOG_LEVELS) => "info", "The lowest level that is logged. A reload applies it.";
        format: Choice(&LOG_FORMATS) => "text", at_restart(), "The format of log lines.";
        redact: Choice(&texts::REDACTION) => "off",
            "`numbers` keeps the first three and the last two digits of numbers of seven digits or more.";
        sip_trace: PATH,
            "Every SIP message is written to this file, whatever `redact` says; digits that callers press are masked. Without it: no trace. A reload starts or stops the trace.";
        call_journals: Switch => true, at_restart(),
            "Whether the input of each call is kept in memory beside its history, 256 KiB at most, so that `b2b replay` can run the call again. See [operations.md](operations.md#replaying-a-call).";
    },
};

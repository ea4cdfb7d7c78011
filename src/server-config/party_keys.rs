//! The keys of users, gateways, groups and routes.

use b2b_config::table::Takes::{
    Choice, ChoiceOrTable, Choices, OneOf, Pairs, Secret, Switch, SwitchOrCodes, Tables, TablesOrTexts, Text,
    Texts, Whole,
};
use b2b_config::table::{Row, Table, Takes, any};
use b2b_config::{rows, text, texts};

use super::identity::{FORMAT, IDENTITY, called_from, country, number_param};
use super::ner;
use super::parties::{DIALOG, LARGE, MediaAnswer, REFRESHER};
use super::pattern::Pattern;
use super::profile::PROFILE;
use super::registering::instance;
use super::route::{BridgeMode, DECLINE, HeaderOn, MediaPath, Strategy, Verstat};
use super::sound::{self, DTMF, EARLY_MEDIA, RINGING_AFTER_EARLY};
use super::srtp;
use super::texts::{
    self, NAME, NETWORKS, PATH, TRANSPORTS, class, display, header_name, host, host_port, plain_name,
    user_name,
};
use super::tls::client_name;
use super::{MinAlgorithm, codecs};

const HEADER_NAME: Takes = text!("header name", header_name);

/// The audio keys of users and gateways, for every call with that party.
const AUDIO: &[Row] = rows! {
    codecs: Choices(&codecs::NAMED) => [],
        "Codecs that may be offered to the party, best first. Empty: as the route says. b2b decodes and encodes the first four; the others pass through unchanged, are offered only if the other party supports them, and never if the call is recorded.";
    dtmf: Choice(&DTMF) => "events", needs(&sound::ASKING, "digit_events", "write dtmf = \"events\""),
        "How digits are sent to the party and received from it: as telephone events (RFC 4733; `rfc4733` is the same), as tones in its audio (no events are offered), as INFO (no events are offered), or with `auto` as events if it supports them, otherwise as tones. Tones from the party become events for the other party and are removed from the audio that the other party hears, which adds a delay of 60 ms.";
    ptime: OneOf(&sound::PTIMES), needs(&[], "transcoding", "take ptime out"),
        "The packet time that b2b requests from the party (`a=ptime`), ms, and sends itself if it generates the audio (applications, transcoding) and the party requests none; the party's `a=maxptime` is always respected. Without it: the packet time of the other party, otherwise 20 ms. Opus supports 10, 20, 40 and 60.";
    opus_fec: Switch => true,
        "Whether b2b tells the party that it accepts in-band FEC (`useinbandfec`), if b2b decodes its Opus.";
    opus_kbps: OneOf(&sound::OPUS_KBPS),
        "The highest bit rate that the party may send, kbit/s (`maxaveragebitrate`), if b2b decodes its Opus. Without it: no limit.";
    comfort_noise: Switch => false, needs(&["true"], "transcoding", "take comfort_noise out"),
        "Whether comfort noise (CN/8000, RFC 3389) is offered to the party and accepted from it. Its noise is forwarded to parties that support CN; other parties hear soft noise while it is silent. b2b sends it no noise of its own.";
    avpf: Switch => false, needs(&["true"], "transcoding", "take avpf out"),
        "Whether offers to the party have the feedback profile, `RTP/AVPF` or with keys `RTP/SAVPF` (RFC 4585, RFC 5124), for a party that accepts nothing else, such as Asterisk with `use_avpf = yes`. An offer from the party is always answered with its own profile.";
    early_media: Choice(&EARLY_MEDIA) => "pass",
        "How early media of the party is handled: the caller hears it; the caller gets 180 and plays its own ringback; or a 183 with a session is not signalled to the caller at all.";
    ringing_after_early: Choice(&RINGING_AFTER_EARLY) => "pass",
        "What becomes of a 180, or another provisional response without a session, after early media of the party: the caller gets it, and its phone may play its own ringback; or not.";
};

pub const USER: Table = Table {
    name: "user",
    written: "[[user]]",
    about: "A user who registers and calls. One of `password`, `password_file`, `ha1`, `ha1_sha256` is required.",
    keys: rows! {
        ..AUDIO;
        name: text!("text", user_name), "User part of the address, and username of the credentials. Required.";
        password: Secret("secret"), "The password.";
        password_file: PATH, "A file with the password in its first line.";
        weak_password: Switch => false,
            "Whether this password may equal the name or have fewer than 8 characters; see `server.weak_passwords`.";
        ha1: Secret("secret, 32 hex digits"), "MD5 of `name:realm:password` instead of a password.";
        ha1_sha256: Secret("secret, 64 hex digits"), "SHA-256 of the same; may be set together with `ha1`.";
        aliases: texts!("list of texts", user_name) => [], "Other names and numbers of the user.";
        display_name: text!("text", display), "The name that callees see. Without it: the name that the phone sends.";
        caller_id: text!("text", user_name), "The number that callees see. Without it: `name`.";
        numbers: texts!("list of texts", user_name) => [],
            "Further numbers that the user may present, by P-Preferred-Identity or From.";
        class: text!("text", class) => "internal", "The caller class that routes match.";
        max_contacts: Whole(1, 1_000), "Concurrent bindings. Without it: `registrar.max_contacts`.";
        max_calls: Whole(1, 100_000), "Concurrent calls. Without it: no limit.";
        media_from: NETWORKS => [],
            "Source addresses from which the user's phones may send RTP, besides the address that they signal and the source of their SIP.";
        srtp: ChoiceOrTable(&srtp::WORDS, &srtp::SRTP),
            needs(&srtp::ASKING, "encryption", "take srtp out"),
            "Encryption of the user's media. Without it: as the route to the user says, otherwise `media.srtp`.";
        session_timers: Switch => true,
            "Whether calls to the user's phones request a session timer (RFC 4028). A phone that requests one itself gets it in any case.";
    },
};

pub const GATEWAY: Table = Table {
    name: "gateway",
    written: "[[gateway]]",
    about: "A trunk to a provider or another PBX.",
    keys: rows! {
        ..AUDIO;
        name: NAME, "Its name in routes and records. Required.";
        profile: Choice(&PROFILE),
            "Defaults of the other keys for a provider or a kind of PBX; `docs/providers.md` lists them. A key in the file takes precedence.";
        hosts: TablesOrTexts("list of `host[:port]` or of tables", &HOST, |text| host_port(text).map(drop)),
            "Its hosts, tried in this order. Required unless `profile` has them.";
        transport: Choice(&TRANSPORTS), "The transport. Without it: as DNS says (RFC 3263).";
        listener: text!("name of a `[[listener]]`", plain_name),
            "The listener that its calls, REGISTER and OPTIONS leave by, with that listener's advertised address and RTP address; `sources` and `tls_client` then apply at this listener only. Without it: the listener that the system's route to it leads from, and `sources` and `tls_client` apply at every listener.";
        outbound_proxy: text!("`host[:port]`", host_port),
            "The first hop of REGISTER, OPTIONS and calls to it, in a `Route`; the Request-URI keeps the host name. For providers whose SIP server is not at their domain.";
        headers: Pairs("table of header fields and texts"),
            "Header fields that are added to calls to it, like `{ X-Telnyx-Token = \"…\" }`. Header fields of SIP itself are not allowed.";
        session_timers: Switch => true,
            "Whether calls to it request a session timer (RFC 4028). A gateway that requests one itself gets it in any case; a gateway without support is not affected.";
        session_refresher: Choice(&REFRESHER) => "auto",
            "Which side refreshes the session timer of its calls, in both directions: the side that the gateway names, otherwise the caller (`auto`), b2b (`us`), or the gateway (`them`). b2b requests this if the gateway leaves it open; if the gateway names a side, that side refreshes (RFC 4028 §9).";
        reliable: Switch => true,
            "Whether calls to it offer reliable provisional responses (100rel, RFC 3262).";
        reinvites: Switch => true,
            "Whether it gets re-INVITEs and UPDATEs within a call. If false, b2b answers hold and codec changes of the other party itself, its media is never direct, and other changes of its session do not take place. Its calls then have no session timer (`session_timers`).";
        large: Choice(&LARGE),
            "The transport of messages of more than 1,300 octets to it: UDP in fragments, or TCP if it connects within a second. Without it: UDP if `transport = \"udp\"`, otherwise TCP (RFC 3261 §18.1.1).";
        username: text!("text", display), "The username for its challenges.";
        password: Secret("secret"), "The password for its challenges.";
        password_file: PATH, "A file with the password in its first line.";
        realm: texts!("text or list of texts", texts::quotable),
            "The realms whose challenges are answered. Without it: the realms of its challenges to REGISTER or OPTIONS, otherwise the realm of the first challenge to a call; they are stored beside `server.store`.";
        min_algorithm: Choice(&MinAlgorithm::NAMED) => "md5",
            "Challenges with a weaker algorithm are not answered.";
        from_user: text!("text", user_name), "User part of From. Without it: the caller's number.";
        from_domain: text!("host name", host), "Host part of From. Without it: the called host.";
        register: Switch => false, "Whether b2b registers there; requires `username`.";
        expires_s: Whole(60, 86_400) => 3600, "The expiry that b2b requests.";
        outbound: Switch => false,
            "Whether b2b asks the registrar to reach it by the flow of the REGISTER (RFC 5626) and keeps that flow alive: by CRLF over TCP and TLS, by STUN over UDP; without a response b2b registers again. A registrar without support registers b2b as usual.";
        instance: text!("`urn:uuid:…`", instance),
            "The URN that distinguishes the flows of this server from those of other servers with the same account. Without it: a URN made from `server.realm`, `username` and `name`, the same after each start.";
        contact_token: Switch => false,
            "Whether the Contact of its REGISTER has a random parameter (`;b2b-token=…`). Inbound calls with this parameter belong to this gateway and need no password, whatever their source. The parameter changes at each start and is never shown.";
        options_s: Whole(0, 3_600) => 30, "The interval of OPTIONS that check whether it responds; 0: no OPTIONS.";
        ner: ChoiceOrTable(&ner::WORDS, &ner::NER),
            "Whether it is taken out of service for a time when too few of its calls succeed (network effectiveness ratio, ITU-T E.425): `off`, or a table. Without it: `off`.";
        sources: NETWORKS => [], "Calls from these addresses belong to this gateway and need no password.";
        tls_client: texts!("name or list of names", client_name) => [],
            "Calls over a connection whose client certificate has one of these names belong to this gateway and need no password, whatever their source; `*.example.com` matches every name with one label before `example.com`. `tls.client_request` or `tls.client_require` names the listeners that request certificates.";
        tls_certificate: PATH,
            "PEM file with the certificate, and its chain, that b2b presents to this gateway on request. Without it: the certificate for all others.";
        tls_key: PATH, "PEM file with its private key.";
        tls_authorities: PATH,
            "PEM file of the authorities for its certificate. Without it: `tls.authorities`.";
        tls_name: text!("host name or address", host),
            "The name that its certificate must have, and that b2b requests (SNI). Without it: the called host, never the name from an SRV record.";
        media_from: NETWORKS => [],
            "Source addresses from which it may send RTP, besides the address that it signals, the source of its SIP, and `sources`. RTP from other addresses is dropped.";
        media_answer: Choice(&MediaAnswer::NAMED) => "source",
            "Where RTP to it is sent: to the source address of its own RTP, or always to the address that it signals.";
        sdp_names: Switch => false,
            "Whether a host name in `c=` of its session descriptions is looked up. Without it RTP is sent once its own RTP has come.";
        class: text!("text", class) => "external", "The caller class of its calls.";
        redirects: Texts("`own`, `routes`, or a list of gateways", any) => "own",
            "Where its redirects (3xx) and transfers (REFER) may lead besides its own `hosts` and `sources`: nowhere else, through the routes as calls of its class, or to the hosts of these gateways and through them.";
        channels: Whole(1, 100_000), "Concurrent calls, inbound and outbound together. Without it: no limit.";
        calls_per_s: Whole(1, 10_000),
            "New calls to it per second, evenly spaced. A call that would wait for more than two seconds goes to the next target, or gets 503. Without it: no limit.";
        trying_s: Whole(1, 32),
            "How long a host, or the last address of its name, may send no response at all before the next target is tried. Without it: `failover_s` if another host follows, otherwise `limits.trying_s`.";
        failover_s: Whole(1, 32) => 4,
            "How long an address of a host's name may send no response at all before the next address is tried, and a host without `trying_s` before the next host. Emergency calls have `trying_s` for each.";
        called: Tables("list of rules", &RULE) => [],
            "Rules that rewrite the called number of calls to it; the first rule that matches applies.";
        caller: Tables("list of rules", &RULE) => [], "Rules that rewrite the caller's number of calls to it.";
        srtp: ChoiceOrTable(&srtp::WORDS, &srtp::SRTP),
            needs(&srtp::ASKING, "encryption", "take srtp out"),
            "Encryption of its media; a gateway that is offered keys needs `transport = \"tls\"`, which hides them. Without it: as the route says, otherwise `media.srtp`.";
        dialog: Choice(&DIALOG) => "any",
            "Where its Contact and Record-Route may direct the requests of a call: to any public address (an address that is not its own is counted and noted in the call's timeline; its own are `hosts`, their resolved addresses, `sources` and the source of its messages), or to its own addresses only. Private addresses, this server and other gateways are never followed: such requests return the way its messages came.";
        isup: Switch => false,
            "Whether its calls carry the signalling of the telephone network (ISUP, QSIG: RFC 3204), which b2b passes on between two such gateways. From and to all others it is dropped.";
        trust_identity: Switch => false,
            "Whether it is in the trust domain (RFC 3325): b2b accepts its statements about callers and forwarded calls, and sends it the fields of `identity` for anonymous callers, too.";
        identity: Choices(&IDENTITY) => [],
            "Header fields about the caller that it gets besides From, with the caller's own number if `from_user` is set: P-Asserted-Identity, P-Preferred-Identity, Remote-Party-ID, the party that forwarded the call, and with `stir` signatures and verification results (Identity, Date, `verstat`, P-Attestation-Indicator) if the numbers are unchanged. Empty: only Diversion of redirected calls.";
        number_format: Choice(&FORMAT) => "as_is",
            "The format of numbers to it, called ones too, applied after `called` and `caller`: `+44…`, `0044…` or `44…`. A number that is neither international nor, with `country`, national stays unchanged.";
        country: text!("country code", country), "The country code of national numbers like 020…, for `number_format`.";
        called_from: text!("`request-uri`, `to`, `p-called-party-id` or `header:NAME`", called_from) => "request-uri",
            "Where its calls have the called number. If it is absent there, the Request-URI applies.";
        number_params: texts!("list of `rn`, `npdi`, `cic`, `tgrp`, `trunk-context`, `cpc`, `oli`, `isub`", number_param) => [],
            "Parameters of the called and the caller's number (RFC 4694, RFC 4904) that it gets as a gateway with `trust_identity` has sent them, while the number is the same. All others are dropped.";
    },
};

pub const HOST: Table = Table {
    name: "host",
    written: "{ … } in `hosts`",
    about: "One host of a gateway.",
    keys: rows! {
        host: text!("`host[:port]`", host_port), "A host name or an IP address. Required.";
        priority: Whole(0, 65_535),
            "Lower values are tried first; hosts of equal priority share the calls. Without it: its position in the list, from 1.";
    },
};

pub const RULE: Table = Table {
    name: "rule",
    written: "{ … } in `called` and `caller`",
    about: "A rule on a number.",
    keys: rows! {
        match: text!("pattern", Pattern::new), "The numbers that it applies to. Required.";
        to: Text("template", any), "The resulting number. Required.";
    },
};

pub const GROUP: Table = Table {
    name: "group",
    written: "[[group]]",
    about: "Several targets that are called as one.",
    keys: rows! {
        name: NAME, "Its name in routes. Required.";
        members: Texts("list of targets", any), "Its members: `user/…`, `gateway/…/…`, `sip:…`. Required.";
        strategy: Choice(&Strategy::NAMED) => "parallel", "One after the other, or all at once.";
        timeout_s: Whole(1, 3_600) => 30, "How long a member rings (serial), or all of them (parallel).";
        decline: Choice(&DECLINE) => "member", "What a 6xx of one member ends: the call to that member, or to `all`.";
    },
};

pub const ROUTE: Table = Table {
    name: "route",
    written: "[[route]]",
    about: "Routes are evaluated in the order of the file; the first that matches decides. One of `to`, `reject`, `app` is required.",
    keys: rows! {
        name: text!("text", texts::route_name), "Its name in logs and records. Without it: its position, `#3`.";
        called: text!("pattern", Pattern::new), "The called number. Without it: any.";
        caller: text!("pattern", Pattern::new), "The caller's number. Without it: any.";
        class: Texts("text or list of texts", any) => [],
            "Classes of callers: of users, of gateways, or `trusted`. Empty: any.";
        source: Texts("text or list of texts", any) => [],
            "`gateway/name`, `user/name`, `users` (any authenticated user), `trusted`, an address, a CIDR block. Empty: any.";
        verstat: Choices(&Verstat::NAMED) => [],
            "The verification result of the caller's number, as a gateway with `trust_identity` reports it (`verstat`): `TN-Validation-Passed`, `TN-Validation-Failed`, or neither. Calls from all others have `none`, whatever they claim. Empty: any.";
        method: texts!("text or list of texts", texts::method) => ["INVITE"],
            "`INVITE`. Routes for other methods have no effect yet: requests outside a call get 405 before routes are evaluated.";
        to: Texts("target or list of targets", any),
            "The targets: `user/$1`, `gateway/carrier`, `gateway/carrier/$1`, `group/sales`, `sip:…`.";
        reject: Whole(400, 699), "Responds with this status.";
        reason: text!("text", texts::line), "The reason phrase of `reject`. Without it: the standard one.";
        app: Text("`kind/name`", any), needs(&[], "prompts", "take the application out"),
            "Passes the call to this application: `ivr/main`; `voicemail/$1` with a group of `called` (404 if there is no such application).";
        strategy: Choice(&Strategy::NAMED) => "serial", "How several targets are called.";
        decline: Choice(&DECLINE) => "member",
            "What a 6xx ends: with `parallel` the call to its target, and in a group what the group says; or with `all` every one.";
        set_called: Text("template", any), "The new called number, with the groups of `called`.";
        set_caller: Text("template", any), "The new caller's number, with the groups of `caller`.";
        set_caller_name: text!("text", texts::line), "The new caller's name.";
        mode: Choice(&BridgeMode::NAMED) => "intercepting",
            "What b2b forwards: everything that the far end can understand; all except REFER, INFO digits and hold, which b2b handles; or the latter with `headers`. b2b transcodes in every mode if the parties need it.";
        media: Choice(&MediaPath::NAMED) => "relay",
            needs(&["direct"], "direct_media", "choose media = \"relay\""),
            "RTP through b2b, or directly between the parties if both support it.";
        record: Switch => false, needs(&["true"], "recording", "take record out"),
            "Whether the call is recorded from its answer on, as `[recording]` says; its media is then never direct. Applies with `app`, too.";
        timeout_s: Whole(1, 3_600),
            "How long each target rings. Without it: as its group says, otherwise `limits.ring_s`.";
        failover: SwitchOrCodes("true, false or list of codes", |text| texts::status(text).map(drop)) => [408, 480, "5xx"],
            "The responses after which the next target is tried; `true`: after every failure below 600. A target that rang without an answer counts as 408. A target that sent no response always leads to the next one.";
        unanswered: Text("application", any), needs(&[], "prompts", "take unanswered out"),
            "The application that takes the caller if no target answers, whatever the failure: `voicemail/1001`, `voicemail/$0`.";
        headers: Tables("list of tables", &HEADER) => [], "Changes to header fields, in `translating` mode only.";
        codecs: Choices(&codecs::NAMED) => [],
            "Codecs that may be offered, best first; the list of a user or a gateway takes precedence. Empty: the caller's codecs, and those that `[media]` adds.";
        srtp: ChoiceOrTable(&srtp::WORDS, &srtp::SRTP),
            needs(&srtp::ASKING, "encryption", "take srtp out"),
            "Encryption of the callees' media, unless they have a value of their own. Without it: `media.srtp`.";
    },
};

pub const HEADER: Table = Table {
    name: "header",
    written: "{ … } in `headers`",
    about: "A change to header fields of messages to the far side, or back. One of `add`, `remove`, `replace`, `pass` is required.",
    keys: rows! {
        add: HEADER_NAME, "Adds a header field of this name.";
        remove: HEADER_NAME, "Removes all header fields of this name.";
        replace: HEADER_NAME, "Replaces all header fields of this name by one.";
        pass: HEADER_NAME, "Forwards the header fields of this name unchanged.";
        value: Text("template", any), "The value of `add` and `replace`, with the groups of `called`.";
        on: Choice(&HeaderOn::NAMED),
            "`request`: the INVITE to the far side, and every later request and response to it in the call. `response`: the responses to that INVITE to the caller, and every later request and response to the caller. Messages that b2b generates itself have nothing to `pass`; refusals of re-INVITE and UPDATE, CANCEL and ACK stay unchanged. Without it: `request`.";
    },
};

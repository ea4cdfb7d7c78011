//! The keys of users, gateways, groups and routes.

use b2b_config::table::Takes::{
    Choice, ChoiceOrTable, Choices, OneOf, Pairs, Secret, Switch, SwitchOrCodes, Tables, TablesOrTexts, Text,
    Texts, Whole,
};
use b2b_config::table::{Row, Table, Takes, any};
use b2b_config::{rows, text, texts};

use super::identity::{FORMAT, IDENTITY, called_from, country};
use super::ner;
use super::parse_parties::{DIALOG, LARGE, REFRESHER, class, display, host, host_port, user_name};
use super::parties::{MediaAnswer, Strategy};
use super::pattern::Pattern;
use super::profiles::PROFILE;
use super::registering::instance;
use super::route::{BridgeMode, HeaderOn, MediaPath, Verstat};
use super::sound::{self, DTMF, EARLY_MEDIA};
use super::srtp;
use super::texts::{self, NAME, NETWORKS, PATH, TRANSPORTS, plain_name};
use super::tls::client_name;
use super::{Codec, MinAlgorithm, parse_route};

const HEADER_NAME: Takes = text!("header name", parse_route::header_name);

/// How the audio of a party is to be, who is a user or a gateway: wherever a call has them.
const AUDIO: &[Row] = rows! {
    codecs: Choices(&Codec::NAMED) => [],
        "What may be offered to the party, best first. Empty: as the route says. b2b decodes and encodes the first four; all others are offered where the other party has them, pass as they come, and are never offered where the call is recorded.";
    dtmf: Choice(&DTMF) => "events", needs(&sound::ASKING, "digit_events", "write dtmf = \"events\""),
        "How digits go to the party and come from it: as telephone events (RFC 4733; `rfc4733` is the same), as tones in its audio (it is offered no events), as INFO (nor then), or with `auto` as events where it takes them, else as tones. Tones of its own become events for the other party and are cut out of what it hears, which is 60 ms later for that.";
    ptime: OneOf(&sound::PTIMES), needs(&[], "transcoding", "take ptime out"),
        "The packet time that the party is asked for (`a=ptime`), ms, and that b2b sends where it makes its audio (applications, transcoding) and the party asks for none itself; its `a=maxptime` is kept in any case. Without it: as the other party has it, else 20 ms. Opus has 10, 20, 40 or 60.";
    opus_fec: Switch => true,
        "Whether the party is told that redundancy is welcome (`useinbandfec`), where b2b decodes its Opus.";
    opus_kbps: OneOf(&sound::OPUS_KBPS),
        "Kbit/s that the party may send at most (`maxaveragebitrate`), where b2b decodes its Opus. Without it: any.";
    comfort_noise: Switch => false, needs(&["true"], "transcoding", "take comfort_noise out"),
        "Whether the party is offered and answered comfort noise (CN/8000, RFC 3389). Its noise passes to who knows it, too; everybody else hears soft noise while it is silent. b2b sends it no noise of its own.";
    avpf: Switch => false, needs(&["true"], "transcoding", "take avpf out"),
        "Whether offers to the party have the profile with feedback, `RTP/AVPF` or with keys `RTP/SAVPF` (RFC 4585, RFC 5124), for who takes nothing else, as Asterisk with `use_avpf = yes`. What the party offers itself is answered in kind in any case.";
    early_media: Choice(&EARLY_MEDIA) => "pass",
        "What becomes of the audio of the party before it answers: the caller hears it, is told that it rings (180, and hears its own ringback), or is told nothing of a 183 with a session.";
};

pub const USER: Table = Table {
    name: "user",
    written: "[[user]]",
    about: "Someone who registers and calls. One of `password`, `password_file`, `ha1`, `ha1_sha256` is needed.",
    keys: rows! {
        ..AUDIO;
        name: text!("text", user_name), "User part of the address and username of the password. Needed.";
        password: Secret("secret"), "The password.";
        password_file: PATH, "A file with the password in its first line.";
        weak_password: Switch => false,
            "Whether this password may be the name or have fewer than 8 characters; see `server.weak_passwords`.";
        ha1: Secret("secret, 32 hex digits"), "MD5 of `name:realm:password` instead of a password.";
        ha1_sha256: Secret("secret, 64 hex digits"), "SHA-256 of the same; may stand beside `ha1`.";
        aliases: texts!("list of texts", user_name) => [], "Other names and numbers that reach the user.";
        display_name: text!("text", display), "The name that callees see. Without it: what the phone says.";
        caller_id: text!("text", user_name), "The number that callees see. Without it: `name`.";
        numbers: texts!("list of texts", user_name) => [],
            "Numbers that the user may choose from instead, by P-Preferred-Identity or From.";
        class: text!("text", class) => "internal", "The caller class that routes ask for.";
        max_contacts: Whole(1, 1_000), "Bindings at once. Without it: `registrar.max_contacts`.";
        max_calls: Whole(1, 100_000), "Calls at once. Without it: any number.";
        media_from: NETWORKS => [],
            "From where their phones may send RTP, beside the address that they name and the one that their SIP comes from.";
        srtp: ChoiceOrTable(&srtp::WORDS, &srtp::SRTP),
            needs(&srtp::ASKING, "encryption", "take srtp out"),
            "Encryption of their media. Without it: as the route that calls them says, else `media.srtp`.";
        session_timers: Switch => true,
            "Whether calls to their phones ask for a session timer (RFC 4028). A phone that asks us gets one all the same.";
    },
};

pub const GATEWAY: Table = Table {
    name: "gateway",
    written: "[[gateway]]",
    about: "A trunk to a provider or another PBX.",
    keys: rows! {
        ..AUDIO;
        name: NAME, "Its name in routes and records. Needed.";
        profile: Choice(&PROFILE),
            "What its provider wants, or its kind of PBX, as defaults of the other keys; `docs/providers.md` has them. Every key that is written wins.";
        hosts: TablesOrTexts("list of `host[:port]` or of tables", &HOST, |text| host_port(text).map(drop)),
            "Where it is reached, tried in this order. Needed, where no `profile` has it.";
        transport: Choice(&TRANSPORTS), "Without it: as DNS says (RFC 3263).";
        listener: text!("name of a `[[listener]]`", plain_name),
            "The listener that its calls, REGISTER and OPTIONS leave by, with the address that its peers are told and where RTP is bound; by `sources` and `tls_client` it is known there alone. Without it: the listener where the route to it begins, and it is known at all.";
        outbound_proxy: text!("`host[:port]`", host_port),
            "Where REGISTER, OPTIONS and calls to it go first, in a `Route`; the Request-URI keeps the name of the host. For providers whose domain is not where their SIP is.";
        headers: Pairs("table of header fields and texts"),
            "Fields that calls to it get, like `{ X-Telnyx-Token = \"…\" }`. Not those that SIP itself needs.";
        session_timers: Switch => true,
            "Whether calls to it ask for a session timer (RFC 4028). Who asks us gets one all the same; who does not know of it is left in peace.";
        session_refresher: Choice(&REFRESHER) => "auto",
            "Who is to refresh the session timer of its calls, either way: as its side says or else who has called, b2b (`us`), or the gateway (`them`). It is what b2b asks for where the gateway leaves it open; a gateway that names somebody is followed (RFC 4028 §9).";
        reliable: Switch => true,
            "Whether calls to it offer reliable provisional responses (100rel, RFC 3262).";
        reinvites: Switch => true,
            "Whether it gets re-INVITEs and UPDATEs inside a call. Without them hold and codec changes of the other party end here, its media is never direct, and what would change its session is not done. Its calls have no session timer then (`session_timers`).";
        large: Choice(&LARGE),
            "By which way messages of more than 1,300 octets go to it: over UDP in fragments, or over TCP where that comes within a second. Without it: over UDP where `transport = \"udp\"`, else over TCP (RFC 3261 §18.1.1).";
        username: text!("text", display), "The username for its challenges.";
        password: Secret("secret"), "The password for them.";
        password_file: PATH, "A file with the password in its first line.";
        realm: texts!("text or list of texts", texts::quotable),
            "The realms whose challenges get the password. Without it: those that its hosts have asked for in answer to REGISTER or OPTIONS, else the first that a call is asked for; they are kept beside `server.store`.";
        min_algorithm: Choice(&MinAlgorithm::NAMED) => "md5",
            "Challenges with a weaker algorithm are not answered.";
        from_user: text!("text", user_name), "User part of From. Without it: the caller's number.";
        from_domain: text!("host name", host), "Host part of From. Without it: the host that is called.";
        register: Switch => false, "Whether b2b registers there; needs `username`.";
        expires_s: Whole(60, 86_400) => 3600, "The expiry that it asks for.";
        outbound: Switch => false,
            "Whether the registrar is asked to reach b2b by the flow of the REGISTER (RFC 5626), which is kept alive then: CRLF over TCP and TLS, STUN over UDP; where no answer comes b2b registers anew. One that knows nothing of it registers b2b as ever.";
        instance: text!("`urn:uuid:…`", instance),
            "The URN by which it tells flows of this server from those of others with the same account. Without it: one made from `server.realm`, `username` and `name`, the same after each start.";
        contact_token: Switch => false,
            "Whether the Contact of its REGISTER has a random parameter (`;b2b-token=…`), by which calls that come back to it are this gateway's and need no password, wherever they come from. It is a new one after each start, and is shown nowhere.";
        options_s: Whole(0, 3_600) => 30, "OPTIONS this often tell whether it is alive; 0: never.";
        ner: ChoiceOrTable(&ner::WORDS, &ner::NER),
            "Whether it is out of use for a time when too few of its calls get through (network effectiveness ratio, ITU-T E.425): `off`, or a table. Without it: `off`.";
        sources: NETWORKS => [], "Calls from these addresses come from this gateway and need no password.";
        tls_client: texts!("name or list of names", client_name) => [],
            "Calls over a connection whose client certificate has one of these names come from this gateway and need no password, wherever the connection comes from; `*.example.com` is every name of one label more than `example.com`. `tls.client_request` or `tls.client_require` names the listeners that ask for certificates.";
        tls_certificate: PATH,
            "PEM of the certificate, and its chain, that b2b shows this gateway when it asks for one. Without it: as to others.";
        tls_key: PATH, "PEM, the private key of that.";
        tls_authorities: PATH,
            "PEM of the authorities that its certificate is checked against. Without it: `tls.authorities`.";
        tls_name: text!("host name or address", host),
            "The name that its certificate has to be for, and that it is asked by (SNI). Without it: the host that is called, never the one that an SRV record names.";
        media_from: NETWORKS => [],
            "From where it may send RTP, beside the address that it names, the one that its SIP comes from, and `sources`. RTP from elsewhere is dropped.";
        media_answer: Choice(&MediaAnswer::NAMED) => "source",
            "Where RTP to it goes: to where its own comes from, or to the address that it names whatever comes.";
        class: text!("text", class) => "external", "The caller class of its calls.";
        redirects: Texts("`own`, `routes`, or a list of gateways", any) => "own",
            "Where its redirects (3xx) and transfers (REFER) may lead beside its own `hosts` and `sources`: nowhere, to the hosts of these gateways and through them, or through the routes as calls of its class.";
        channels: Whole(1, 100_000), "Calls at once, both ways together. Without it: any number.";
        calls_per_s: Whole(1, 10_000),
            "New calls to it in a second; they go out evenly. One that would wait for more than two seconds goes to the next target, or gets 503. Without it: any number.";
        trying_s: Whole(1, 32),
            "How long a host may give no response at all before the next one is tried. Without it: `limits.trying_s`.";
        called: Tables("list of rules", &RULE) => [],
            "Rewrite the called number of calls to it; the first rule that matches applies.";
        caller: Tables("list of rules", &RULE) => [], "Rewrite the caller's number of calls to it.";
        srtp: ChoiceOrTable(&srtp::WORDS, &srtp::SRTP),
            needs(&srtp::ASKING, "encryption", "take srtp out"),
            "Encryption of its media; where keys are offered, `transport = \"tls\"` has to hide them. Without it: as the route says, else `media.srtp`.";
        dialog: Choice(&DIALOG) => "any",
            "Where its Contact and Record-Route may lead the requests of a call: to any public address, which is counted and stands in the call's timeline where it is none of its own (`hosts`, what they resolve to, `sources`, where its messages come from), or to its own only. What leads inside, to this server or to another gateway is never followed: such requests go back the way its messages came.";
        trust_identity: Switch => false,
            "Whether it is in the trust domain (RFC 3325): it is believed who calls and who has forwarded a call, and is told of callers who want to stay unknown what `identity` has.";
        identity: Choices(&IDENTITY) => [],
            "What it is told of callers beside From, with their own number where `from_user` is set: P-Asserted-Identity, P-Preferred-Identity, Remote-Party-ID, who has forwarded the call, and with `stir` what was signed or verified (Identity, Date, `verstat`, P-Attestation-Indicator) where the numbers stay. Empty: Diversion of redirected calls.";
        number_format: Choice(&FORMAT) => "as_is",
            "How numbers to it are written, called ones too, after `called` and `caller`: `+44…`, `0044…` or `44…`. What is neither international nor, with `country`, national stays as it is.";
        country: text!("country code", country), "The country code of numbers like 020…, for `number_format`.";
        called_from: text!("`request-uri`, `to`, `p-called-party-id` or `header:NAME`", called_from) => "request-uri",
            "Where the called number of its calls is. The Request-URI counts where there is none.";
    },
};

pub const HOST: Table = Table {
    name: "host",
    written: "{ … } in `hosts`",
    about: "One host of a gateway.",
    keys: rows! {
        host: text!("`host[:port]`", host_port), "A name or an IP address. Needed.";
        priority: Whole(0, 65_535),
            "Lower ones first, equal ones share the calls. Without it: its place in the list, from 1.";
    },
};

pub const RULE: Table = Table {
    name: "rule",
    written: "{ … } in `called` and `caller`",
    about: "A rule on a number.",
    keys: rows! {
        match: text!("pattern", Pattern::new), "What it applies to. Needed.";
        to: Text("template", any), "What the number becomes. Needed.";
    },
};

pub const GROUP: Table = Table {
    name: "group",
    written: "[[group]]",
    about: "Several that are called as one.",
    keys: rows! {
        name: NAME, "Its name in routes. Needed.";
        members: Texts("list of targets", any), "Whom it calls: `user/…`, `gateway/…/…`, `sip:…`. Needed.";
        strategy: Choice(&Strategy::NAMED) => "parallel", "One after the other, or all at once.";
        timeout_s: Whole(1, 3_600) => 30, "How long a member rings (serial), or all of them (parallel).";
    },
};

pub const ROUTE: Table = Table {
    name: "route",
    written: "[[route]]",
    about: "Routes are asked in the order of the file; the first that matches decides. One of `to`, `reject`, `app` is needed.",
    keys: rows! {
        name: text!("text", parse_route::name), "For logs and records. Without it: its number, `#3`.";
        called: text!("pattern", Pattern::new), "The called number. Without it: any.";
        caller: text!("pattern", Pattern::new), "The caller's number. Without it: any.";
        class: Texts("text or list of texts", any) => [],
            "Classes of callers: of users, of gateways, or `trusted`. Empty: any.";
        source: Texts("text or list of texts", any) => [],
            "`gateway/name`, `user/name`, `users` (any that gave a password), `trusted`, an address, a CIDR block. Empty: any.";
        verstat: Choices(&Verstat::NAMED) => [],
            "What came of verifying the caller's number, as a gateway with `trust_identity` says it (`verstat`): `TN-Validation-Passed`, `TN-Validation-Failed`, or neither, which it is of all others, whatever they say. Empty: any.";
        method: texts!("text or list of texts", parse_route::method) => ["INVITE"],
            "`INVITE`. A route for others decides nothing yet: requests outside of a call get 405 before routes are asked.";
        to: Texts("target or list of targets", any),
            "Whom to call: `user/$1`, `gateway/carrier`, `gateway/carrier/$1`, `group/sales`, `sip:…`.";
        reject: Whole(400, 699), "Answer with this status.";
        reason: text!("text", parse_route::line), "The reason phrase of `reject`. Without it: the usual one.";
        app: Text("`kind/name`", any), needs(&[], "prompts", "take the application out"),
            "Give the call to this application: `ivr/main`; `voicemail/$1` with a group of `called` (404 where there is no such application).";
        strategy: Choice(&Strategy::NAMED) => "serial", "How several targets are tried.";
        set_called: Text("template", any), "What the called number becomes, with the groups of `called`.";
        set_caller: Text("template", any), "What the caller's number becomes, with the groups of `caller`.";
        set_caller_name: text!("text", parse_route::line), "What the caller's name becomes.";
        mode: Choice(&BridgeMode::NAMED) => "intercepting",
            "What passes through: everything that the far end can understand; all but REFER, INFO digits and hold, which b2b handles; or that with `headers`. Audio is transcoded in each of them, where the parties need it.";
        media: Choice(&MediaPath::NAMED) => "relay",
            needs(&["direct"], "direct_media", "choose media = \"relay\""),
            "RTP through b2b, or between the parties where both can.";
        record: Switch => false, needs(&["true"], "recording", "take record out"),
            "Whether the call is recorded, from its answer on, as `[recording]` says; its media then never goes direct. With `app`, too.";
        timeout_s: Whole(1, 3_600),
            "How long each target rings. Without it: as a group says, else `limits.ring_s`.";
        failover: SwitchOrCodes("true, false or list of codes", |text| parse_route::status(text).map(drop)) => [408, 480, "5xx"],
            "After which answers the next target is tried; `true`: after every failure below 600. One that rang without being answered counts as 408. After silence it always is.";
        unanswered: Text("application", any), needs(&[], "prompts", "take unanswered out"),
            "The application that takes a caller whom none of these answers, however they fail: `voicemail/1001`, `voicemail/$0`.";
        headers: Tables("list of tables", &HEADER) => [], "Changes to headers, in `translating` mode only.";
        codecs: Choices(&Codec::NAMED) => [],
            "What may be offered, best first; the own list of a user or a gateway wins. Empty: whatever the caller offers, and what `[media]` adds.";
        srtp: ChoiceOrTable(&srtp::WORDS, &srtp::SRTP),
            needs(&srtp::ASKING, "encryption", "take srtp out"),
            "Encryption of the media of whom it calls, where they do not say it for themselves. Without it: `media.srtp`.";
    },
};

pub const HEADER: Table = Table {
    name: "header",
    written: "{ … } in `headers`",
    about: "A change to a header of what goes to the far side, or comes back. One of `add`, `remove`, `replace`, `pass` is needed.",
    keys: rows! {
        add: HEADER_NAME, "One more line of this name.";
        remove: HEADER_NAME, "All lines of this name go.";
        replace: HEADER_NAME, "One line instead of all of this name.";
        pass: HEADER_NAME, "The lines of this name go across as they came.";
        value: Text("template", any), "The value of `add` and `replace`, with the groups of `called`.";
        on: Choice(&HeaderOn::NAMED),
            "`request`: the INVITE to the far side, and every request and response that it gets later in the call. `response`: the responses to that INVITE that the caller gets, and every request and response that it gets later. What b2b says by itself has nothing to `pass`; a refused re-INVITE or UPDATE, CANCEL and ACK stay as they are. Without it: `request`.";
    },
};

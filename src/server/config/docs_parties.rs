//! The keys of users, gateways, groups and routes.

use super::docs::{SectionDoc, key};

pub const USER: SectionDoc = SectionDoc {
    name: "user",
    written: "[[user]]",
    about: "Someone who registers and calls. One of `password`, `password_file`, `ha1`, `ha1_sha256` is needed.",
    keys: &[
        key("name", "text", "", "User part of the address and username of the password. Needed."),
        key("password", "secret", "", "The password."),
        key("password_file", "path", "", "A file with the password in its first line."),
        key(
            "weak_password",
            "true or false",
            "false",
            "Whether this password may be the name or have fewer than 8 characters; see `server.weak_passwords`.",
        ),
        key("ha1", "secret, 32 hex digits", "", "MD5 of `name:realm:password` instead of a password."),
        key("ha1_sha256", "secret, 64 hex digits", "", "SHA-256 of the same; may stand beside `ha1`."),
        key("aliases", "list of texts", "[]", "Other names and numbers that reach the user."),
        key("display_name", "text", "", "The name that callees see. Without it: what the phone says."),
        key("caller_id", "text", "", "The number that callees see. Without it: `name`."),
        key("class", "text", r#""internal""#, "The caller class that routes ask for."),
        key("max_contacts", "1 to 1000", "", "Bindings at once. Without it: `registrar.max_contacts`."),
        key("max_calls", "1 to 100000", "", "Calls at once. Without it: any number."),
        key(
            "media_from",
            "list of addresses or CIDR blocks",
            "[]",
            "From where their phones may send RTP, beside the address that they name and the one that their SIP comes from.",
        ),
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
        key(
            "realm",
            "text or list of texts",
            "",
            "The realms whose challenges get the password. Without it: those that its hosts have asked for in answer to REGISTER or OPTIONS, else the first that a call is asked for; they are kept beside `server.store`.",
        ),
        key(
            "min_algorithm",
            "`md5` or `sha-256`",
            r#""md5""#,
            "Challenges with a weaker algorithm are not answered.",
        ),
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
        key(
            "media_from",
            "list of addresses or CIDR blocks",
            "[]",
            "From where it may send RTP, beside the address that it names, the one that its SIP comes from, and `sources`. RTP from elsewhere is dropped.",
        ),
        key(
            "media_answer",
            "`source` or `signalled`",
            r#""source""#,
            "Where RTP to it goes: to where its own comes from, or to the address that it names whatever comes.",
        ),
        key("class", "text", r#""external""#, "The caller class of its calls."),
        key(
            "redirects",
            "`own`, `routes`, or a list of gateways",
            r#""own""#,
            "Where its redirects (3xx) and transfers (REFER) may lead beside its own `hosts` and `sources`: nowhere, to the hosts of these gateways and through them, or through the routes as calls of its class.",
        ),
        key("channels", "1 to 100000", "", "Calls at once, both ways together. Without it: any number."),
        key(
            "trying_s",
            "1 to 32",
            "",
            "How long a host may give no response at all before the next one is tried. Without it: `limits.trying_s`.",
        ),
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
        key(
            "dialog",
            "`any` or `own`",
            r#""any""#,
            "Where its Contact and Record-Route may lead the requests of a call: to any public address, which is counted and stands in the call's timeline where it is none of its own (`hosts`, what they resolve to, `sources`, where its messages come from), or to its own only. What leads inside, to this server or to another gateway is never followed: such requests go back the way its messages came.",
        ),
        key(
            "dtmf",
            "`events` or `inband`",
            r#""events""#,
            "How its parties press keys: by RFC 4733 (and INFO), or as tones too. Those become events for the other party, and are cut out of what it hears, which is 60 ms later for that.",
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
        key(
            "app",
            "`kind/name`",
            "",
            "Give the call to this application: `ivr/main`; `voicemail/$1` with a group of `called` (404 where there is no \
             such application).",
        ),
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
            "Whether the call is recorded, from its answer on, as `[recording]` says; its media then never goes direct. With \
             `app`, too.",
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
        key(
            "unanswered",
            "application",
            "",
            "The application that takes a caller whom none of these answers, however they fail: `voicemail/1001`, `voicemail/$0`.",
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

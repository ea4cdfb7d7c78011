//! What is refused, on which line, and in which words.

use super::parse_made;

/// A good beginning; the lines of a row follow from line 10 on.
const BEFORE: &str = "[[user]]
name = \"1001\"
password = \"hunter2\"
[[gateway]]
name = \"carrier\"
hosts = [\"sip.example.com\"]
[[group]]
name = \"sales\"
members = [\"user/1001\"]
";

fn refused(text: &str) -> String {
    match parse_made(text) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("taken: {text}"),
    }
}

/// Each row: text, and the error it makes, whole.
fn check(before: &str, rows: &[(&str, &str)]) {
    for (text, error) in rows {
        assert_eq!(refused(&format!("{before}{text}\n")), *error, "{text}");
    }
}

#[test]
fn text_that_is_no_configuration() {
    assert!(refused("[server\nx").starts_with("line 1: this is not TOML: "));
    assert!(
        refused("[server]\nrealm = \"a\"\nrealm = \"b\"")
            .starts_with("line 3: this is not TOML: duplicate key")
    );
    let regex = refused("[[route]]\ncalled = \"1\\d{3}\"");
    assert!(regex.starts_with("line 2: this is not TOML: ") && regex.contains("in single quotes"), "{regex}");
    check(
        "",
        &[
            ("[servr]", "line 1: there is no `servr`; did you mean `server`?"),
            (
                "\n[server]\nlisten_on = \"x\"",
                "line 3: there is no `server.listen_on`; did you mean `listen`?",
            ),
            (
                "[topology]\nsource.audio_file = \"x\"",
                "line 1: there is no `topology` here: this is a plan of the lab; run it with --role orchestrator --plan",
            ),
            ("[user]\nname = \"a\"", "line 1: `user` is written `[[user]]`, not `[user]`"),
            ("[[server]]", "line 1: `server` is written `[server]`, not `[[server]]`"),
            ("server = 1", "line 1: `server` is a whole number, but takes a table: [server]"),
            ("route = [1]", "line 1: `route` is a whole number, but takes a table: [[route]]"),
        ],
    );
}

#[test]
fn the_server_s_own_tables() {
    check(
        "",
        &[
            ("[server]\nlisten = []", "line 2: `server.listen` = \"\": no listener; add at least one"),
            (
                "[server]\nlisten = \"127.0.0.1:5060\"",
                "line 2: `server.listen` = \"127.0.0.1:5060\": write it like udp:127.0.0.1:5060, tcp:0.0.0.0:5060 or tls:[::]:5061",
            ),
            (
                "[server]\nlisten = [\"udp:127.0.0.1:5060\",\n\"sctp:127.0.0.1:5060\"]",
                "line 3: `server.listen` = \"sctp:127.0.0.1:5060\": write it like udp:127.0.0.1:5060, tcp:0.0.0.0:5060 or tls:[::]:5061",
            ),
            (
                "[server]\nlisten = [\"udp:127.0.0.1:1\", \"udp:127.0.0.1:1\"]",
                "line 2: `server.listen` = \"udp:127.0.0.1:1\": listed twice; keep one",
            ),
            (
                "[server]\nlisten = \"tls:127.0.0.1:5061\"",
                "line 2: `tls.certificate` is missing: a tls: listener needs [tls] with certificate and key",
            ),
            (
                "[tls]\ncertificate = \"a.pem\"",
                "line 1: `tls.key` is missing: a certificate needs its private key",
            ),
            (
                "[[tls.certificates]]\nkey = \"a.key\"",
                "line 1: `tls.certificates.certificate` is missing: a key needs its certificate",
            ),
            (
                "[tls]\nclient_require = \"tls:127.0.0.1:5061\"",
                "line 1: `tls.client_authorities` is missing: set the authorities for client certificates",
            ),
            (
                "[tls]\nclient_request = \"tcp:127.0.0.1:5061\"",
                "line 2: `tls.client_request` = \"tcp:127.0.0.1:5061\": only tls: listeners get certificates; choose one of them",
            ),
            (
                "[tls]\nclient_authorities = \"a\"\nclient_request = \"tls:127.0.0.1:1\"\nclient_require = \"tls:127.0.0.1:1\"",
                "line 4: `tls.client_require` = \"tls:127.0.0.1:1\": this listener is there twice; keep one",
            ),
            (
                "[tls]\nclient_authorities = \"a\"\nclient_request = \"tls:127.0.0.1:1\"",
                "line 3: `tls.client_request` = \"tls:127.0.0.1:1\": server.listen has no such listener; write it exactly as there",
            ),
            (
                "[server]\nadvertise = \"0.0.0.0\"",
                "line 2: `server.advertise` = \"0.0.0.0\": peers cannot reach this address; write the address that they use",
            ),
            (
                "[server]\ntrusted = [\"10.0.0.1/8\"]",
                "line 2: `server.trusted` = \"10.0.0.1/8\": the block is 10.0.0.0/8; write that, or 10.0.0.1 for the single address",
            ),
            (
                "[server]\ntrusted = \"localhost\"",
                "line 2: `server.trusted` = \"localhost\": write an address like 192.0.2.7 or a block like 192.0.2.0/24",
            ),
            (
                "[server]\nstore = \"redis:x\"",
                "line 2: `server.store` = \"redis:x\": no such store; write memory, or sqlite: and a path",
            ),
            (
                "[server]\ndrain_s = \"30\"",
                "line 2: `server.drain_s` is a text, but takes a whole number without quotes",
            ),
            (
                "[server]\nsession_expires_s = 60",
                "line 2: `server.session_expires_s` = 60: not a whole number from 90 to 86400",
            ),
            (
                "[server]\nrealm = \"a\"\nmin_se_s = 89",
                "line 3: `server.min_se_s` = 89: not a whole number from 90 to 86400",
            ),
            (
                "[server]\nsession_expires_s = 300\nmin_se_s = 600",
                "line 3: `server.min_se_s` = 600 s: it is above `session_expires_s`, 300 s; lower it, or \
                 raise `session_expires_s`",
            ),
            ("[server]\ndrain_s = -1", "line 2: `server.drain_s` = -1: not a whole number from 0 to 86400"),
            (
                "[server]\nrealm = 'a\"b'",
                "line 2: `server.realm` = \"a\\\"b\": quotes and backslashes cannot be in it",
            ),
            (
                "[server]\nuser_agent = \"a\\r\\nb\"",
                "line 2: `server.user_agent` = \"a\\r\\nb\": it has a control character; remove it",
            ),
            ("[media]\nports = \"20000\"", "line 2: `media.ports` = \"20000\": write it like 20000-29999"),
            (
                "[media]\nports = \"80-90\"",
                "line 2: `media.ports` = \"80-90\": ports below 1024 are reserved; use 1024 or above",
            ),
            (
                "[media]\nports = \"5000-5002\"",
                "line 2: `media.ports` = \"5000-5002\": a call needs four ports; make the range larger",
            ),
            (
                "[media]\ncodecs = [\"g729\"]",
                "line 2: `media.codecs` = \"g729\": no such codec that b2b can encode; choose from opus, g722, pcmu, pcma",
            ),
            (
                "[media]\ncodecs = [\"pcmu\", \"pcmu\"]",
                "line 2: `media.codecs` = \"pcmu\": listed twice; keep one",
            ),
            (
                "[http]\nlisten = \"0.0.0.0:8080\"\ntoken = \"off\"",
                "line 3: `http.token` = \"off\": other hosts can reach 0.0.0.0:8080; remove it, and b2b creates a token, or listen on 127.0.0.1",
            ),
            (
                "[http]\ntoken = \"off\"\n[[http.tokens]]\nname = \"a\"\ntoken = \"x\"\nscopes = [\"read\"]",
                "line 2: `http.token` = \"off\": clients without a token of [[http.tokens]] would have all rights; remove it",
            ),
            (
                "[http]\ntoken = \"${NO_SUCH}\"",
                "line 2: `http.token`: the environment has no \"NO_SUCH\"; set it",
            ),
            (
                "[[http.tokens]]\nname = \"a\"\ntoken = \"x\"\nscopes = [\"write\"]",
                "line 4: `http.tokens.scopes` = \"write\": no such scope; choose of read, calls, record, agents, rooms, remote, audio",
            ),
            ("[http]\ntoken = \"\"", "line 2: `http.token`: it is empty"),
            (
                "[http]\ntoken = \"a\"\ntoken_file = \"b\"",
                "line 3: `http.token` and `http.token_file` are both set; keep one",
            ),
            (
                "[registrar]\nmin_expires_s = 9000",
                "line 2: `registrar.max_expires_s` = 7200 s: the longest expiry is below the shortest",
            ),
            ("[limits]\ntrying_s = 33", "line 2: `limits.trying_s` = 33: not a whole number from 1 to 32"),
            (
                "[log]\nlevel = \"loud\"",
                "line 2: `log.level` = \"loud\": no such level; choose error, warn, info, debug or trace",
            ),
        ],
    );
}

#[test]
fn users() {
    check(
        BEFORE,
        &[
            (
                "[[user]]\npassword = \"x\"",
                "line 10: `user.name` is missing: a user needs a name, like name = \"1001\"",
            ),
            ("[[user]]\nnme = \"x\"", "line 11: there is no `user.nme`; did you mean `name`?"),
            (
                "[[user]]\nname = \"10 02\"",
                "line 11: `user.name` = \"10 02\": letters, digits and - _ . ! ~ * ' + only",
            ),
            (
                "[[user]]\nname = \"1002\"",
                "line 10: `user.password` is missing: the user could not register; set password, password_file or ha1",
            ),
            (
                "[[user]]\nname = \"1001\"\npassword = \"x\"",
                "line 11: the user or alias \"1001\" is there already, on line 2; names are used once",
            ),
            (
                "[[user]]\nname = \"1002\"\npassword = \"x\"\naliases = [\"1001\"]",
                "line 13: the user or alias \"1001\" is there already, on line 2; names are used once",
            ),
            (
                "[[user]]\nname = \"10.01\"\npassword = \"x\"",
                "line 11: `user.name` = \"10.01\": it differs from \"1001\" of user 1001 only by visual separators; rename one",
            ),
            (
                "[[user]]\nname = \"1002\"\npassword = \"x\"\naliases = [\"a-b\", \"10-01\"]",
                "line 13: `user.aliases` = \"10-01\": it differs from \"1001\" of user 1001 only by visual separators; rename one",
            ),
            ("[[user]]\nname = \"1002\"\nha1 = \"hunter2\"", "line 12: `user.ha1`: not 32 hex digits"),
            (
                "[[user]]\nname = \"1002\"\npassword = 1234",
                "line 12: `user.password` is a whole number, but takes text in quotes",
            ),
            (
                "[[user]]\nname = \"1002\"\npassword = \"hunter2\"\nha1_sha256 = \"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"",
                "line 13: `user.password` and `user.ha1_sha256` are both set; keep the password or its hashes",
            ),
            (
                "[[user]]\nname = \"1002\"\npassword_file = \"none\"",
                "line 12: `user.password_file`: cannot read /etc/b2b/none: entity not found",
            ),
            (
                "[[user]]\nname = \"1002\"\npassword = \"hunter2\\n\"",
                "line 12: `user.password`: it has a control character; remove it",
            ),
        ],
    );
}

#[test]
fn gateways_and_groups() {
    check(
        BEFORE,
        &[
            (
                "[[gateway]]\nname = \"b\"",
                "line 10: `gateway.hosts` is missing: add the gateway's host, like hosts = [\"sip.example.com\"]",
            ),
            (
                "[[gateway]]\nname = \"carrier\"\nhosts = \"a\"",
                "line 11: the gateway \"carrier\" is there already, on line 5; names are used once",
            ),
            (
                "[[gateway]]\nname = \"b\"\nhosts = [\"a\",\n\"b:99999\"]",
                "line 13: `gateway.hosts` = \"b:99999\": not a port; write it like sip.example.com, 192.0.2.7:5060 or [2001:db8::7]:5060",
            ),
            (
                "[[gateway]]\nname = \"b\"\nhosts = [{ hots = \"a\" }]",
                "line 12: there is no `host.hots`; did you mean `host`?",
            ),
            (
                "[[gateway]]\nname = \"b\"\nhosts = \"a\"\nregister = true",
                "line 10: `gateway.username` is missing: register = true needs username and password",
            ),
            (
                "[[gateway]]\nname = \"b\"\nhosts = \"a\"\nusername = \"u\"",
                "line 10: `gateway.password` is missing: username needs a password",
            ),
            (
                "[[gateway]]\nname = \"b\"\nhosts = \"a\"\nsources = \"192.0.2.1\"\n[[gateway]]\nname = \"c\"\nhosts = \"a\"\nsources = \"192.0.2.1\"",
                "line 17: `gateway.sources` = \"192.0.2.1/32\": it is already a source of the gateway \"b\"; keep one",
            ),
            (
                "[[gateway]]\nname = \"b\"\nhosts = \"a\"\nreinvites = false\nsession_refresher = \"us\"",
                "line 14: `gateway.session_refresher` = \"us\": a refresh is a re-INVITE or UPDATE, which reinvites = false excludes; choose them or auto",
            ),
            (
                "[[gateway]]\nname = \"b\"\nhosts = \"a\"\ntls_certificate = \"a.pem\"",
                "line 10: `gateway.tls_key` is missing: a certificate needs its private key",
            ),
            (
                "[[gateway]]\nname = \"b\"\nhosts = \"a\"\ntls_client = \"*.com\"",
                "line 13: `gateway.tls_client` = \"*.com\": *.com matches too many names; write it like sip.example.com or *.example.com",
            ),
            (
                "[[gateway]]\nname = \"b\"\nhosts = \"a\"\ntls_client = \"192.0.2.1\"",
                "line 13: `gateway.tls_client` = \"192.0.2.1\": not a name of a certificate; write it like sip.example.com or *.example.com",
            ),
            (
                "[[gateway]]\nname = \"b\"\nhosts = \"a\"\ntls_client = \"a.b\"",
                "line 1: `tls.client_request` is missing: gateway \"b\" (line 10) has tls_client: set the listeners that request certificates in client_request or client_require",
            ),
            (
                "[[gateway]]\nname = \"b\"\nhosts = \"a\"\nredirects = [\"carrier\", \"carier\"]",
                "line 13: `gateway.redirects`: there is no gateway \"carier\"; did you mean \"carrier\"?",
            ),
            (
                "[[gateway]]\nname = \"b\"\nhosts = \"a\"\ncalled = [{ match = \"(\", to = \"\" }]",
                "line 13: `rule.match` = \"(\": not a regular expression: unclosed group",
            ),
            (
                "[[gateway]]\nname = \"b\"\nhosts = \"a\"\ncalled = [{ match = \"0(.*)\", to = \"$2\" }]",
                "line 13: `rule.to` = \"$2\": `$2` is not a group of the pattern `0(.*)`",
            ),
            (
                "[[group]]\nname = \"b\"\nmembers = [\"user/1002\"]",
                "line 12: `group.members`: there is no user \"1002\"; did you mean \"1001\"?",
            ),
            (
                "[[group]]\nname = \"b\"\nmembers = [\"group/sales\"]",
                "line 12: `group.members` = \"group/sales\": a group cannot contain a group; list its members here",
            ),
            (
                "[[group]]\nname = \"b\"\nmembers = [\"gateway/carrier\"]",
                "line 12: `group.members` = \"gateway/carrier\": a gateway needs a number here, like gateway/carrier/+442083661177",
            ),
            (
                "[[group]]\nname = \"b\"\nmembers = [\"user/$0\"]",
                "line 12: `group.members` = \"user/$0\": members of a group cannot use groups of the pattern; write the whole target",
            ),
            (
                "[[group]]\nname = \"b\"",
                "line 10: `group.members` is missing: add its members, like members = [\"user/1001\"]",
            ),
        ],
    );
}

#[test]
fn routes() {
    check(
        BEFORE,
        &[
            (
                "[[route]]\ncalled = \"1\"",
                "line 10: `route.to` is missing: the route needs a destination: to = \"user/$0\", reject = 403, or app = \"ivr/main\"",
            ),
            (
                "[[route]]\nto = \"user/1001\"\nreject = 404",
                "line 12: `route.to` and `route.reject` are both set; a route has one destination; write two routes",
            ),
            ("[[route]]\nreject = 200", "line 11: `route.reject` = 200: not a whole number from 400 to 699"),
            (
                "[[route]]\nreject = 403\nmode = \"transparent\"",
                "line 12: `route.to` is missing: `mode` needs a target; add one: to = \"user/$0\"",
            ),
            (
                "[[route]]\napp = \"x\"\nreason = \"y\"",
                "line 12: `route.reject` is missing: a reason needs a status: reject = 403",
            ),
            (
                "[[route]]\ncalled = '[0-9'\nto = \"user/1001\"",
                "line 11: `route.called` = \"[0-9\": not a regular expression: unclosed character class",
            ),
            (
                "[[route]]\nto = \"user/$1\"",
                "line 11: `route.to` = \"user/$1\": `$1` is a group, but there is no pattern; `$0` is the whole number",
            ),
            (
                "[[route]]\nto = \"1001\"",
                "line 11: `route.to` = \"1001\": not a target: a URI begins with a scheme and a colon; write it like user/1001, gateway/carrier, group/sales or sip:name@host",
            ),
            (
                "[[route]]\nto = [\"user/1001\",\n\"gateway/carier\"]",
                "line 12: `route.to`: there is no gateway \"carier\"; did you mean \"carrier\"?",
            ),
            (
                "[[route]]\nto = \"group/sale\"",
                "line 11: `route.to`: there is no group \"sale\"; did you mean \"sales\"?",
            ),
            (
                "[[route]]\nto = \"users/$0\"",
                "line 11: `route.to` = \"users/$0\": no such kind of target; did you mean user/$0? write it like user/1001, gateway/carrier, group/sales or sip:name@host",
            ),
            (
                "[[route]]\nto = \"sip:a@0.0.0.0\"",
                "line 11: `route.to` = \"sip:a@0.0.0.0\": its host cannot be called; write a host name or an address; write it like user/1001, gateway/carrier, group/sales or sip:name@host",
            ),
            (
                "[[route]]\nto = \"sip:a@$0\"",
                "line 11: `route.to` = \"sip:a@$0\": the host part cannot have a group of the pattern: the caller would choose the host; write it like user/1001, gateway/carrier, group/sales or sip:name@host",
            ),
            (
                "[[route]]\nclass = \"intern\"\nto = \"user/1001\"",
                "line 11: `route.class`: there is no class of callers \"intern\"; did you mean \"internal\"?",
            ),
            (
                "[[route]]\nsource = \"gateway/x\"\nto = \"user/1001\"",
                "line 11: `route.source`: there is no gateway \"x\"; did you mean \"carrier\"?",
            ),
            (
                "[[voice_agent]]\nname = \"a\"\nurl = \"ws://h/\"\ncalls_per_connection = 2\nheaders = { Sec-WebSocket-Protocol = \"x\" }",
                "line 14: `voice_agent.headers` = \"Sec-WebSocket-Protocol\": b2b writes this field itself; use token for Authorization",
            ),
            (
                "[[route]]\nmethod = \"BYE\"\nto = \"user/1001\"",
                "line 11: `route.method` = \"BYE\": not a method that can be routed; choose INVITE, MESSAGE, SUBSCRIBE, PUBLISH or OPTIONS",
            ),
            (
                "[[route]]\nto = \"user/1001\"\nmode = \"b2b\"",
                "line 12: `route.mode` = \"b2b\": no such mode; choose transparent, intercepting or translating",
            ),
            (
                "[[route]]\nto = \"user/1001\"\nheaders = [{ remove = \"X-A\" }]",
                "line 12: `route.headers` = \"intercepting\": header rules need mode = \"translating\"",
            ),
            (
                "[[route]]\nto = \"user/1001\"\nmode = \"translating\"\nheaders = [{ remove = \"via\" }]",
                "line 13: `header.remove` = \"via\": it belongs to one leg's dialog or body, or b2b writes it itself; remove the rule",
            ),
            (
                "[[route]]\nto = \"user/1001\"\nmode = \"translating\"\nheaders = [{ add = \"X-A\" }]",
                "line 13: `header.value` is missing: `add` needs a value",
            ),
            (
                "[[route]]\nto = \"user/1001\"\nfailover = [603]",
                "line 12: `route.failover` = \"603\": not a status from 400 to 599, nor \"4xx\" or \"5xx\"; no target is tried after 6xx",
            ),
            (
                "[[route]]\nname = \"a\"\nreject = 404\n[[route]]\nname = \"a\"\nreject = 404",
                "line 14: the route \"a\" is there already, on line 11; names are used once",
            ),
        ],
    );
}

#[test]
fn no_error_shows_a_password() {
    for line in
        ["ha1 = \"hunter2\"", "password = \"hunter2\\t\"", "password = \"hunter2\"\npasword = \"hunter2\""]
    {
        let text = refused(&format!("[[user]]\nname = \"a\"\n{line}\n"));
        assert!(!text.contains("hunter2"), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", value in "\\PC{0,30}", key in 0usize..200) {
        let _ = parse_made(&text);
        let keys: Vec<_> = super::sections::SECTIONS
            .iter()
            .filter(|section| section.written.starts_with('['))
            .flat_map(|section| section.keys.iter().map(move |key| (section.written, key.name)))
            .collect();
        let (section, key) = keys[key % keys.len()];
        let _ = parse_made(&format!("{BEFORE}{section}\n{key} = '{value}'\n"));
        let _ = parse_made(&format!("{BEFORE}{section}\n{key} = ['{value}', 1]\n"));
        let _ = parse_made(&format!("{BEFORE}{section}\nto = \"user/1001\"\n{key} = {value}\n"));
    }
}

#[test]
fn who_calls_is_told_by_words_that_there_are() {
    let gateway = "[[gateway]]\nname = \"g\"\nhosts = [\"h\"]\n";
    check(
        gateway,
        &[
            (
                "called_from = \"from\"",
                "line 4: `gateway.called_from` = \"from\": choose request-uri, to, p-called-party-id, or a header field like header:X-DID",
            ),
            (
                "number_params = [\"rn\", \"ext\"]",
                "line 4: `gateway.number_params` = \"ext\": no such parameter; choose from rn, npdi, cic, tgrp, trunk-context, cpc, oli, isub",
            ),
            ("called_from = \"header:\"", "line 4: `gateway.called_from` = \"header:\": not a header name"),
            (
                "country = \"+49\"",
                "line 4: `gateway.country` = \"+49\": not a country code; write its digits only, like \"49\"",
            ),
            (
                "identity = [\"pai\", \"p-asserted\"]",
                "line 4: `gateway.identity` = \"p-asserted\": no such field; choose from pai, ppi, rpid, diversion, history-info, stir",
            ),
            (
                "number_format = \"national\"",
                "line 4: `gateway.number_format` = \"national\": no such form; choose as_is, e164, 00 or no_plus",
            ),
        ],
    );
}

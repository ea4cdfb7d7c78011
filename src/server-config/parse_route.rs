//! `[[route]]`, and targets, which groups have as well.

use super::codecs;
use super::names::{Names, What};
use super::pattern::{Pattern, Template};
use super::route::{
    Action, BridgeMode, DECLINE, Failover, HeaderChange, HeaderOn, HeaderRule, MediaPath, Policy, Route,
    SourceMatch, StatusRange, Strategy, Target, Verstat,
};
use super::srtp;
use super::texts::{app_name, header_name, line, method, network, route_name, status};
use super::{ConfigError, ConfigProblem};
use b2b_config::keys::nearest;
use b2b_config::lines::Text;
use b2b_config::section::Section;
use b2b_config::value::Read;
use b2b_sip::msg::{Method, Scheme, Uri};

/// Keys that apply only to a call that is routed to targets.
const OF_DIAL: [&str; 13] = [
    "strategy",
    "decline",
    "set_called",
    "set_caller",
    "set_caller_name",
    "mode",
    "media",
    "timeout_s",
    "failover",
    "unanswered",
    "headers",
    "codecs",
    "srtp",
];

/// Reads a route; `number` is its position in the file, from 1.
pub(super) fn route(section: &Section<'_>, number: usize, names: &mut Names) -> Result<Route, ConfigError> {
    let name = section.parsed("name", route_name)?;
    if let Some(name) = &name {
        names.add(What::Route, section, "name", name)?;
    }
    let called = section.parsed("called", Pattern::new)?;
    let caller = section.parsed("caller", Pattern::new)?;
    let classes = classes(section, names)?;
    let sources = sources(section, names)?;
    let methods = section.parsed_list("method", method)?;
    let verstat = section.choices("verstat", &Verstat::NAMED)?;
    let action = action(section, called.as_ref(), caller.as_ref(), names)?;
    section.finish();
    Ok(Route {
        name: name.unwrap_or_else(|| format!("#{number}")),
        called,
        caller,
        classes,
        sources,
        verstat,
        methods: if methods.is_empty() { vec![Method::Invite] } else { methods },
        action,
        line: section.line(),
    })
}

fn classes(section: &Section<'_>, names: &Names) -> Result<Vec<String>, ConfigError> {
    let texts = section.texts("class")?;
    for Text { text, at } in texts.iter().filter(|class| !names.has_class(&class.text)) {
        section.refer(*at, Some(names.no_such_class(section.full("class"), text)));
    }
    Ok(texts.into_iter().map(|class| class.text).collect())
}

fn sources(section: &Section<'_>, names: &Names) -> Result<Vec<SourceMatch>, ConfigError> {
    let mut sources = Vec::new();
    for Text { text, at } in section.texts("source")? {
        let source = match text.split_once('/') {
            Some(("gateway", name)) => SourceMatch::Gateway(name.to_string()),
            Some(("user", name)) => SourceMatch::User(name.to_string()),
            _ => match text.as_str() {
                "users" => SourceMatch::Users,
                "trusted" => SourceMatch::Trusted,
                text => SourceMatch::Net(network(text).map_err(|reason| {
                    let also = "or gateway/name, user/name, users, trusted";
                    section.bad("source", at, text, format!("{reason}, {also}"))
                })?),
            },
        };
        let missing = match &source {
            SourceMatch::Gateway(name) => names.no_such(What::Gateway, section.full("source"), name),
            SourceMatch::User(name) => names.no_such(What::User, section.full("source"), name),
            _ => None,
        };
        section.refer(at, missing);
        sources.push(source);
    }
    Ok(sources)
}

fn action(
    section: &Section<'_>,
    called: Option<&Pattern>,
    caller: Option<&Pattern>,
    names: &Names,
) -> Result<Action, ConfigError> {
    let targets = targets(section, "to", called, names)?;
    let reject = section.whole_if_set("reject")?;
    let reason = section.parsed("reason", line)?;
    let app = section.parsed("app", |text| app(text, called))?;
    let policy = policy(section, called, caller, names)?;
    let given: Vec<&str> = ["to", "reject", "app"].into_iter().filter(|key| section.has(key)).collect();
    if let [first, second, ..] = given.as_slice() {
        return Err(section.both(first, second, "a route has one destination; write two routes"));
    }
    if !section.has("to")
        && let Some(key) = OF_DIAL.into_iter().find(|key| section.has(key))
    {
        let reason = format!("`{key}` needs a target; add one: to = \"user/$0\"");
        return Err(section.error(key, ConfigProblem::Missing { key: section.full("to"), reason }));
    }
    if section.has("record") && reject.is_some() {
        let (key, other) = (section.full("record"), section.full("reject"));
        let reason = "a rejected call cannot be recorded; remove one of them".to_string();
        return Err(section.error("record", ConfigProblem::Both { key, other, reason }));
    }
    if reason.is_some() && reject.is_none() {
        return Err(section.error(
            "reason",
            ConfigProblem::Missing {
                key: section.full("reject"),
                reason: "a reason needs a status: reject = 403".into(),
            },
        ));
    }
    match (targets.is_empty(), reject, app) {
        (false, ..) => Ok(Action::Dial { targets, policy: Box::new(policy) }),
        (_, Some(status), _) => Ok(Action::Reject { status, reason }),
        (_, _, Some(name)) => {
            let missing = name.literal().and_then(|name| names.no_such(What::App, section.full("app"), name));
            section.refer(section.place("app"), missing);
            Ok(Action::App { name, record: policy.record })
        }
        (true, None, None) => {
            let reason =
                "the route needs a destination: to = \"user/$0\", reject = 403, or app = \"ivr/main\"";
            Err(section.missing("to", reason))
        }
    }
}

fn policy(
    section: &Section<'_>,
    called: Option<&Pattern>,
    caller: Option<&Pattern>,
    names: &Names,
) -> Result<Policy, ConfigError> {
    let mode = section.choice("mode", &BridgeMode::NAMED)?;
    let headers = headers(section, called)?;
    if !headers.is_empty() && mode != BridgeMode::Translating {
        let reason = "header rules need mode = \"translating\"";
        return Err(section.bad("headers", section.place("headers"), mode.as_str(), reason));
    }
    let unanswered = section.parsed("unanswered", |text| Template::new(text, called))?;
    let literal = unanswered.as_ref().and_then(Template::literal);
    let missing = literal.and_then(|name| names.no_such(What::App, section.full("unanswered"), name));
    section.refer(section.place("unanswered"), missing);
    Ok(Policy {
        strategy: section.choice("strategy", &Strategy::NAMED)?,
        declines_for_all: section.choice("decline", &DECLINE)?,
        set_called: section.parsed("set_called", |text| Template::new(text, called))?,
        set_caller: section.parsed("set_caller", |text| Template::new(text, caller))?,
        set_caller_name: section.parsed("set_caller_name", line)?,
        mode,
        media: section.choice("media", &MediaPath::NAMED)?,
        record: section.switch("record")?,
        timeout: section.seconds_if_set("timeout_s")?,
        failover: failover(section)?.unwrap_or_default(),
        unanswered,
        headers,
        codecs: codecs::codecs(section)?,
        srtp: srtp::srtp(section, None)?,
    })
}

/// A list of targets; templates in them use the groups of `pattern`.
pub(super) fn targets(
    section: &Section<'_>,
    key: &'static str,
    pattern: Option<&Pattern>,
    names: &Names,
) -> Result<Vec<Target>, ConfigError> {
    let mut targets = Vec::new();
    for text in section.texts(key)? {
        let target = target_at(section, key, &text, pattern, names)?;
        if key == "members" {
            member(&target).map_err(|reason| section.bad(key, text.at, &text.text, reason))?;
        }
        targets.push(target);
    }
    if section.has(key) && targets.is_empty() {
        return Err(section.bad(key, section.place(key), "", "no target; add at least one"));
    }
    Ok(targets)
}

/// A target whose name exists.
pub(super) fn target_at(
    section: &Section<'_>,
    key: &'static str,
    Text { text, at }: &Text,
    pattern: Option<&Pattern>,
    names: &Names,
) -> Result<Target, ConfigError> {
    let target = target(text, pattern).map_err(|reason| section.bad(key, *at, text, reason))?;
    let full = section.full(key);
    let missing = match &target {
        Target::User(name) => name.literal().and_then(|name| names.no_such(What::User, full, name)),
        Target::Gateway { name, .. } => names.no_such(What::Gateway, full, name),
        Target::Group(name) => names.no_such(What::Group, full, name),
        Target::Uri(_) => None,
    };
    section.refer(*at, missing);
    Ok(target)
}

/// The same without groups of a pattern.
pub(super) fn fixed_target(
    section: &Section<'_>,
    key: &'static str,
    text: &Text,
    names: &Names,
) -> Result<Target, ConfigError> {
    let target = target_at(section, key, text, None, names)?;
    if !matches!(target, Target::Group(_)) {
        member(&target).map_err(|reason| section.bad(key, text.at, &text.text, reason))?;
    }
    Ok(target)
}

fn target(text: &str, pattern: Option<&Pattern>) -> Read<Target> {
    let fix = "write it like user/1001, gateway/carrier, group/sales or sip:name@host";
    let template = |text: &str| Template::new(text, pattern);
    match text.split_once('/') {
        Some(("user", name)) if !name.is_empty() => template(name).map(Target::User),
        Some(("group", name)) if !name.is_empty() => Ok(Target::Group(name.to_string())),
        Some(("gateway", rest)) if !rest.is_empty() => {
            let (name, number) = match rest.split_once('/') {
                Some((name, number)) => (name, Some(template(number)?)),
                None => (rest, None),
            };
            Ok(Target::Gateway { name: name.to_string(), number })
        }
        Some((kind, rest)) if !kind.contains([':', '@']) => {
            let like = nearest(kind, ["user", "gateway", "group"].into_iter()).unwrap_or("user");
            Err(format!("no such kind of target; did you mean {like}/{rest}? {fix}"))
        }
        _ => uri(text, pattern).map_err(|reason| format!("{reason}; {fix}")),
    }
}

/// What a group may call: a target that does not depend on the called number.
fn member(target: &Target) -> Read<()> {
    let template = match target {
        Target::Group(_) => return Err("a group cannot contain a group; list its members here".to_string()),
        Target::Gateway { name, number: None } => {
            return Err(format!("a gateway needs a number here, like gateway/{name}/+442083661177"));
        }
        Target::User(template) | Target::Uri(template) | Target::Gateway { number: Some(template), .. } => {
            template
        }
    };
    match template.literal() {
        Some(_) => Ok(()),
        None => {
            Err("members of a group cannot use groups of the pattern; write the whole target".to_string())
        }
    }
}

/// A SIP URI. Only its user part may be a template, so that no caller chooses the host.
fn uri(text: &str, pattern: Option<&Pattern>) -> Read<Target> {
    let template = Template::new(text, pattern)?;
    let (_, behind_user) = text.split_once('@').unwrap_or(("", text));
    if behind_user.contains('$') {
        return Err(
            "the host part cannot have a group of the pattern: the caller would choose the host".to_string()
        );
    }
    let example = template.fill("1", None, |filled, _| filled.push('1'));
    let uri = Uri::parse(example.as_bytes()).map_err(|error| format!("not a target: {error}"))?;
    if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
        return Err("not a target".to_string());
    }
    let unspecified = uri.host.and_then(|host| host.ip()).is_some_and(|ip| ip.is_unspecified());
    if uri.host.is_none() || unspecified {
        return Err("its host cannot be called; write a host name or an address".to_string());
    }
    Ok(Target::Uri(template))
}

fn failover(section: &Section<'_>) -> Result<Option<Failover>, ConfigError> {
    let codes = match section.switch_or_codes("failover")? {
        None => return Ok(None),
        Some(Ok(true)) => return Ok(Some(Failover::On(vec![StatusRange(400, 599)]))),
        Some(Ok(false)) => return Ok(Some(Failover::Never)),
        Some(Err(codes)) => codes,
    };
    let range = |code: &Text| {
        status(&code.text).map_err(|reason| section.bad("failover", code.at, &code.text, reason))
    };
    codes.iter().map(range).collect::<Result<_, _>>().map(|ranges| Some(Failover::On(ranges)))
}

fn headers(section: &Section<'_>, called: Option<&Pattern>) -> Result<Vec<HeaderRule>, ConfigError> {
    let mut rules = Vec::new();
    for rule in section.tables("headers")? {
        let value = rule.parsed("value", |text| Template::new(&line(text)?, called))?;
        let on = rule.parsed("on", |text| HeaderOn::NAMED.read(text))?.unwrap_or(HeaderOn::Request);
        let mut named = Vec::new();
        for key in ["add", "remove", "replace", "pass"] {
            named.extend(rule.parsed(key, header_name)?.map(|name| (key, name)));
        }
        rule.finish();
        let Ok([(key, name)]) = <[_; 1]>::try_from(named) else {
            return Err(rule.missing("add", "set exactly one of add, remove, replace and pass"));
        };
        let needed = |value: Option<Template>| {
            value.ok_or_else(|| rule.missing("value", format!("`{key}` needs a value")))
        };
        let change = match (key, value) {
            ("add", value) => HeaderChange::Add(needed(value)?),
            ("replace", value) => HeaderChange::Replace(needed(value)?),
            (_, Some(value)) => {
                let at = rule.place("value");
                return Err(rule.bad("value", at, &value.to_string(), format!("`{key}` takes none")));
            }
            ("remove", None) => HeaderChange::Remove,
            _ => HeaderChange::Pass,
        };
        rules.push(HeaderRule { name, change, on });
    }
    Ok(rules)
}

/// The name of an application. Only its second part may be a template, so that no caller chooses the kind.
fn app(text: &str, called: Option<&Pattern>) -> Read<Template> {
    let template = Template::new(text, called)?;
    if template.literal().is_none() && text.split('/').next().is_some_and(|kind| kind.contains('$')) {
        return Err("the kind cannot have a group of the pattern: the caller would choose it".to_string());
    }
    app_name(&template.fill("1", None, |filled, _| filled.push('1')))?;
    Ok(template)
}

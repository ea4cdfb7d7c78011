//! `[[ivr]]` and its nodes.

use std::time::Duration;

use super::header_fields::header_fields;
use super::name;
use crate::config::Secret;
use crate::config::check::Names;
use crate::config::docs::{SectionDoc, key};
use crate::config::error::{ConfigError, ConfigProblem};
use crate::config::parse::{Outside, secret};
use crate::config::parse_parties::plain_name;
use crate::config::reader::{Read, Section, Text};
use b2b_app::Prompts;
use b2b_app::ivr::{
    ANSWER, Ask, Case, DigitPlan, Does, IvrFlow, Node, RING, SAY, Say, Template, UrlFields, check, menu, say,
};

pub const IVR: SectionDoc = SectionDoc {
    name: "ivr",
    written: "[[ivr]]",
    about: "A menu tree: the application `ivr/` and its name. See [apps/ivr.md](apps/ivr.md).",
    keys: &[
        key("name", "text", "", "Its name."),
        key("start", "name of a node", "", "Where a call begins. Without it: at the first node."),
        key("node", "list of tables", "", "Its nodes, each an `[[ivr.node]]`."),
    ],
};

pub const NODE: SectionDoc = SectionDoc {
    name: "ivr.node",
    written: "[[ivr.node]]",
    about: "A step of a menu tree. Texts may have variables in them: `${caller}`, `${called}`, `${digits}`, those that nodes set. Where a key names a node and is not there, the call is hung up.",
    keys: &[
        key("name", "text", "", "Its name in the tree."),
        key(
            "kind",
            "`play_prompt`, `collect_input`, `menu`, `transfer`, `queue`, `conference`, `voicemail`, `application`, `hangup`, `set`, `branch` or `http`",
            "",
            "What it does.",
        ),
        key(
            "prompt",
            "prompt or list of them",
            "",
            "`play_prompt`, `collect_input`, `menu`: what is said: a file below `[prompts]` folder, `digits:${caller}`, `tone:440:500` (Hz, ms), `silence:500`.",
        ),
        key("next", "name of a node", "", "`play_prompt`, `collect_input`, `set`, `http`: where it goes on."),
        key(
            "choices",
            "{ keys = node }",
            "",
            "`menu`: what may be pressed: `{ 1 = \"sales\", \"*\" = \"again\" }`.",
        ),
        key("variable", "name", r#""digits""#, "`collect_input`: the variable that the digits become."),
        key("min", "0 to 64", "1", "`collect_input`: fewer digits are invalid."),
        key("max", "1 to 64", "20", "`collect_input`: with so many the input is complete."),
        key("terminators", "keys", r##""#""##, "`collect_input`, `menu`: these end the input."),
        key(
            "first_s",
            "1 to 600",
            "5",
            "`collect_input`, `menu`: longest wait for the first digit, from the prompt's end.",
        ),
        key("between_s", "1 to 600", "3", "`collect_input`, `menu`: longest wait for the next one."),
        key(
            "total_s",
            "1 to 3600",
            "30",
            "`collect_input`, `menu`: longest wait for all, from the prompt's end.",
        ),
        key(
            "barge_in",
            "true or false",
            "true",
            "`collect_input`, `menu`: whether the first digit ends the prompt.",
        ),
        key(
            "secret",
            "true or false",
            "false",
            "`collect_input`: what is pressed is in no event, account, trace or log, and its variable in none of the call's: only the flow and the URLs that it asks have it.",
        ),
        key("tries", "1 to 100", "3", "`collect_input`, `menu`: how often the caller is asked."),
        key(
            "no_input",
            "name of a node",
            "",
            "`collect_input`, `menu`: where it goes on after the last try without input.",
        ),
        key(
            "invalid",
            "name of a node",
            "",
            "`collect_input`, `menu`: where it goes on after the last try that was wrong.",
        ),
        key(
            "no_input_prompt",
            "prompt or list of them",
            "",
            "`collect_input`, `menu`: said before the caller is asked again.",
        ),
        key(
            "invalid_prompt",
            "prompt or list of them",
            "",
            "`collect_input`, `menu`: the same after a wrong input.",
        ),
        key(
            "to",
            "text",
            "",
            "`transfer`: whom to dial: `user/1001`, `group/sales`, `gateway/carrier/…`, `sip:…`, or a number, which the routes decide on as if the caller had dialled it. `queue`, `conference`, `voicemail`: the name of one. `application`: `kind/name`.",
        ),
        key("ring_s", "1 to 600", "", "`transfer`: how long each target rings. Without it: 30."),
        key(
            "failed",
            "name of a node",
            "",
            "`transfer`: where it goes on when nobody takes the call (`${transfer_status}` says why). `http`: without an answer that is right.",
        ),
        key("values", "{ variable = text }", "", "`set`: variables and their values, set in this order."),
        key("of", "text", "", "`branch`: the value that is looked at: `${caller}`."),
        key(
            "cases",
            "{ value = node }",
            "",
            "`branch`: where each value leads; `+44*` is a beginning. The first that fits counts.",
        ),
        key("otherwise", "name of a node", "", "`branch`: where any other value leads."),
        key(
            "url",
            "text",
            "",
            "`http`: the URL, `https://…` or `http://…`; it gets a POST with the call's variables as JSON and answers `{\"next\": node, \"variables\": {…}}`. With `https` its certificate is checked against `tls.authorities`, or the system's.",
        ),
        key("token", "text", "", "`http`: sent as `Authorization: Bearer`."),
        key("token_file", "path", "", "`http`: a file with that token in its first line."),
        key(
            "headers",
            "table of texts",
            "",
            "`http`: header fields that are sent with the question: `{ X-Api-Key = \"…\" }`. 16 at most.",
        ),
        key("timeout_s", "1 to 60", "", "`http`: how long an answer may take. Without it: 5."),
        key("nodes", "list of nodes", "", "`http`: nodes that the answer may name. Without it: any."),
    ],
};

/// Keys of every kind, beside `name` and `kind`.
const KINDS: [(&str, &[&str]); 12] = [
    ("play_prompt", &["prompt", "next"]),
    (
        "collect_input",
        &[
            "prompt",
            "next",
            "variable",
            "min",
            "max",
            "terminators",
            "first_s",
            "between_s",
            "total_s",
            "barge_in",
            "secret",
            "tries",
            "no_input",
            "invalid",
            "no_input_prompt",
            "invalid_prompt",
        ],
    ),
    (
        "menu",
        &[
            "prompt",
            "choices",
            "terminators",
            "first_s",
            "between_s",
            "total_s",
            "barge_in",
            "tries",
            "no_input",
            "invalid",
            "no_input_prompt",
            "invalid_prompt",
        ],
    ),
    ("transfer", &["to", "ring_s", "failed"]),
    ("queue", &["to"]),
    ("conference", &["to"]),
    ("voicemail", &["to"]),
    ("application", &["to"]),
    ("hangup", &[]),
    ("set", &["values", "next"]),
    ("branch", &["of", "cases", "otherwise"]),
    ("http", &["url", "token", "token_file", "headers", "timeout_s", "next", "failed", "nodes"]),
];

pub(super) fn ivr(
    section: &Section<'_>,
    prompts: &Prompts,
    outside: &dyn Outside,
    names: &Names,
) -> Result<IvrFlow, ConfigError> {
    let name = name(section)?;
    let start = section.parsed("start", plain_name)?;
    let sections: Vec<Section<'_>> =
        section.items("node", &NODE, false)?.into_iter().filter_map(Result::ok).collect();
    section.finish();
    let nodes = sections
        .iter()
        .map(|section| node(section, prompts, outside, names))
        .collect::<Result<Vec<_>, _>>()?;
    let first = nodes.first().map(|node| node.name.clone());
    let Some(start) = start.or(first) else {
        return Err(section.missing("node", "a menu tree needs at least one [[ivr.node]]"));
    };
    let flow = IvrFlow { name, start, nodes };
    check(&flow, prompts, &|path| outside.is_file(path)).map_err(|error| {
        // Of two nodes of one name the second is too many.
        let named = |node: &Node| error.node.as_ref() == Some(&node.name);
        let at = flow.nodes.iter().rposition(named).and_then(|index| sections.get(index));
        let reason = error.problem.to_string();
        match at {
            Some(at) => at.bad("name", at.at, error.node.as_deref().unwrap_or_default(), reason),
            None => section.bad("start", section.place("start"), &flow.start, reason),
        }
    })?;
    Ok(flow)
}

fn node(
    section: &Section<'_>,
    prompts: &Prompts,
    outside: &dyn Outside,
    names: &Names,
) -> Result<Node, ConfigError> {
    let reason = "the other nodes lead to it by its name, like name = \"welcome\"";
    let name = section.parsed("name", plain_name)?.ok_or_else(|| section.missing("name", reason))?;
    let known: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    let kind = section.parsed("kind", |text| {
        let found = KINDS.iter().find(|(kind, _)| *kind == text);
        found.copied().ok_or_else(|| format!("no such kind; choose {}", known.join(", ")))
    })?;
    let Some((kind, keys)) = kind else {
        return Err(section.missing("kind", format!("say what it does: {}", known.join(", "))));
    };
    let stray = NODE
        .keys
        .iter()
        .map(|key| key.name)
        .find(|key| !matches!(*key, "name" | "kind") && !keys.contains(key) && section.has(key));
    if let Some(key) = stray {
        let reason = format!("a node of the kind {kind} has no such key; it has {}", keys.join(", "));
        return Err(section.bad(key, section.place(key), "…", reason));
    }
    let read = Reading::of(section, prompts, outside)?;
    section.finish();
    let does = read.does(kind, section, names)?;
    Ok(Node { name, does })
}

/// Every key of a node, read; which of them may be there has been looked at before.
struct Reading {
    prompt: Vec<Say>,
    no_input_prompt: Vec<Say>,
    invalid_prompt: Vec<Say>,
    next: Option<String>,
    no_input: Option<String>,
    invalid: Option<String>,
    failed: Option<String>,
    otherwise: Option<String>,
    choices: Vec<(String, String)>,
    cases: Vec<(Case, String)>,
    values: Vec<(String, Template)>,
    to: Option<(Template, usize)>,
    of: Option<Template>,
    url: Option<Template>,
    fields: UrlFields,
    nodes: Vec<String>,
    variable: String,
    min: usize,
    plan: DigitPlan,
    tries: u32,
    ring: Duration,
    timeout: Duration,
}

impl Reading {
    fn of(section: &Section<'_>, prompts: &Prompts, outside: &dyn Outside) -> Result<Self, ConfigError> {
        let node = |key: &'static str| section.parsed(key, plain_name);
        let whole = |key: &'static str, range, usual: u64| {
            Ok::<usize, ConfigError>(section.whole(key, range)?.unwrap_or(usual) as usize)
        };
        let seconds = |key: &'static str, range, usual: Duration| {
            Ok::<Duration, ConfigError>(section.seconds(key, range)?.unwrap_or(usual))
        };
        let leads = |key: &'static str| -> Result<Vec<(String, String)>, ConfigError> {
            let pairs = section.pairs(key)?.into_iter();
            let read = |(name, to): (String, Text)| {
                let node = plain_name(&to.text).map_err(|why| section.bad(key, to.at, &to.text, why))?;
                Ok((name, node))
            };
            pairs.map(read).collect()
        };
        let usual = DigitPlan::new(20);
        let plan = DigitPlan {
            max: whole("max", 1..=64, 20)?,
            terminators: section.parsed("terminators", keys)?.unwrap_or(usual.terminators),
            first: seconds("first_s", 1..=600, usual.first)?,
            between: seconds("between_s", 1..=600, usual.between)?,
            total: seconds("total_s", 1..=3_600, usual.total)?,
            barge_in: section.switch("barge_in")?.unwrap_or(usual.barge_in),
            type_ahead: false,
            secret: section.switch("secret")?.unwrap_or(false),
        };
        let values = section.pairs("values")?.into_iter().map(|(name, value)| {
            let read =
                template(&value.text).map_err(|why| section.bad("values", value.at, &value.text, why))?;
            Ok((name, read))
        });
        let to = match section.text("to")? {
            Some(text) => {
                let read = template(&text.text).map_err(|why| section.bad("to", text.at, &text.text, why))?;
                Some((read, text.at))
            }
            None => None,
        };
        Ok(Reading {
            prompt: said(section, "prompt", prompts)?,
            no_input_prompt: said(section, "no_input_prompt", prompts)?,
            invalid_prompt: said(section, "invalid_prompt", prompts)?,
            next: node("next")?,
            no_input: node("no_input")?,
            invalid: node("invalid")?,
            failed: node("failed")?,
            otherwise: node("otherwise")?,
            choices: leads("choices")?,
            cases: leads("cases")?.into_iter().map(|(value, to)| (Case::new(&value), to)).collect(),
            values: values.collect::<Result<_, ConfigError>>()?,
            to,
            of: section.parsed("of", template)?,
            url: section.parsed("url", url)?,
            fields: fields(section, outside)?,
            nodes: section.parsed_list("nodes", plain_name)?.unwrap_or_default(),
            variable: section.text("variable")?.map_or_else(|| "digits".to_string(), |text| text.text),
            min: whole("min", 0..=64, 1)?,
            plan,
            tries: whole("tries", 1..=100, 3)? as u32,
            ring: seconds("ring_s", 1..=600, RING)?,
            timeout: seconds("timeout_s", 1..=60, ANSWER)?,
        })
    }

    fn does(self, kind: &str, section: &Section<'_>, names: &Names) -> Result<Does, ConfigError> {
        let ask = Ask {
            prompt: self.prompt,
            plan: self.plan,
            tries: self.tries,
            no_input_prompt: self.no_input_prompt,
            invalid_prompt: self.invalid_prompt,
            no_input: self.no_input,
            invalid: self.invalid,
        };
        let wanted =
            |key: &str, like: &str| section.missing(key, format!("this node needs it, like {key} = {like}"));
        let to = |like: &str| self.to.clone().ok_or_else(|| wanted("to", like));
        Ok(match kind {
            "play_prompt" if ask.prompt.is_empty() => return Err(wanted("prompt", "\"welcome.wav\"")),
            "play_prompt" => Does::PlayPrompt { prompt: ask.prompt, next: self.next },
            "collect_input" => {
                Does::CollectInput { ask, variable: self.variable, least: self.min, next: self.next }
            }
            "menu" => menu(ask, self.choices),
            "transfer" => {
                let (to, at) = to("\"user/1001\"")?;
                reached(section, &to, at, names)?;
                Does::Transfer { to, ring: self.ring, failed: self.failed }
            }
            "hangup" => Does::Hangup,
            "set" if self.values.is_empty() => return Err(wanted("values", "{ language = \"en\" }")),
            "set" => Does::Set { values: self.values, next: self.next },
            "branch" => {
                let of = self.of.ok_or_else(|| wanted("of", "\"${caller}\""))?;
                Does::Branch { of, cases: self.cases, otherwise: self.otherwise }
            }
            "http" => {
                let url = self.url.ok_or_else(|| wanted("url", "\"http://127.0.0.1:8000/next\""))?;
                let (next, failed) = (self.next, self.failed);
                let (fields, timeout, may_name) = (self.fields, self.timeout, self.nodes);
                Does::Http { url, fields, timeout, next, failed, may_name }
            }
            kind => {
                let (to, at) = to(if kind == "application" { "\"queue/sales\"" } else { "\"sales\"" })?;
                let app = if kind == "application" { to } else { of_kind(section, kind, &to, at)? };
                if let Some(name) = app.literal()
                    && let Some(problem) = names.no_such_app(section.full("to"), name)
                {
                    return Err(section.lines.error(at, problem));
                }
                Does::Hand { app }
            }
        })
    }
}

/// `queue/` and a name.
fn of_kind(section: &Section<'_>, kind: &str, name: &Template, at: usize) -> Result<Template, ConfigError> {
    let text = format!("{kind}/{name}");
    template(&text).map_err(|why| section.bad("to", at, name.as_str(), why))
}

/// Whether there is whom a transfer names.
fn reached(section: &Section<'_>, to: &Template, at: usize, names: &Names) -> Result<(), ConfigError> {
    let key = section.full("to");
    let problem: Option<ConfigProblem> = match to.as_str().split_once('/') {
        Some(("user", name)) if to.literal().is_some() => names.no_such_user(key, name),
        Some(("group", name)) if to.literal().is_some() => names.no_such_group(key, name),
        Some(("gateway", rest)) => names.no_such_gateway(key, rest.split('/').next().unwrap_or_default()),
        Some(("user" | "group", _)) | None => None,
        Some(_) if to.as_str().starts_with("sip") => None,
        Some(_) => to.literal().and_then(|name| names.no_such_app(key, name)),
    };
    problem.map_or(Ok(()), |problem| Err(section.lines.error(at, problem)))
}

fn said(section: &Section<'_>, key: &'static str, prompts: &Prompts) -> Result<Vec<Say>, ConfigError> {
    let one = |Text { text, at }| match say(&text, prompts) {
        Some(Ok(say)) => Ok(say),
        Some(Err(error)) => Err(section.bad(key, at, &text, error.to_string())),
        None => Err(section.bad(key, at, &text, format!("it is nothing to be said; {SAY}"))),
    };
    section.texts(key)?.unwrap_or_default().into_iter().map(one).collect()
}

fn template(text: &str) -> Read<Template> {
    Template::new(text).map_err(|error| error.to_string())
}

/// Of HTTP, with a host that no variable has a say in.
fn url(text: &str) -> Read<Template> {
    let template = template(text)?;
    let begins = template.beginning();
    let rest = begins.strip_prefix("https://").or_else(|| begins.strip_prefix("http://"));
    let path = rest.and_then(|rest| rest.find(['/', '?']));
    let is_right = rest.is_some_and(|rest| match path {
        Some(at) => at > 0,
        None => !rest.is_empty() && template.literal().is_some(),
    });
    if is_right && !rest.is_some_and(|rest| rest[..path.unwrap_or(rest.len())].contains('@')) {
        return Ok(template);
    }
    Err("not a URL; write it like https://crm.example/next, without variables in the host; what it is to \
         know stands in token or headers"
        .to_string())
}

/// What `http` sends beside its question.
fn fields(section: &Section<'_>, outside: &dyn Outside) -> Result<UrlFields, ConfigError> {
    let mut fields = header_fields(section, &["content-type", "accept"])?;
    if let Some(token) = secret(section, ["token", "token_file"], outside)? {
        if !token.reveal().bytes().all(|octet| octet.is_ascii_graphic()) {
            let why = "it has characters that cannot be sent; use plain ASCII without spaces";
            let key = if section.has("token") { "token" } else { "token_file" };
            return Err(section.bad(key, section.place(key), "…", why));
        }
        fields.push(("Authorization".to_owned(), Secret::new(format!("Bearer {}", token.reveal()))));
    }
    Ok(fields)
}

fn keys(text: &str) -> Read<String> {
    match text.chars().all(|c| matches!(c, '0'..='9' | '*' | '#' | 'A'..='D')) {
        true => Ok(text.to_string()),
        false => Err("not keys of a telephone; they are 0 to 9, *, # and A to D".to_string()),
    }
}

#[cfg(test)]
#[path = "ivr_tests.rs"]
mod tests;

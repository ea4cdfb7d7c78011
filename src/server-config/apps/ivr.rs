//! `[[ivr]]` and its nodes.

use std::time::Duration;

use super::header_fields::header_fields;
use super::name;
use crate::names::{Names, What};
use crate::outside::{Outside, secret};
use crate::texts::{NAME, PATH, plain_name};
use crate::{ConfigError, Secret};
use b2b_app::Prompts;
use b2b_app::ivr::{
    ANSWER, Ask, Case, DigitPlan, Does, IvrFlow, Node, SAY, Say, Template, UrlFields, check, menu, say,
};
use b2b_config::lines::Text;
use b2b_config::section::Section;
use b2b_config::table::Takes::{self, Choice, Pairs, Switch, Tables, Texts, Whole};
use b2b_config::table::{Named, TEXT, Table, any};
use b2b_config::value::Read;
use b2b_config::{rows, text, texts};

const NODE_NAME: Takes = text!("name of a node", plain_name);

pub const IVR: Table = Table {
    name: "ivr",
    written: "[[ivr]]",
    about: "A menu tree: the application `ivr/` and its name. See [apps/ivr.md](apps/ivr.md).",
    keys: rows! {
        name: NAME, "Its name.";
        start: NODE_NAME, "The node where a call starts. Without it: the first node.";
        node: Tables("list of tables", &NODE), "Its nodes, each an `[[ivr.node]]`.";
    },
};

pub const NODE: Table = Table {
    name: "ivr.node",
    written: "[[ivr.node]]",
    about: "A step of a menu tree. Texts may contain variables: `${caller}`, `${called}`, `${digits}`, and those that nodes set. If a key that names a node is absent, the call is hung up.",
    keys: rows! {
        name: NAME, "Its name in the tree.";
        kind: Choice(&KINDS), "What it does.";
        prompt: Texts("prompt or list of them", any),
            "`play_prompt`, `collect_input`, `menu`: the prompt: a file below `[prompts]` folder, `digits:${caller}`, `tone:440:500` (Hz, ms), `silence:500`.";
        next: NODE_NAME, "`play_prompt`, `collect_input`, `set`, `http`: the next node.";
        choices: Pairs("{ keys = node }"),
            "`menu`: the keys and their nodes: `{ 1 = \"sales\", \"*\" = \"again\" }`.";
        variable: Takes::Text("name", any) => "digits", "`collect_input`: the variable that gets the digits.";
        min: Whole(0, 64) => 1, "`collect_input`: fewer digits are invalid.";
        max: Whole(1, 64) => 20, "`collect_input`: the input is complete with this many digits.";
        terminators: text!("keys", keys) => "#", "`collect_input`, `menu`: the keys that end the input.";
        first_s: Whole(1, 600) => 5,
            "`collect_input`, `menu`: the longest wait for the first digit after the prompt.";
        between_s: Whole(1, 600) => 3, "`collect_input`, `menu`: the longest wait for the next digit.";
        total_s: Whole(1, 3_600) => 30,
            "`collect_input`, `menu`: the longest wait for all digits after the prompt.";
        barge_in: Switch => true, "`collect_input`, `menu`: whether the first digit stops the prompt.";
        secret: Switch => false,
            "`collect_input`: whether the digits are kept out of every event, call history, trace and log, and the variable out of the call's variables: only the flow and its webhooks get them.";
        tries: Whole(1, 100) => 3, "`collect_input`, `menu`: how many times the caller is asked.";
        no_input: NODE_NAME, "`collect_input`, `menu`: the node after the last try without input.";
        invalid: NODE_NAME, "`collect_input`, `menu`: the node after the last invalid try.";
        no_input_prompt: Texts("prompt or list of them", any),
            "`collect_input`, `menu`: the prompt before the caller is asked again.";
        invalid_prompt: Texts("prompt or list of them", any),
            "`collect_input`, `menu`: the same after an invalid input.";
        to: TEXT,
            "`transfer`: the target: `user/1001`, `group/sales`, `gateway/carrier/…`, `sip:…`, or a number, which is routed as if the caller had dialled it. `queue`, `conference`, `voicemail`: its name. `application`: `kind/name`.";
        ring_s: Whole(1, 600), "`transfer`: how long the target rings, a group with all of its members. Without it: as its group or route says, otherwise 30.";
        early_media: Switch => true,
            "`transfer`: whether the caller hears early media of the target (an announcement, another ringing tone) instead of b2b's ringback.";
        failed: NODE_NAME,
            "`transfer`: the node if no target answers (`${transfer_status}` has the reason). `http`: the node without a valid response.";
        values: Pairs("{ variable = text }"), "`set`: variables and their values, set in this order.";
        of: text!("text", template), "`branch`: the value that is compared: `${caller}`.";
        cases: Pairs("{ value = node }"),
            "`branch`: the node for each value; `+44*` is a prefix. The first match applies.";
        otherwise: NODE_NAME, "`branch`: the node for any other value.";
        url: text!("text", url),
            "`http`: the URL of the webhook, `https://…` or `http://…`; it gets a POST with the call's variables as JSON and responds with `{\"next\": node, \"variables\": {…}}`. With `https` its certificate is checked against `tls.authorities`, or the system's.";
        token: Takes::Secret("text"), "`http`: sent as `Authorization: Bearer`.";
        token_file: PATH, "`http`: a file with that token in its first line.";
        headers: Pairs("table of texts"),
            "`http`: header fields of the request: `{ X-Api-Key = \"…\" }`. 16 at most.";
        timeout_s: Whole(1, 60), "`http`: how long the response may take. Without it: 5.";
        nodes: texts!("list of nodes", plain_name),
            "`http`: the nodes that the response may name. Without it: any.";
    },
};

/// The kinds of nodes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    PlayPrompt,
    CollectInput,
    Menu,
    Transfer,
    /// An application, of this kind or of any.
    Hand(Option<&'static str>),
    Hangup,
    Set,
    Branch,
    Http,
}

const KINDS: Named<Kind> = Named {
    refusal: "no such kind; choose",
    values: &[
        ("play_prompt", Kind::PlayPrompt),
        ("collect_input", Kind::CollectInput),
        ("menu", Kind::Menu),
        ("transfer", Kind::Transfer),
        ("queue", Kind::Hand(Some("queue"))),
        ("conference", Kind::Hand(Some("conference"))),
        ("voicemail", Kind::Hand(Some("voicemail"))),
        ("application", Kind::Hand(None)),
        ("hangup", Kind::Hangup),
        ("set", Kind::Set),
        ("branch", Kind::Branch),
        ("http", Kind::Http),
    ],
};

impl Kind {
    /// Its keys, beside `name` and `kind`.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Kind::PlayPrompt => &["prompt", "next"],
            Kind::CollectInput => &[
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
            Kind::Menu => &[
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
            Kind::Transfer => &["to", "ring_s", "early_media", "failed"],
            Kind::Hand(_) => &["to"],
            Kind::Hangup => &[],
            Kind::Set => &["values", "next"],
            Kind::Branch => &["of", "cases", "otherwise"],
            Kind::Http => &["url", "token", "token_file", "headers", "timeout_s", "next", "failed", "nodes"],
        }
    }
}

pub(super) fn ivr(
    section: &Section<'_>,
    prompts: &Prompts,
    outside: &dyn Outside,
    names: &Names,
) -> Result<IvrFlow, ConfigError> {
    let name = name(section)?;
    let start = section.parsed("start", plain_name)?;
    let sections = section.tables("node")?;
    section.finish();
    let nodes = sections.iter().map(|section| node(section, prompts, outside, names));
    let nodes: Vec<Option<Node>> = nodes.map(|node| section.lines.sound(node)).collect();
    // references between nodes are checked only once every node is valid
    let Some(nodes) = nodes.into_iter().collect::<Option<Vec<Node>>>() else {
        return Ok(IvrFlow { name, start: String::new(), nodes: Vec::new() });
    };
    let first = nodes.first().map(|node| node.name.clone());
    let Some(start) = start.or(first) else {
        return Err(section.missing("node", "a menu tree needs at least one [[ivr.node]]"));
    };
    let flow = IvrFlow { name, start, nodes };
    check(&flow, prompts, &|path| outside.sound(path)).map_err(|error| {
        // Of two nodes with one name, the second is the duplicate.
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
    let reason = "other nodes refer to it by its name, like name = \"welcome\"";
    let name = section.needed("name", plain_name, reason)?;
    let Some(Text { text, at }) = section.text("kind")? else {
        let known: Vec<&str> = KINDS.values.iter().map(|(kind, _)| *kind).collect();
        return Err(section.missing("kind", format!("set its kind: {}", known.join(", "))));
    };
    let kind = KINDS.read(&text).map_err(|why| section.bad("kind", at, &text, why))?;
    let keys = kind.keys();
    let stray = NODE
        .keys
        .iter()
        .map(|key| key.name)
        .find(|key| !matches!(*key, "name" | "kind") && !keys.contains(key) && section.has(key));
    if let Some(key) = stray {
        let reason = format!("a node of the kind {text} has no such key; it has {}", keys.join(", "));
        return Err(section.bad(key, section.place(key), "…", reason));
    }
    let read = Reading::of(section, prompts, outside)?;
    section.finish();
    let does = read.does(kind, section, names)?;
    Ok(Node { name, does })
}

/// All keys of a node, as read; whether they are permitted has been checked before.
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
    ring: Option<Duration>,
    early_media: bool,
    timeout: Duration,
}

impl Reading {
    fn of(section: &Section<'_>, prompts: &Prompts, outside: &dyn Outside) -> Result<Self, ConfigError> {
        let node = |key: &'static str| section.parsed(key, plain_name);
        let leads = |key: &'static str| -> Result<Vec<(String, String)>, ConfigError> {
            let pairs = section.pairs(key)?.into_iter();
            let read = |(name, to): (String, Text)| {
                let node = plain_name(&to.text).map_err(|why| section.bad(key, to.at, &to.text, why))?;
                Ok((name, node))
            };
            pairs.map(read).collect()
        };
        let plan = DigitPlan {
            max: section.whole("max")?,
            terminators: section.parsed_or_default("terminators", keys)?,
            first: section.seconds("first_s")?,
            between: section.seconds("between_s")?,
            total: section.seconds("total_s")?,
            barge_in: section.switch("barge_in")?,
            type_ahead: false,
            secret: section.switch("secret")?,
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
            nodes: section.parsed_list("nodes", plain_name)?,
            variable: section.parsed_or_default("variable", |text| Ok(text.to_string()))?,
            min: section.whole("min")?,
            plan,
            tries: section.whole("tries")?,
            ring: section.seconds_if_set("ring_s")?,
            early_media: section.switch("early_media")?,
            timeout: section.seconds_if_set("timeout_s")?.unwrap_or(ANSWER),
        })
    }

    fn does(self, kind: Kind, section: &Section<'_>, names: &Names) -> Result<Does, ConfigError> {
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
            Kind::PlayPrompt if ask.prompt.is_empty() => return Err(wanted("prompt", "\"welcome.wav\"")),
            Kind::PlayPrompt => Does::PlayPrompt { prompt: ask.prompt, next: self.next },
            Kind::CollectInput => {
                Does::CollectInput { ask, variable: self.variable, least: self.min, next: self.next }
            }
            Kind::Menu => menu(ask, self.choices),
            Kind::Transfer => {
                let (to, at) = to("\"user/1001\"")?;
                reached(section, &to, at, names);
                Does::Transfer { to, ring: self.ring, early_media: self.early_media, failed: self.failed }
            }
            Kind::Hangup => Does::Hangup,
            Kind::Set if self.values.is_empty() => return Err(wanted("values", "{ language = \"en\" }")),
            Kind::Set => Does::Set { values: self.values, next: self.next },
            Kind::Branch => {
                let of = self.of.ok_or_else(|| wanted("of", "\"${caller}\""))?;
                Does::Branch { of, cases: self.cases, otherwise: self.otherwise }
            }
            Kind::Http => {
                let url = self.url.ok_or_else(|| wanted("url", "\"http://127.0.0.1:8000/next\""))?;
                let (next, failed) = (self.next, self.failed);
                let (fields, timeout, may_name) = (self.fields, self.timeout, self.nodes);
                Does::Http { url, fields, timeout, next, failed, may_name }
            }
            Kind::Hand(kind) => {
                let (to, at) = to(if kind.is_some() { "\"sales\"" } else { "\"queue/sales\"" })?;
                let app = match kind {
                    Some(kind) => of_kind(section, kind, &to, at)?,
                    None => to,
                };
                let missing =
                    app.literal().and_then(|name| names.no_such(What::App, section.full("to"), name));
                section.refer(at, missing);
                Does::Hand { app }
            }
        })
    }
}

/// Makes `kind/name`, such as `queue/sales`.
fn of_kind(section: &Section<'_>, kind: &str, name: &Template, at: usize) -> Result<Template, ConfigError> {
    let text = format!("{kind}/{name}");
    template(&text).map_err(|why| section.bad("to", at, name.as_str(), why))
}

/// Reports a transfer to a party that does not exist.
fn reached(section: &Section<'_>, to: &Template, at: usize, names: &Names) {
    let key = section.full("to");
    let problem = match to.as_str().split_once('/') {
        Some(("user", name)) if to.literal().is_some() => names.no_such(What::User, key, name),
        Some(("group", name)) if to.literal().is_some() => names.no_such(What::Group, key, name),
        Some(("gateway", rest)) => {
            names.no_such(What::Gateway, key, rest.split('/').next().unwrap_or_default())
        }
        Some(("user" | "group", _)) | None => None,
        Some(_) if to.as_str().starts_with("sip") => None,
        Some(_) => to.literal().and_then(|name| names.no_such(What::App, key, name)),
    };
    section.refer(at, problem);
}

fn said(section: &Section<'_>, key: &'static str, prompts: &Prompts) -> Result<Vec<Say>, ConfigError> {
    let one = |Text { text, at }| match say(&text, prompts) {
        Some(Ok(say)) => Ok(say),
        Some(Err(error)) => Err(section.bad(key, at, &text, error.to_string())),
        None => Err(section.bad(key, at, &text, format!("it is not a prompt; {SAY}"))),
    };
    section.texts(key)?.into_iter().map(one).collect()
}

fn template(text: &str) -> Read<Template> {
    Template::new(text).map_err(|error| error.to_string())
}

/// An HTTP URL whose host contains no variable.
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

/// The header fields that `http` sends with its query.
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
mod tests;

//! `docs/providers.md`: a section for each profile.

use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::profiles::{TEXT, string, tables};

/// The text before the sections.
const HEAD: &str = "# Providers

<!-- written by tests/server/profiles.rs from src/server/config/profiles.toml -->

A `profile` gives a gateway the keys that its provider wants. Every key that the configuration has wins, and all others
are as [server.md](server.md) says. What would leave is shown without sending anything:

<!-- not run: NAME is a gateway of yours; gateways.md explains one -->
```sh
b2b --role b2bua --config b2bua.toml --explain-gateway NAME --to +442079460001
```

Of each key the tables say why it is so, and who says that: the page that was read (a stored copy of it, on 2026-11-23),
*review* (our review of public pages and issues of 2026-11-22; the page was not read again), *not verified* (from
experience: look before you rely on it), or *choice* (no fact of theirs, but a decision of ours). No account of any of
them was there to try this with: `tests/interop/trunks.rs` asserts on the wire what leaves and what never does, with
providers that it emulates, and no more.

A profile has no password, no number and no network of a provider in it: `sources`, from where its calls may come without
a password, is yours to write. Lists of networks change, and an old one lets strangers in.

In no profile, and yours to write: `listener`, `ptime`, `dtmf`, `early_media`, and REFER towards the provider
(the command `transfer`). What a provider wants of these is not known to us, or depends on what you have there.
";

/// The page.
pub fn markdown() -> String {
    let mut page = HEAD.to_string();
    let text = DeTable::parse(TEXT).map(Spanned::into_inner).unwrap_or_default();
    for profile in tables(&text, "profile") {
        section(&mut page, profile);
    }
    page
}

fn section(page: &mut String, profile: &DeTable<'_>) {
    let of = |key: &str| string(profile, key).unwrap_or_default();
    let _ = write!(page, "\n## {}\n\n`profile = \"{}\"`. {}\n", of("title"), of("name"), of("about"));
    let _ = write!(page, "\n```toml\n{}```\n\nWhat it wants:\n\n", of("example"));
    list(page, profile, "wants");
    page.push_str("\nWhat leaves, and what never does:\n\n");
    let _ = writeln!(page, "- leaves: {}", joined(profile, "must"));
    let _ = writeln!(page, "- never: {}", joined(profile, "never"));
    page.push_str("\n| key | value | why | who says so |\n|---|---|---|---|\n");
    for key in tables(profile, "key") {
        let of = |name: &str| string(key, name).unwrap_or_default();
        let value = key.get("value").map(|value| written(value.get_ref())).unwrap_or_default();
        let source = match of("source") {
            page if page.starts_with("https://") => format!("<{page}>"),
            mark => format!("*{mark}*"),
        };
        let _ = writeln!(page, "| `{}` | `{value}` | {} | {source} |", of("key"), of("why"));
    }
    if !texts(profile, "missing").is_empty() {
        page.push_str("\nNot there:\n\n");
        list(page, profile, "missing");
    }
}

fn texts<'t>(of: &'t DeTable<'_>, key: &str) -> Vec<&'t str> {
    match of.get(key).map(Spanned::get_ref) {
        Some(DeValue::Array(items)) => items.iter().filter_map(|item| item.get_ref().as_str()).collect(),
        _ => Vec::new(),
    }
}

fn joined(of: &DeTable<'_>, key: &str) -> String {
    texts(of, key).join("; ")
}

fn list(page: &mut String, of: &DeTable<'_>, key: &str) {
    for text in texts(of, key) {
        let _ = writeln!(page, "- {text}");
    }
}

/// A value as TOML.
fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(switch) => switch.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| written(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let pair = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                format!("{} = {}", key.get_ref(), written(value.get_ref()))
            };
            let pairs: Vec<String> = table.iter().map(pair).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        DeValue::Float(number) => number.to_string(),
        DeValue::Datetime(time) => time.to_string(),
    }
}

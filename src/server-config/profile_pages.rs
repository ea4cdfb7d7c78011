//! `docs/providers.md`: a section for each profile.

use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::profiles::{TEXT, string, tables};

/// The text before the sections.
const HEAD: &str = "# Providers

<!-- written by tests/server/profiles.rs from src/server-config/profiles.toml -->

A `profile` sets the keys of a gateway that its provider requires. Keys in the configuration take precedence; all others
have the defaults of [server.md](server.md). This prints the requests that b2b would send, without sending them:

<!-- not run: NAME is a gateway of yours; gateways.md explains one -->
```sh
b2b b2bua --config b2bua.toml --explain-gateway NAME --to +442079460001
```

The tables give the reason and the source of each key: the URL of a page (read in a stored copy on 2026-11-23), *review*
(our review of public pages and issues on 2026-11-22; the page was not read again), *not verified* (from experience:
check it before you rely on it), or *choice* (our decision, not a requirement of the provider). We had no account at any
provider: `tests/interop/trunks.rs` checks on the wire what b2b sends and what it never sends, with emulated providers
only.

A profile contains no password, no number and no network of a provider. Set `sources`, the addresses that may call
without a password, yourself: lists of networks change, and an outdated one admits strangers.

No profile sets `listener`, `ptime`, `dtmf` or `early_media`, or decides about REFER to the provider (the command
`transfer`). The requirements of providers for these are not known to us, or depend on your account.
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
    let _ = write!(page, "\n```toml\n{}```\n\nRequirements:\n\n", of("example"));
    list(page, profile, "wants");
    page.push_str("\nWhat b2b sends:\n\n");
    let _ = writeln!(page, "- always: {}", joined(profile, "must"));
    let _ = writeln!(page, "- never: {}", joined(profile, "never"));
    page.push_str("\n| key | value | reason | source |\n|---|---|---|---|\n");
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
        page.push_str("\nNot supported, or left to you:\n\n");
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

//! `docs/providers.md`: a section for each profile.

use std::fmt::Write as _;

use b2b::server::config::profiles::TEXT;
use toml::{Table, Value};

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
    let text: Table = TEXT.parse().expect("profiles");
    for profile in tables(&text, "profile") {
        section(&mut page, profile);
    }
    page
}

fn section(page: &mut String, profile: &Table) {
    let of = |key: &str| string(profile, key);
    let _ = write!(page, "\n## {}\n\n`profile = \"{}\"`. {}\n", of("title"), of("name"), of("about"));
    let _ = write!(page, "\n```toml\n{}```\n\nRequirements:\n\n", of("example"));
    list(page, profile, "wants");
    page.push_str("\nWhat b2b sends:\n\n");
    let _ = writeln!(page, "- always: {}", texts(profile, "must").join("; "));
    let _ = writeln!(page, "- never: {}", texts(profile, "never").join("; "));
    page.push_str("\n| key | value | reason | source |\n|---|---|---|---|\n");
    for key in tables(profile, "key") {
        let source = match string(key, "source") {
            page if page.starts_with("https://") => format!("<{page}>"),
            mark => format!("*{mark}*"),
        };
        let (name, why) = (string(key, "key"), string(key, "why"));
        let _ = writeln!(page, "| `{name}` | `{}` | {why} | {source} |", written(&key["value"]));
    }
    if !texts(profile, "missing").is_empty() {
        page.push_str("\nNot supported, or left to you:\n\n");
        list(page, profile, "missing");
    }
}

fn array<'t>(of: &'t Table, key: &str) -> &'t [Value] {
    of.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn tables<'t>(of: &'t Table, key: &str) -> impl Iterator<Item = &'t Table> {
    array(of, key).iter().filter_map(Value::as_table)
}

fn texts<'t>(of: &'t Table, key: &str) -> Vec<&'t str> {
    array(of, key).iter().filter_map(Value::as_str).collect()
}

fn string<'t>(of: &'t Table, key: &str) -> &'t str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list(page: &mut String, of: &Table, key: &str) {
    for text in texts(of, key) {
        let _ = writeln!(page, "- {text}");
    }
}

/// A value as TOML.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(written).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(table) => {
            let pairs: Vec<String> =
                table.iter().map(|(key, value)| format!("{key} = {}", written(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        plain => plain.to_string(),
    }
}

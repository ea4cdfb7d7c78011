//! The tables of keys as Markdown, for `docs/server.md`.

use std::fmt::Write as _;

use super::sections::SECTIONS;
use b2b_config::table::Applies;

/// The tables as Markdown.
pub fn markdown() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        let _ = write!(text, "### {}\n\n{}\n\n", heading(section.written), section.about);
        text.push_str("| key | takes | default | meaning |\n|---|---|---|---|\n");
        for key in section.keys {
            // The compiler has broken long ones into lines.
            let default = key.default.replace('\n', " ");
            let default = if default.is_empty() { default } else { format!("`{default}`") };
            let restart = if key.applies == Applies::AtRestart { " *Takes a restart.*" } else { "" };
            let _ = writeln!(
                text,
                "| `{}` | {} | {default} | {}{restart} |",
                key.name,
                key.takes.words(),
                key.about
            );
        }
        text.push('\n');
    }
    text
}

fn heading(written: &str) -> String {
    if written.contains('`') { written.to_string() } else { format!("`{written}`") }
}

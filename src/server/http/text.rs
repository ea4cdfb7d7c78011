//! The text format of Prometheus, version 0.0.4: a few kinds of lines, written plainly
//! because what is counted lives elsewhere and there is nothing to register.

use std::fmt::{Display, Write};

/// As Prometheus asks for it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; its name ends in `_total`.
    Counter,
    Gauge,
}

/// A page of metrics.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// One number.
    pub fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.head(name, kind, help);
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// One number for each value of a label. The label has few values: each is a series
    /// that Prometheus keeps.
    pub fn each<L: Display, V: Display>(
        &mut self,
        name: &str,
        label: &str,
        kind: Kind,
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) {
        self.head(name, kind, help);
        for (of, value) in values {
            let of = of.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = writeln!(self.0, "{name}{{{label}=\"{of}\"}} {value}");
        }
    }

    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// The page.
    pub fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_head_for_each_name_and_escapes_labels() {
        let mut page = Page::default();
        page.one("b2b_calls", Kind::Gauge, "Calls now.", 3);
        page.each("b2b_up", "gateway", Kind::Gauge, "Up.", [("a\"b\\c\n", 1), ("d", 0)]);
        assert_eq!(
            page.finish(),
            "# HELP b2b_calls Calls now.\n# TYPE b2b_calls gauge\nb2b_calls 3\n\
             # HELP b2b_up Up.\n# TYPE b2b_up gauge\nb2b_up{gateway=\"a\\\"b\\\\c\\n\"} 1\nb2b_up{gateway=\"d\"} 0\n"
        );
    }
}

//! The text format of Prometheus, version 0.0.4: only a few kinds of lines, written directly, because the
//! values live elsewhere and nothing has to be registered.

use std::fmt::{Display, Write};

use crate::call_figures::Histogram;

/// The content type that Prometheus expects.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only increases; its name ends in `_total`.
    Counter,
    Gauge,
    Histogram,
}

/// Escapes the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A page of metrics.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Writes a metric with one value.
    pub fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.head(name, kind, help);
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// Writes a metric with one value for each value of a label. The label must have few values: each is a
    /// series that Prometheus stores.
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
            let _ = writeln!(self.0, "{name}{{{label}=\"{}\"}} {value}", escaped(&of.to_string()));
        }
    }

    /// Writes a histogram.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, Kind::Histogram, help);
        let mut all = 0;
        for (bound, count) in histogram.buckets() {
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{bound}\"}} {count}");
            all = count;
        }
        let _ = writeln!(self.0, "{name}_sum {}\n{name}_count {all}", histogram.sum());
    }

    /// Writes a metric with one value for each pair of values of two labels, which must have few values.
    pub fn each_of_two<V: Display>(
        &mut self,
        name: &str,
        [outer, inner]: [&str; 2],
        help: &str,
        values: impl IntoIterator<Item = (String, &'static str, V)>,
    ) {
        self.head(name, Kind::Counter, help);
        for (of, and, value) in values {
            let _ = writeln!(self.0, "{name}{{{outer}=\"{}\",{inner}=\"{and}\"}} {value}", escaped(&of));
        }
    }

    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
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
    fn two_labels_make_a_series_for_each_pair() {
        let mut page = Page::default();
        page.each_of_two("b2b_x_total", ["gateway", "result"], "X.", [("a\"".to_owned(), "ok", 3)]);
        assert_eq!(
            page.finish(),
            "# HELP b2b_x_total X.\n# TYPE b2b_x_total counter\nb2b_x_total{gateway=\"a\\\"\",result=\"ok\"} 3\n"
        );
    }

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

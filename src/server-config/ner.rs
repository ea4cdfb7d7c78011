//! `ner` of a gateway: the share of its calls that has to get through.

use std::time::Duration;

use super::ConfigError;
use b2b_config::rows;
use b2b_config::section::Section;
use b2b_config::table::Takes::Whole;
use b2b_config::table::{Named, Table};

/// When a gateway is taken out of use for its network effectiveness ratio (ITU-T E.425).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NerRules {
    /// The bound, in percent.
    pub below: u8,
    /// The number of last calls that count.
    pub calls: usize,
    /// The maximum age of calls that count.
    pub window: Duration,
    /// Time out of use, before one call tries the gateway.
    pub out: Duration,
}

/// The word that may stand instead of a table.
pub(super) const WORDS: Named<()> = Named { refusal: "no such choice; write", values: &[("off", ())] };

pub const NER: Table = Table {
    name: "ner",
    written: "{ … } in `ner`",
    about: "When a gateway is taken out of service because too few of its calls succeed. See `docs/gateways.md`, Failing calls (`ner`).",
    keys: rows! {
        below: Whole(1, 100) => 50,
            "In percent: the gateway is taken out of service when a smaller share of its last calls was effective.";
        calls: Whole(3, 1_000) => 20, "How many of its last calls count; fewer calls decide nothing.";
        window_s: Whole(10, 86_400) => 300, "Calls that were decided earlier do not count.";
        out_s: Whole(1, 86_400) => 60, "How long it is out of service before one call tries it.";
    },
};

/// Reads a gateway's `ner`; `None`: off.
pub(super) fn ner(section: &Section<'_>) -> Result<Option<NerRules>, ConfigError> {
    match section.choice_or_table("ner")? {
        None => Ok(None),
        Some(Ok(word)) => {
            let read = WORDS.read(&word.text).map_err(|why| section.bad("ner", word.at, &word.text, why));
            read.map(|()| None)
        }
        Some(Err(table)) => {
            let rules = NerRules {
                below: table.whole("below")?,
                calls: table.whole("calls")?,
                window: table.seconds("window_s")?,
                out: table.seconds("out_s")?,
            };
            table.finish();
            Ok(Some(rules))
        }
    }
}

//! The output of a load during the run: a status line redrawn each second on a terminal, otherwise a line at
//! intervals.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use super::config::LoadConfig;
use super::figures::Figures;
use crate::results::console::Console;
use b2b_base::logging;

/// Redraw interval of the status line.
const DRAWN: Duration = Duration::from_secs(1);
/// Interval of lines without a terminal.
const SAID: Duration = Duration::from_secs(5);

/// The progress output of a load.
pub struct Live {
    console: Console,
    began: Instant,
    told: Instant,
    /// Calls that had begun by then.
    begun: u64,
}

impl Live {
    /// Writes to standard output; log lines appear above the status line if both are on a terminal.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(config: &LoadConfig, now: Instant) -> std::io::Result<Self> {
        let console = Console::of_stdout()?;
        let (level, format) = config.log;
        let color = config.color.on_stderr();
        if console.has_status() && std::io::stderr().is_terminal() {
            let lines = console.clone();
            logging::init_with("load", level, format, color, Box::new(move |line| lines.line(line)));
        } else {
            logging::init("load", level, format, color);
        }
        Ok(Live { console, began: now, told: now, begun: 0 })
    }

    /// Prints a line.
    pub fn say(&self, line: String) {
        self.console.important_line(line, || true);
    }

    /// Reports progress, if due. `late`: lateness of the generator, percent of the time.
    pub fn tell(&mut self, now: Instant, figures: &Figures, under_way: usize, late: f64) {
        let every = if self.console.has_status() { DRAWN } else { SAID };
        let since = now.saturating_duration_since(self.told);
        if since < every {
            return;
        }
        let begun = figures.main().begun;
        let rate = begun.saturating_sub(self.begun) as f64 / since.as_secs_f64();
        (self.told, self.begun) = (now, begun);
        let line = line(figures, now.saturating_duration_since(self.began), rate, under_way, late);
        if self.console.has_status() {
            self.console.status(line);
        } else {
            tracing::info!("{line}");
        }
    }

    /// Prints the last lines, and waits until they are written.
    pub fn finish(&self, lines: Vec<String>) {
        self.console.status(String::new());
        lines.into_iter().for_each(|line| self.say(line));
        self.console.finish(|| true);
    }
}

fn line(figures: &Figures, since: Duration, rate: f64, under_way: usize, late: f64) -> String {
    let side = figures.main();
    let setup = match figures.setup.count() {
        0 => String::new(),
        _ => {
            let [p50, p99] = [50.0, 99.0].map(|percent| figures.setup.percentile_ms(percent));
            format!(", setup {p50:.1} ms, p99 {p99:.1}")
        }
    };
    format!(
        "{} s: {rate:.1} calls/s, {under_way} legs under way, {} begun, {} answered, {} failed{setup}, late {late:.2} %",
        since.as_secs(),
        side.begun,
        side.answered,
        figures.failures(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::party::Outcome;
    use super::*;

    #[test]
    fn a_line_has_the_rate_what_is_under_way_and_how_it_went_so_far() {
        let mut figures = Figures::default();
        (figures.callers.begun, figures.callers.answered) = (50, 48);
        let why = "refused: 503".to_owned();
        figures.callers.over(Outcome::Failed { step: "dial 1".to_owned(), why });
        let told = |figures: &Figures| line(figures, Duration::from_millis(12_300), 20.04, 7, 0.021);
        assert_eq!(
            told(&figures),
            "12 s: 20.0 calls/s, 7 legs under way, 50 begun, 48 answered, 1 failed, late 0.02 %"
        );
        figures.setup.record(Duration::from_millis(4));
        assert!(told(&figures).contains(", setup 4.0 ms, p99 4.0, late"), "{}", told(&figures));
    }
}

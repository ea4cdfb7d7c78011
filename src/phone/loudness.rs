//! The peak levels of a call: at its end, when it is summarised, there is no audio any more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use b2b_client::Call;

/// Polling interval; levels cover a tenth of a second.
const EVERY: Duration = Duration::from_millis(100);
/// Their names in the summary.
const NAMES: [&str; 2] = ["heard_dbfs", "sent_dbfs"];

/// Levels received and sent, dB below full scale.
type Levels = [Option<f64>; 2];

/// Measures a call until it is dropped.
pub struct Loudness {
    task: JoinHandle<()>,
    most: Arc<Mutex<Levels>>,
}

impl Loudness {
    /// Starts measuring.
    pub fn of(call: &Call) -> Loudness {
        let most = Arc::new(Mutex::new(Levels::default()));
        let (call, seen) = (call.clone(), most.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                let Some(quality) = call.quality().await else { continue };
                let now = [quality.heard_dbfs, quality.sent_dbfs];
                let mut most = seen.lock().unwrap_or_else(PoisonError::into_inner);
                *most = louder(*most, now);
            }
        });
        Loudness { task, most }
    }

    /// Adds the peaks to a call's figures.
    pub fn put_into(&self, quality: &mut Value) {
        let most = *self.most.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(quality) = quality.as_object_mut() else { return };
        for (name, level) in NAMES.into_iter().zip(most) {
            let last = quality.get(name).and_then(Value::as_f64);
            let [level, _] = louder([level, None], [last, None]);
            quality.insert(name.to_owned(), json!(level.map(|level| (level * 100.0).round() / 100.0)));
        }
    }
}

impl Drop for Loudness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The larger of each; `None` is silence.
fn louder(one: Levels, other: Levels) -> Levels {
    let larger = |n: usize| match (one[n], other[n]) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    };
    [larger(0), larger(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_less_than_any_sound() {
        assert_eq!(louder([None, Some(-9.0)], [Some(-30.0), None]), [Some(-30.0), Some(-9.0)]);
        assert_eq!(louder([Some(-9.0), None], [Some(-30.0), None]), [Some(-9.0), None]);
    }
}

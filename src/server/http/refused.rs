//! Counts of refused requests, by status, and of refused connections, so that token guessing and connection
//! floods are visible.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::connections::ConnectionCounters;

/// Statuses that are counted individually.
const STATUSES: [(u16, &str); 9] = [
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (408, "408"),
    (409, "409"),
    (413, "413"),
    (415, "415"),
    (503, "503"),
];

/// A handle that can be cloned.
#[derive(Debug, Clone, Default)]
pub struct Refused {
    statuses: Arc<[AtomicU64; STATUSES.len() + 1]>,
    pub connections: ConnectionCounters,
}

impl Refused {
    fn count(&self, status: StatusCode) {
        let place = STATUSES.iter().position(|(known, _)| *known == status.as_u16());
        let place = place.unwrap_or(STATUSES.len());
        if status.as_u16() >= 400
            && let Some(count) = self.statuses.get(place)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// By status; statuses without a count of their own are `other`.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let words = STATUSES.iter().map(|(_, word)| *word).chain(["other"]);
        words.zip(self.statuses.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

/// Counts a response.
pub async fn counted(State(refused): State<Refused>, response: Response) -> Response {
    refused.count(response.status());
    response
}

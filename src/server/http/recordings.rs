//! Complete recordings: a list, and each one as a file.

use std::ffi::OsStr;
use std::path::{Path as FilePath, PathBuf};
use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tower::ServiceExt;
use tower_http::services::ServeFile;
use utoipa::ToSchema;

use super::Api;
use super::answer::Problem;
use crate::recordings::{Kept, complete};
use b2b_call::recording::is_complete;

/// Maximum recordings in one response.
const MOST: usize = 1_000;
const USUAL: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The folder of a day, like `2026-11-26`.
    day: Option<String>,
    /// Only recordings after this one.
    after: Option<String>,
    limit: Option<usize>,
}

/// A page of recordings, latest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Recordings {
    /// Number of recordings, of the requested day if one was given.
    total: usize,
    recordings: Vec<Recording>,
    /// For more, ask with `?after=` this.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A complete recording.
#[derive(Debug, Serialize, ToSchema)]
struct Recording {
    /// `GET /recordings/` followed by this returns the file.
    file: String,
    bytes: u64,
    #[serde(with = "b2b_call::event::rfc3339")]
    #[schema(value_type = String)]
    completed: SystemTime,
}

/// `GET /recordings`
pub async fn list(
    State(api): State<Api>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Recordings>, Problem> {
    let usage = "the query takes day=, after= and limit=";
    let Query(asked) = asked.map_err(|error| Problem::bad(error.body_text(), usage))?;
    let folder = folder(&api)?;
    let found = tokio::task::spawn_blocking(move || page(&folder, &asked));
    found.await.map_err(|_| Problem::stopping())?.map(Json).map_err(|error| {
        let fix = "check the disk and the permissions of recording.folder";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), fix)
    })
}

fn page(folder: &FilePath, asked: &Asked) -> std::io::Result<Recordings> {
    let mut found = Vec::new();
    complete(folder, &mut found)?;
    // Only files in the folder of a day can be requested.
    let named = |kept: Kept| {
        let (day, name) = named(kept.path.strip_prefix(folder).ok()?)?;
        let wanted = asked.day.as_deref().is_none_or(|wanted| wanted == day);
        wanted.then(|| Recording { file: format!("{day}/{name}"), bytes: kept.bytes, completed: kept.at })
    };
    let mut recordings: Vec<Recording> = found.into_iter().filter_map(named).collect();
    // Names begin with the start time of the recording.
    recordings.sort_by(|a, b| b.file.cmp(&a.file));
    let total = recordings.len();
    if let Some(after) = &asked.after {
        recordings.retain(|it| it.file < *after);
    }
    let limit = asked.limit.unwrap_or(USUAL).clamp(1, MOST);
    let more = recordings.len() > limit;
    recordings.truncate(limit);
    let next = recordings.last().map(|it| it.file.clone()).filter(|_| more);
    Ok(Recordings { total, recordings, next })
}

/// The folder and the name of a file, if it is exactly one folder deep.
fn named(path: &FilePath) -> Option<(&str, &str)> {
    let mut parts = path.iter().map(OsStr::to_str);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(day), Some(name), None) => Some((day?, name?)),
        _ => None,
    }
}

/// `GET /recordings/{day}/{name}`: the file, or the parts of it that `Range` requests.
pub async fn file(
    State(api): State<Api>,
    Path((day, name)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let folder = folder(&api)?;
    let path = tokio::task::spawn_blocking(move || within(&folder, &day, &name));
    let path = path.await.map_err(|_| Problem::stopping())?.ok_or_else(|| {
        Problem::missing("there is no such recording", "GET /recordings lists the complete ones")
    })?;
    // It turns failures into a status of its own.
    let mime = mime(&path);
    let Ok(response) = ServeFile::new_with_mime(path, &mime).oneshot(request).await;
    Ok(response.into_response())
}

fn mime(path: &FilePath) -> mime::Mime {
    let name = if path.extension().is_some_and(|it| it == "opus") { "audio/ogg" } else { "audio/wav" };
    name.parse().unwrap_or(mime::APPLICATION_OCTET_STREAM)
}

/// The recording of this name; `None`: there is none, or the name leads elsewhere.
fn within(folder: &FilePath, day: &str, name: &str) -> Option<PathBuf> {
    if !is_complete(name) {
        return None;
    }
    let folder = folder.canonicalize().ok()?;
    let path = folder.join(day).join(name).canonicalize().ok()?;
    let inside = path.strip_prefix(&folder).is_ok_and(|rest| named(rest) == Some((day, name)));
    (inside && path.is_file()).then_some(path)
}

fn folder(api: &Api) -> Result<PathBuf, Problem> {
    let settings = api.admission.current.get();
    settings.config.recording.folder.clone().ok_or_else(|| {
        Problem::missing("this server records nothing", "set a folder in [recording] and restart")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_no_recordings() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("rec");
        let day = folder.join("2026-11-26");
        fs::create_dir_all(&day).expect("a folder");
        for path in [
            "rec/2026-11-26/a.wav",
            "rec/2026-11-26/.b.wav",
            "rec/2026-11-26/c.txt",
            "secret.wav",
            "rec/d.wav",
        ] {
            fs::write(dir.path().join(path), "x").expect("a file");
        }
        symlink(dir.path().join("secret.wav"), day.join("link.wav")).expect("a link");
        symlink(dir.path(), folder.join("out")).expect("a link");
        assert!(within(&folder, "2026-11-26", "a.wav").is_some());
        for (day, name) in [
            ("..", "secret.wav"),
            ("2026-11-26", "../../secret.wav"),
            ("2026-11-26/..", "d.wav"),
            (".", "d.wav"),
            ("2026-11-26", "link.wav"),
            ("out", "secret.wav"),
            ("2026-11-26", ".b.wav"),
            ("2026-11-26", "c.txt"),
            ("2026-11-26", "none.wav"),
        ] {
            assert_eq!(within(&folder, day, name), None, "{day} {name}");
        }
        let all = page(&folder, &Asked { day: None, after: None, limit: None }).expect("a list");
        assert!(all.recordings.iter().any(|it| it.file == "2026-11-26/a.wav"));
        assert!(all.recordings.iter().all(|it| !it.file.contains("secret")), "{all:?}");
    }
}

//! The page at `/`: everything that the server does, live, in a browser.
//!
//! Its files are in `files/`, as they are served: there is no build step, and no resource from elsewhere.
//! Without the interface behind it the page has no data, so it needs no token itself: it asks users without a
//! token for one. `docs/page.md` is the manual.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

/// What the browser may do for this page: run and read files of this server, and nothing else. No text
/// becomes markup or code, whatever its origin.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src blob:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// A file of the page.
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! file {
    ($path:literal, $kind:expr, $name:literal) => {
        File { path: $path, kind: $kind, text: include_str!(concat!("files/", $name)) }
    };
}

const FILES: &[File] = &[
    file!("/", HTML, "index.html"),
    file!("/page/page.css", CSS, "page.css"),
    file!("/page/icon.svg", PICTURE, "icon.svg"),
    file!("/page/begin.js", SCRIPT, "begin.js"),
    file!("/page/alarms.js", SCRIPT, "alarms.js"),
    file!("/page/api.js", SCRIPT, "api.js"),
    file!("/page/call.js", SCRIPT, "call.js"),
    file!("/page/calls.js", SCRIPT, "calls.js"),
    file!("/page/dom.js", SCRIPT, "dom.js"),
    file!("/page/ended.js", SCRIPT, "ended.js"),
    file!("/page/form.js", SCRIPT, "form.js"),
    file!("/page/ladder.js", SCRIPT, "ladder.js"),
    file!("/page/lists.js", SCRIPT, "lists.js"),
    file!("/page/live.js", SCRIPT, "live.js"),
    file!("/page/main.js", SCRIPT, "main.js"),
    file!("/page/messages.js", SCRIPT, "messages.js"),
    file!("/page/names.js", SCRIPT, "names.js"),
    file!("/page/quality.js", SCRIPT, "quality.js"),
    file!("/page/routes.js", SCRIPT, "routes.js"),
    file!("/page/server.js", SCRIPT, "server.js"),
    file!("/page/table.js", SCRIPT, "table.js"),
    file!("/page/theme.js", SCRIPT, "theme.js"),
    file!("/page/turns.js", SCRIPT, "turns.js"),
];

/// An entity tag for each file, which changes with its content.
static TAGS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    let tag = |file: &File| {
        let hash = Sha256::digest(file.text.as_bytes());
        let hex: String = hash.iter().take(12).map(|octet| format!("{octet:02x}")).collect();
        HeaderValue::from_str(&format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"\""))
    };
    FILES.iter().map(tag).collect()
});

/// Whether this path is a file of the page, for which no token is needed.
pub fn is_file(path: &str) -> bool {
    FILES.iter().any(|file| file.path == path)
}

/// The routes of the page.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().enumerate().fold(Router::new(), |router, (place, file)| {
        router.route(file.path, get(async move |headers: HeaderMap| answer(place, &headers)))
    })
}

fn answer(place: usize, headers: &HeaderMap) -> Response {
    let (file, tag) = (&FILES[place], &TAGS[place]);
    let known = headers.get(IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
    let same = known.split(',').any(|it| it.trim().trim_start_matches("W/").as_bytes() == tag.as_bytes());
    let fields = [
        (ETAG, tag.clone()),
        // The browser revalidates each time: a new server may have a new page.
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    ];
    match same {
        true => (StatusCode::NOT_MODIFIED, fields).into_response(),
        false => (fields, [(CONTENT_TYPE, HeaderValue::from_static(file.kind))], file.text).into_response(),
    }
}

/// Other responses are never cached, and their type is never sniffed.
pub async fn never_kept(mut answer: Response) -> Response {
    let fields = answer.headers_mut();
    fields.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    fields.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_from_elsewhere_and_no_text_becomes_markup() {
        for file in FILES {
            // The name of an XML namespace is no address that is requested.
            let text = file.text.replace("http://www.w3.org/2000/svg", "");
            for never in [
                "http://",
                "https://",
                "//cdn",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                " style=",
                "onclick=\"",
                "javascript:",
                "srcdoc",
                "DOMParser",
            ] {
                assert!(!text.contains(never), "{} has {never}", file.path);
            }
        }
    }

    #[test]
    fn every_module_that_is_wanted_is_served() {
        let modules: Vec<&File> = FILES.iter().filter(|file| file.kind == SCRIPT).collect();
        for file in &modules {
            for wanted in file.text.split(" from './").skip(1).filter_map(|rest| rest.split('\'').next()) {
                assert!(is_file(&format!("/page/{wanted}")), "{} wants {wanted}", file.path);
            }
        }
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("http/page/files");
        assert_eq!(std::fs::read_dir(folder).expect("the folder").count(), FILES.len());
        assert!(!is_file("/calls") && !is_file("/page/") && !is_file("/page/../calls"));
    }
}

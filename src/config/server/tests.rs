//! What a configuration becomes.

use std::path::Path;

use super::*;

/// An environment with one variable and one file.
struct Made;

impl Outside for Made {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "B2B_PW").then(|| "from the environment".to_string())
    }

    fn secret_file(&self, path: &Path) -> std::io::Result<String> {
        match path == Path::new("/etc/b2b/pw") {
            true => Ok("from a file\nsecond line\n".to_string()),
            false => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
        }
    }

    fn resolve(&self, path: &str) -> PathBuf {
        Path::new("/etc/b2b").join(path)
    }
}

fn good(text: &str) -> ServerConfig {
    parse(text, &Made).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn an_empty_configuration_is_the_defaults() {
    let config = good("");
    assert_eq!(config.server.listen.len(), 2);
    assert!(config.server.listen.iter().all(|listener| listener.bind.ip().is_loopback()));
    assert_eq!(config.server.realm, "b2b");
    assert_eq!(config.http, Some(Http { bind: "127.0.0.1:8080".parse().unwrap(), token: None }));
    assert!(config.server.trusted.is_empty() && config.routes.is_empty());
}

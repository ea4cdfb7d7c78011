//! Headless Chromium, controlled by the DevTools protocol.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::interop::support::{LIMIT, Running};

/// A tab of its own browser; both end on drop.
pub struct Tab {
    runtime: tokio::runtime::Runtime,
    socket: WebSocketStream<TcpStream>,
    session: String,
    next: u64,
    /// Errors of the page: exceptions, errors on the console, dialogs.
    pub trouble: Vec<String>,
    _browser: Running,
    _profile: tempfile::TempDir,
}

impl Tab {
    /// Starts the browser with an empty tab.
    pub fn new() -> Tab {
        let profile = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("chromium");
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--remote-debugging-port=0", "--no-first-run", "--disable-extensions"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--lang=en-GB"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        let mut browser = Running::start("chromium", &mut command);
        let line = browser.log_line("DevTools listening on ws://");
        let url = line.split("listening on ").nth(1).expect("an address").trim().to_owned();
        let address = url["ws://".len()..].split('/').next().expect("a host").to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let socket = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.expect("the browser listens");
            // Screenshots are large.
            let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
            let opened = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await;
            opened.expect("a WebSocket").0
        });
        let session = String::new();
        let mut tab = Tab {
            runtime,
            socket,
            session,
            next: 0,
            trouble: Vec::new(),
            _browser: browser,
            _profile: profile,
        };
        let target = tab.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let wish = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = tab.ask("Target.attachToTarget", wish);
        tab.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            tab.ask(&format!("{domain}.enable"), json!({}));
        }
        tab
    }

    /// Sends a command and waits for the result.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, params);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Sends a command; returns the response, which may be an error.
    fn answer(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut request = json!({ "id": self.next, "method": method, "params": params });
        if !self.session.is_empty() {
            request["sessionId"] = json!(self.session);
        }
        let Tab { runtime, socket, next, trouble, .. } = self;
        runtime.block_on(async {
            socket.send(Message::Text(request.to_string().into())).await.expect("the browser reads");
            loop {
                let message = tokio::time::timeout(LIMIT, socket.next()).await;
                let message = message.unwrap_or_else(|_| panic!("no answer to {method}"));
                let Message::Text(text) = message.expect("open").expect("sound") else { continue };
                let said: Value = serde_json::from_str(&text).expect("JSON");
                if said["id"] == *next {
                    return said;
                }
                trouble.extend(wrong(&said));
            }
        })
    }

    /// Opens an address.
    pub fn open(&mut self, url: &str) {
        self.ask("Page.navigate", json!({ "url": url }));
    }

    /// Reloads the page, and waits until the old one is gone.
    pub fn reload(&mut self) {
        self.value("window.old = true");
        self.ask("Page.reload", json!({}));
        self.until("the page anew", "!window.old && document.body");
    }

    /// Runs a script before every page opened from now on.
    pub fn before_each(&mut self, script: &str) {
        self.ask("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        self.evaluated(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// The same, or the error of the page.
    fn evaluated(&mut self, expression: &str) -> Result<Value, Value> {
        let wish = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.answer("Runtime.evaluate", wish);
        let result = &answer["result"];
        if answer.get("error").is_some() || result.get("exceptionDetails").is_some() {
            return Err(answer);
        }
        Ok(result["result"]["value"].clone())
    }

    /// Waits until an expression is true; it is false while the page is not there yet.
    pub fn until(&mut self, what: &str, expression: &str) -> Value {
        let guarded = format!("(() => {{ try {{ return {expression}; }} catch {{ return false; }} }})()");
        let end = Instant::now() + LIMIT;
        loop {
            // A page that is being left returns an error instead of a value.
            let value = self.evaluated(&guarded).unwrap_or(Value::Null);
            if !matches!(value, Value::Null | Value::Bool(false)) && value != json!("") && value != json!(0) {
                return value;
            }
            if Instant::now() > end {
                let text = self.value("document.body ? document.body.innerText : ''");
                panic!(
                    "waited for {what}: {expression}\n{}\ntrouble: {:?}",
                    text.as_str().unwrap_or(""),
                    self.trouble
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the page shows this text.
    pub fn reads(&mut self, text: &str) {
        self.until(text, &format!("document.body.innerText.includes({})", json!(text)));
    }

    /// Presses a key like a user: a character, or Enter, Escape, Tab, ArrowDown, ArrowUp.
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "Tab" => (9, ""),
            "ArrowDown" => (40, ""),
            "ArrowUp" => (38, ""),
            character => (0, character),
        };
        let mut event = json!({ "type": "keyDown", "key": key, "text": text, "windowsVirtualKeyCode": code });
        if text.is_empty() {
            event["type"] = json!("rawKeyDown");
        }
        self.ask("Input.dispatchKeyEvent", event);
        self.ask(
            "Input.dispatchKeyEvent",
            json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code }),
        );
    }

    /// Types a text into the focused element.
    pub fn types(&mut self, text: &str) {
        self.ask("Input.insertText", json!({ "text": text }));
    }

    /// Sets the size of the window, in CSS pixels.
    pub fn size(&mut self, width: u32, height: u32) {
        let wish = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.ask("Emulation.setDeviceMetricsOverride", wish);
    }

    /// Sets the system's colour scheme: `dark` or `light`.
    pub fn colours(&mut self, which: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": which });
        self.ask("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// Saves a screenshot.
    pub fn picture(&mut self, path: &Path) {
        let answer = self.ask("Page.captureScreenshot", json!({ "format": "png" }));
        let octets = BASE64_STANDARD.decode(answer["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(path, octets).expect("written");
    }

    /// Asserts that the page had no errors.
    pub fn is_sound(&mut self) {
        // Events before this answer have been processed.
        self.value("1");
        assert!(self.trouble.is_empty(), "{:#?}", self.trouble);
    }
}

/// The event as an error of the page, if it is one. Failed requests to an unreachable server are not.
fn wrong(said: &Value) -> Option<String> {
    let params = &said["params"];
    let trouble = match said["method"].as_str()? {
        "Runtime.exceptionThrown" => params["exceptionDetails"].to_string(),
        "Page.javascriptDialogOpening" => format!("a dialog: {}", params["message"]),
        "Log.entryAdded" if params["entry"]["level"] == "error" && params["entry"]["source"] != "network" => {
            params["entry"].to_string()
        }
        "Runtime.consoleAPICalled" if params["type"] == "error" => params["args"].to_string(),
        _ => return None,
    };
    let away = trouble.contains("WebSocket connection to") || trouble.contains("ERR_CONNECTION");
    (!away).then_some(trouble)
}

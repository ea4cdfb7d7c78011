//! A configured server with a program's own applications.

use std::sync::Arc;

use crate::in_force::Settings;
use b2b_call::handler::ApplicationHandler;

/// Handlers and applications that a program adds to a server; they stay over reloads.
///
/// ```no_run
/// # use std::{path::Path, sync::Arc};
/// # use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
/// # use b2b_call::service::CallService;
/// use b2b_base::util::exit::{Exit, Failure};
/// use b2b_server::config::load_with;
/// use b2b_server::own::Own;
///
/// struct Hello;
///
/// impl ApplicationHandler for Hello {
///     fn name(&self) -> &str {
///         "own/hello"
///     }
///
///     fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
///         Box::pin(async { HandlerAction::Reject { status: 486, reason: "Later".to_owned() } })
///     }
/// }
///
/// # fn main() -> anyhow::Result<()> {
/// // Routes may say `app = "own/hello"`.
/// let own = Own { applications: vec![Arc::new(Hello)], ..Own::default() };
/// let names = own.names();
/// let usage = |error: b2b_server::config::LoadError| Failure::new(Exit::Usage, error.to_string());
/// let read = move || load_with(Path::new("b2bua.toml"), &names).map_err(usage);
/// let code = b2b_server::run_with(read()?, Box::new(read), own)?;
/// # std::process::exit(code.into());
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Own {
    /// Asked about each admitted incoming call, in this order and before the routes
    /// ([`ApplicationHandler::can_handle`]); emergency calls (`[emergency]`) bypass them.
    pub handlers: Vec<Arc<dyn ApplicationHandler>>,
    /// Given calls by name, as named by `app = "…"` of routes, by menu nodes and by commands. A name should
    /// begin with `own/`: the configuration refuses a name of its own kind there.
    pub applications: Vec<Arc<dyn ApplicationHandler>>,
}

impl Own {
    /// The names of its applications, for [`load_with`](crate::config::load_with).
    pub fn names(&self) -> Vec<String> {
        self.applications.iter().map(|app| app.name().to_owned()).collect()
    }

    /// Registers the applications among those of this configuration.
    pub(crate) fn enlist(&self, settings: &Settings) {
        for app in &self.applications {
            settings.apps.add(app.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::load_with;
    use crate::server::Server;
    use b2b_call::handler::{HandlerAction, HandlerFuture, IncomingCall};
    use b2b_call::service::CallService;

    /// Generous: a loaded machine is slow, a broken server never gets there.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Refuses every call, with its own status; as a handler, only calls to one number.
    struct Refuses(&'static str, u16);

    impl ApplicationHandler for Refuses {
        fn name(&self) -> &str {
            self.0
        }

        fn can_handle(&self, call: &IncomingCall) -> bool {
            call.called() == "first"
        }

        fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
            let status = self.1;
            Box::pin(async move { HandlerAction::Reject { status, reason: String::new() } })
        }
    }

    fn configured(folder: &Path, number: &str) -> std::path::PathBuf {
        let file = folder.join("b2bua.toml");
        let text = format!(
            "[server]\nlisten = [\"udp:127.0.0.1:0\"]\nstore = \"memory\"\ntrusted = [\"127.0.0.0/8\"]\n\
             [http]\nlisten = \"off\"\n[[route]]\ncalled = \"{number}\"\napp = \"own/hello\"\n"
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    /// The final status of a call to this number.
    fn calls(server: &Server, number: &str) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (here, to) = (socket.local_addr().unwrap(), server.listening()[0].1);
        let invite = format!(
            "INVITE sip:{number}@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{number}{port}\r\n\
             From: <sip:ann@{here}>;tag=1\r\nTo: <sip:{number}@{to}>\r\nCall-ID: {number}@{here}\r\n\
             CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:ann@{here}>\r\nContent-Length: 0\r\n\r\n",
            port = here.port(),
        );
        socket.send_to(invite.as_bytes(), to).unwrap();
        let mut datagram = [0; 4_096];
        loop {
            let (length, _) = socket.recv_from(&mut datagram).expect("a response");
            let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
            let status = text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)).expect("a response");
            if !status.starts_with('1') {
                return status.to_owned();
            }
        }
    }

    /// Takes every call, as a handler does that does not override `can_handle`.
    struct TakesAll;

    impl ApplicationHandler for TakesAll {
        fn name(&self) -> &str {
            "own/all"
        }

        fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
            Box::pin(async { HandlerAction::Reject { status: 488, reason: String::new() } })
        }
    }

    #[test]
    fn an_emergency_call_goes_past_handlers_of_a_programs_own() {
        let folder = tempfile::tempdir().unwrap();
        let services = UdpSocket::bind("127.0.0.1:0").unwrap();
        services.set_read_timeout(Some(PATIENCE)).unwrap();
        let file = configured(folder.path(), "1");
        let text = std::fs::read_to_string(&file).unwrap();
        let at = services.local_addr().unwrap();
        let more = format!(
            "[emergency]\nnumbers = [\"112\"]\ngateways = [\"carrier\"]\n\
             [[gateway]]\nname = \"carrier\"\nhosts = [\"{at}\"]\noptions_s = 0\n"
        );
        std::fs::write(&file, text.replace("app = \"own/hello\"", "reject = 404") + &more).unwrap();
        let own = Own { handlers: vec![Arc::new(TakesAll)], applications: Vec::new() };
        let server = Server::start_with(load_with(&file, &own.names()).unwrap(), own).unwrap();
        assert_eq!(calls(&server, "1"), "488");
        let invite = std::thread::scope(|scope| {
            scope.spawn(|| calls(&server, "112"));
            let mut datagram = [0; 4_096];
            let (length, from) = services.recv_from(&mut datagram).expect("a call for help");
            let invite = String::from_utf8_lossy(&datagram[..length]).into_owned();
            // A response, so that the caller is not left waiting.
            let fields: String = invite
                .lines()
                .filter(|line| {
                    ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|it| line.starts_with(it))
                })
                .map(|line| format!("{line}\r\n"))
                .collect();
            let busy = format!("SIP/2.0 486 Busy Here\r\n{fields}Content-Length: 0\r\n\r\n");
            services.send_to(busy.as_bytes(), from).unwrap();
            invite
        });
        assert!(invite.starts_with("INVITE sip:112@"), "{invite}");
    }

    #[test]
    fn routes_lead_to_applications_of_a_programs_own_also_after_a_reload() {
        let folder = tempfile::tempdir().unwrap();
        let own = Own {
            handlers: vec![Arc::new(Refuses("own", 488))],
            applications: vec![Arc::new(Refuses("own/hello", 486))],
        };
        let names = own.names();
        let file = configured(folder.path(), "1");
        let server = Server::start_with(load_with(&file, &names).unwrap(), own).unwrap();
        assert_eq!(calls(&server, "1"), "486", "by the route");
        assert_eq!(calls(&server, "first"), "488", "a handler is asked before the routes");
        assert_eq!(calls(&server, "2"), "404");
        server.reload(load_with(&configured(folder.path(), "2"), &names).unwrap()).unwrap();
        assert_eq!((calls(&server, "2").as_str(), calls(&server, "1").as_str()), ("486", "404"));
        server.stop(Duration::ZERO, &crossbeam_channel::never());
    }

    #[test]
    fn a_route_to_an_application_that_nobody_brings_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = configured(folder.path(), "1");
        let error = load_with(&file, &[]).unwrap_err().to_string();
        assert!(error.contains("own/hello") && error.contains(":9:"), "{error}");
    }
}

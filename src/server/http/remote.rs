//! `GET /remote/{name}`: a program that calls are given to, on a WebSocket.
//!
//! It receives `offer` for each call that it gets, the events of its calls, and `over` when it no longer has
//! one. It sends commands about them, decisions, and `{"ping": …}`.

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Api;
use super::answer::Problem;
use super::commands::refused;
use super::events::{self, Pulse};
use super::guard::{Granted, Keys};
use super::line::{Heard, Line};
use super::said::{self, Answer};
use crate::config::apps::remote::RemoteConfig;
use crate::config::tokens::Scope;
use crate::control::remote::decision::Decision;
use crate::control::remote::told::CallNews;
use crate::control::remote::{News, Offer, Patience, Word, Words};
use crate::control::{Failure, Order, Refused, Who};
use crate::leading::Destination;
use b2b_call::event::{Event, Published};
use b2b_call::{CallId, LegId};
use b2b_sip::msg::Uri;

/// Maximum octets of a command.
const MESSAGE: usize = 64 * 1_024;

/// Remote applications.
#[derive(Debug, Serialize, ToSchema)]
pub struct RemoteApps {
    remotes: Vec<RemoteApp>,
}

/// A remote application.
#[derive(Debug, Serialize, ToSchema)]
pub struct RemoteApp {
    name: String,
    fallback: Option<String>,
    /// Number of connected programs.
    programs: usize,
    /// Number of their calls.
    calls: usize,
}

/// `GET /remotes`
pub async fn list(State(api): State<Api>) -> Json<RemoteApps> {
    let (settings, seen) = (api.admission.current.get(), api.remotes.view());
    let one = |config: &RemoteConfig| {
        let found = seen.iter().find(|(name, ..)| *name == config.name);
        let (programs, calls) = found.map_or((0, 0), |(_, programs, calls)| (*programs, *calls));
        RemoteApp { name: config.name.clone(), fallback: config.fallback.clone(), programs, calls }
    };
    Json(RemoteApps { remotes: settings.config.apps.remotes.iter().map(one).collect() })
}

/// Upgrades the connection.
pub async fn stream(
    State(api): State<Api>,
    Path(name): Path<String>,
    Extension(granted): Extension<Granted>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let settings = api.admission.current.get();
    let config = settings.config.apps.remotes.iter().find(|config| config.name == name).cloned();
    let Some(config) = config else {
        return Err(Problem::missing(format!("there is no remote application {name:?}"), "see [[remote]]"));
    };
    let fix = "connect as a WebSocket, like `websocat ws://127.0.0.1:8080/remote/agent`";
    let upgrade = upgrade.map_err(|error| Problem::new(error.status(), error.body_text(), fix))?;
    let upgrade = events::bounded(upgrade, MESSAGE);
    let limited = granted.needs(Scope::Calls).is_err().then(|| format!("remote/{name}"));
    Ok(upgrade.on_upgrade(move |socket| serve(socket, api, config, limited)).into_response())
}

async fn serve(socket: WebSocket, api: Api, config: RemoteConfig, limited: Option<String>) {
    let mut connected = api.remotes.connect(&config.name, config.calls);
    let mut events = api.admission.bus.subscribe();
    let mut talk = Talk {
        api,
        calls: HashMap::new(),
        commands: HashSet::new(),
        limited,
        patience: Patience::new(config.mistakes),
    };
    // A program that does not read counts as gone.
    let mut line = Line::new(socket, config.stall);
    loop {
        // Events wait on the bus; the program's messages are read all the same.
        let idle = line.is_idle();
        tokio::select! {
            // An offer is sent before the events of its call.
            biased;
            news = connected.news.recv() => match news {
                Some(news) => line.say(talk.news(news)),
                None => return,
            },
            said = line.hear() => {
                let answer = match said {
                    Heard::Said(Message::Text(text)) => talk.heard(text.as_str()).await,
                    Heard::Said(Message::Binary(_)) => {
                        talk.wrong(&Value::Null, &Refused::Bad("it is no text".into())).map(|it| said::message(&it))
                    }
                    Heard::Said(Message::Ping(_)) => {
                        talk.lives();
                        continue;
                    }
                    // This shows only that its WebSocket library is alive; the program itself shows that by
                    // messages.
                    Heard::Said(_) | Heard::Written => continue,
                    Heard::Gone => return,
                };
                match answer {
                    Ok(answer) => line.say(answer),
                    Err(TooOften(last)) => {
                        line.say(said::message(&last));
                        return line.close().await;
                    }
                }
            }
            pulse = events::pulse(&mut events, |event| talk.wants(event)), if idle => match pulse {
                Pulse::Event(event) => {
                    talk.saw(&event.event);
                    // The program has the call, so it may see all digits pressed there.
                    let end = talk.secret_end(&event).or_else(|| events::written(&event, Keys::Shown));
                    end.into_iter().for_each(|message| line.say(message));
                }
                Pulse::Other(message) => line.say(message),
                Pulse::Over => return line.close().await,
            },
        }
    }
}

/// A call that the program has.
struct Held {
    call: CallId,
    words: Words,
}

/// The server's side of a program's connection.
struct Talk {
    api: Api,
    calls: HashMap<LegId, Held>,
    /// Commands whose results it waits for.
    commands: HashSet<String>,
    /// The application whose `may_transfer` applies: the token has no right to make calls.
    limited: Option<String>,
    patience: Patience,
}

/// The last response to a program with too many mistakes.
struct TooOften(Answer);

impl Talk {
    fn news(&mut self, news: News) -> Message {
        match news {
            News::Offer(Offer { call, leg, known, words }) => {
                self.calls.insert(leg, Held { call, words });
                said::message(&CallNews::Offer(known))
            }
            News::Over { call, leg, why } => {
                self.calls.remove(&leg);
                said::message(&CallNews::Over { call: call.0, leg: leg.0, reason: why.to_owned() })
            }
        }
    }

    fn wants(&self, event: &Event) -> bool {
        match event {
            Event::CommandCompleted { id, .. } | Event::CommandFailed { id, .. } => {
                self.commands.contains(id)
            }
            event => event.call().is_some_and(|call| self.calls.values().any(|held| held.call == call)),
        }
    }

    fn saw(&mut self, event: &Event) {
        if let Event::CommandCompleted { id, .. } | Event::CommandFailed { id, .. } = event {
            self.commands.remove(id);
        }
    }

    /// The result of a command of its own that has collected secret digits, which no event contains.
    fn secret_end(&self, published: &Published) -> Option<Message> {
        let Event::CommandCompleted { id, result, .. } = &published.event else { return None };
        result.get("secret")?;
        let mut told = serde_json::to_value(published).ok()?;
        *told.get_mut("result")? = self.api.control.status(id)?.result?;
        Some(said::message(&told))
    }

    /// Notes a sign of life of the program.
    fn lives(&self) {
        for held in self.calls.values() {
            // If the program no longer has the call, a message below says so.
            held.words.tell(Word::Sign);
        }
    }

    async fn heard(&mut self, text: &str) -> Result<Message, TooOften> {
        self.lives();
        let value = match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => {
                return self
                    .wrong(&Value::Null, &Refused::Bad("a command is a JSON object".into()))
                    .map(|it| said::message(&it));
            }
            Err(error) => {
                return self
                    .wrong(&Value::Null, &Refused::Bad(error.to_string()))
                    .map(|it| said::message(&it));
            }
        };
        if let Some(ping) = value.get("ping") {
            self.patience.right();
            return Ok(said::message(&Answer::Pong { ping: ping.clone() }));
        }
        let id = value.get("id").cloned().unwrap_or_default();
        let answer = match value.contains_key("decision") {
            true => self.decides(value, &id).await,
            false => self.commands(value),
        };
        match answer {
            Ok(answer) => {
                self.patience.right();
                Ok(said::message(&answer))
            }
            Err(No::Wrong(refused)) => self.wrong(&id, &refused).map(|it| said::message(&it)),
            Err(No::Late(problem)) => Ok(said::message(&Answer::refused(&id, &problem))),
        }
    }

    fn wrong(&mut self, id: &Value, why: &Refused) -> Result<Answer, TooOften> {
        let last = Answer::refused(id, &refused(why));
        if self.patience.wrong() { Err(TooOften(last)) } else { Ok(last) }
    }

    /// The leg of a call that it has.
    fn leg(&self, leg: Option<u64>, call: Option<u64>) -> Result<LegId, No> {
        let found = match (leg, call) {
            (Some(leg), _) => self.calls.contains_key(&LegId(leg)).then_some(LegId(leg)),
            (None, Some(call)) => {
                self.calls.iter().find(|(_, held)| held.call.0 == call).map(|(leg, _)| *leg)
            }
            (None, None) => return Err(No::Wrong(Refused::Bad("set call or leg".into()))),
        };
        found.ok_or_else(|| {
            let fix = "use a call that was offered to you and is not over";
            No::Late(Problem::missing("you have no such call", fix))
        })
    }

    /// Whether it may send a caller to a target.
    fn may_name(&self, target: &str) -> Result<(), No> {
        let Some(application) = &self.limited else { return Ok(()) };
        let current = &self.api.admission.current;
        let settings = current.get();
        if settings.apps.get(target).is_some() {
            return Ok(());
        }
        let refused = |why: &str, fix: &str| {
            let fix = format!("{fix}, or give the token the scope \"calls\"");
            No::Late(Problem::new(StatusCode::FORBIDDEN, format!("{target}: {why}"), fix))
        };
        // What is judged is what is called.
        let uri = Uri::parse(target.as_bytes()).ok().filter(|uri| uri.host.is_some());
        if uri.is_some_and(|uri| uri.params.iter().next().is_some() || uri.headers.is_some()) {
            return Err(refused("its parameters could lead elsewhere", "name it without them"));
        }
        let verdict = Destination::read(current, &settings, target).judged(&settings, application, false);
        verdict.map_err(|(why, line)| refused(&why, &line))
    }

    fn commands(&mut self, fields: Map<String, Value>) -> Result<Answer, No> {
        let order = Order::parse(Value::Object(fields)).map_err(|error| No::Wrong(Refused::Bad(error)))?;
        if !order.command.is_of_a_leg() {
            return Err(No::Wrong(Refused::NotYours));
        }
        let leg = self.leg(order.leg, order.call)?;
        order.command.targets().into_iter().try_for_each(|to| self.may_name(to))?;
        let order = Order { leg: Some(leg.0), call: None, ..order };
        let taken = self.api.control.submit(order, Who::Holder(leg)).map_err(|error| match error {
            Refused::Full | Refused::Stopping | Refused::Over => No::Late(refused(&error)),
            error => No::Wrong(error),
        })?;
        if let Some(held) = self.calls.get(&leg) {
            // If the program no longer has the call, a message below says so.
            held.words.tell(Word::Touch);
        }
        self.commands.insert(taken.id.to_string());
        Ok(Answer::accepted(&taken.id))
    }

    async fn decides(&mut self, mut fields: Map<String, Value>, id: &Value) -> Result<Answer, No> {
        fields.remove("id");
        let mut number = |name: &str| match fields.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                value.as_u64().map(Some).ok_or_else(|| No::Wrong(Refused::Bad(format!("{name}: a number"))))
            }
        };
        let (leg, call) = (number("leg")?, number("call")?);
        let decision: Decision = serde_json::from_value(Value::Object(fields))
            .map_err(|error| No::Wrong(Refused::Bad(error.to_string())))?;
        let leg = self.leg(leg, call)?;
        decision.targets().into_iter().try_for_each(|to| self.may_name(to))?;
        let (word, settings) = (decision.word(), self.api.admission.current.get());
        let has = |other: LegId| other != leg && self.calls.contains_key(&other);
        let action = decision.action(&settings, &self.api.service, has).await.map_err(not_possible)?;
        let word_of = action.map_or(Word::Fallback, |action| Word::Decision(Box::new(action)));
        let held = self.calls.get(&leg).map(|held| held.words.clone());
        let told = held.is_some_and(|words| words.tell(word_of));
        match told {
            true => Ok(Answer::Accepted { id: id.clone(), decision: Some(word), leg: Some(leg.0) }),
            false => Err(No::Late(Problem::new(StatusCode::GONE, "the call is over", "forget it"))),
        }
    }
}

/// Why a message has no effect.
enum No {
    /// It is invalid.
    Wrong(Refused),
    /// It is valid, but impossible now.
    Late(Problem),
}

fn not_possible(failure: Failure) -> No {
    match &*failure.reason {
        "invalid" => No::Wrong(Refused::Bad(failure.error)),
        _ => No::Late(Problem::new(
            StatusCode::CONFLICT,
            failure.error,
            "the call is still yours: choose another decision",
        )),
    }
}

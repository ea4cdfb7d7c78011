//! Every path with its access rule and its description: the router and the OpenAPI document are made from
//! this table.

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use utoipa::ToSchema;
use utoipa::openapi::HttpMethod;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::{
    Api, alarms, asyncapi, call_routes, calls, capture, commands, control, ended_calls, events, gateways,
    health, journal, kept, metrics, openapi, originate, places, queues, recording, recordings, registrations,
    remote, users,
};
use crate::config::tokens::Scope;
use crate::control::{Order, Status};
use crate::ended_calls::Found;
use crate::survive::figures::Survival;
use b2b_app::queue::machine::view::{AgentView, QueueView};

/// Text of the program.
type Text = &'static str;

/// The schemas of a type and of the types in it.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// A JSON body.
pub struct Shape {
    pub name: String,
    pub collect: fn(&mut Schemas),
}

impl Shape {
    /// That of a type.
    pub fn of<T: ToSchema>() -> Shape {
        fn collect<T: ToSchema>(schemas: &mut Schemas) {
            T::schemas(schemas);
            schemas.push((T::name().into_owned(), T::schema()));
        }
        Shape { name: T::name().into_owned(), collect: collect::<T> }
    }
}

/// A method of a path.
pub struct Route {
    pub method: HttpMethod,
    pub path: &'static str,
    /// The scope that a token needs; `None`: any token, and the handler checks.
    pub scope: Option<Scope>,
    /// Its description.
    pub says: &'static str,
    /// The parameters of the query.
    pub query: &'static [&'static str],
    pub takes: Option<Shape>,
    /// Whether a body is required.
    pub must: bool,
    pub status: u16,
    pub gives: Option<Shape>,
    /// Whether the response may take as long as the client wants.
    pub lasts: bool,
    pub handler: MethodRouter<Api>,
}

impl Route {
    fn new(
        method: HttpMethod,
        path: Text,
        scope: Option<Scope>,
        says: Text,
        handler: MethodRouter<Api>,
    ) -> Route {
        let (query, takes, gives) = (&[][..], None, None);
        let (must, lasts) = (false, false);
        Route { method, path, scope, says, query, takes, must, status: 200, gives, lasts, handler }
    }

    fn asks(self, query: &'static [&'static str]) -> Route {
        Route { query, ..self }
    }

    fn takes<T: ToSchema>(self) -> Route {
        Route { must: true, ..self.may_take::<T>() }
    }

    /// A body is optional.
    fn may_take<T: ToSchema>(self) -> Route {
        Route { takes: Some(Shape::of::<T>()), ..self }
    }

    fn gives<T: ToSchema>(self) -> Route {
        Route { gives: Some(Shape::of::<T>()), ..self }
    }

    fn status(self, status: u16) -> Route {
        Route { status, ..self }
    }

    fn lasts(self) -> Route {
        Route { lasts: true, ..self }
    }
}

fn get<T: 'static>(path: Text, scope: Option<Scope>, says: Text, handler: impl Handler<T, Api>) -> Route {
    Route::new(HttpMethod::Get, path, scope, says, routing::get(handler))
}

fn post<T: 'static>(path: Text, scope: Option<Scope>, says: Text, handler: impl Handler<T, Api>) -> Route {
    Route::new(HttpMethod::Post, path, scope, says, routing::post(handler))
}

fn put<T: 'static>(path: Text, scope: Option<Scope>, says: Text, handler: impl Handler<T, Api>) -> Route {
    Route::new(HttpMethod::Put, path, scope, says, routing::put(handler))
}

fn patch<T: 'static>(path: Text, scope: Option<Scope>, says: Text, handler: impl Handler<T, Api>) -> Route {
    Route::new(HttpMethod::Patch, path, scope, says, routing::patch(handler))
}

fn delete<T: 'static>(path: Text, scope: Option<Scope>, says: Text, handler: impl Handler<T, Api>) -> Route {
    Route::new(HttpMethod::Delete, path, scope, says, routing::delete(handler))
}

const AUDIO: &str = "A party's audio, in both directions, as a WebSocket.";

/// All routes.
pub fn routes() -> Vec<Route> {
    let (read, record, audio) = (Some(Scope::Read), Some(Scope::Record), Some(Scope::Audio));
    let command = Some(Scope::Calls);
    vec![
        get("/calls", read, "Active calls, oldest first.", calls::list)
            .asks(&["limit", "after", "ended", "quality"])
            .gives::<calls::Calls>(),
        post("/calls", command, "Calls a party, and joins it with another one.", originate::begin)
            .takes::<originate::OriginateRequest>()
            .status(201)
            .gives::<originate::Begun>(),
        get("/calls/ended", read, "Ended calls, latest first.", ended_calls::list)
            .asks(&ended_calls::QUERY)
            .gives::<Found>(),
        get("/calls/{id}", read, "The timeline, legs and verdicts of a call.", calls::one)
            .asks(&["format"])
            .gives::<calls::One>(),
        delete("/calls/{id}", command, "Ends a call.", calls::end).status(204),
        post(
            "/calls/{id}/{verb}",
            None,
            "A command for this call: POST /commands with the call and the command in the path.",
            commands::of_call,
        )
        .asks(&["wait"])
        .status(202)
        .gives::<Status>()
        .lasts(),
        post("/calls/{id}/capture", record, "Starts a media capture of the call.", capture::begin)
            .may_take::<capture::CaptureRequest>()
            .status(202)
            .gives::<capture::Begun>(),
        delete("/calls/{id}/capture", record, "Stops the capture.", capture::end).status(204),
        post("/calls/{id}/recording", record, "Starts a recording of the call.", recording::begin)
            .status(202),
        patch("/calls/{id}/recording", record, "Pauses or resumes the recording.", recording::pause)
            .takes::<recording::RecordingRequest>()
            .status(204),
        delete("/calls/{id}/recording", record, "Stops the recording.", recording::end)
            .gives::<recording::Over>(),
        get("/calls/{id}/messages", record, "Its SIP messages, as text.", capture::messages)
            .gives::<capture::Messages>(),
        get("/calls/{id}/pcap", record, "Its packets, as a PCAP file.", capture::file),
        get("/calls/{id}/journal", record, "Its journal, for `b2b replay`: JSON lines.", journal::file)
            .asks(&["secrets"]),
        get("/calls/{id}/audio", audio, AUDIO, super::audio::of_call)
            .asks(&["rate", "frame_ms", "listen"])
            .status(101),
        get("/legs/{leg}/audio", audio, AUDIO, super::audio::of_leg)
            .asks(&["rate", "frame_ms", "listen"])
            .status(101),
        get(
            "/media/{id}",
            audio,
            "The program that a caller waits for, as a WebSocket.",
            super::media::of_awaited,
        )
        .status(101),
        post("/commands", None, "Runs a command.", commands::begin)
            .asks(&["wait"])
            .takes::<Order>()
            .status(202)
            .gives::<Status>()
            .lasts(),
        get("/commands/{id}", read, "The result of a command.", commands::one)
            .asks(&["wait"])
            .gives::<Status>()
            .lasts(),
        delete("/commands/{id}", None, "Cancels a command.", commands::cancel).status(204),
        get("/control", read, "Commands and events, as a WebSocket.", control::stream)
            .asks(&["after", "call", "type", "plane", "only"])
            .status(101),
        get("/queues", read, "Queues and their waiting callers.", queues::list).gives::<queues::Queues>(),
        get("/queues/{name}", read, "A queue.", queues::one).gives::<QueueView>(),
        get("/agents", read, "Agents.", queues::agents).gives::<queues::Agents>(),
        get("/agents/{name}", read, "An agent.", queues::agent).gives::<AgentView>(),
        put("/agents/{name}/state", Some(Scope::Agents), "Changes the agent's state.", queues::set_state)
            .takes::<queues::AgentRequest>()
            .gives::<AgentView>(),
        get("/rooms", read, "Rooms and their participants.", places::list).gives::<places::Rooms>(),
        get("/rooms/{name}", read, "A room.", places::one).gives::<places::Room>(),
        post(
            "/rooms/{name}/{verb}",
            None,
            "A command for this room: mute, volume, lock, kick, record, play.",
            commands::of_room,
        )
        .asks(&["wait"])
        .status(202)
        .gives::<Status>()
        .lasts(),
        get("/slots", read, "Parking slots and parked callers.", places::slots).gives::<places::Lots>(),
        get("/gateways", read, "Gateways.", gateways::list).gives::<gateways::Gateways>(),
        post("/gateways/{name}/register", command, "Registers at a gateway immediately.", gateways::register)
            .status(202),
        get("/routes", read, "Routes, in their order.", call_routes::list).gives::<call_routes::CallRoutes>(),
        get("/routes/explain", read, "The route that a call would take, and the reason.", call_routes::ask)
            .asks(&["called", "from", "source"])
            .gives::<call_routes::Explained>(),
        get("/token", None, "What the token of this request may do.", call_routes::token)
            .gives::<call_routes::TokenScopes>(),
        get("/events", read, "Events, as a WebSocket.", events::stream)
            .asks(&["after", "call", "type", "plane"])
            .status(101),
        get("/remotes", read, "Remote applications.", remote::list).gives::<remote::RemoteApps>(),
        get(
            "/remote/{name}",
            Some(Scope::Remote),
            "Connects a program to a remote application, as a WebSocket.",
            remote::stream,
        )
        .status(101),
        get(
            "/survive",
            read,
            "Calls that outlive the server: those covered, and what the last start found.",
            kept::survivors,
        )
        .gives::<Survival>(),
        get("/registrations", read, "Registrations.", registrations::list)
            .asks(&["user", "after", "limit"])
            .gives::<registrations::Registrations>(),
        get("/users", read, "Users of the configuration, and whether they are registered.", users::list)
            .asks(&["registered", "after", "limit"])
            .gives::<users::Users>(),
        get("/recordings", record, "Complete recordings, latest first.", recordings::list)
            .asks(&["day", "after", "limit"])
            .gives::<recordings::Recordings>(),
        get(
            "/recordings/{day}/{name}",
            record,
            "A recording: a WAV file, or a part of it.",
            recordings::file,
        ),
        get("/alarms", read, "Active alarms.", alarms::list).gives::<alarms::Standing>(),
        post(
            "/alarms/{name}/acknowledge",
            command,
            "Somebody has seen an alarm: one about what happened ends, another one stays, acknowledged.",
            alarms::acknowledge,
        )
        .asks(&["subject"])
        .status(204),
        get("/metrics", read, "Metrics, for Prometheus.", metrics::scrape),
        get("/openapi.json", read, "This document.", openapi::document),
        get(
            "/asyncapi.json",
            read,
            "Messages on WebSockets: events, commands, decisions (AsyncAPI 3.0).",
            asyncapi::document,
        ),
        get("/healthz", None, "Whether the server accepts calls; 503 if not.", health),
    ]
}

//! Every path with its access rule and its description: the router and the OpenAPI document are made from
//! this table.

use axum::routing::{MethodRouter, delete, get, patch, post, put};
use utoipa::ToSchema;
use utoipa::openapi::HttpMethod;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::{
    Api, alarms, asyncapi, call_routes, calls, capture, commands, control, ended_calls, events, gateways,
    health, journal, metrics, openapi, originate, places, queues, recording, recordings, registrations,
    remote, users,
};
use crate::config::tokens::Scope;
use crate::control::{Order, Status};
use crate::ended_calls::Found;
use b2b_app::queue::machine::view::{AgentView, QueueView};

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
        path: &'static str,
        scope: Option<Scope>,
        says: &'static str,
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

const AUDIO: &str = "A party's audio, in both directions, as a WebSocket.";

/// All routes.
pub fn routes() -> Vec<Route> {
    use HttpMethod::{Delete, Get, Patch, Post, Put};
    let (read, record, audio) = (Some(Scope::Read), Some(Scope::Record), Some(Scope::Audio));
    let command = Some(Scope::Calls);
    vec![
        Route::new(Get, "/calls", read, "Active calls, oldest first.", get(calls::list))
            .asks(&["limit", "after", "ended", "quality"])
            .gives::<calls::Calls>(),
        Route::new(
            Post,
            "/calls",
            command,
            "Calls a party, and joins it with another one.",
            post(originate::begin),
        )
        .takes::<originate::OriginateRequest>()
        .status(201)
        .gives::<originate::Begun>(),
        Route::new(Get, "/calls/ended", read, "Ended calls, latest first.", get(ended_calls::list))
            .asks(&ended_calls::QUERY)
            .gives::<Found>(),
        Route::new(Get, "/calls/{id}", read, "The timeline, legs and verdicts of a call.", get(calls::one))
            .asks(&["format"])
            .gives::<calls::One>(),
        Route::new(Delete, "/calls/{id}", command, "Ends a call.", delete(calls::end)).status(204),
        Route::new(
            Post,
            "/calls/{id}/{verb}",
            None,
            "A command for this call: POST /commands with the call and the command in the path.",
            post(commands::of_call),
        )
        .asks(&["wait"])
        .status(202)
        .gives::<Status>()
        .lasts(),
        Route::new(
            Post,
            "/calls/{id}/capture",
            record,
            "Starts a media capture of the call.",
            post(capture::begin),
        )
        .may_take::<capture::CaptureRequest>()
        .status(202)
        .gives::<capture::Begun>(),
        Route::new(Delete, "/calls/{id}/capture", record, "Stops the capture.", delete(capture::end))
            .status(204),
        Route::new(
            Post,
            "/calls/{id}/recording",
            record,
            "Starts a recording of the call.",
            post(recording::begin),
        )
        .status(202),
        Route::new(
            Patch,
            "/calls/{id}/recording",
            record,
            "Pauses or resumes the recording.",
            patch(recording::pause),
        )
        .takes::<recording::RecordingRequest>()
        .status(204),
        Route::new(Delete, "/calls/{id}/recording", record, "Stops the recording.", delete(recording::end))
            .gives::<recording::Over>(),
        Route::new(Get, "/calls/{id}/messages", record, "Its SIP messages, as text.", get(capture::messages))
            .gives::<capture::Messages>(),
        Route::new(Get, "/calls/{id}/pcap", record, "Its packets, as a PCAP file.", get(capture::file)),
        Route::new(
            Get,
            "/calls/{id}/journal",
            record,
            "Its journal, for `b2b replay`: JSON lines.",
            get(journal::file),
        )
        .asks(&["secrets"]),
        Route::new(Get, "/calls/{id}/audio", audio, AUDIO, get(super::audio::of_call))
            .asks(&["rate", "frame_ms", "listen"])
            .status(101),
        Route::new(Get, "/legs/{leg}/audio", audio, AUDIO, get(super::audio::of_leg))
            .asks(&["rate", "frame_ms", "listen"])
            .status(101),
        Route::new(
            Get,
            "/media/{id}",
            audio,
            "The program that a caller waits for, as a WebSocket.",
            get(super::media::of_awaited),
        )
        .status(101),
        Route::new(Post, "/commands", None, "Runs a command.", post(commands::begin))
            .asks(&["wait"])
            .takes::<Order>()
            .status(202)
            .gives::<Status>()
            .lasts(),
        Route::new(Get, "/commands/{id}", read, "The result of a command.", get(commands::one))
            .asks(&["wait"])
            .gives::<Status>()
            .lasts(),
        Route::new(Delete, "/commands/{id}", None, "Cancels a command.", delete(commands::cancel))
            .status(204),
        Route::new(Get, "/control", read, "Commands and events, as a WebSocket.", get(control::stream))
            .asks(&["after", "call", "type", "plane", "only"])
            .status(101),
        Route::new(Get, "/queues", read, "Queues and their waiting callers.", get(queues::list))
            .gives::<queues::Queues>(),
        Route::new(Get, "/queues/{name}", read, "A queue.", get(queues::one)).gives::<QueueView>(),
        Route::new(Get, "/agents", read, "Agents.", get(queues::agents)).gives::<queues::Agents>(),
        Route::new(Get, "/agents/{name}", read, "An agent.", get(queues::agent)).gives::<AgentView>(),
        Route::new(
            Put,
            "/agents/{name}/state",
            Some(Scope::Agents),
            "Changes the agent's state.",
            put(queues::set_state),
        )
        .takes::<queues::AgentRequest>()
        .gives::<AgentView>(),
        Route::new(Get, "/rooms", read, "Rooms and their participants.", get(places::list))
            .gives::<places::Rooms>(),
        Route::new(Get, "/rooms/{name}", read, "A room.", get(places::one)).gives::<places::Room>(),
        Route::new(
            Post,
            "/rooms/{name}/{verb}",
            None,
            "A command for this room: mute, volume, lock, kick, record, play.",
            post(commands::of_room),
        )
        .asks(&["wait"])
        .status(202)
        .gives::<Status>()
        .lasts(),
        Route::new(Get, "/slots", read, "Parking slots and parked callers.", get(places::slots))
            .gives::<places::Lots>(),
        Route::new(Get, "/gateways", read, "Gateways.", get(gateways::list)).gives::<gateways::Gateways>(),
        Route::new(
            Post,
            "/gateways/{name}/register",
            command,
            "Registers at a gateway immediately.",
            post(gateways::register),
        )
        .status(202),
        Route::new(Get, "/routes", read, "Routes, in their order.", get(call_routes::list))
            .gives::<call_routes::CallRoutes>(),
        Route::new(
            Get,
            "/routes/explain",
            read,
            "The route that a call would take, and the reason.",
            get(call_routes::ask),
        )
        .asks(&["called", "from", "source"])
        .gives::<call_routes::Explained>(),
        Route::new(Get, "/token", None, "What the token of this request may do.", get(call_routes::token))
            .gives::<call_routes::TokenScopes>(),
        Route::new(Get, "/events", read, "Events, as a WebSocket.", get(events::stream))
            .asks(&["after", "call", "type", "plane"])
            .status(101),
        Route::new(Get, "/remotes", read, "Remote applications.", get(remote::list))
            .gives::<remote::RemoteApps>(),
        Route::new(
            Get,
            "/remote/{name}",
            Some(Scope::Remote),
            "Connects a program to a remote application, as a WebSocket.",
            get(remote::stream),
        )
        .status(101),
        Route::new(Get, "/registrations", read, "Registrations.", get(registrations::list))
            .asks(&["user", "after", "limit"])
            .gives::<registrations::Registrations>(),
        Route::new(
            Get,
            "/users",
            read,
            "Users of the configuration, and whether they are registered.",
            get(users::list),
        )
        .asks(&["registered", "after", "limit"])
        .gives::<users::Users>(),
        Route::new(Get, "/recordings", record, "Complete recordings, latest first.", get(recordings::list))
            .asks(&["day", "after", "limit"])
            .gives::<recordings::Recordings>(),
        Route::new(
            Get,
            "/recordings/{day}/{name}",
            record,
            "A recording: a WAV file, or a part of it.",
            get(recordings::file),
        ),
        Route::new(Get, "/alarms", read, "Active alarms.", get(alarms::list)).gives::<alarms::Standing>(),
        Route::new(
            Post,
            "/alarms/{name}/acknowledge",
            command,
            "Somebody has seen an alarm: one about what happened ends, another one stays, acknowledged.",
            post(alarms::acknowledge),
        )
        .asks(&["subject"])
        .status(204),
        Route::new(Get, "/metrics", read, "Metrics, for Prometheus.", get(metrics::scrape)),
        Route::new(Get, "/openapi.json", read, "This document.", get(openapi::document)),
        Route::new(
            Get,
            "/asyncapi.json",
            read,
            "Messages on WebSockets: events, commands, decisions (AsyncAPI 3.0).",
            get(asyncapi::document),
        ),
        Route::new(Get, "/healthz", None, "Whether the server accepts calls; 503 if not.", get(health)),
    ]
}

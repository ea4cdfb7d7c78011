//! Rooms and parking lots, with their occupants.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::answer::Problem;
use b2b_app::conference::{Participant, Role, RoomConfig, RoomView};
use b2b_call::LegId;
use b2b_call::call_fsm::CallDirection;
use b2b_call::switch::{LegSnapshot, Switch, Turn};

/// Every room.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rooms {
    rooms: Vec<Room>,
}

/// A room, occupied or empty.
#[derive(Debug, Serialize, ToSchema)]
pub struct Room {
    name: String,
    /// Maximum members; null: it is no longer in the configuration, and ends with its last member.
    most: Option<usize>,
    /// Whether a PIN is required.
    pin: bool,
    locked: bool,
    recording: bool,
    /// In order of arrival.
    members: Vec<Attendee>,
}

/// A member of a room.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attendee {
    call: u64,
    leg: u64,
    /// The member's own number: the one it called from, or was called by.
    number: String,
    moderator: bool,
    muted: bool,
    volume_db: i8,
    /// Whether it hears music until a moderator is there.
    waits: bool,
}

/// Every parking lot.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lots {
    lots: Vec<Lot>,
}

/// A parking lot: its slots, and the occupied ones.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lot {
    name: String,
    first: u32,
    last: u32,
    taken: Vec<Slot>,
}

/// A party in a slot.
#[derive(Debug, Serialize, ToSchema)]
pub struct Slot {
    slot: u32,
    call: u64,
    leg: u64,
    /// The party's own number: the one it called from, or was called by.
    number: String,
    /// The party that has parked it, if known.
    by: Option<String>,
}

/// The numbers of the parties of these legs.
async fn numbers(api: &Api, legs: Vec<LegId>) -> Result<HashMap<LegId, String>, Problem> {
    let look = move |switch: &mut Switch, _: &mut Turn<'_>, _| {
        let number = |it: LegSnapshot| match it.direction {
            CallDirection::Inbound => it.caller,
            CallDirection::Outbound => it.user.unwrap_or(it.callee),
        };
        legs.into_iter().filter_map(|leg| Some((leg, number(switch.leg_snapshot(leg)?)))).collect()
    };
    api.jobs.run(look).await.ok_or_else(Problem::stopping)
}

/// The state of every room, by name.
async fn rooms(api: &Api) -> Result<Vec<Room>, Problem> {
    let settings = api.admission.current.get();
    let mut live: HashMap<String, RoomView> =
        api.places.rooms.view().into_iter().map(|room| (room.name.clone(), room)).collect();
    let legs =
        live.values().flat_map(|room| room.participants.iter().map(|participant| participant.leg)).collect();
    let numbers = numbers(api, legs).await?;
    let member = |participant: &Participant| Attendee {
        call: participant.call.0,
        leg: participant.leg.0,
        number: numbers.get(&participant.leg).cloned().unwrap_or_default(),
        moderator: participant.role == Role::Moderator,
        muted: participant.muted,
        volume_db: participant.volume_db,
        waits: participant.waits,
    };
    let room = |name: &str, config: Option<&RoomConfig>, live: Option<RoomView>| Room {
        name: name.to_owned(),
        most: config.map(|config| config.most),
        pin: config.is_some_and(RoomConfig::asks),
        locked: live.as_ref().is_some_and(|live| live.locked),
        recording: live.as_ref().is_some_and(|live| live.recording),
        members: live.iter().flat_map(|live| live.participants.iter().map(member)).collect(),
    };
    let configured = &settings.config.apps.conferences;
    let mut rooms: Vec<_> =
        configured.iter().map(|config| room(&config.name, Some(config), live.remove(&config.name))).collect();
    rooms.extend(live.into_iter().map(|(name, view)| room(&name, None, Some(view))));
    rooms.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rooms)
}

/// `GET /rooms`
pub async fn list(State(api): State<Api>) -> Result<Json<Rooms>, Problem> {
    Ok(Json(Rooms { rooms: rooms(&api).await? }))
}

/// `GET /rooms/{name}`
pub async fn one(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Room>, Problem> {
    let found = rooms(&api).await?.into_iter().find(|room| room.name == name);
    let none = || {
        Problem::missing(format!("there is no room {name:?}"), "GET /rooms lists them; see [[conference]]")
    };
    found.map(Json).ok_or_else(none)
}

/// `GET /slots`
pub async fn slots(State(api): State<Api>) -> Result<Json<Lots>, Problem> {
    let settings = api.admission.current.get();
    let parked = api.places.lots.view();
    let numbers = numbers(&api, parked.iter().map(|(_, _, parked)| parked.leg).collect()).await?;
    let lot = |config: &b2b_app::park::LotConfig| {
        let here = parked.iter().filter(|(lot, _, _)| *lot == config.name);
        let taken = here.map(|(_, slot, parked)| Slot {
            slot: *slot,
            call: parked.call.0,
            leg: parked.leg.0,
            number: numbers.get(&parked.leg).cloned().unwrap_or_default(),
            by: parked.by.clone(),
        });
        Lot {
            name: config.name.clone(),
            first: *config.slots.start(),
            last: *config.slots.end(),
            taken: taken.collect(),
        }
    };
    Ok(Json(Lots { lots: settings.config.apps.lots.iter().map(lot).collect() }))
}

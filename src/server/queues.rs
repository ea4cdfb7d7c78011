//! Queues in the server: their settings, and agents whose phones register and unregister.

use std::collections::HashMap;
use std::time::Instant;

use super::admission::AdmissionParts;
use super::in_force::{Current, SharedRegistrar, registrar};
use crate::config::ServerConfig;
use crate::config::apps::music::{Music, MusicFrom};
use crate::registrar::{Aor, SavedAgent, SavedAgents};
use b2b_app::Applications;
use b2b_app::queue::machine::agent::Duty;
use b2b_app::queue::{DeskSettings, QueueDesk, QueueHandler};
use b2b_call::bus::{EventBus, Received, Subscriber};
use b2b_call::controller::{MusicClass, MusicSource};
use b2b_call::event::{Event, EventFilter, UnknownWord};
use b2b_call::service::CallService;

/// Registers the queues by their names.
pub fn enlist(apps: &Applications, desk: &QueueDesk) {
    for handler in QueueHandler::all(desk) {
        apps.add(handler);
    }
}

/// The same with the states that agents had set before the server last ended. An agent whose configured state
/// has changed since then gets the configured one.
pub fn resumed(mut settings: DeskSettings, saved: &SavedAgents) -> DeskSettings {
    for agent in &mut settings.agents {
        let said = saved.found().get(&*agent.plan.name);
        let said = said.filter(|it| it.configured == agent.plan.duty.as_str());
        if let Some(duty) = said.and_then(|it| Duty::parse(&it.state)) {
            agent.plan.duty = duty;
        }
    }
    settings
}

/// Starts the queues: they serve callers, track agents' phones, and save agents' states.
pub fn start(desk: &QueueDesk, parts: &AdmissionParts, service: &CallService, saved: SavedAgents) {
    desk.start(service);
    if saved.is_kept() {
        // After lost events, all states are read again.
        match of_queues(&parts.bus) {
            Ok(events) => {
                let keeping = keep_duties(desk.clone(), parts.current.clone(), saved, events);
                let _ = service.spawn(keeping);
            }
            Err(error) => tracing::error!("what agents say is not kept: {error}"),
        }
    }
    let (current, registrar, events) =
        (parts.current.clone(), parts.registrar.clone(), parts.bus.subscribe());
    // If the service has stopped, there are no more calls.
    let _ = service.spawn(follow_phones(desk.clone(), current, registrar, service.clone(), events));
}

/// Default class of music for applications.
const USUAL_MUSIC: &str = "default";

/// The classes of music on hold, with the default one added where the configuration has none: waiting callers
/// are to hear that they are still connected.
pub fn music(config: &ServerConfig) -> Vec<MusicClass> {
    classes(&config.apps.music)
}

fn classes(configured: &[Music]) -> Vec<MusicClass> {
    let class = |music: &Music| MusicClass {
        name: music.name.clone(),
        source: match &music.source {
            MusicFrom::Folder(folder) => MusicSource::Folder(folder.clone()),
            MusicFrom::File(file) => MusicSource::File(file.clone()),
            MusicFrom::Tone(hz) => {
                let (on, off) = MusicFrom::TONE;
                MusicSource::Tone { hz: *hz, on, off }
            }
        },
        shared: music.shared,
    };
    let mut classes: Vec<MusicClass> = configured.iter().map(class).collect();
    if !classes.iter().any(|class| class.name == USUAL_MUSIC) {
        let (on, off) = MusicFrom::TONE;
        let source = MusicSource::Tone { hz: [440, 554], on, off };
        classes.push(MusicClass { name: USUAL_MUSIC.to_owned(), source, shared: false });
    }
    classes
}

/// The queues of a configuration. Agents who are users are listed by the user's own name, even if configured
/// by an alias.
pub fn settings(config: &ServerConfig) -> DeskSettings {
    let mut settings = config.apps.queues.clone();
    for agent in &mut settings.agents {
        if let Some(user) = agent.user.as_deref().and_then(|user| config.user(user)) {
            agent.user = Some(user.name.clone());
        }
    }
    settings
}

fn of_queues(bus: &EventBus) -> Result<Subscriber, UnknownWord> {
    Ok(bus.subscribe_to(EventFilter::all().of_types("application,reloaded")?))
}

/// Saves the states that agents set, until the service stops.
async fn keep_duties(desk: QueueDesk, current: Current, saved: SavedAgents, mut events: Subscriber) {
    // A removed agent starts anew if it becomes an agent again.
    let known = of_configuration(&current);
    for name in saved.found().keys().filter(|name| !known.contains_key(*name)) {
        saved.set(name, None);
    }
    while let Some(received) = events.recv().await {
        let about = match &received {
            Received::Event(published) => match &published.event {
                Event::Application { app, name, data, .. } if app == "queue" && name == "duty" => {
                    data["agent"].as_str().map(str::to_owned)
                }
                // Agents may have been added, removed or changed.
                Event::Reloaded { error: None } => None,
                _ => continue,
            },
            Received::Lagged(_) => None,
        };
        let known = of_configuration(&current);
        for agent in
            desk.agents().await.iter().filter(|it| about.as_ref().is_none_or(|name| *name == it.name))
        {
            if let Some(configured) = known.get(&agent.name) {
                let (configured, state) = (configured.as_str().to_owned(), agent.duty.as_str().to_owned());
                saved.set(&agent.name, Some(SavedAgent { configured, state }));
            }
        }
    }
}

/// The configured state of each agent.
fn of_configuration(current: &Current) -> HashMap<String, Duty> {
    let settings = current.get();
    let agents = settings.config.apps.queues.agents.iter();
    agents.map(|agent| (agent.plan.name.to_string(), agent.plan.duty)).collect()
}

/// Tells the queues which agents' phones are registered, now and at each change, until the service stops.
async fn follow_phones(
    desk: QueueDesk,
    current: Current,
    shared: SharedRegistrar,
    service: CallService,
    mut events: Subscriber,
) {
    let mut users = of_agents(&desk, &current);
    let Ok(now) = service.now().await else { return };
    tell(&desk, &shared, now, users.iter());
    while let Some(received) = events.recv().await {
        let about = match &received {
            Received::Event(published) => match &published.event {
                Event::Registered { aor, .. } | Event::Unregistered { aor, .. } => Some(aor.clone()),
                Event::Reloaded { .. } => {
                    users = of_agents(&desk, &current);
                    None
                }
                _ => continue,
            },
            // The lost events may have been about one of them.
            Received::Lagged(_) => None,
        };
        if about.as_ref().is_some_and(|aor| !users.contains_key(aor)) {
            continue;
        }
        let Ok(now) = service.now().await else { return };
        let these = users.iter().filter(|(aor, _)| about.as_ref().is_none_or(|about| *aor == about));
        tell(&desk, &shared, now, these);
    }
}

type Users = HashMap<String, (Aor, String)>;

/// Users who are agents, by their addresses of record.
fn of_agents(desk: &QueueDesk, current: &Current) -> Users {
    let settings = current.get();
    let agents = desk.settings();
    let user = |name: &String| {
        let user = settings.directory.user(name)?;
        let aor = settings.directory.aor(user)?;
        Some((aor.as_str().to_owned(), (aor, name.clone())))
    };
    agents.agents.iter().filter_map(|agent| agent.user.as_ref()).filter_map(user).collect()
}

fn tell<'a>(
    desk: &QueueDesk,
    shared: &SharedRegistrar,
    now: Instant,
    users: impl Iterator<Item = (&'a String, &'a (Aor, String))>,
) {
    let registrar = registrar(shared);
    for (_, (aor, user)) in users {
        let there = registrar.store().bindings(aor).iter().any(|binding| binding.expires > now);
        desk.phone(user, there);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_a_usual_class_of_music_and_no_second() {
        let names = |of: &[&str]| {
            let class = |name: &&str| Music {
                name: (*name).to_owned(),
                source: MusicFrom::Tone([425, 0]),
                shared: true,
            };
            classes(&of.iter().map(class).collect::<Vec<_>>())
                .into_iter()
                .map(|it| it.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["default"]);
        assert_eq!(names(&["jazz"]), ["jazz", "default"]);
        assert_eq!(names(&["default"]), ["default"]);
    }
}

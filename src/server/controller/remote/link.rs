//! The session with one media server: its verbs and its events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::RemoteServer;
use super::door::{Door, LinkError, PATIENCE};
use super::table::{Queue, Table};
use super::wire::{Asked, Hello, MOST, Numbered, VERSION, WAIT, Welcome};

/// Pause before the next attempt to connect to a server that is down.
const PAUSE: Duration = Duration::from_secs(1);
/// Maximum time to end the session.
const PARTING: Duration = Duration::from_secs(1);

/// Keeps a session with a server until the sender of `parting` is dropped.
pub(super) async fn run(
    at: usize,
    server: RemoteServer,
    lease: Duration,
    mut asked: Queue,
    table: Arc<Table>,
    mut parting: watch::Receiver<()>,
) {
    let name = &server.authority;
    let door = match Door::new(&server) {
        Ok(door) => door,
        Err(error) => return tracing::error!("media server {name}: {error}"),
    };
    let mut told = false;
    let started = Instant::now();
    loop {
        if started.elapsed() > lease {
            gone(at, name, &table);
        }
        let resumes = table.resumes(at);
        let hello = Hello {
            version: VERSION,
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            resumes: resumes.clone(),
        };
        match begin(&door, hello).await {
            Ok(welcome) => {
                if welcome.resumed.is_none() {
                    gone(at, name, &table);
                }
                told = false;
                tracing::info!("media server {name}: connected; it has {} endpoints", welcome.load.endpoints);
                // The verbs of the previous session have been answered already.
                while asked.try_recv().is_ok() {}
                table.up(at, welcome.clone());
                let ended = session(at, &door, &welcome, &mut asked, &table, &mut parting).await;
                let reason = match &ended {
                    Some(error) => format!("media server {name} is lost: {error}"),
                    None => "the session ends".to_owned(),
                };
                let lost = table.down(at, &reason, Instant::now());
                if let Some(error) = &ended {
                    table.trouble(at, error.to_string());
                    tracing::error!("{reason}; {lost} endpoints are lost");
                }
                // The server may still be up: this makes it release everything of the session.
                let _ = tokio::time::timeout(PARTING, door.end(&welcome.session)).await;
                if ended.is_none() {
                    return;
                }
            }
            Err(LinkError::NoSession) if resumes.is_some() => {
                gone(at, name, &table);
                continue;
            }
            Err(error) => {
                table.trouble(at, error.to_string());
                if !told {
                    told = true;
                    tracing::error!("media server {name}: {error}; retrying every second");
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = parting.changed() => return,
        }
    }
}

/// What the process before had at a server is not there any more.
fn gone(at: usize, name: &str, table: &Table) {
    if table.resumes(at).is_some() {
        let reason = format!("media server {name} no longer has the session of the process before");
        let lost = table.down(at, &reason, Instant::now());
        tracing::error!("{reason}; {lost} endpoints are lost");
    }
}

async fn begin(door: &Door, hello: Hello) -> Result<Welcome, LinkError> {
    let welcome = door.begin(hello).await?;
    if welcome.version != VERSION {
        return Err(LinkError::Answer(format!("version {}, and ours is {VERSION}", welcome.version)));
    }
    let needs = super::RemoteController::CAPABILITIES;
    let has = super::wire::capabilities(&welcome.capabilities);
    match has.missing(needs).next() {
        None => Ok(welcome),
        Some(missing) => Err(LinkError::Refused(format!("it cannot do {missing:?}; run the same b2b there"))),
    }
}

/// Runs until it breaks, which returns the error; `None`: we were told to end it.
async fn session(
    at: usize,
    door: &Door,
    welcome: &Welcome,
    asked: &mut Queue,
    table: &Table,
    parting: &mut watch::Receiver<()>,
) -> Option<LinkError> {
    tokio::select! {
        ended = speak(at, door, welcome, asked, table) => ended.err(),
        ended = listen(at, door, welcome, table) => ended.err(),
        _ = parting.changed() => None,
    }
}

/// Sends verbs, with all that are queued in one request.
async fn speak(
    at: usize,
    door: &Door,
    welcome: &Welcome,
    asked: &mut Queue,
    table: &Table,
) -> Result<(), LinkError> {
    let session = &welcome.session;
    let mut batch = welcome.resumed.as_ref().map_or(0, |it| it.batch);
    let mut left: VecDeque<Numbered> = VecDeque::new();
    loop {
        if left.is_empty() {
            let Some(first) = asked.recv().await else { return Ok(()) };
            left.extend(first);
        }
        while left.len() < MOST
            && let Ok(next) = asked.try_recv()
        {
            left.extend(next);
        }
        let verbs: Vec<Numbered> = left.drain(..left.len().min(MOST)).collect();
        batch += 1;
        let request = Asked { batch, verbs };
        let answers = match door.obey(session, &request).await {
            // An idle connection was closed just now. The number marks the request as a repetition.
            Err(error) if error.is_of_the_way() => door.obey(session, &request).await?,
            answers => answers?,
        };
        let now = Instant::now();
        answers.happened.into_iter().for_each(|it| table.happened(at, it, now));
    }
}

/// Polls for events, which also renews the session's lease.
async fn listen(at: usize, door: &Door, welcome: &Welcome, table: &Table) -> Result<(), LinkError> {
    let patience = WAIT + PATIENCE;
    let mut next = 0;
    loop {
        let happenings = match door.events(&welcome.session, next, patience).await {
            Err(error) if error.is_of_the_way() => door.events(&welcome.session, next, patience).await?,
            happenings => happenings?,
        };
        next = happenings.first + happenings.happened.len() as u64;
        if let Some(load) = happenings.load {
            table.loaded(at, load);
        }
        let now = Instant::now();
        happenings.happened.into_iter().for_each(|it| table.happened(at, it, now));
    }
}

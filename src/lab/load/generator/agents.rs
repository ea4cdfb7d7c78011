//! The agents of a load: one per address, all on the generator's thread.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::load::config::LoadConfig;
use b2b_call::LegId;
use b2b_call::agent::{AgentError, AgentEvent, AgentService, Registrations, UserAccount, UsersConfig};

/// An agent's index and a leg of that agent: leg ids are per agent.
pub type Line = (usize, LegId);

/// How long the registration of users may take beyond the time for their number: an unanswered request times
/// out after 32 s (RFC 3261 §17.1.2.2).
const PATIENCE: Duration = Duration::from_secs(40);
/// Polling interval of the removal.
const LOOK: Duration = Duration::from_millis(50);
/// Maximum time for the removal.
const LEAVING: Duration = Duration::from_secs(5);

/// The agents; at least one.
pub struct Agents {
    first: AgentService,
    others: Vec<AgentService>,
    /// The agent polled first.
    turn: usize,
}

impl Agents {
    /// Starts one agent per address.
    pub fn start(config: &LoadConfig) -> Result<Self, AgentError> {
        let mut agents = Vec::new();
        for (n, bind) in config.binds.iter().enumerate() {
            agents.push(AgentService::start(config.agent(n, *bind))?);
        }
        let mut agents = agents.into_iter();
        let first = agents.next();
        let first = first.ok_or_else(|| AgentError::Media("no address is named".to_owned()))?;
        Ok(Agents { first, others: agents.collect(), turn: 0 })
    }

    /// The number of agents.
    fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// The agent for the call of this number, from 1, in turn.
    pub fn turn(&self, number: u64) -> usize {
        usize::try_from(number.saturating_sub(1)).unwrap_or_default() % self.count()
    }

    /// An agent; an invalid index selects the first one.
    pub fn at(&mut self, n: usize) -> &mut AgentService {
        match n.checked_sub(1).and_then(|n| self.others.get_mut(n)) {
            Some(agent) => agent,
            None => &mut self.first,
        }
    }

    fn all(&self) -> impl Iterator<Item = &AgentService> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The bound addresses.
    pub fn local(&self) -> Vec<SocketAddr> {
        self.all().map(AgentService::local).collect()
    }

    /// The next event and its agent. Dropping the future loses nothing.
    pub async fn next_event(&mut self) -> (usize, AgentEvent) {
        if self.others.is_empty() {
            return (0, self.first.next_event().await);
        }
        // events already queued by an agent are taken before all are polled again
        let mut all = std::iter::once(&mut self.first).chain(&mut self.others).enumerate();
        if let Some(news) = all.find_map(|(n, agent)| agent.take_news().map(|event| (n, event))) {
            return news;
        }
        let mut futures = Vec::with_capacity(self.count());
        for (n, agent) in std::iter::once(&mut self.first).chain(&mut self.others).enumerate() {
            futures.push((n, Box::pin(agent.next_event())));
        }
        // each agent is polled first in turn, so that a busy one does not starve the others
        self.turn = (self.turn + 1) % futures.len();
        futures.rotate_left(self.turn);
        let next = poll_fn(|context| {
            for (n, future) in &mut futures {
                if let Poll::Ready(event) = future.as_mut().poll(context) {
                    return Poll::Ready((*n, event));
                }
            }
            Poll::Pending
        });
        pin!(next).await
    }

    /// Registers the users to be called, distributed over the agents.
    pub fn enrol(&mut self, config: &LoadConfig) -> Result<(), AgentError> {
        let Some(enrolment) = &config.enrolment else { return Ok(()) };
        let count = self.count();
        let how = UsersConfig {
            registrar: format!("sip:{}", config.domain),
            way: Some(enrolment.registrar.clone()),
            expires_s: enrolment.expires_s,
            per_second: enrolment.per_second / count as f64,
        };
        for n in 0..count {
            let users = enrolment.users.iter().skip(n).step_by(count);
            let accounts: Vec<UserAccount> = users
                .map(|user| UserAccount {
                    identity: user.uri(&config.domain),
                    user: user.name.clone(),
                    credentials: user.credentials(),
                })
                .collect();
            self.at(n).register_users(&accounts, &how)?;
        }
        Ok(())
    }

    /// Maximum time for all registrations.
    pub fn patience(&self, config: &LoadConfig) -> Duration {
        let Some(enrolment) = &config.enrolment else { return PATIENCE };
        PATIENCE + Duration::from_secs_f64(enrolment.users.len() as f64 / enrolment.per_second.max(0.1))
    }

    /// The results of the registrations.
    pub fn registrations(&self) -> Registrations {
        let mut sum = Registrations::default();
        for one in self.all().map(AgentService::registrations) {
            sum.users += one.users;
            sum.registered += one.registered;
            sum.given_up += one.given_up;
            for (why, count) in one.failures {
                *sum.failures.entry(why).or_default() += count;
            }
        }
        sum
    }

    /// Ends the remaining legs and registrations.
    pub async fn close(mut self) {
        for n in 0..self.count() {
            self.at(n).drain();
        }
        let until = Instant::now() + LEAVING;
        let users = self.registrations().users > 0;
        while users && Instant::now() < until && !self.all().all(AgentService::is_idle) {
            // the last removal sends no event
            let _ = tokio::time::timeout(LOOK, self.next_event()).await;
        }
        self.first.close().await;
        for agent in self.others {
            agent.close().await;
        }
    }
}

/// The error text for users that are not registered.
pub fn missing(found: &Registrations) -> String {
    let why: Vec<String> = found.failures.iter().map(|(why, count)| format!("{count} times {why}")).collect();
    format!(
        "{} of {} users of [callee] are not registered ({}), so the load does not begin; look at their passwords \
         and at the registrar, or lower register_per_s",
        found.users - found.registered,
        found.users,
        if why.is_empty() { "nothing was answered".to_owned() } else { why.join(", ") }
    )
}

//! A caller in a queue: one handler each. It carries out what the machine orders, and tells
//! it what the caller does.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::desk::{Entry, Order, QueueDesk, Word};
use super::machine::values::{CallerId, Input, Left, OfferId, Skills};
use super::settings::QueueSettings;
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{CollectEnd, DigitPlan, Prompt};
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallError, CallService, Place};
use b2b_call::{CallId, LegId};

/// Digits are awaited for so long at a time.
const LISTEN: Duration = Duration::from_secs(3_600);

/// One queue, as `queue/` and its name.
pub struct QueueHandler {
    name: Arc<str>,
    queue: Arc<str>,
    desk: QueueDesk,
}

impl QueueHandler {
    /// Every queue of a desk.
    pub fn all(desk: &QueueDesk) -> Vec<Arc<dyn ApplicationHandler>> {
        let handler = |it: &QueueSettings| {
            let (queue, desk) = (it.plan.name.clone(), desk.clone());
            let name = super::settings::DeskSettings::application(&queue);
            Arc::new(QueueHandler { name, queue, desk }) as Arc<dyn ApplicationHandler>
        };
        desk.settings().queues.iter().map(handler).collect()
    }
}

impl ApplicationHandler for QueueHandler {
    fn name(&self) -> &str {
        &self.name
    }

    /// Only by its name.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        self.desk.start(&service);
        let desk = self.desk.clone();
        let settings = desk.settings().queues.iter().find(|it| it.plan.name == self.queue).cloned();
        Box::pin(async move {
            match settings {
                Some(settings) => wait(desk, settings, call, service).await,
                None => HandlerAction::Disconnect,
            }
        })
    }
}

/// Whatever becomes of the handler: the machine hears that its caller is gone.
struct InLine {
    desk: QueueDesk,
    caller: CallerId,
}

impl InLine {
    fn tell(&self, input: Input) {
        self.desk.tell(Word::Input(input));
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.tell(Input::CallerLeft { caller: self.caller });
    }
}

async fn wait(
    desk: QueueDesk,
    settings: QueueSettings,
    call: IncomingCall,
    service: CallService,
) -> HandlerAction {
    let (id, leg) = (call.call, call.leg);
    let queue = settings.plan.name.clone();
    let (priority, skills) = asked_for(&service.variables(id).await.unwrap_or_default());
    let (orders, mut ordered) = mpsc::unbounded_channel();
    let caller = desk.new_caller();
    let entry = Entry { caller, queue, call: id, number: call.caller(), priority, skills, orders };
    desk.tell(Word::Enter(entry));
    let line = InLine { desk, caller };
    let mut ear =
        Ear { service, leg, call: id, settings, playing: None, digit: None, welcome: false, music: false };
    let over = ear.service.clone();
    let mut over = std::pin::pin!(over.wait_for_termination(leg));
    let mut answered = false;
    loop {
        tokio::select! {
            biased;
            _ = &mut over => return HandlerAction::Complete,
            order = ordered.recv() => match order {
                Some(Order::Welcome) => {
                    if let Err(error) = ear.let_in().await {
                        tracing::info!("call {}: it cannot wait in a queue: {error}", id.0);
                        return HandlerAction::Disconnect;
                    }
                    answered = true;
                    if ear.playing.is_none() {
                        ear.go_on().await;
                        line.tell(Input::CallerReady { caller });
                    }
                }
                Some(Order::Say { position, estimate }) => {
                    ear.play(ear.settings.sounds.announcement(position, estimate));
                }
                Some(Order::Join { offer, leg, agent }) => ear.join(&line, offer, leg, &agent).await,
                Some(Order::Left { how, waited }) => {
                    return ear.leave(how, waited, answered).await;
                }
                // The queues have ended, or there is no such queue any more.
                None => return HandlerAction::Disconnect,
            },
            () = done(&mut ear.playing) => {
                ear.playing = None;
                ear.go_on().await;
                if std::mem::take(&mut ear.welcome) {
                    line.tell(Input::CallerReady { caller });
                }
            }
            digit = done(&mut ear.digit) => {
                ear.digit = None;
                if let Some(digit) = digit {
                    line.tell(Input::CallerPressed { caller, digit });
                }
                ear.listen();
            }
        }
    }
}

/// What earlier applications have noted for the queue: `queue_priority` and `queue_skills`,
/// as `french:3,billing`.
fn asked_for(variables: &[(String, String)]) -> (u8, Skills) {
    let value = |name: &str| variables.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
    let priority = value("queue_priority").and_then(|value| value.trim().parse().ok()).unwrap_or(0);
    let skill = |text: &str| {
        let (skill, level) = text.split_once(':').unwrap_or((text, "1"));
        let skill = skill.trim();
        (!skill.is_empty()).then(|| (skill.to_owned(), level.trim().parse().unwrap_or(1)))
    };
    (priority, value("queue_skills").unwrap_or_default().split(',').filter_map(skill).collect())
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

async fn done<T>(work: &mut Option<Work<T>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// What a caller hears and presses.
struct Ear {
    service: CallService,
    leg: LegId,
    call: CallId,
    settings: QueueSettings,
    playing: Option<Work<()>>,
    digit: Option<Work<Option<char>>>,
    /// The welcome is being played.
    welcome: bool,
    /// There is music, while nothing else is played.
    music: bool,
}

impl Ear {
    /// Answers, if nobody has, and begins the welcome.
    async fn let_in(&mut self) -> Result<(), CallError> {
        // Before the answer, so that the record of who hangs up at once has it, too.
        self.note("queue", &self.settings.plan.name.clone()).await;
        // Who hangs up is gone before anybody could note it.
        let last = Left::Abandoned.as_str();
        let noted = self.service.set_variable_until_the_end(self.call, "queue_result", "waiting", last).await;
        self.is_noted("queue_result", noted);
        self.note("queue_agent", "").await;
        self.note("queue_wait_s", "").await;
        match self.service.answer(self.leg).await {
            // Another application has answered.
            Ok(()) | Err(CallError::WrongState(_)) => {}
            Err(error) => return Err(error),
        }
        self.service.enter(self.call, Place::Queue).await?;
        let welcome = self.settings.sounds.welcome();
        self.welcome = welcome.is_some();
        self.play(welcome);
        self.listen();
        Ok(())
    }

    /// Variables of the call are for people: without room for one the call goes on.
    async fn note(&mut self, name: &str, value: &str) {
        let noted = self.service.set_variable(self.call, name, value).await;
        self.is_noted(name, noted);
    }

    fn is_noted(&self, name: &str, noted: Result<(), CallError>) {
        if let Err(error) = noted {
            tracing::debug!("call {}: {name}: {error}", self.call.0);
        }
    }

    fn play(&mut self, prompt: Option<Prompt>) {
        let Some(prompt) = prompt else { return };
        let (service, leg, call) = (self.service.clone(), self.leg, self.call);
        self.playing = Some(Box::pin(async move {
            // What cannot be played is not heard; the caller waits on.
            if let Err(error) = service.play(leg, &prompt).await
                && error != CallError::Gone
            {
                tracing::warn!("call {}: {error}", call.0);
            }
        }));
    }

    /// Music, whenever nothing else is played.
    async fn go_on(&mut self) {
        let Some(music) = self.settings.sounds.music.as_ref().filter(|_| !self.music) else { return };
        self.music = true;
        match self.service.start_moh(self.leg, music).await {
            Ok(()) | Err(CallError::Gone) => {}
            Err(error) => tracing::warn!("call {}: {error}", self.call.0),
        }
    }

    fn listen(&mut self) {
        if self.settings.plan.digits.is_empty() {
            return;
        }
        let (service, leg) = (self.service.clone(), self.leg);
        self.digit = Some(Box::pin(async move {
            let plan = DigitPlan {
                terminators: String::new(),
                first: LISTEN,
                between: LISTEN,
                total: LISTEN,
                ..DigitPlan::new(1)
            };
            match service.collect(leg, &plan).await {
                Ok(collected) if collected.end == CollectEnd::Stopped => std::future::pending().await,
                Ok(collected) => collected.digits.chars().next(),
                Err(error) => {
                    if error != CallError::Gone {
                        tracing::warn!("digits in a queue: {error}");
                    }
                    // Another try would not be better.
                    std::future::pending().await
                }
            }
        }));
    }

    /// Nothing of ours is heard any more. What fails here has ended by itself.
    async fn quiet(&mut self) {
        self.playing = None;
        if self.digit.take().is_some() {
            let _ = self.service.stop_collecting(self.leg).await;
        }
        let _ = self.service.stop_playing(self.leg).await;
        if std::mem::take(&mut self.music) {
            let _ = self.service.stop_moh(self.leg).await;
        }
    }

    async fn join(&mut self, line: &InLine, offer: OfferId, agent_leg: LegId, agent: &str) {
        self.quiet().await;
        let (leg, mode) = (self.leg, BridgeMode::Intercepting);
        match self.service.create_bridge(leg, agent_leg, mode, true).await {
            Ok(_) => {
                self.note("queue_agent", agent).await;
                line.tell(Input::Joined { offer });
            }
            Err(error) => {
                tracing::info!("call {}: it cannot be joined with {agent}: {error}", self.call.0);
                line.tell(Input::JoinFailed { offer });
                self.go_on().await;
                self.listen();
            }
        }
    }

    /// The end of the wait, and what comes behind it.
    async fn leave(&mut self, how: Left, waited: Duration, answered: bool) -> HandlerAction {
        self.note("queue_result", how.as_str()).await;
        self.note("queue_wait_s", &format!("{:.3}", waited.as_secs_f64())).await;
        if matches!(how, Left::Answered(_) | Left::Abandoned) {
            return HandlerAction::Complete;
        }
        if answered {
            self.quiet().await;
        }
        match self.settings.ways_out.of(how) {
            Some(target) => HandlerAction::TransferTo(target.to_owned()),
            None if answered => HandlerAction::Disconnect,
            None => HandlerAction::Reject { status: 486, reason: String::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_and_skills_come_from_the_calls_variables() {
        let variables = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let (priority, skills) =
            asked_for(&variables(&[("queue_priority", "7"), ("queue_skills", "french:3, billing,")]));
        assert_eq!(priority, 7);
        assert_eq!(skills, Skills::from([("french".to_owned(), 3), ("billing".to_owned(), 1)]));
        assert_eq!(asked_for(&variables(&[("queue_priority", "high")])), (0, Skills::new()));
    }
}

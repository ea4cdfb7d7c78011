//! A configuration change while callers wait and agents talk. Agents and queues in both configurations keep
//! their numbers and their state.

use std::time::Instant;

use super::agent::Duty;
use super::values::{AgentNo, CallerId, FloorPlan, Left, QueueNo, Why};
use super::{Agent, Floor, Queue};

impl Floor {
    /// Applies a new configuration. Removed agents finish their calls; callers of removed queues leave.
    pub fn reload(&mut self, now: Instant, plan: FloorPlan) {
        let mut numbers = Vec::with_capacity(plan.agents.len());
        for plan in plan.agents {
            let known = self.agents.iter().position(|it| it.plan.name == plan.name);
            let number = match known.and_then(|at| Some((at, self.agents.get_mut(at)?))) {
                Some((at, agent)) => {
                    if std::mem::take(&mut agent.retired) {
                        agent.duty = plan.duty;
                        agent.reachable = plan.reachable;
                    }
                    agent.plan = plan;
                    AgentNo(at)
                }
                None => {
                    self.agents.push(Agent::new(now, plan));
                    AgentNo(self.agents.len() - 1)
                }
            };
            numbers.push(number);
        }
        for agent in (0..self.agents.len()).map(AgentNo).filter(|agent| !numbers.contains(agent)) {
            self.set_duty(now, agent, Duty::LoggedOut, Why::Reload);
            if let Some(it) = self.agents.get_mut(agent.0) {
                it.retired = true;
            }
        }
        let mut open = Vec::with_capacity(plan.queues.len());
        for mut plan in plan.queues {
            plan.agents = plan.agents.iter().filter_map(|agent| numbers.get(agent.0).copied()).collect();
            let known = self.queues.iter().position(|it| it.plan.name == plan.name);
            match known.and_then(|at| Some((at, self.queues.get_mut(at)?))) {
                Some((at, queue)) => {
                    queue.plan = plan;
                    queue.closed = false;
                    // The indexes of agents may have changed.
                    queue.called = None;
                    open.push(QueueNo(at));
                }
                None => {
                    self.queues.push(Queue::new(plan));
                    open.push(QueueNo(self.queues.len() - 1));
                }
            }
        }
        for queue in (0..self.queues.len()).map(QueueNo).filter(|queue| !open.contains(queue)) {
            self.close(now, queue);
        }
        self.settle(now);
    }

    fn close(&mut self, now: Instant, queue: QueueNo) {
        if let Some(it) = self.queues.get_mut(queue.0) {
            it.closed = true;
            it.plan.agents.clear();
        }
        let waiting = self.callers.iter().filter(|(_, it)| it.queue == queue && !it.is_joining());
        let waiting: Vec<CallerId> = waiting.map(|(caller, _)| *caller).collect();
        for caller in waiting {
            self.leave(now, caller, Left::Closed);
        }
    }
}

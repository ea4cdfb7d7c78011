//! Variables of a call: names and values set by handlers and operators. They appear in its snapshot and in
//! the records of its legs.

use super::Switch;
use super::table::Call;
use crate::service::{CallError, Watched};
use crate::{CallId, LegId};

/// Name and value, in the order in which they were first set.
pub(super) type Variables = Vec<(String, String)>;

/// Maximum variables per call, bytes per name and bytes per value.
const LIMITS: (usize, usize, usize) = (32, 64, 1_024);

impl Switch {
    /// The call that a leg or bridge belongs to, or the call itself.
    pub(super) fn call_of(&self, what: Watched) -> Option<CallId> {
        let call = match what {
            Watched::Leg(leg) => self.calls.leg(leg)?.call,
            Watched::Bridge(bridge) => self.calls.of_bridge(bridge)?,
            Watched::Call(call) => call,
        };
        self.calls.get(call).map(|_| call)
    }

    /// Copies the variables of a call that becomes part of another one; the latter's own values take
    /// precedence.
    pub(super) fn hand_on_variables(&mut self, from: CallId, into: CallId) {
        let variables = self.calls.get(from).map(Call::variables).unwrap_or_default();
        let Some(step) = self.step(into) else { return self.common.counters.late() };
        for (name, value) in variables {
            let known = step.call.variables.as_ref();
            if !known.is_some_and(|known| known.iter().any(|(it, _)| *it == name)) {
                // Variables beyond the limit are dropped.
                let _ = step.call.set_variable(name, value);
            }
        }
    }
}

impl Call {
    /// Sets a variable; an empty value removes it. A final value set earlier is discarded.
    pub(super) fn set_variable(&mut self, name: String, value: String) -> Result<(), CallError> {
        if let Some(last) = self.last_variables.as_deref_mut() {
            last.retain(|(known, _)| *known != name);
        }
        let variables = self.variables.get_or_insert_default();
        let place = variables.iter().position(|(known, _)| *known == name);
        match place {
            Some(place) if value.is_empty() => drop(variables.remove(place)),
            None if value.is_empty() => {}
            _ if value.len() > LIMITS.2 || name.is_empty() || name.len() > LIMITS.1 => {
                return Err(CallError::WrongState("a variable's name has 1 to 64 bytes, its value 1,024"));
            }
            None if variables.len() >= LIMITS.0 => {
                return Err(CallError::WrongState("a call has 32 variables at most"));
            }
            Some(place) => variables[place].1 = value,
            None => variables.push((name, value)),
        }
        Ok(())
    }

    /// Sets a variable together with the value that it takes when the last leg of the call is over.
    pub(super) fn set_variable_until_the_end(
        &mut self,
        name: String,
        value: String,
        last: String,
    ) -> Result<(), CallError> {
        self.set_variable(name.clone(), value)?;
        self.last_variables.get_or_insert_default().push((name, last));
        Ok(())
    }

    /// The variables for the record of this leg, which is over.
    pub(super) fn recorded_variables(&self, leg: LegId) -> Variables {
        let mut variables = self.variables();
        let is_last = self.legs.ids().all(|other| other == leg);
        for (name, last) in self.last_variables.as_deref().filter(|_| is_last).into_iter().flatten() {
            if let Some((_, value)) = variables.iter_mut().find(|(known, _)| known == name) {
                value.clone_from(last);
            }
        }
        variables
    }
}

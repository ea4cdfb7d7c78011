//! A phone of a scene and its process.

use std::time::Instant;

use super::figures::Figures;
use crate::config::scene::Phone;
use crate::orchestrator::child::Child;
use crate::orchestrator::record::RoleEnd;

/// A phone of a scene.
#[derive(Debug)]
pub struct Party {
    pub phone: Phone,
    /// When it starts; `None` until its cue is given.
    pub due: Option<Instant>,
    pub child: Option<Child>,
    /// Its end, once its last line is processed.
    pub end: Option<RoleEnd>,
    pub figures: Figures,
}

impl Party {
    /// A phone that has not started.
    pub fn new(phone: Phone) -> Self {
        Party { phone, due: None, child: None, end: None, figures: Figures::default() }
    }

    /// Whether it runs, or its end was not processed yet.
    pub fn is_alive(&self) -> bool {
        self.child.is_some() && self.end.is_none()
    }

    /// Its status, in a word or two.
    pub fn standing(&self) -> String {
        match (&self.child, &self.end, &self.phone.on) {
            (_, Some(end), _) => end.text.clone(),
            (Some(_), None, _) => self.figures.states.last().cloned().unwrap_or_else(|| "up".to_owned()),
            (None, None, Some(cue)) if self.due.is_none() => format!("waits for {cue}"),
            (None, None, _) => "waits".to_owned(),
        }
    }
}

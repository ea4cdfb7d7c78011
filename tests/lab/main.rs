//! The media lab, by the real binary: roles, chains of them, plans and the orchestrator.

#![cfg(feature = "lab")]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;
#[path = "../lab_support/mod.rs"]
mod lab_support;
#[path = "../ua_support/mod.rs"]
mod ua_support;

mod chain;
mod cli;
mod orchestrator;
mod orchestrator_roles;
mod roles;
mod shipped_plans;
mod trouble;
mod wire;

//! The media lab with the real binary: roles, chains of them, plans and the orchestrator.

mod chain;
mod cli;
mod compare;
mod host_address;
mod load;
mod load_faults;
mod load_kinds;
mod load_sipp;
mod load_steps;
mod load_users;
mod loads;
mod orchestrator;
mod orchestrator_loads;
mod orchestrator_roles;
mod roles;
mod sandbox;
mod scene;
mod shipped_plans;
mod trouble;
mod wire;

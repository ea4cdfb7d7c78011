//! What the whole-program tests share: starting `b2b`, reading its lines,
//! making audio and comparing it.
#![allow(dead_code)]

pub mod audio;
pub mod child;

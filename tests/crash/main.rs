//! Crashes of the whole program: flowrun, its host and its children are killed, and the world is compared with that of
//! an undisturbed run. Every test proves that its fault fired.

#[path = "../support/mod.rs"]
mod support;

mod points;
mod storm;
mod strike;
mod walk;
mod world;

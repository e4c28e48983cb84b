//! Crashes of the whole program: flowrun, its host and its children are killed, and the world is compared with that of
//! an undisturbed run. Every test proves that its fault fired.
#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests fail tests, and print what they counted"
)]

#[path = "../support/mod.rs"]
mod support;

mod disk;
mod ends;
mod points;
mod report;
mod secrets;
mod storm;
mod strike;
mod traced;
mod walk;
mod world;

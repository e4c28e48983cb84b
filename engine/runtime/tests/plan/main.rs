//! Whole plan files: the corpus of bad ones, what good ones become, and arbitrary damage to both.
#![expect(clippy::panic, reason = "a test stops at what it did not expect")]

mod corpus;
mod edges;
mod fuzz;
mod large;
mod reference;
mod types;

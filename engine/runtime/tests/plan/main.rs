//! Whole plan files: the corpus of bad ones, what good ones become, and arbitrary damage to both.

mod corpus;
mod edges;
mod fuzz;
mod large;
mod reference;
mod types;

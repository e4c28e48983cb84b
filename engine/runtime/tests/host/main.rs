//! The host from outside: real processes, real kills.

mod children;
mod common;
mod faults;
mod logs;

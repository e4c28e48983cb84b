//! The driver: the loop around the core.

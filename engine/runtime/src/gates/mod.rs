//! Gates: what a condition measures, and whether it holds.

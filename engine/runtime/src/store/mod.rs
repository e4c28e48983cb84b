//! The store: the journal of a run, its views, and the index of runs.

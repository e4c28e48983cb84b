//! The host: the small process that owns a run's children and outlives flowrun.

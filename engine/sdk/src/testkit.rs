//! What a step type is tested with: a backend that keeps notes in memory and spawns children itself.
//! Unaware of the driver. The same contract as in a run, so that a test here means something there.

//! Replaces secrets in texts and streams by `***`.

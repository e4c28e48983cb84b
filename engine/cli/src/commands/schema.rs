//! `flowrun schema`: the JSON Schema of plans.
//! Unaware of runs.

use super::{Ending, Stop, print};
use crate::exit::Exit;
use flowrun_engine::plan;

/// Prints the schema.
///
/// # Errors
/// When it cannot be written.
pub fn schema() -> Ending {
    let schema = plan::schema(&flowrun_steps::registry());
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|error| Stop::new(Exit::Failed, format!("cannot write JSON: {error}")))?;
    print(&format!("{text}\n"))?;
    Ok(Exit::Succeeded)
}

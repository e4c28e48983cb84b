//! What the driver's loop is told.
//! Unaware of what it does about it.

use crate::gates::Reading;
use crate::host::HostError;
use crate::store::{Health, Written};
use flowrun_core::{AttemptId, Found, GateId, Input, Outcome};
use flowrun_sdk::Progress;
use tokio::sync::oneshot;

/// Where the answer to a request goes.
pub(crate) type Answer = oneshot::Sender<Result<String, String>>;

/// What the driver's loop is told.
pub(crate) enum Message {
    /// An attempt's task ended.
    Ended { id: AttemptId, ending: Ending, started: u64, children: u16 },
    /// A background attempt is ready.
    Ready(AttemptId),
    /// A lost attempt was looked after.
    Reconciled { id: AttemptId, found: Found },
    /// An attempt says how far it is.
    Progress(AttemptId, Progress),
    /// A commit is on the disk, or is not.
    Written(Written),
    /// The journal's disk is full, or has room again.
    Health(Health),
    /// A gate was measured.
    Measured(GateId, Reading),
    /// The host died, and another one has taken over.
    HostChanged,
    /// The host died, and there is no other.
    HostLost(HostError),
    /// Somebody asks for something.
    Asked(Request, Answer),
    /// Stop starting things; the second time: leave.
    Interrupt,
    /// Leave at once.
    Terminate,
}

/// How an attempt's task ended.
pub(crate) enum Ending {
    /// With an outcome.
    Outcome(Outcome),
    /// Nobody knows.
    Lost,
}

/// What somebody asks a live driver for.
pub(crate) enum Request {
    /// An input of the core.
    Input(Input),
    /// A verdict on the step or item of this address.
    Mark { address: String, verdict: flowrun_core::event::Verdict, because: String },
}

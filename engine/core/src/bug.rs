//! Bugs planted in the decisions, so that the simulation can prove that it would see them.
//! Unaware of how they show. Only with the feature `planted-bugs`; without it nothing of this is compiled.

#[cfg(feature = "planted-bugs")]
macro_rules! planted {
    ($bug:ident) => {
        crate::bug::is(crate::bug::Bug::$bug)
    };
}

#[cfg(not(feature = "planted-bugs"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

pub(crate) use planted;

#[cfg(feature = "planted-bugs")]
pub use with_feature::{Bug, is, plant};

#[cfg(feature = "planted-bugs")]
mod with_feature {
    use std::cell::Cell;

    macro_rules! bugs {
        ($($(#[$doc:meta])* $name:ident,)*) => {
            /// A planted bug.
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum Bug {
                $($(#[$doc])* $name,)*
            }

            impl Bug {
                /// All of them.
                pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            }
        };
    }

    bugs! {
        /// A need is met as soon as its attempt runs.
        NeedMetAtStart,
        /// A resume gives no new retry budget.
        BudgetKept,
        /// One attempt too many.
        RetryOffByOne,
        /// An attempt that ends keeps its slot.
        SlotKept,
        /// A lost attempt counts as failed at once.
        LostIsFailed,
        /// A report of an earlier attempt is taken.
        StaleReport,
        /// A gate does not settle.
        SettleIgnored,
        /// A gate need not hold for long.
        HoldIgnored,
        /// No `finally` after a failure.
        FinallyAfterSuccessOnly,
        /// A failed need is as good as another.
        FailureMeetsNeed,
        /// A skipped need fails its dependents.
        SkipIsFailure,
        /// Too many failures hold nothing back.
        HeldFanStarts,
        /// What is queued or ready starts after a cancel.
        CancelForgetsQueues,
        /// Services are not stopped at the end.
        ServiceKept,
        /// A pause holds nothing back.
        PauseIgnored,
        /// No pause between attempts.
        BackoffIgnored,
        /// A resume runs again what is done.
        DoneRunsAgain,
        /// The second attempt is called the first.
        NumberReused,
        /// `max_parallel` is not looked at.
        LimitIgnored,
        /// Pools are not looked at.
        PoolsIgnored,
        /// A step runs without the output that it takes.
        StarvedRuns,
        /// A cancel stops `finally` too.
        CancelStopsFinally,
        /// A resume starts again what is in flight.
        FlightForgotten,
        /// An allowed failure fails the run.
        AllowedFails,
        /// A step that waits for an end waits for success.
        EndIsSuccess,
        /// A failure whose consequence was not committed is left as it is.
        JudgedLeft,
        /// Changed wants are not told.
        WantUntold,
        /// What cannot succeed is repeated.
        PermanentRepeated,
        /// `finally` does not run again after a resume.
        FinallyOnce,
        /// An attempt that waits for a person counts as ended.
        AskedIsOver,
        /// What started before a crash is taken for not started.
        BegunIgnored,
        /// Dependents of a service that is gone start all the same.
        ServiceGoneUnnoticed,
        /// An item of a limited group keeps its turn.
        TurnKept,
        /// Items are not evaluated before they start.
        ItemUnresolved,
    }

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug for this thread, or takes it out.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether this bug is planted.
    #[must_use]
    pub fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

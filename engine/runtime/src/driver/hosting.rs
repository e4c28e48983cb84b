//! The connection to the run's host, and the next one when a host dies: the driver lives on.
//! Unaware of attempts; each asks the book what became of its own child.

use super::message::Message;
use crate::host::{Host, Setup};
use crate::paths::RunDir;
use std::path::PathBuf;
use tokio::sync::{mpsc, watch};

/// The host as it is now. A clone sees every later one.
#[derive(Clone)]
pub(crate) struct Hosting(watch::Receiver<Host>);

impl Hosting {
    /// Connects, and goes on to do so whenever the host dies.
    pub(crate) async fn begin(
        run: RunDir,
        exe: PathBuf,
        mut setup: Setup,
        driver: mpsc::UnboundedSender<Message>,
    ) -> Result<Self, crate::host::HostError> {
        let first = Host::connect(&run, &exe, &setup).await?;
        // A test of crashes wants the first host to die, and the next one to go on.
        setup.crash_at = None;
        let (hosts, now) = watch::channel(first);
        tokio::spawn(async move {
            loop {
                let host = hosts.borrow().clone();
                host.lost().await;
                match Host::connect(&run, &exe, &setup).await {
                    Ok(next) => drop(hosts.send_replace(next)),
                    Err(error) => {
                        // A driver that has ended needs no telling.
                        let _ = driver.send(Message::HostLost(error));
                        return;
                    }
                }
                if driver.send(Message::HostChanged).is_err() {
                    return;
                }
            }
        });
        Ok(Self(now))
    }

    /// The host that serves now, or did until a moment ago.
    pub(crate) fn now(&self) -> Host {
        self.0.borrow().clone()
    }

    /// The host after the last one that this clone has seen; none: there will be no other.
    pub(crate) async fn next(&mut self) -> Option<Host> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }

    /// The host that serves now, remembered as seen.
    pub(crate) fn see(&mut self) -> Host {
        self.0.borrow_and_update().clone()
    }
}

//! Threads that serve clients: one runtime each, so that nothing of a request crosses from one thread to another.
//!
//! A connection of a client stays with the thread that it was given to, and so do the connections to backends that its
//! requests use. A wake-up between threads costs more than all the rest of a small request.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{Gate, listen};

/// Connections on their way to one thread.
const HANDED: usize = 1024;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// A client, and its place among the connections.
type Guest = (std::net::TcpStream, OwnedSemaphorePermit);

/// The threads.
#[derive(Debug)]
pub(super) struct Workers {
    threads: Vec<(mpsc::Sender<Guest>, JoinHandle<()>)>,
    next: usize,
}

/// How many threads there are to be: one a core.
pub(super) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The number of this thread among the workers; 0 on all others.
pub(super) fn number() -> usize {
    NUMBER.get()
}

impl Workers {
    /// Starts them.
    ///
    /// # Errors
    /// Where no thread or no runtime can be had.
    pub(super) fn start(gate: &Arc<Gate>) -> io::Result<Self> {
        let wanted = match usize::from(gate.plan().settings.threads) {
            0 => count(),
            wanted => wanted,
        };
        let threads = (0..wanted).map(|number| {
            let (to_it, guests) = mpsc::channel(HANDED);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let gate = Arc::clone(gate);
            let thread = std::thread::Builder::new()
                .name(format!("gateway-{number}"))
                .spawn(move || {
                    NUMBER.set(number);
                    runtime.block_on(serve(gate, guests));
                    runtime.shutdown_timeout(Duration::ZERO);
                })?;
            Ok((to_it, thread))
        });
        Ok(Self {
            threads: threads.collect::<io::Result<_>>()?,
            next: 0,
        })
    }

    /// Gives a client to the thread whose turn it is.
    pub(super) async fn take(&mut self, stream: TcpStream, place: OwnedSemaphorePermit) {
        let Ok(stream) = stream.into_std() else {
            return;
        };
        self.next = (self.next + 1) % self.threads.len();
        // A thread that is gone takes its clients along.
        let _ = self.threads[self.next].0.send((stream, place)).await;
    }

    /// Waits until all clients are done; each is told of the shutdown by itself.
    pub(super) async fn end(self) {
        let (senders, threads): (Vec<_>, Vec<_>) = self.threads.into_iter().unzip();
        drop(senders);
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    }
}

async fn serve(gate: Arc<Gate>, mut guests: mpsc::Receiver<Guest>) {
    let clients = tokio_util::task::TaskTracker::new();
    while let Some((stream, place)) = guests.recv().await {
        match TcpStream::from_std(stream) {
            Ok(stream) => {
                clients.spawn(listen::converse(Arc::clone(&gate), stream, place));
            }
            Err(error) => tracing::warn!("a connection was lost: {error}"),
        }
    }
    clients.close();
    clients.wait().await;
}

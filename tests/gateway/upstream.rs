//! A fake upstream on bare TCP, which can do to a connection what no server library would.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use super::words::Form;

/// One thing that an upstream does with a connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads the head of a request and leaves its body.
    Head,
    /// Reads a request, or what [`Step::Head`] left of it.
    Request,
    /// Answers as asked; a request whose id begins with `held` waits for [`Upstream::release`].
    Answer,
    /// Writes these bytes at once.
    Send(Vec<u8>),
    /// Writes these bytes one by one.
    Trickle(Vec<u8>),
    /// Waits until the client has seen something of the answer.
    Seen,
    /// Says nothing until the other side is gone.
    Hang,
    /// Closes in order.
    Fin,
    /// Closes with a reset; what was sent and not yet read is lost.
    Reset,
}

/// What an upstream does from one request to the next.
pub(crate) type Turn = Vec<Step>;

/// What happened at an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A request with this id was read.
    Arrived(String),
    /// A connection ended, on either side's wish.
    Ended,
}

/// The fake. It plays its turns, one for each request, and behaves after that.
pub(crate) struct Upstream {
    pub(crate) url: String,
    shared: Arc<Shared>,
    /// Its address while it refuses connections: bound, so that nobody else gets it, and not listening.
    socket: Mutex<Option<TcpSocket>>,
}

struct Shared {
    turns: Mutex<VecDeque<Turn>>,
    /// The ids of the requests that were read.
    asked: Mutex<Vec<String>>,
    connections: AtomicUsize,
    seen: Semaphore,
    released: Semaphore,
    events: mpsc::UnboundedSender<Event>,
}

impl Upstream {
    /// Refuses connections until [`Upstream::listen`]; what happens then is told to `events`.
    pub(crate) fn deaf(turns: Vec<Turn>, events: &mpsc::UnboundedSender<Event>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            url: format!("http://{}", socket.local_addr().unwrap()),
            shared: Arc::new(Shared {
                turns: Mutex::new(turns.into()),
                asked: Mutex::default(),
                connections: AtomicUsize::new(0),
                seen: Semaphore::new(0),
                released: Semaphore::new(0),
                events: events.clone(),
            }),
            socket: Mutex::new(Some(socket)),
        }
    }

    /// Plays these turns.
    pub(crate) fn playing(turns: Vec<Turn>, events: &mpsc::UnboundedSender<Event>) -> Self {
        let upstream = Self::deaf(turns, events);
        upstream.listen();
        upstream
    }

    /// Takes connections from now on.
    pub(crate) fn listen(&self) {
        let Some(socket) = self.socket.lock().unwrap().take() else {
            return;
        };
        tokio::spawn(accept(socket.listen(64).unwrap(), Arc::clone(&self.shared)));
    }

    /// The client has seen something: a turn that waits for it goes on.
    pub(crate) fn seen(&self) {
        self.shared.seen.add_permits(1);
    }

    /// Lets one held request go.
    pub(crate) fn release(&self) {
        self.shared.released.add_permits(1);
    }

    /// Forgets the turns that it has not played.
    pub(crate) fn behave(&self) {
        self.shared.turns.lock().unwrap().clear();
    }

    /// The ids of the requests that it read, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many connections it took.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // An error here is the other side's leaving: nothing more to play.
            let _ = play(stream, &shared).await;
            let _ = shared.events.send(Event::Ended);
        });
    }
}

/// The request that a connection is at.
#[derive(Default)]
struct Asked {
    id: String,
    /// Bytes of its body that were not read yet.
    left: usize,
    streamed: bool,
}

async fn play(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut asked = Asked::default();
    let mut first = true;
    loop {
        // The first turn may be about the connection itself; a later one begins with its request.
        if !std::mem::take(&mut first) && stream.peek(&mut [0]).await? == 0 {
            return Ok(());
        }
        let turn = shared.turns.lock().unwrap().pop_front();
        for step in turn.unwrap_or_else(|| vec![Step::Request, Step::Answer]) {
            match step {
                Step::Head => asked = head(&mut stream, shared).await?,
                Step::Request => {
                    if asked.left == 0 {
                        asked = head(&mut stream, shared).await?;
                    }
                    let mut body = vec![0; std::mem::take(&mut asked.left)];
                    stream.read_exact(&mut body).await?;
                    let body = String::from_utf8(body).unwrap();
                    asked.streamed = body.contains(r#""stream":true"#);
                }
                Step::Answer => {
                    if asked.id.starts_with("held") {
                        shared.released.acquire().await.unwrap().forget();
                    }
                    let form = if asked.streamed {
                        Form::Stream
                    } else {
                        Form::Json
                    };
                    stream.write_all(&form.wire()).await?;
                }
                Step::Send(bytes) => {
                    stream.write_all(&bytes).await?;
                    stream.flush().await?;
                }
                Step::Trickle(bytes) => {
                    for byte in bytes {
                        stream.write_all(&[byte]).await?;
                        tokio::task::yield_now().await;
                    }
                }
                Step::Seen => shared.seen.acquire().await.unwrap().forget(),
                Step::Hang => while stream.read(&mut [0; 1024]).await? > 0 {},
                Step::Fin => return Ok(()),
                Step::Reset => return stream.set_zero_linger(),
            }
        }
    }
}

/// Reads up to the blank line, byte by byte: what follows stays where it is.
async fn head(stream: &mut TcpStream, shared: &Shared) -> std::io::Result<Asked> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await?);
    }
    let text = String::from_utf8(bytes).unwrap().to_ascii_lowercase();
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map_or("", str::trim)
    };
    let id = value("x-request-id").to_owned();
    shared.asked.lock().unwrap().push(id.clone());
    let _ = shared.events.send(Event::Arrived(id.clone()));
    Ok(Asked {
        id,
        left: value("content-length").parse().unwrap(),
        streamed: false,
    })
}

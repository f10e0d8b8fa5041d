//! One watch a kind: listed once, in pages, then followed for good; taken up where it was after any break.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use kube::core::Status;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::object::{Key, Meta};
use super::trouble::quote;
use super::world::{Change, Item};
use crate::cluster::{Api, Fault, Happened, Page};
use crate::fleet::cluster::object::{Kind, collection};
use crate::fleet::cluster::{Odd, PartState};

/// Objects a page: what a server answers quickly, and what is small enough to hold.
const PAGE: u32 = 200;
/// The server ends a watch after about this long, seconds; it is taken up again without a list.
const ENDS_AFTER: u32 = 240;
/// A watch that says nothing for this long, not even a bookmark (one a minute), is taken to be dead.
const SILENT: Duration = Duration::from_secs(90);
/// Events are not kept in the server's cache, which makes the bookmarks: a quiet cluster's watch of them says nothing at
/// all, and that is no fault.
const QUIET: Duration = Duration::from_secs(300);
/// Between two tries: from the first doubling to the last.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// A list that comes in one takes longer than a page.
const WHOLE: Duration = Duration::from_secs(60);
/// What is not allowed or not there is asked for again this late.
const LATE: Duration = Duration::from_secs(60);

/// What is watched, and where.
#[derive(Clone, Debug)]
pub(super) struct Of {
    pub api: Api,
    pub kind: Kind,
    pub version: String,
    /// `None`: all namespaces.
    pub namespace: Option<String>,
    /// Labels that are asked for.
    pub selector: Option<String>,
    pub out: mpsc::Sender<Vec<Change>>,
}

/// An object that can be watched.
pub(super) trait Watched: DeserializeOwned + Send + 'static {
    fn meta(&self) -> &Meta;
    fn item(self, kind: Kind) -> Item;
}

/// Where a watch goes on from.
struct Follower {
    of: Of,
    /// `None`: it has to be listed.
    from: Option<String>,
    /// When the server said anything last.
    heard: DateTime<Utc>,
    state: PartState,
    /// What is not understood, and why.
    odd: BTreeMap<Key, String>,
    wait: Duration,
    /// The next list is asked for in one: its pages grew too old on the way.
    whole: bool,
}

/// As much of an object as everything has.
#[derive(Deserialize)]
struct Bare {
    metadata: Meta,
}

/// Follows until nobody listens.
pub(super) async fn follow<T: Watched>(of: Of) {
    let mut follower = Follower {
        of,
        from: None,
        heard: Utc::now(),
        state: PartState::Loading,
        odd: BTreeMap::new(),
        wait: WAITS.0,
        whole: false,
    };
    while !follower.of.out.is_closed() {
        let done = match &follower.from {
            None => follower.list::<T>().await,
            Some(_) => follower.watch::<T>().await,
        };
        if let Err(fault) = done {
            follower.rest(fault).await;
        }
    }
}

impl Follower {
    fn path(&self, query: &str) -> String {
        let of = &self.of;
        let root = collection(of.kind, &of.version, of.namespace.as_deref());
        let selector = of.selector.as_ref().map_or(String::new(), |it| {
            let coded: String = form(it);
            format!("&labelSelector={coded}")
        });
        format!("{root}?{query}{selector}")
    }

    /// All of it, page by page. What is not on any of them is gone.
    async fn list<T: Watched>(&mut self) -> Result<(), Fault> {
        let mut keys = HashSet::new();
        let mut odd = BTreeMap::new();
        let mut next = String::new();
        loop {
            let more = if next.is_empty() {
                String::new()
            } else {
                format!("&continue={}", form(&next))
            };
            let path = if self.whole {
                self.path("")
            } else {
                self.path(&format!("limit={PAGE}{more}"))
            };
            let page: Page<Box<RawValue>> = if self.whole {
                self.of.api.get_within(&path, WHOLE).await?
            } else {
                self.of.api.get(&path, None).await?
            };
            self.heard = Utc::now();
            let kind = self.of.kind;
            let mut batch = Vec::with_capacity(page.items.len());
            for it in &page.items {
                match serde_json::from_str::<T>(it.get()) {
                    Ok(it) => {
                        keys.insert(it.meta().key());
                        batch.push(Change::Put(it.item(kind)));
                    }
                    // One that is not understood hides no other; what it was before stays.
                    Err(why) => {
                        let key = serde_json::from_str::<Bare>(it.get());
                        let key = key.map_or_else(|_| Key::default(), |it| it.metadata.key());
                        keys.insert(key.clone());
                        odd.insert(key, words(it.get(), &why));
                    }
                }
            }
            self.tell(batch).await;
            next = page.metadata.next;
            if next.is_empty() {
                self.from = Some(page.metadata.resource_version);
                break;
            }
        }
        let only = Change::Only(self.of.kind, self.of.namespace.clone(), keys);
        self.tell(vec![only]).await;
        if self.odd != odd {
            self.odd = odd;
            let change = self.told_odd();
            self.tell(vec![change]).await;
        }
        self.stands(PartState::Followed).await;
        self.wait = WAITS.0;
        self.whole = false;
        Ok(())
    }

    /// What happens, until the server ends it.
    async fn watch<T: Watched>(&mut self) -> Result<(), Fault> {
        let Some(from) = self.from.clone() else {
            return Ok(());
        };
        let ends = ENDS_AFTER + fastrand::u32(0..60);
        let query = format!(
            "watch=1&allowWatchBookmarks=true&timeoutSeconds={ends}&resourceVersion={}",
            form(&from)
        );
        let events = self.of.api.watch(&self.path(&query)).await?;
        let began = tokio::time::Instant::now();
        self.heard = Utc::now();
        self.stands(PartState::Followed).await;
        let mut events = std::pin::pin!(events.ready_chunks(256));
        loop {
            let quiet = self.of.kind == Kind::Event;
            let silent = if quiet { QUIET } else { SILENT };
            let chunk = match timeout(silent, events.next()).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(_) if quiet => break,
                Err(_) => {
                    let s = SILENT.as_secs();
                    return Err(Fault::Away(format!("its watch has said nothing for {s} s")));
                }
            };
            self.heard = Utc::now();
            self.wait = WAITS.0;
            let mut batch = Vec::with_capacity(chunk.len());
            let mut ended = None;
            for event in chunk {
                match event {
                    Ok(event) => match self.take::<T>(&event, &mut batch) {
                        Ok(()) => {}
                        Err(fault) => ended = Some(fault),
                    },
                    Err(fault) => ended = Some(fault),
                }
            }
            self.tell(batch).await;
            if let Some(fault) = ended {
                return Err(fault);
            }
        }
        if began.elapsed() < WAITS.0 {
            // One that ends at once is not asked for in a tight loop.
            tokio::time::sleep(WAITS.0).await;
        }
        Ok(())
    }

    fn take<T: Watched>(&mut self, event: &Happened, batch: &mut Vec<Change>) -> Result<(), Fault> {
        let kind = self.of.kind;
        let garbled = |why: serde_json::Error| Fault::Garbled(why.to_string());
        if event.what == "ERROR" {
            let status: Status = serde_json::from_str(event.object.get()).map_err(garbled)?;
            return Err(Fault::of(&status));
        }
        let raw = event.object.get();
        if matches!(&*event.what, "ADDED" | "MODIFIED") {
            match serde_json::from_str::<T>(raw) {
                Ok(it) => {
                    self.from = Some(it.meta().resource_version.to_string());
                    self.understood(&it.meta().key(), batch);
                    batch.push(Change::Put(it.item(kind)));
                }
                // One that is not understood hides no other; what it was before stays.
                Err(why) => {
                    let bare: Bare = serde_json::from_str(raw).map_err(garbled)?;
                    self.from = Some(bare.metadata.resource_version.to_string());
                    self.odd.insert(bare.metadata.key(), words(raw, &why));
                    batch.push(self.told_odd());
                }
            }
            return Ok(());
        }
        let bare: Bare = serde_json::from_str(raw).map_err(garbled)?;
        self.from = Some(bare.metadata.resource_version.to_string());
        if event.what == "DELETED" {
            let key = bare.metadata.key();
            self.understood(&key, batch);
            batch.push(Change::Gone(kind, key));
        }
        Ok(())
    }

    /// It is understood again, or gone.
    fn understood(&mut self, key: &Key, batch: &mut Vec<Change>) {
        if self.odd.remove(key).is_some() {
            batch.push(self.told_odd());
        }
    }

    /// What is not understood now.
    fn told_odd(&self) -> Change {
        let odd = self.odd.first_key_value().map(|(key, why)| Odd {
            count: self.odd.len() as u32,
            first: match (&*key.namespace, &*key.name) {
                ("", "") => "one without a name".to_owned(),
                ("", name) => name.to_owned(),
                (namespace, name) => format!("{namespace}/{name}"),
            },
            why: why.clone(),
        });
        Change::Odd(self.of.kind, self.of.namespace.clone(), odd)
    }

    /// Says what went wrong, and waits before it is tried again.
    async fn rest(&mut self, fault: Fault) {
        if !matches!(fault, Fault::Old(_)) {
            // What did not come in one comes in pages again.
            self.whole = false;
        }
        let wait = match &fault {
            Fault::Old(_) => {
                // What happened since is gone: all of it is listed anew. Where that was on its way, in one.
                let again = self.from.take().is_none();
                self.whole = again;
                if again { self.wait } else { Duration::ZERO }
            }
            Fault::Forbidden(why) => {
                self.stands(PartState::Forbidden { why: why.clone() }).await;
                LATE
            }
            Fault::Absent(_) => {
                self.stands(PartState::Absent).await;
                LATE
            }
            Fault::Garbled(why) => {
                // What one object says is not understood: the others are read all the same, from a new list.
                tracing::warn!("{}: {why}", self.of.kind.resource());
                self.from = None;
                self.stale(fault.to_string()).await;
                LATE
            }
            Fault::Busy(after) => {
                // Once is no news; what stays busy is shown to be old.
                if self.wait > WAITS.0 {
                    self.stale(fault.to_string()).await;
                }
                after.unwrap_or_default().max(self.wait).min(LATE)
            }
            other => {
                if matches!(other, Fault::Stranger(_) | Fault::Login(_)) {
                    self.of.api.renew().await;
                }
                self.stale(other.to_string()).await;
                self.wait
            }
        };
        if wait > Duration::ZERO {
            let jitter = wait.mul_f64(0.75 + fastrand::f64() / 2.0);
            tokio::select! {
                () = tokio::time::sleep(jitter) => {}
                () = self.of.out.closed() => {}
            }
            self.wait = (self.wait * 2).min(WAITS.1);
        }
    }

    async fn stale(&mut self, why: String) {
        let since = self.heard;
        self.stands(PartState::Stale { since, why }).await;
    }

    async fn stands(&mut self, state: PartState) {
        if self.state != state {
            self.state = state.clone();
            let change = Change::State(self.of.kind, self.of.namespace.clone(), state);
            self.tell(vec![change]).await;
        }
    }

    async fn tell(&self, batch: Vec<Change>) {
        if !batch.is_empty() {
            // Nobody listens any more: the end is near.
            let _ = self.of.out.send(batch).await;
        }
    }
}

/// Why an object is not understood, with the field that it is about.
fn words(raw: &str, why: &serde_json::Error) -> String {
    let said = why.to_string();
    let said = said.split(" at line ").next().unwrap_or(&said);
    let before = raw.lines().nth(why.line().saturating_sub(1));
    let field = before
        .and_then(|it| {
            it.get(..why.column())?
                .rsplit_once("\":")?
                .0
                .rsplit_once('"')
        })
        .map(|(_, name)| name)
        .filter(|_| !said.starts_with("missing field"))
        .filter(|it| {
            it.chars()
                .all(|c| c.is_ascii_alphanumeric() || "./-_".contains(c))
        });
    match field {
        Some(field) => quote(&format!("{field}: {said}")),
        None => quote(said),
    }
}

/// As part of a query.
pub(in crate::source) fn form(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            other => {
                use std::fmt::Write as _;
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

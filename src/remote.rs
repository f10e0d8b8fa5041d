//! A fleet elsewhere, behind the same port as one in this process: the client of `serve`'s admin API.
//!
//! Pictures come as server-sent events, whole at first and then as changes; a connection that breaks is made again and goes
//! on where it was. Commands are posted, each with what its sender saw.

mod stream;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::fleet::message::RefusalKind;
use crate::fleet::{Fleet, Receipt, Refusal};
use crate::handle::{FleetHandle, Order, Reach};
use crate::web;

use stream::Events;

/// Commands on their way.
const ORDERS: usize = 64;
/// How long the answer to a command may take: longer than the other side waits itself.
const ANSWER: Duration = Duration::from_secs(15);
/// How long the beginning of an answer may take.
const BEGIN: Duration = Duration::from_secs(5);
/// Between two attempts to reach it: from the first doubling to the last.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// Where a fleet is, and who asks.
#[derive(Clone)]
pub struct Address {
    /// The admin API: `http://127.0.0.1:4001`.
    pub url: String,
    /// A token of it.
    pub token: Option<String>,
    /// The authority of its certificate, PEM, where this machine does not know it.
    pub authority: Option<Vec<u8>>,
}

/// Why a fleet could not be reached, in plain words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// It does not answer, or not as an admin API does; it may come back.
    #[error("{0}")]
    Away(String),
    /// It answers, and not to us.
    #[error("{0}")]
    Forbidden(String),
}

/// Attaches to a fleet; what comes of it goes on until `shutdown`.
///
/// # Errors
/// Where it cannot be reached now.
pub async fn attach(
    address: Address,
    shutdown: CancellationToken,
) -> Result<FleetHandle, Unreachable> {
    let link = Link::new(&address)?;
    let mut events = link.follow(None).await?;
    let first = events.first().await.map_err(Unreachable::Away)?;
    let (publish, snapshots) = watch::channel(Arc::new(first));
    let (tell, reach) = watch::channel(Reach::Near);
    let (orders, taken) = mpsc::channel(ORDERS);
    let keeper = Keeper {
        link: link.clone(),
        publish,
        tell,
    };
    let ending = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = ending.cancelled() => {}
            () = keeper.keep(events) => {}
        }
    });
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = link.carry(taken) => {}
        }
    });
    Ok(FleetHandle {
        snapshots,
        orders,
        reach,
    })
}

/// How the other side is spoken to.
#[derive(Clone)]
pub(crate) struct Link {
    url: String,
    http: Client,
}

impl Link {
    /// A way to this address.
    ///
    /// # Errors
    /// Where the address or the token cannot be.
    pub(crate) fn new(address: &Address) -> Result<Self, Unreachable> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &address.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                Unreachable::Forbidden("the token has letters that no header takes".to_owned())
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut builder = Client::builder();
        if let Some(pem) = &address.authority {
            let authorities = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|error| Unreachable::Forbidden(web::explain(&error)))?;
            builder = builder.tls_certs_merge(authorities);
        }
        let http = builder
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(BEGIN)
            .build()
            .map_err(|error| Unreachable::Away(web::explain(&error)))?;
        Ok(Self {
            url: address.url.trim_end_matches('/').to_owned(),
            http,
        })
    }

    /// The events from that one on, or from the newest picture.
    async fn follow(&self, after: Option<&str>) -> Result<Events, Unreachable> {
        let mut request = self.http.get(format!("{}/fleet/v1/events", self.url));
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = tokio::time::timeout(BEGIN, request.send())
            .await
            .map_err(|_| Unreachable::Away(format!("{} does not answer", self.url)))?
            .map_err(|error| Unreachable::Away(web::explain(&error)))?;
        Ok(Events::of(self.checked(response).await?))
    }

    /// An answer that is one of an admin API's.
    async fn checked(&self, response: Response) -> Result<Response, Unreachable> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        let said = match serde_json::from_slice::<Told>(&body) {
            Ok(told) => format!("{}; {}", told.error.what, told.error.hint),
            Err(_) => format!(
                "{} answers {status}: is that fleetctl's admin address?",
                self.url
            ),
        };
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Unreachable::Forbidden(said),
            _ => Unreachable::Away(said),
        })
    }

    /// Posts commands one after the other, and answers whoever sent them.
    async fn carry(self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            let done = self.post(&order).await;
            if let Some(reply) = order.reply {
                // The asker may be gone; the audit has the answer either way.
                let _ = reply.send(done);
            }
        }
    }

    async fn post(&self, order: &Order) -> Result<Receipt, Refusal> {
        let unanswered = |what: String| Refusal {
            kind: RefusalKind::Unanswered,
            what,
            hint: "look at the audit before you try again".to_owned(),
        };
        let body =
            serde_json::to_vec(&order.command).map_err(|error| unanswered(error.to_string()))?;
        let mut request = self
            .http
            .post(format!("{}/fleet/v1/commands", self.url))
            .timeout(ANSWER)
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        if let Ok(name) = HeaderValue::from_bytes(order.by.name().as_bytes()) {
            request = request.header("x-fleet-operator", name);
        }
        if let Some(expects) = &order.expects {
            request = request.header(IF_MATCH, format!("\"{expects}\""));
        }
        let sent = request.send().await;
        let response = sent.map_err(|error| unanswered(web::explain(&error)))?;
        let status = response.status();
        let body = response
            .bytes()
            .await
            .map_err(|error| unanswered(web::explain(&error)))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| unanswered(error.to_string()));
        }
        let told: Told = serde_json::from_slice(&body)
            .map_err(|_| unanswered(format!("{} answered {status}", self.url)))?;
        Err(Refusal {
            kind: match told.error.kind.as_str() {
                "not-found" => RefusalKind::NotFound,
                "changed" => RefusalKind::Changed,
                "forbidden" => RefusalKind::Forbidden,
                "unanswered" => RefusalKind::Unanswered,
                _ => RefusalKind::Refused,
            },
            what: told.error.what,
            hint: told.error.hint,
        })
    }
}

/// An error as the other side tells it.
#[derive(Deserialize)]
struct Told {
    error: Wrong,
}

#[derive(Deserialize)]
struct Wrong {
    kind: String,
    what: String,
    hint: String,
}

/// Keeps the picture new.
struct Keeper {
    link: Link,
    publish: watch::Sender<Arc<Fleet>>,
    tell: watch::Sender<Reach>,
}

impl Keeper {
    async fn keep(self, mut events: Events) {
        let mut picture = Arc::clone(&self.publish.borrow());
        let mut wait = WAITS.0;
        loop {
            let why = loop {
                match events.next(&picture).await {
                    Ok(next) => {
                        picture = Arc::new(next);
                        wait = WAITS.0;
                        // The picture first: what is near is new.
                        self.publish.send_replace(Arc::clone(&picture));
                        self.say(Reach::Near);
                    }
                    Err(why) => break why,
                }
            };
            self.say(Reach::Lost(why));
            let after = events.last_id.clone();
            events = loop {
                if self.publish.is_closed() {
                    return;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(WAITS.1);
                match self.link.follow(after.as_deref()).await {
                    Ok(again) => break again,
                    Err(why) => self.say(Reach::Lost(why.to_string())),
                }
            };
        }
    }

    fn say(&self, reach: Reach) {
        self.tell.send_if_modified(|told| {
            let news = *told != reach;
            *told = reach;
            news
        });
    }
}

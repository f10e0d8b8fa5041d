//! Who may ask: client keys, compared in constant time.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode};

use crate::gateway::Client;
use crate::gateway::client::envelope::Fault;
use crate::secret::{self, Hashed};

/// Azure's SDKs send their key so.
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// The keys that are known; without any, everybody may ask.
#[derive(Debug)]
pub(crate) struct Keys {
    known: Vec<(Hashed, Pass)>,
}

/// What a client may do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pass {
    /// Whose key it is; `None` where nobody needs one.
    pub(crate) name: Option<Arc<str>>,
    /// Its requests never go to a hosted backend.
    pub(crate) self_only: bool,
    models: Option<Arc<[String]>>,
}

impl Pass {
    /// Whether it may ask for this model.
    pub(crate) fn may_ask(&self, model: &str) -> bool {
        self.models
            .as_ref()
            .is_none_or(|models| models.iter().any(|name| name == model))
    }
}

impl Keys {
    /// Remembers the keys of `clients`.
    pub(crate) fn new(clients: Vec<Client>) -> Self {
        let known = clients.into_iter().map(|client| {
            let pass = Pass {
                name: Some(client.name),
                self_only: client.self_only,
                models: client.models.map(Into::into),
            };
            (Hashed::of(client.key.0.as_bytes()), pass)
        });
        Self {
            known: known.collect(),
        }
    }

    /// Lets a client in by its `Authorization: Bearer` or `api-key` header.
    ///
    /// # Errors
    /// 401 where keys are known and its is none of them.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<Pass, Fault> {
        if self.known.is_empty() {
            return Ok(Pass::default());
        }
        let given = secret::bearer(headers)
            .or_else(|| headers.get(API_KEY).map(http::HeaderValue::as_bytes));
        let Some(given) = given else {
            return Err(refused(
                "no API key came with the request; send it as `Authorization: Bearer KEY`",
            ));
        };
        let given = Hashed::of(given);
        let mut found = None;
        for (known, pass) in &self.known {
            if known.is(&given) {
                found = Some(pass);
            }
        }
        found
            .cloned()
            .ok_or_else(|| refused("the API key is none of this gateway's"))
    }
}

fn refused(message: &str) -> Fault {
    Fault::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::Keys;
    use crate::gateway::{Client, Key};

    #[test]
    fn a_key_opens_and_nothing_else_does() {
        let client = |name: &str, key: &str| Client {
            name: name.into(),
            key: Key::new(key),
            self_only: name == "b",
            models: (name == "b").then(|| vec!["m".to_owned()]),
        };
        let keys = Keys::new(vec![client("a", "sk-a"), client("b", "sk-b")]);
        let cases = [
            ("authorization", "Bearer sk-a", Some("a")),
            ("authorization", "bearer  sk-b ", Some("b")),
            ("api-key", "sk-b", Some("b")),
            ("authorization", "Bearer sk-", None),
            ("authorization", "Bearer sk-aa", None),
            ("authorization", "Bearer", None),
            ("authorization", "Basic sk-a", None),
            ("authorization", "sk-a", None),
            ("api-key", "", None),
            ("cookie", "sk-a", None),
        ];
        for (name, value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
            let pass = keys.admit(&headers);
            let who = pass.as_ref().ok().and_then(|pass| pass.name.as_deref());
            assert_eq!(who, expected, "{name}: {value}");
            if let Ok(pass) = pass {
                assert_eq!(pass.may_ask("other"), !pass.self_only);
            }
        }
        assert!(keys.admit(&HeaderMap::new()).is_err());
        assert!(Keys::new(Vec::new()).admit(&HeaderMap::new()).is_ok());
    }
}

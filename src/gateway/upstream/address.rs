//! Where each path of a backend is: OpenAI's shape and the two of Azure.

use http::{HeaderName, HeaderValue, Uri, header};

use crate::fleet::request::Operation;
use crate::gateway::{Api, Auth, Upstream};

/// The newest generally available version of Azure's dated inference API.
const API_VERSION: &str = "2024-10-21";

/// The addresses of one backend, one a path.
#[derive(Debug)]
pub(crate) struct Address {
    paths: [Uri; Operation::ALL.len()],
    /// A client's query goes along where the address has none of its own.
    takes_query: bool,
}

impl Address {
    /// Builds them.
    ///
    /// # Errors
    /// Where the base is no address.
    pub(crate) fn new(upstream: &Upstream) -> Result<Self, String> {
        let mut paths = [const { None }; Operation::ALL.len()];
        for operation in Operation::ALL {
            let text = text(upstream, operation);
            let uri = text.parse::<Uri>().ok().filter(|uri| uri.host().is_some());
            paths[operation as usize] = Some(
                uri.ok_or_else(|| format!("{}: `{text}` is not an address", upstream.backend))?,
            );
        }
        Ok(Self {
            paths: paths.map(Option::unwrap_or_default),
            takes_query: upstream.api != Api::Azure,
        })
    }

    /// Where a request goes that came with `query`.
    pub(crate) fn of(&self, operation: Operation, query: Option<&str>) -> Uri {
        let plain = &self.paths[operation as usize];
        query
            .filter(|query| self.takes_query && !query.is_empty())
            .and_then(|query| format!("{plain}?{query}").parse().ok())
            .unwrap_or_else(|| plain.clone())
    }
}

fn text(upstream: &Upstream, operation: Operation) -> String {
    let base = upstream.url.trim_end_matches('/');
    let path = operation.path();
    match upstream.api {
        Api::Openai => format!("{}/v1/{path}", base.trim_end_matches("/v1")),
        Api::AzureV1 => format!("{}/openai/v1/{path}", resource(base)),
        Api::Azure => {
            let version = upstream.api_version.as_deref().unwrap_or(API_VERSION);
            // The responses API never had a deployment in its path.
            let deployment = match operation {
                Operation::Responses => String::new(),
                Operation::Chat | Operation::Completions | Operation::Embeddings => {
                    let name = upstream.model.as_deref().unwrap_or_default();
                    format!("deployments/{}/", escaped(name))
                }
            };
            format!(
                "{}/openai/{deployment}{path}?api-version={version}",
                resource(base)
            )
        }
    }
}

/// `https://NAME.openai.azure.com`, also where more was copied from the portal.
fn resource(base: &str) -> &str {
    base.trim_end_matches("/v1").trim_end_matches("/openai")
}

/// A deployment's name in a path.
fn escaped(name: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The header that carries a backend's key.
///
/// # Errors
/// Where the key holds what a header cannot.
pub(crate) fn credentials(
    upstream: &Upstream,
) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let Some(key) = &upstream.key else {
        return Ok(None);
    };
    let (name, text) = match upstream.auth {
        Auth::Bearer => (header::AUTHORIZATION, format!("Bearer {}", key.0)),
        Auth::ApiKey => (HeaderName::from_static("api-key"), key.0.clone()),
    };
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| format!("{}: the key cannot be sent in a header", upstream.backend))?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

#[cfg(test)]
mod tests {
    use super::{Address, credentials};
    use crate::fleet::request::Operation;
    use crate::gateway::{Api, Auth, Key, Upstream};

    #[test]
    fn every_shape_of_address() {
        use Operation::{Chat, Embeddings, Responses};
        let azure = "https://r.openai.azure.com";
        let cases = [
            (
                Api::Openai,
                "http://h:1/",
                Chat,
                None,
                "http://h:1/v1/chat/completions",
            ),
            (
                Api::Openai,
                "http://h:1/v1",
                Embeddings,
                Some("a=b"),
                "http://h:1/v1/embeddings?a=b",
            ),
            (
                Api::Openai,
                "http://h/llm/",
                Responses,
                Some(""),
                "http://h/llm/v1/responses",
            ),
            (
                Api::AzureV1,
                azure,
                Chat,
                None,
                "https://r.openai.azure.com/openai/v1/chat/completions",
            ),
            (
                Api::AzureV1,
                "https://r.openai.azure.com/openai/v1/",
                Responses,
                None,
                "https://r.openai.azure.com/openai/v1/responses",
            ),
            (
                Api::Azure,
                azure,
                Chat,
                Some("a=b"),
                "https://r.openai.azure.com/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21",
            ),
            (
                Api::Azure,
                "https://r.openai.azure.com/openai",
                Responses,
                None,
                "https://r.openai.azure.com/openai/responses?api-version=2024-10-21",
            ),
        ];
        for (api, url, operation, query, expected) in cases {
            let upstream = Upstream {
                api,
                model: Some("my gpt".to_owned()),
                ..Upstream::at("b", url)
            };
            let address = Address::new(&upstream).unwrap();
            assert_eq!(address.of(operation, query).to_string(), expected);
        }
        assert!(Address::new(&Upstream::at("b", "nonsense here")).is_err());
    }

    #[test]
    fn a_key_is_sent_as_its_api_has_it() {
        let mut upstream = Upstream::at("b", "http://h");
        assert_eq!(credentials(&upstream), Ok(None));
        upstream.key = Some(Key::new("k"));
        let (name, value) = credentials(&upstream).unwrap().unwrap();
        assert_eq!(
            (name.as_str(), value.to_str().unwrap()),
            ("authorization", "Bearer k")
        );
        upstream.auth = Auth::ApiKey;
        let (name, value) = credentials(&upstream).unwrap().unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("api-key", "k"));
        upstream.key = Some(Key::new("a\nb"));
        assert!(credentials(&upstream).is_err());
    }
}

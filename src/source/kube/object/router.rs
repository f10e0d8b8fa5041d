//! vLLM production-stack's router: which engines it sends to, as its own arguments say.
//!
//! Arguments and their defaults: `src/vllm_router/parsers/parser.py` of production-stack.

use super::meta::Words;

/// A router that finds its engines in a cluster by their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source::kube) struct Router {
    /// Where its engines are.
    namespace: Box<str>,
    /// What their pods' labels have to be.
    asks: Vec<Ask>,
    /// Where it listens.
    pub port: u16,
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ask {
    Is(Box<str>, Box<str>),
    IsNot(Box<str>, Box<str>),
    Has(Box<str>),
    HasNot(Box<str>),
}

impl Router {
    /// The router that these arguments start; `None` where they start none, or one that does not know pods by name.
    pub(super) fn of<'a>(flag: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let by_pod = flag("--k8s-service-discovery-type").is_none_or(|it| it == "pod-ip");
        if flag("--service-discovery") != Some("k8s") || !by_pod {
            return None;
        }
        let selector = flag("--k8s-label-selector");
        // Others find engines by flags of nearly these names.
        let namespace = flag("--k8s-namespace").or(selector.map(|_| "default"))?;
        let asks = selector.unwrap_or_default().split(',');
        let asks = asks.filter(|it| !it.trim().is_empty()).map(ask);
        Some(Self {
            namespace: namespace.into(),
            asks: asks.collect::<Option<_>>()?,
            port: flag("--port").map_or(Some(8001), |it| it.parse().ok())?,
        })
    }

    /// Whether it sends to pods with these labels there.
    pub(in crate::source::kube) fn sends_to(&self, namespace: &str, labels: &Words) -> bool {
        let holds = |ask: &Ask| match ask {
            Ask::Is(key, value) => labels.get(key) == Some(value),
            Ask::IsNot(key, value) => labels.get(key) != Some(value),
            Ask::Has(key) => labels.contains_key(key),
            Ask::HasNot(key) => !labels.contains_key(key),
        };
        *self.namespace == *namespace && self.asks.iter().all(holds)
    }
}

/// `a=b`, `a==b`, `a!=b`, `a` or `!a`; `None` for sets, which are not looked into.
fn ask(text: &str) -> Option<Ask> {
    let text = text.trim();
    if text.contains(['(', ')', ' ']) {
        return None;
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Some(Ask::IsNot(key.into(), value.into()));
    }
    if let Some((key, value)) = text.split_once('=') {
        return Some(Ask::Is(key.into(), value.trim_start_matches('=').into()));
    }
    Some(match text.strip_prefix('!') {
        Some(key) => Ask::HasNot(key.into()),
        None => Ask::Has(text.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(line: &str) -> Option<Router> {
        let words: Vec<&str> = line.split(' ').collect();
        Router::of(|name| {
            let at = words.iter().position(|it| *it == name)?;
            words.get(at + 1).copied()
        })
    }

    #[test]
    fn it_sends_where_its_selector_says() {
        let labels = Words::from([
            ("environment".into(), "test".into()),
            ("release".into(), "test".into()),
        ]);
        for (selector, sends) in [
            ("environment=test,release=test", true),
            ("environment==test", true),
            ("environment,!sleeping", true),
            ("environment!=prod", true),
            ("environment=prod", false),
            ("!environment", false),
        ] {
            let line = format!(
                "--port 8000 --service-discovery k8s --k8s-namespace llm --k8s-label-selector {selector}"
            );
            let it = router(&line).unwrap();
            assert_eq!(it.sends_to("llm", &labels), sends, "{selector}");
            assert!(!it.sends_to("other", &labels));
            assert_eq!(it.port, 8000);
        }
    }

    #[test]
    fn what_does_not_know_pods_by_name_is_none() {
        for line in [
            "--service-discovery static --static-backends http://a:8000",
            "--service-discovery k8s --k8s-service-discovery-type service-name --k8s-namespace llm",
            "--service-discovery --selector app=llm",
            "--service-discovery k8s --k8s-namespace llm --k8s-label-selector release(a)",
            "--port 8000",
        ] {
            assert_eq!(router(line), None, "{line}");
        }
    }
}

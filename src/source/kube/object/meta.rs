//! What every object has, as little of it as is used.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Metadata without what nobody reads: no managed fields, and only the labels and annotations that mean something here.
#[derive(Clone, Debug, Default, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::kube) struct Meta {
    #[serde(default)]
    pub name: Box<str>,
    #[serde(default)]
    pub namespace: Box<str>,
    #[serde(default)]
    pub uid: Box<str>,
    #[serde(default)]
    pub resource_version: Box<str>,
    #[serde(default)]
    pub generation: i64,
    #[serde(default)]
    pub creation_timestamp: Option<DateTime<Utc>>,
    #[serde(default)]
    pub deletion_timestamp: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "known")]
    pub labels: Words,
    #[serde(default, deserialize_with = "known")]
    pub annotations: Words,
    #[serde(default)]
    pub owner_references: Vec<OwnerRef>,
}

/// Names and values, sorted.
pub(in crate::source::kube) type Words = BTreeMap<Box<str>, Box<str>>;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source::kube) struct OwnerRef {
    pub kind: Box<str>,
    pub name: Box<str>,
    #[serde(default)]
    pub controller: bool,
}

/// What a namespaced object is found by.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::source::kube) struct Key {
    pub namespace: Box<str>,
    pub name: Box<str>,
}

impl Key {
    pub(in crate::source::kube) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl Meta {
    pub(in crate::source::kube) fn key(&self) -> Key {
        Key {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// Its controller, as kind and name.
    pub(in crate::source::kube) fn controller(&self) -> Option<(&str, &str)> {
        let owner = self.owner_references.iter().find(|it| it.controller)?;
        Some((&owner.kind, &owner.name))
    }

    pub(in crate::source::kube) fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(|it| &**it)
    }

    pub(in crate::source::kube) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(|it| &**it)
    }
}

impl PartialEq for Meta {
    /// But for its version, which changes with every write.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.uid == other.uid
            && self.generation == other.generation
            && self.deletion_timestamp == other.deletion_timestamp
            && self.labels == other.labels
            && self.annotations == other.annotations
            && self.owner_references == other.owner_references
    }
}

/// Whether a label or an annotation means something here.
fn is_known(key: &str) -> bool {
    const PREFIXES: [&str; 10] = [
        "fleetctl.dev/",
        "kaito.sh/",
        "karpenter.kaito.sh/",
        "inferenceset.kaito.sh/",
        "scaledobject.kaito.sh/",
        "serving.kserve.io/",
        "serving.knative.dev/",
        "autoscaling.k",
        "leaderworkerset.sigs.k8s.io/",
        "argocd.argoproj.io/",
    ];
    const WHOLE: [&str; 17] = [
        "app.kubernetes.io/component",
        "pod-template-hash",
        "app.kubernetes.io/part-of",
        "app.kubernetes.io/name",
        "app.kubernetes.io/instance",
        "app.kubernetes.io/version",
        "app.kubernetes.io/managed-by",
        "kustomize.toolkit.fluxcd.io/name",
        "helm.toolkit.fluxcd.io/name",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "kubernetes.azure.com/scalesetpriority",
        "karpenter.sh/capacity-type",
        "cloud.google.com/gke-spot",
        "eks.amazonaws.com/capacityType",
        "model",
        "sleeping",
    ];
    PREFIXES.iter().any(|it| key.starts_with(it))
        || WHOLE.contains(&key)
        || key == "gateway.envoyproxy.io/ai-gateway-generated"
}

/// The pairs that mean something; the others are not kept for a moment.
fn known<'de, D: Deserializer<'de>>(from: D) -> Result<Words, D::Error> {
    pairs(from, is_known)
}

/// All pairs.
pub(super) fn all<'de, D: Deserializer<'de>>(from: D) -> Result<Words, D::Error> {
    pairs(from, |_| true)
}

fn pairs<'de, D: Deserializer<'de>>(from: D, wanted: fn(&str) -> bool) -> Result<Words, D::Error> {
    struct Pairs(fn(&str) -> bool);
    impl<'de> Visitor<'de> for Pairs {
        type Value = Words;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("names and values")
        }

        fn visit_unit<E>(self) -> Result<Words, E> {
            Ok(Words::new())
        }

        fn visit_none<E>(self) -> Result<Words, E> {
            Ok(Words::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Words, A::Error> {
            let mut words = Words::new();
            while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                if self.0(&key) {
                    let Word(value) = map.next_value()?;
                    words.insert(key.as_ref().into(), value);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(words)
        }
    }
    from.deserialize_any(Pairs(wanted))
}

/// A value as text. Custom resources are kept as they were written, and a quantity may be written as a number there
/// (`x-kubernetes-int-or-string`): `nvidia.com/gpu: 8`.
struct Word(Box<str>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }

            fn visit_str<E>(self, it: &str) -> Result<Word, E> {
                Ok(Word(it.into()))
            }

            fn visit_u64<E>(self, it: u64) -> Result<Word, E> {
                Ok(Word(it.to_string().into()))
            }

            fn visit_i64<E>(self, it: i64) -> Result<Word, E> {
                Ok(Word(it.to_string().into()))
            }

            fn visit_f64<E>(self, it: f64) -> Result<Word, E> {
                Ok(Word(it.to_string().into()))
            }
        }
        from.deserialize_any(Scalar)
    }
}

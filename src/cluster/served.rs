//! What a cluster serves: only that is asked for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::api::Api;
use super::fault::Fault;
use crate::fleet::cluster::object::Kind;

/// One call for all groups and their resources, since Kubernetes 1.26.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// The kinds that are served, and in which version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served(BTreeMap<Kind, Box<str>>);

/// The aggregated form, or the list of groups of a server before 1.26.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    items: Vec<Group>,
    #[serde(default)]
    groups: Vec<OldGroup>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Name,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Default, Deserialize)]
struct Name {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    resource: String,
}

#[derive(Deserialize)]
struct OldGroup {
    name: String,
    #[serde(default)]
    versions: Vec<OldVersion>,
}

#[derive(Deserialize)]
struct OldVersion {
    version: String,
}

#[derive(Deserialize)]
struct OldResources {
    #[serde(default)]
    resources: Vec<Name>,
}

impl Served {
    /// Asks.
    ///
    /// # Errors
    /// Where nobody answers, or not to this user.
    pub async fn ask(api: &Api) -> Result<Self, Fault> {
        let mut served = BTreeMap::new();
        for kind in Kind::ALL {
            if kind.group().is_empty() {
                served.insert(kind, kind.versions()[0].into());
            }
        }
        let answer: Answer = api.get("/apis", Some(AGGREGATED)).await?;
        for kind in Kind::ALL {
            let group = answer
                .items
                .iter()
                .find(|it| it.metadata.name == kind.group());
            let has = |version: &str| {
                group.is_some_and(|group| {
                    let mut of = group.versions.iter().filter(|it| it.version == version);
                    of.any(|it| it.resources.iter().any(|it| it.resource == kind.plural()))
                })
            };
            if let Some(version) = kind.versions().iter().find(|it| has(it)) {
                served.insert(kind, (*version).into());
            }
        }
        for group in &answer.groups {
            for version in &group.versions {
                let wanted = |kind: &Kind| {
                    kind.group() == group.name
                        && kind.versions().contains(&version.version.as_str())
                };
                if !Kind::ALL.iter().any(wanted) {
                    continue;
                }
                let path = format!("/apis/{}/{}", group.name, version.version);
                let all: OldResources = api.get(&path, None).await?;
                for kind in Kind::ALL.into_iter().filter(wanted) {
                    if all.resources.iter().any(|it| it.name == kind.plural()) {
                        served
                            .entry(kind)
                            .or_insert_with(|| version.version.as_str().into());
                    }
                }
            }
        }
        Ok(Self(served))
    }

    /// The same with one kind more.
    #[must_use]
    pub fn with(mut self, kind: Kind, version: &str) -> Self {
        self.0.insert(kind, version.into());
        self
    }

    /// The version of a kind that is served; `None` where it is not.
    pub fn version(&self, kind: Kind) -> Option<&str> {
        self.0.get(&kind).map(|it| &**it)
    }
}

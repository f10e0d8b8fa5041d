//! How the pods of a cluster are reached.

use super::Api;

/// How pods are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// At their own addresses first: this runs among them, or somebody said that these addresses are theirs alone.
    Direct,
    /// Through the API's own proxy only.
    Proxy,
    /// Through the API's own proxy; pages at a pod's own address once it was seen to be that pod's.
    #[default]
    Auto,
}

impl Reach {
    /// The same on a cluster: a program that runs in one of its pods is among them.
    #[must_use]
    pub fn on(self, api: &Api) -> Self {
        match self {
            Self::Auto if api.is_inside() => Self::Direct,
            other => other,
        }
    }
}

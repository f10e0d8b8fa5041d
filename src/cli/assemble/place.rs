//! Where in a config something is wrong.

use std::fmt;
use std::path::Path;

use anyhow::Result;

use crate::config::{Step, line_of};

/// A place in a config.
#[derive(Clone, Debug)]
pub(in crate::cli) enum Place {
    /// A model.
    Model(String),
    /// A backend of a model.
    Backend(String, String),
    /// A client's key.
    Key(String),
    /// A token of the admin API.
    Token(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name that is refused may be refused for what a terminal would make of it.
        let shown = |name: &String| name.escape_debug().to_string();
        match self {
            Self::Model(model) => write!(f, "model `{}`", shown(model)),
            Self::Backend(model, backend) => {
                write!(f, "model `{}`, backend `{}`", shown(model), shown(backend))
            }
            Self::Key(name) => write!(f, "[[gateway.key]] `{}`", shown(name)),
            Self::Token(name) => write!(f, "[[admin.token]] `{}`", shown(name)),
        }
    }
}

impl Place {
    fn line(&self, text: &str) -> Option<usize> {
        match self {
            Self::Model(model) => line_of(text, &[Step::Named("model", model)]),
            Self::Backend(model, backend) => {
                let steps = [Step::Named("model", model), Step::Named("backend", backend)];
                line_of(text, &steps)
            }
            Self::Key(name) => line_of(text, &[Step::Table("gateway"), Step::Named("key", name)]),
            Self::Token(name) => line_of(text, &[Step::Table("admin"), Step::Named("token", name)]),
        }
    }
}

/// Names the file, and the line where that is known, of what is wrong with a config.
pub(in crate::cli) fn placed<T>(result: Result<T>, path: &Path, text: &str) -> Result<T> {
    result.map_err(|error| {
        let place = error.downcast_ref::<Place>();
        match place.and_then(|place| place.line(text)) {
            Some(line) => error.context(format!("{}, line {line}", path.display())),
            None => error.context(path.display().to_string()),
        }
    })
}

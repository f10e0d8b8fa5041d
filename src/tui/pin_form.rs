//! The pin form: what is typed, and where.

/// A pin, as far as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinForm {
    /// For how long.
    pub duration: String,
    /// At how many replicas, no more and no less; `None` where that cannot be had.
    pub exactly: Option<String>,
    /// Why, in plain words.
    pub reason: String,
    /// Which field has the focus.
    pub field: PinField,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// Which field of the pin form has the focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinField {
    /// How long.
    Duration,
    /// At how many.
    Exactly,
    /// Why.
    Reason,
}

impl PinForm {
    /// One with a span to begin with; `exact`: it can be held at a number.
    pub fn new(exact: bool) -> Self {
        Self {
            duration: "4h".into(),
            exactly: exact.then(String::new),
            reason: String::new(),
            field: PinField::Duration,
            error: None,
        }
    }

    /// The text of the field that has the focus.
    pub fn text(&mut self) -> &mut String {
        self.error = None;
        match (self.field, &mut self.exactly) {
            (PinField::Exactly, Some(exactly)) => exactly,
            (PinField::Duration, _) => &mut self.duration,
            (PinField::Reason | PinField::Exactly, _) => &mut self.reason,
        }
    }

    /// The focus to the next field, or to the one before.
    pub fn turn(&mut self, forth: bool) {
        let exact = self.exactly.is_some();
        self.field = match (self.field, forth) {
            (PinField::Duration, true) | (PinField::Reason, false) if exact => PinField::Exactly,
            (PinField::Duration, _) | (PinField::Exactly, true) => PinField::Reason,
            (PinField::Reason, _) | (PinField::Exactly, false) => PinField::Duration,
        };
    }
}

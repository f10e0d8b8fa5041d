//! What the console knows besides the fleet itself: where the operator is and what is half-typed.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::fleet::{Backend, BackendId, Command, Fleet, Model, Preview};

use super::pin_form::PinForm;
use super::theme::Theme;

/// All state of the console. A frame is a function of this and nothing else.
#[derive(Debug)]
pub struct App {
    /// The picture to draw.
    pub fleet: Arc<Fleet>,
    /// All of it, where only one of several clusters is drawn.
    pub whole: Arc<Fleet>,
    /// The cluster that is drawn alone.
    pub only: Option<String>,
    /// Whether pictures still arrive.
    pub link: Link,
    /// Who sits here; goes with each command into the audit.
    pub operator: String,
    /// Takes the actions away.
    pub read_only: bool,
    /// The fleet is looked after elsewhere: what is under way goes on without this console.
    pub attached: bool,
    /// The screen that is shown.
    pub screen: Screen,
    /// Where `esc` leads, newest last.
    pub back: Vec<Screen>,
    /// What has the keyboard.
    pub mode: Mode,
    /// The selected backend; followed by id, so that rows may move under it.
    pub selected: Option<BackendId>,
    /// Marked backends: an action goes to all of them.
    pub marks: BTreeSet<BackendId>,
    /// Only rows that contain this are shown; empty shows all.
    pub filter: String,
    /// The order of the Fleet table.
    pub sort: Sort,
    /// The finding that was gone to; the banner shows it until the selection moves on.
    pub finding: Option<Followed>,
    /// First visible line of lists that follow no backend (log, requests, audit), counted from the newest; 0 follows.
    pub scroll: usize,
    /// What the Backend screen has of what was written of it.
    pub lines: Lines,
    /// The requests tail stands still on this picture while set.
    pub frozen: Option<Arc<Fleet>>,
    /// Weights being edited on the Routing screen, not yet applied; by backend of the selected model.
    pub draft: Option<Vec<(BackendId, u32)>>,
    /// What the cluster says of the command in the open dialog.
    pub rehearsal: Rehearsal,
    /// The open dialog shows the exact calls.
    pub exact: bool,
    /// The first line of the open dialog that is seen.
    pub read_from: usize,
    /// Short messages, newest last.
    pub toasts: Vec<Toast>,
    /// Colours and glyphs.
    pub theme: Theme,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
}

/// A finding that was gone to. Its words change with every picture: it is known by what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// What it is about; `None`: the whole fleet.
    pub about: Option<BackendId>,
    /// Which one of those that are about the same.
    pub nth: usize,
    /// What was selected with it.
    pub selected: Option<BackendId>,
}

/// What a cluster says of a command that is only tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rehearsal {
    /// Nothing is asked of any.
    #[default]
    None,
    /// It was asked.
    Asked,
    /// It would take it; in words.
    Accepted(String),
    /// It would not; why.
    Refused(String),
}

/// Whether pictures still arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// None has arrived yet.
    Loading,
    /// They arrive.
    Live,
    /// None has arrived for this many wall seconds.
    Stale(u64),
    /// It is out of reach for this many wall seconds, and why; it may come back.
    Away(u64, String),
    /// The fleet is gone, and why.
    Lost(String),
}

/// What was written of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Its engine's log.
    Log,
    /// What its cluster told of its pods.
    Events,
}

/// The screens, in the order of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// Home: the table of models and backends.
    Fleet,
    /// One backend: its cold start, or its figures once warm.
    Backend,
    /// A model's weights.
    Routing,
    /// Money.
    Cost,
    /// The live tail.
    Requests,
    /// Past wakes by stage.
    Wakes,
    /// Who did what.
    Audit,
    /// Every GPU.
    Gpus,
}

impl Screen {
    /// Every screen, in the order of their keys `1` to `8`.
    pub const ALL: [Self; 8] = [
        Self::Fleet,
        Self::Backend,
        Self::Routing,
        Self::Cost,
        Self::Requests,
        Self::Wakes,
        Self::Audit,
        Self::Gpus,
    ];

    /// Its name on the tab bar.
    pub fn title(self) -> &'static str {
        match self {
            Self::Fleet => "Fleet",
            Self::Backend => "Backend",
            Self::Routing => "Routing",
            Self::Cost => "Cost",
            Self::Requests => "Requests",
            Self::Wakes => "Wakes",
            Self::Audit => "Audit",
            Self::Gpus => "GPUs",
        }
    }
}

/// What has the keyboard.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// The screen.
    Normal,
    /// The filter line.
    Filter,
    /// The command palette, with what is typed and the chosen completion.
    Palette {
        /// What is typed so far.
        input: String,
        /// Which completion.
        chosen: usize,
    },
    /// A command with its preview, waiting for Enter. `apply` is true when the Apply button has the focus; it starts on Cancel
    /// where work stops.
    Confirm {
        /// What will be sent.
        commands: Vec<Command>,

        /// What each will do.
        previews: Vec<Preview>,

        /// The Apply button has the focus.
        apply: bool,
    },
    /// How long and why to pin.
    Pin {
        /// Which ones.
        backends: Vec<BackendId>,

        /// What is typed.
        form: PinForm,
    },
    /// The keys.
    Help,
    /// Everything that needs attention, in full.
    Findings {
        /// Which one is chosen.
        chosen: usize,
    },
    /// Leaving while an operation of this console is under way.
    Leave,
}

/// The order of the Fleet table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub column: Column,
    /// Largest first.
    pub descending: bool,
}

/// Columns of the Fleet table, in the order in which they are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Its name; groups by model.
    Backend,
    /// The cluster it lives on, where there are several.
    Cluster,
    /// Its state and since when.
    State,
    /// Weight against real share.
    Weight,
    /// Requests a second.
    Requests,
    /// Running.
    Running,
    /// Waiting.
    Waiting,
    /// TTFT p50 and p95.
    Ttft,
    /// Output tokens a second.
    Tokens,
    /// GPU utilisation with history.
    Gpu,
    /// KV-cache use.
    Kv,
    /// Dollars an hour now.
    Rate,
    /// Realised dollars per million output tokens.
    Realised,
    /// Pin, or idle time left.
    Pin,
}

/// A short message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toast {
    /// What happened.
    pub text: String,
    /// Whether it is bad news.
    pub bad: bool,
    /// Counts them, so that the loop can let each expire.
    pub id: u64,
}

impl App {
    /// A console at home, before the first picture has been looked at.
    pub fn new(fleet: Arc<Fleet>, theme: Theme, operator: String, read_only: bool) -> Self {
        let selected = fleet.backends.first().map(|b| b.id.clone());
        Self {
            whole: Arc::clone(&fleet),
            only: None,
            fleet,
            link: Link::Live,
            operator,
            read_only,
            attached: false,
            screen: Screen::Fleet,
            back: Vec::new(),
            mode: Mode::Normal,
            selected,
            marks: BTreeSet::new(),
            filter: String::new(),
            sort: Sort {
                column: Column::Backend,
                descending: false,
            },
            finding: None,
            scroll: 0,
            lines: Lines::Log,
            frozen: None,
            draft: None,
            rehearsal: Rehearsal::None,
            exact: false,
            read_from: 0,
            toasts: Vec::new(),
            theme,
            size: (80, 24),
        }
    }

    /// Takes a new picture, or the part of it that is looked at.
    pub fn take(&mut self, fleet: Arc<Fleet>) -> Arc<Fleet> {
        let shown = match &self.only {
            Some(cluster) => Arc::new(fleet.only(cluster)),
            None => Arc::clone(&fleet),
        };
        self.whole = fleet;
        std::mem::replace(&mut self.fleet, shown)
    }

    /// The selected backend, where it still exists.
    pub fn backend(&self) -> Option<&Backend> {
        let id = self.selected.as_ref()?;
        self.fleet
            .backends
            .iter()
            .find(|b| b.id == *id)
            .map(AsRef::as_ref)
    }

    /// Which finding the banner shows: the one that was gone to while its selection stands, else the worst.
    pub fn shown_finding(&self) -> Option<usize> {
        let followed = self
            .finding
            .as_ref()
            .filter(|it| it.selected == self.selected);
        let about = |it: &Followed| {
            let all = self.fleet.findings.iter().enumerate();
            let mut same = all.filter(|(_, finding)| finding.backend == it.about);
            same.nth(it.nth).map(|(at, _)| at)
        };
        let worst = (!self.fleet.findings.is_empty()).then_some(0);
        followed.and_then(about).or(worst)
    }

    /// Whether a key that acts now acts on this backend and on nothing else.
    pub fn acts_on(&self, id: &BackendId) -> bool {
        self.selected.as_ref() == Some(id) && self.marks.iter().all(|marked| marked == id)
    }

    /// What is shown is of some time ago: nobody tells of the fleet, or a cluster does not answer.
    pub fn is_old(&self) -> bool {
        self.link != Link::Live || self.fleet.clusters.iter().any(|it| it.is_blind())
    }

    /// Backends with an operation that ends with this console.
    pub fn at_work(&self) -> impl Iterator<Item = &Backend> {
        let all = self.whole.backends.iter().map(AsRef::as_ref);
        all.filter(|b| !self.attached && b.doing.is_some())
    }

    /// The model of the selected backend.
    pub fn model(&self) -> Option<&Model> {
        let id = &self.backend()?.model;
        self.fleet
            .models
            .iter()
            .find(|m| m.id == *id)
            .map(AsRef::as_ref)
    }
}

//! Colours by meaning, glyphs by capability. The only place that names a colour.

use ratatui::style::{Color, Modifier, Style};

/// What a colour means; each means one thing everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Figures and names.
    Text,
    /// Labels, units, what can be skipped.
    Dim,
    /// Zero, unknown, rulers, empty tracks.
    Faint,
    /// The most important figure of a line.
    Strong,
    /// Keys, the active screen, focus.
    Accent,
    /// Self-hosted traffic and share.
    SelfHosted,
    /// Hosted traffic and share.
    Hosted,
    /// Warm, done, good.
    Good,
    /// Waking, held.
    Waking,
    /// Asleep.
    Asleep,
    /// Draining, limited, late soon.
    Warning,
    /// Failed, down, over the cap.
    Critical,
    /// Money.
    Money,
    /// Frames.
    Border,
    /// The selected row's ground.
    Selection,
    /// The ground of the line that says what is wrong.
    Alert,
    /// The ground of a dialog.
    Dialog,
    /// The ground of the screen.
    Ground,
    /// A focused button.
    Button,
    /// A button without focus.
    ButtonIdle,
}

/// Colours by role, and the glyphs that go with them.
#[derive(Clone, Debug)]
pub struct Theme {
    /// Its name, as in `themes/NAME.toml`.
    pub name: String,
    /// Style of each role, by its number.
    pub styles: [Style; 20],
    /// Characters that the terminal can draw.
    pub glyphs: &'static Glyphs,
}

impl Theme {
    /// The default: dark ground, truecolor.
    pub fn dark() -> Self {
        let rgb = |hex: u32| Style::new().fg(Color::from_u32(hex));
        let on = |hex: u32| Style::new().bg(Color::from_u32(hex));
        Self {
            name: "dark".to_owned(),
            styles: [
                rgb(0xc8_ccd8),
                rgb(0x8a_90a6),
                rgb(0x4a_5068),
                rgb(0xff_ffff).add_modifier(Modifier::BOLD),
                rgb(0x7a_a2f7).add_modifier(Modifier::BOLD),
                rgb(0x2a_c3de),
                rgb(0xbb_9af7),
                rgb(0x9e_ce6a),
                rgb(0xff_9e64),
                rgb(0x7a_8ac0),
                rgb(0xe0_af68),
                rgb(0xf7_768e),
                rgb(0xff_ffff).add_modifier(Modifier::BOLD),
                rgb(0x3b_4261),
                on(0x1f_2638),
                on(0x2d_1c22),
                on(0x14_1822),
                on(0x0e_1016),
                on(0x7a_a2f7)
                    .fg(Color::from_u32(0x0e_1016))
                    .add_modifier(Modifier::BOLD),
                on(0x29_2f42).fg(Color::from_u32(0xc8_ccd8)),
            ],
            glyphs: &UNICODE,
        }
    }

    /// The style of `role`.
    pub fn of(&self, role: Role) -> Style {
        self.styles[role as usize]
    }
}

/// Characters for what is drawn; one set for Unicode, one for ASCII terminals. Every entry is one column wide.
#[derive(Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// Warm.
    pub warm: &'static str,
    /// Asleep.
    pub asleep: &'static str,
    /// Waking.
    pub waking: &'static str,
    /// Draining.
    pub draining: &'static str,
    /// Failed or down.
    pub failed: &'static str,
    /// Hosted and ready.
    pub hosted: &'static str,
    /// Unknown.
    pub unknown: &'static str,
    /// In front of the line that says what is wrong.
    pub alert: &'static str,
    /// A filled bar.
    pub bar: &'static str,
    /// What is expected, not yet done.
    pub expected: &'static str,
    /// An empty track.
    pub track: &'static str,
    /// A mark on an axis (budget, cap).
    pub mark: &'static str,
    /// Eighths of a block from empty to full, for charts and histories: nine entries.
    pub eighths: [&'static str; 9],
    /// Towards.
    pub arrow: &'static str,
    /// Done.
    pub done: &'static str,
    /// Unknown figure.
    pub none: &'static str,
    /// Between two figures.
    pub dot: &'static str,
    /// Sorted down, sorted up.
    pub sorted: [&'static str; 2],
    /// A marked row.
    pub marked: &'static str,
    /// The selected row's edge.
    pub edge: &'static str,
    /// A cut text.
    pub ellipsis: &'static str,
    /// Left top, right top, left bottom, right bottom, horizontal, vertical of a frame.
    pub frame: [&'static str; 6],
}

/// For terminals that draw Unicode.
pub static UNICODE: Glyphs = Glyphs {
    warm: "●",
    asleep: "○",
    waking: "◐",
    draining: "◍",
    failed: "✖",
    hosted: "◆",
    unknown: "?",
    alert: "▲",
    bar: "━",
    expected: "╌",
    track: "─",
    mark: "┊",
    eighths: [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    arrow: "→",
    done: "✓",
    none: "–",
    dot: "·",
    sorted: ["▾", "▴"],
    marked: "✱",
    edge: "▌",
    ellipsis: "…",
    frame: ["╭", "╮", "╰", "╯", "─", "│"],
};

/// For terminals that do not.
pub static ASCII: Glyphs = Glyphs {
    warm: "*",
    asleep: "o",
    waking: "~",
    draining: "v",
    failed: "x",
    hosted: "#",
    unknown: "?",
    alert: "!",
    bar: "=",
    expected: "-",
    track: ".",
    mark: ":",
    eighths: [" ", ".", ".", ":", ":", "|", "|", "#", "#"],
    arrow: ">",
    done: "+",
    none: "-",
    dot: "/",
    sorted: ["v", "^"],
    marked: "*",
    edge: "|",
    ellipsis: "~",
    frame: ["+", "+", "+", "+", "-", "|"],
};

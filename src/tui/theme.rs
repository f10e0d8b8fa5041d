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

/// The number of roles.
const ROLES: usize = 20;

/// The roles' names in theme files, in the order of [`Role`].
const ROLE_NAMES: [&str; ROLES] = [
    "text",
    "dim",
    "faint",
    "strong",
    "accent",
    "self-hosted",
    "hosted",
    "good",
    "waking",
    "asleep",
    "warning",
    "critical",
    "money",
    "border",
    "selection",
    "alert",
    "dialog",
    "ground",
    "button",
    "button-idle",
];

/// The themes that come with the program: name and file.
const FILES: [(&str, &str); 5] = [
    ("dark", include_str!("../../themes/dark.toml")),
    ("light", include_str!("../../themes/light.toml")),
    ("ansi16", include_str!("../../themes/ansi16.toml")),
    ("monochrome", include_str!("../../themes/monochrome.toml")),
    ("colorblind", include_str!("../../themes/colorblind.toml")),
];

/// The names of the themes, in the order in which `t` goes through them.
pub const NAMES: [&str; 5] = [FILES[0].0, FILES[1].0, FILES[2].0, FILES[3].0, FILES[4].0];

/// Colours by role, and the glyphs that go with them.
#[derive(Clone, Debug)]
pub struct Theme {
    /// Its name, as in `themes/NAME.toml`.
    pub name: String,
    /// Style of each role, by its number.
    pub styles: [Style; ROLES],
    /// Characters that the terminal can draw.
    pub glyphs: &'static Glyphs,
}

/// Why a theme cannot be used: where, what, and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThemeError {
    /// No theme of that name.
    #[error("no theme `{0}`; there are {list}", list = NAMES.join(", "))]
    Unknown(String),
    /// The file is not what it should be.
    #[error("theme {name}: {what}")]
    Wrong {
        /// Which theme.
        name: String,
        /// What is wrong with it.
        what: String,
    },
}

impl Theme {
    /// The theme of that name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn named(name: &str, glyphs: &'static Glyphs) -> Result<Self, ThemeError> {
        let (name, text) = FILES
            .iter()
            .find(|(n, _)| *n == name)
            .ok_or_else(|| ThemeError::Unknown(name.to_owned()))?;
        Self::parse(name, text, glyphs)
    }

    /// The next theme, with the same glyphs.
    #[must_use]
    pub fn next(&self) -> Self {
        let at = NAMES
            .iter()
            .position(|n| *n == self.name)
            .map_or(0, |at| (at + 1) % NAMES.len());
        Self::named(NAMES[at], self.glyphs).unwrap_or_else(|_| self.clone())
    }

    /// Reads a theme file: one line a role, `COLOUR`, `on COLOUR`, modifiers, or several of these.
    ///
    /// # Errors
    /// Where a role is missing or unknown, or a style cannot be read.
    pub fn parse(name: &str, text: &str, glyphs: &'static Glyphs) -> Result<Self, ThemeError> {
        let wrong = |what: String| ThemeError::Wrong {
            name: name.to_owned(),
            what,
        };
        let mut lines: std::collections::BTreeMap<String, String> =
            toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
        let mut styles = [Style::new(); ROLES];
        for (style, role) in styles.iter_mut().zip(ROLE_NAMES) {
            let line = lines
                .remove(role)
                .ok_or_else(|| wrong(format!("the role `{role}` is missing")))?;
            *style = read_style(&line).ok_or_else(|| {
                wrong(format!(
                    "{role} = {line:?} is no style; write it like \"#c8ccd8 on #0e1016 bold\""
                ))
            })?;
        }
        match lines.keys().next() {
            Some(stranger) => Err(wrong(format!("`{stranger}` is no role"))),
            None => Ok(Self {
                name: name.to_owned(),
                styles,
                glyphs,
            }),
        }
    }

    /// The style of `role`.
    pub fn of(&self, role: Role) -> Style {
        self.styles[role as usize]
    }
}

/// The theme to start with: the one asked for, else none of its colours where `NO_COLOR` is set, else dark.
///
/// # Errors
/// Where there is no theme of that name.
pub fn choose(asked: Option<&str>, no_color: bool, ascii: bool) -> Result<Theme, ThemeError> {
    let glyphs = if ascii { &ASCII } else { &UNICODE };
    Theme::named(
        asked.unwrap_or(if no_color { "monochrome" } else { "dark" }),
        glyphs,
    )
}

/// A style from words such as `#c8ccd8 on #0e1016 bold`.
fn read_style(text: &str) -> Option<Style> {
    let mut style = Style::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        style = match word {
            "bold" => style.add_modifier(Modifier::BOLD),
            "dim" => style.add_modifier(Modifier::DIM),
            "underlined" => style.add_modifier(Modifier::UNDERLINED),
            "reversed" => style.add_modifier(Modifier::REVERSED),
            "default" => style,
            "on" => style.bg(read_color(words.next()?)?),
            color => style.fg(read_color(color)?),
        };
    }
    Some(style)
}

fn read_color(text: &str) -> Option<Color> {
    let named = [
        "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white",
    ];
    let (bright, name) = text
        .strip_prefix("bright-")
        .map_or((0, text), |rest| (8, rest));
    match named.iter().position(|n| *n == name) {
        Some(at) => Some(Color::Indexed(at as u8 + bright)),
        None => u32::from_str_radix(text.strip_prefix('#').filter(|hex| hex.len() == 6)?, 16)
            .ok()
            .map(Color::from_u32),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_theme_has_every_role_and_no_other() {
        for name in NAMES {
            Theme::named(name, &UNICODE).unwrap();
        }
    }

    #[test]
    fn t_goes_through_all_of_them_and_round() {
        let mut theme = choose(None, false, false).unwrap();
        let seen: Vec<String> = NAMES
            .iter()
            .map(|_| {
                theme = theme.next();
                theme.name.clone()
            })
            .collect();
        assert_eq!(
            seen,
            ["light", "ansi16", "monochrome", "colorblind", "dark"]
        );
    }

    #[test]
    fn no_color_means_no_color() {
        let theme = choose(None, true, true).unwrap();
        assert!(
            theme
                .styles
                .iter()
                .all(|s| s.fg.is_none() && s.bg.is_none()),
            "{:?}",
            theme.styles
        );
        assert_eq!(theme.glyphs, &ASCII);
        assert_eq!(
            choose(Some("light"), true, false).unwrap().name,
            "light",
            "asking wins"
        );
    }

    #[test]
    fn a_bad_theme_says_what_is_wrong() {
        let said = |text: &str| {
            Theme::parse("mine", text, &UNICODE)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(said(""), "theme mine: the role `text` is missing");
        assert!(said("text = \"mauve\"").contains("text = \"mauve\" is no style"));
        assert!(said("text = 1").contains("line 1"), "{}", said("text = 1"));
        let extra = format!("{}\nfrobnicate = \"dim\"", FILES[0].1);
        assert_eq!(said(&extra), "theme mine: `frobnicate` is no role");
        assert!(
            choose(Some("mauve"), false, false)
                .unwrap_err()
                .to_string()
                .starts_with("no theme `mauve`; there are dark, light")
        );
    }
}

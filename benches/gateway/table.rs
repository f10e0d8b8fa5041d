//! The figures, as a table in Markdown.

use crate::{Options, peers};

/// Rows and remarks.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
}

/// One figure of everybody.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) figure: String,
    pub(crate) direct: Option<f64>,
    pub(crate) nginx: Option<f64>,
    pub(crate) fleetctl: Option<f64>,
    pub(crate) litellm: Option<f64>,
    /// What is asked of fleetctl.
    pub(crate) bar: Bar,
}

/// What is asked of fleetctl.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Bar {
    /// Nothing.
    #[default]
    None,
    /// At most so many times nginx's.
    Times(f64),
    /// At least so many times nginx's.
    AtLeastTimes(f64),
    /// At most so much.
    AtMost(f64),
}

impl Row {
    /// Whether fleetctl keeps to the bar; `None` where there is none.
    fn met(&self) -> Option<bool> {
        let ours = self.fleetctl?;
        match self.bar {
            Bar::None => None,
            Bar::AtMost(bar) => Some(ours <= bar),
            Bar::Times(bar) => Some(ours <= bar * self.nginx?),
            Bar::AtLeastTimes(bar) => Some(ours >= bar * self.nginx?),
        }
    }
}

impl Table {
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!("  {}", line(&row));
        self.rows.push(row);
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn print(&self, options: &Options) {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        println!();
        println!(
            "{cores} cores ({}), Linux {}, {}, {} rounds.",
            processor(),
            read("/proc/sys/kernel/osrelease"),
            peers::nginx_version(),
            options.rounds,
        );
        println!();
        println!("| figure | direct | nginx | fleetctl | LiteLLM | fleetctl ÷ nginx | bar | met |");
        println!("|---|---:|---:|---:|---:|---:|---|---|");
        for row in &self.rows {
            println!("{}", line(row));
        }
        println!();
        for note in &self.notes {
            println!("- {note}");
        }
    }
}

fn line(row: &Row) -> String {
    let ratio = match (row.fleetctl, row.nginx) {
        (Some(ours), Some(nginx)) if nginx > 0.0 => format!("{:.2}", ours / nginx),
        _ => "–".to_owned(),
    };
    let bar = match row.bar {
        Bar::None => String::new(),
        Bar::Times(bar) => format!("≤ {bar} × nginx"),
        Bar::AtLeastTimes(bar) => format!("≥ {bar} × nginx"),
        Bar::AtMost(bar) => format!("≤ {bar}"),
    };
    let met = match row.met() {
        None => "",
        Some(true) => "yes",
        Some(false) => "NO",
    };
    format!(
        "| {} | {} | {} | {} | {} | {ratio} | {bar} | {met} |",
        row.figure,
        number(row.direct),
        number(row.nginx),
        number(row.fleetctl),
        number(row.litellm),
    )
}

fn number(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value.abs() >= 100.0 || value.fract().abs() < 1e-9 => format!("{value:.0}"),
        Some(value) => format!("{value:.1}"),
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    percentile(&mut values, 50.0)
}

/// The value below which so many percent are; it sorts them.
pub(crate) fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = ((values.len() as f64 * percent / 100.0) as usize).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(f64::NAN)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn processor() -> String {
    read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned())
}

//! A stacked column chart: eighths of a cell high, round numbers on the axis.

use chrono::{DateTime, TimeDelta, Utc};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};

use crate::tui::text;
use crate::tui::theme::{Role, Theme};

use super::grid::is_ascii;

/// Letters for the layers where eighths cannot be drawn.
const ASCII_LAYERS: [&str; 4] = ["#", "=", "%", "+"];
const SMALLEST: (u16, u16) = (12, 2);

/// Layers over time.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Style of each layer, lowest first; its foreground fills.
    pub layers: Vec<Style>,
    /// Equal steps of time, oldest first, with one value a layer; `None` where nobody watched.
    pub steps: Vec<Option<Vec<f64>>>,
    /// When the first step begins.
    pub from: DateTime<Utc>,
    /// When the last step ends.
    pub to: DateTime<Utc>,
}

/// Draws the chart with its axes into `area`; nothing where there is no room for one.
pub fn render(theme: &Theme, chart: &Chart, area: Rect, buf: &mut Buffer) {
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        return;
    }
    let rows = area.height - 1;
    let most = chart
        .steps
        .iter()
        .flatten()
        .map(|step| step.iter().sum::<f64>())
        .fold(0.0, f64::max);
    let scale = Scale::over(most, rows);
    let labels = scale.labels();
    let margin = labels
        .iter()
        .map(|(_, label)| label.len() as u16)
        .max()
        .unwrap_or(0)
        .max(3)
        + 1;
    let plot = Rect {
        x: area.x + margin,
        width: area.width - margin,
        height: rows,
        ..area
    };
    let ruler = if is_ascii(theme) {
        theme.glyphs.track
    } else {
        theme.glyphs.dot
    };
    for (row, label) in labels {
        let y = plot.bottom() - 1 - row;
        let x = plot.x - 1 - label.len() as u16;
        buf.set_string(x, y, label, theme.of(Role::Dim));
        for x in (plot.x..plot.right()).step_by(2) {
            buf.set_string(x, y, ruler, theme.of(Role::Border));
        }
    }
    for column in 0..plot.width {
        let Some(values) = at_column(&chart.steps, column, plot.width) else {
            continue;
        };
        draw_column(theme, chart, &values, &scale, plot, column, buf);
    }
    draw_times(theme, chart, plot, buf);
}

/// The values of one column: the mean of the steps that fall into it.
fn at_column(steps: &[Option<Vec<f64>>], column: u16, width: u16) -> Option<Vec<f64>> {
    let (n, column, width) = (steps.len(), usize::from(column), usize::from(width));
    let begin = column * n / width;
    let end = ((column + 1) * n / width).max(begin + 1).min(n);
    let known: Vec<_> = steps.get(begin..end)?.iter().flatten().collect();
    let layers = known.first()?.len();
    Some(
        (0..layers)
            .map(|i| known.iter().filter_map(|s| s.get(i)).sum::<f64>() / known.len() as f64)
            .collect(),
    )
}

fn draw_column(
    theme: &Theme,
    chart: &Chart,
    values: &[f64],
    scale: &Scale,
    plot: Rect,
    column: u16,
    buf: &mut Buffer,
) {
    let mut sum = 0.0;
    let tops: Vec<u16> = values
        .iter()
        .map(|v| {
            sum += v.max(0.0);
            (sum / scale.top * f64::from(plot.height) * 8.0).round() as u16
        })
        .collect();
    for row in 0..plot.height {
        let (bottom, top) = (row * 8, row * 8 + 8);
        let mut below = bottom;
        let mut parts: Vec<(usize, u16)> = Vec::new();
        for (layer, reach) in tops.iter().enumerate() {
            let reach = (*reach).clamp(below, top);
            if reach > below {
                parts.push((layer, reach - below));
            }
            below = reach;
        }
        if parts.is_empty() {
            break;
        }
        let open = top - below;
        let cell = &mut buf[(plot.x + column, plot.bottom() - 1 - row)];
        if is_ascii(theme) {
            if let Some((layer, _)) = parts.iter().max_by_key(|(_, part)| *part)
                && open <= 4
            {
                cell.set_symbol(ASCII_LAYERS[layer % ASCII_LAYERS.len()]);
                cell.set_style(chart.layers[*layer]);
            }
            continue;
        }
        // A cell has two colours: the thinnest parts give way until two are left.
        while parts.len() + usize::from(open > 0) > 2 {
            let Some(thin) = (0..parts.len()).min_by_key(|i| parts[*i].1) else {
                break;
            };
            let (_, part) = parts.remove(thin);
            let heir = thin.saturating_sub(1).min(parts.len().saturating_sub(1));
            if let Some(heir) = parts.get_mut(heir) {
                heir.1 += part;
            }
        }
        let fill = |at: usize| colour(chart, parts[at].0);
        let high = usize::from(parts[0].1.min(8));
        cell.set_symbol(theme.glyphs.eighths[high]);
        cell.set_fg(fill(0));
        if parts.len() > 1 {
            cell.set_bg(fill(1));
        } else if high == 8 {
            // Some terminals leave a hairline around a full block; its ground hides that.
            cell.set_bg(fill(0));
        }
    }
}

fn colour(chart: &Chart, layer: usize) -> Color {
    chart
        .layers
        .get(layer)
        .and_then(|style| style.fg)
        .unwrap_or(Color::Reset)
}

/// Start, middle where there is room, and `now`.
fn draw_times(theme: &Theme, chart: &Chart, plot: Rect, buf: &mut Buffer) {
    let y = plot.bottom();
    let style = theme.of(Role::Dim);
    let time = |at: DateTime<Utc>| at.format("%H:%M").to_string();
    buf.set_string(plot.x, y, time(chart.from), style);
    if plot.width >= 30 {
        let half = TimeDelta::seconds((chart.to - chart.from).num_seconds() / 2);
        let x = plot.x + plot.width / 2 - 2;
        buf.set_string(x, y, time(chart.from + half), style);
    }
    if plot.width >= 10 {
        buf.set_string(plot.right() - 3, y, "now", style);
    }
}

/// A vertical axis on which each label falls on a row.
#[derive(Debug, PartialEq)]
struct Scale {
    top: f64,
    step: f64,
    /// Rows from one label to the next.
    every: u16,
    rows: u16,
}

impl Scale {
    /// The lowest axis of 1-2-5 steps that reaches `most` on so many rows.
    fn over(most: f64, rows: u16) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let candidates = match rows {
            0..3 => 1..=1,
            3..8 => 2..=2,
            8..16 => 2..=4,
            16.. => 3..=6,
        };
        let mut best: Option<Self> = None;
        for every in candidates {
            let step = round_up(most * f64::from(every) / f64::from(rows));
            let top = step * f64::from(rows) / f64::from(every);
            if best.as_ref().is_none_or(|b| top < b.top) {
                best = Some(Self {
                    top,
                    step,
                    every,
                    rows,
                });
            }
        }
        best.unwrap_or(Self {
            top: most,
            step: most,
            every: 1,
            rows,
        })
    }

    /// Row from below and text of each label.
    fn labels(&self) -> Vec<(u16, String)> {
        let decimals = if self.step >= 1.0 {
            0
        } else {
            (-self.step.log10()).ceil() as usize
        };
        (0..self.rows)
            .step_by(usize::from(self.every))
            .map(|row| {
                let value = self.step * f64::from(row / self.every);
                let label = if decimals == 0 {
                    text::count(value)
                } else {
                    format!("{value:.decimals$}")
                };
                (row, label)
            })
            .collect()
    }
}

/// The next of 1, 2, 5, 10, … at or above `value`.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let lead = value / power;
    let step = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|s| lead <= s + 1e-9)
        .unwrap_or(10.0);
    step * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_round_and_reach_the_top() {
        for (most, rows) in [
            (8.3, 10),
            (0.004, 5),
            (39.4, 18),
            (12_000.0, 30),
            (0.0, 4),
            (1.0, 1),
        ] {
            let scale = Scale::over(most, rows);
            assert!(scale.top >= most, "{scale:?}");
            let lead = scale.step / 10_f64.powf(scale.step.log10().floor());
            assert!(
                [1.0, 2.0, 5.0, 10.0]
                    .iter()
                    .any(|l| (l - lead).abs() < 1e-6),
                "{scale:?}"
            );
        }
    }

    #[test]
    fn columns_stretch_and_gather() {
        let steps: Vec<_> = (0..4).map(|i| Some(vec![f64::from(i)])).collect();
        let wide: Vec<_> = (0..8).filter_map(|c| at_column(&steps, c, 8)).collect();
        assert_eq!(wide[0], wide[1]);
        assert_eq!(at_column(&steps, 1, 2), Some(vec![2.5]));
        assert_eq!(at_column(&[None], 0, 3), None);
        assert_eq!(at_column(&[], 0, 3), None);
    }
}

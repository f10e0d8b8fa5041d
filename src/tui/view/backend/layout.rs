//! Panels below each other: the important ones first, whole where there is room.

use ratatui::layout::Rect;

/// One panel: rows it needs to say anything, and rows that show all of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Below this it is left out.
    pub least: u16,
    /// Above this it gains nothing.
    pub wanted: u16,
}

/// Where each part stands, in order; `None` for what found no room. What is left over goes to `grows`, or the last that fits.
pub(super) fn stack(area: Rect, parts: &[Part], grows: usize) -> Vec<Option<Rect>> {
    let mut left = area.height;
    let mut heights: Vec<u16> = parts
        .iter()
        .map(|part| {
            let least = part.least.min(part.wanted);
            let takes = if least <= left { least } else { 0 };
            left -= takes;
            takes
        })
        .collect();
    if heights.iter().all(|h| *h == 0) && !parts.is_empty() {
        heights[0] = left;
        left = 0;
    }
    for (height, part) in heights.iter_mut().zip(parts) {
        if *height > 0 {
            let more = part.wanted.saturating_sub(*height).min(left);
            *height += more;
            left -= more;
        }
    }
    let grower = heights
        .get(grows)
        .filter(|h| **h > 0)
        .map(|_| grows)
        .or_else(|| heights.iter().rposition(|h| *h > 0));
    if let Some(i) = grower {
        heights[i] += left;
    }
    let mut y = area.y;
    heights
        .into_iter()
        .map(|height| {
            let at = Rect { y, height, ..area };
            y += height;
            (height > 0).then_some(at)
        })
        .collect()
}

//! The nearest names to one that nobody has.

/// Names compared are cut to this many characters: what comes from outside is not worth more.
const LONGEST: usize = 128;

/// Up to three of `names` that `asked` may have meant, nearest first.
pub(crate) fn nearest<'a>(asked: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let asked: Vec<char> = asked.to_lowercase().chars().take(LONGEST).collect();
    let mut near: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let lower: Vec<char> = name.to_lowercase().chars().take(LONGEST).collect();
            let away = distance(&asked, &lower);
            let contained = asked.len() >= 3
                && (lower.windows(asked.len()).any(|part| part == asked)
                    || asked.windows(lower.len().max(1)).any(|part| part == lower));
            (contained || away <= (asked.len().max(lower.len()) / 3).max(1)).then_some((away, name))
        })
        .collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// The edits between two words (Levenshtein).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_its_name() {
        let names = ["llama-3.3-70b", "qwen3-8b", "gpt-4o-mini"];
        let cases: [(&str, &[&str]); 4] = [
            ("llama-3.3-70B", &["llama-3.3-70b"]),
            ("lama-3.3-7b", &["llama-3.3-70b"]),
            ("qwen3", &["qwen3-8b"]),
            ("zzz", &[]),
        ];
        for (asked, expected) in cases {
            assert_eq!(nearest(asked, names.into_iter()), expected, "{asked}");
        }
    }
}

//! Bytes as they come, cut into lines.

/// The longest line that is kept, in bytes; the rest of a longer one is left out.
const LONGEST: usize = 8 << 10;

/// What has come of the line that is not whole yet. A progress bar ends its lines with CR only.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// The lines that `bytes` complete, without the empty ones.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut ready = Vec::new();
        let mut pieces = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.extend(piece);
            ready.extend(self.take());
        }
        self.extend(last);
        ready
    }

    /// The last line, where it has no end of its own.
    pub(super) fn finish(&mut self) -> Vec<String> {
        self.take().into_iter().collect()
    }

    fn extend(&mut self, piece: &[u8]) {
        let room = LONGEST.saturating_sub(self.begun.len());
        self.begun
            .extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn take(&mut self) -> Option<String> {
        let line =
            (!self.begun.is_empty()).then(|| String::from_utf8_lossy(&self.begun).into_owned());
        self.begun.clear();
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_where_they_end() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a\nb\r\nc"), ["a", "b"]);
        assert_eq!(lines.push(b"d\r"), ["cd"]);
        assert_eq!(lines.push(b"\ne\xff"), [] as [&str; 0]);
        assert_eq!(lines.push(b""), [] as [&str; 0]);
        assert_eq!(lines.finish(), ["e\u{fffd}"]);
        assert_eq!(lines.finish(), [] as [&str; 0]);
        lines.push(&vec![b'x'; LONGEST + 10]);
        assert_eq!(
            lines
                .push(b"y\nz\n")
                .iter()
                .map(String::len)
                .collect::<Vec<_>>(),
            [LONGEST, 1]
        );
    }
}

//! Bytes as lines, whatever comes: none is longer than is wanted, and none has to be UTF-8.

use std::io;

use futures_util::Stream;
use futures_util::io::{AsyncBufRead, AsyncBufReadExt as _};
use futures_util::stream::unfold;

/// The lines of a stream. What is longer than `most` bytes is cut there.
pub(super) fn split<R: AsyncBufRead + Unpin + Send + 'static>(
    from: R,
    most: usize,
) -> impl Stream<Item = io::Result<String>> + Unpin {
    Box::pin(unfold(Some(from), move |from| async move {
        let mut from = from?;
        match next(&mut from, most).await {
            Ok(Some(line)) => Some((Ok(line), Some(from))),
            Ok(None) => None,
            Err(why) => Some((Err(why), None)),
        }
    }))
}

/// The next line without its end; `None` after the last.
async fn next<R: AsyncBufRead + Unpin>(from: &mut R, most: usize) -> io::Result<Option<String>> {
    let mut line: Vec<u8> = Vec::new();
    let mut any = false;
    loop {
        let bytes = from.fill_buf().await?;
        if bytes.is_empty() {
            break;
        }
        any = true;
        let end = memchr::memchr(b'\n', bytes);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        line.extend_from_slice(&part[..part.len().min(most - line.len())]);
        let taken = end.map_or(bytes.len(), |at| at + 1);
        from.consume_unpin(taken);
        if end.is_some() {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(any.then(|| String::from_utf8_lossy(&line).into_owned()))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use futures_util::io::Cursor;

    use super::*;

    async fn lines(bytes: &'static [u8]) -> Vec<String> {
        split(Cursor::new(bytes), 8)
            .map(Result::unwrap)
            .collect()
            .await
    }

    #[tokio::test]
    async fn a_line_is_cut_where_it_is_too_long() {
        assert_eq!(
            lines(b"one\r\ntwo\n0123456789\n\nlast").await,
            ["one", "two", "01234567", "", "last"]
        );
    }

    #[tokio::test]
    async fn what_is_not_text_ends_nothing() {
        assert_eq!(lines(b"a\xffb\nc").await, ["a\u{fffd}b", "c"]);
    }
}

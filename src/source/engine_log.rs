//! What an engine's log says of its start, line by line, and of its end.
//!
//! Lines of vLLM 0.8.5 to 0.33.0, and of Kubernetes' events in front of them. Matched is the message; the
//! `[file.py:line]` before it changes with every version, and so does the process prefix.

mod failure;

use crate::fleet::Stage;
use crate::fleet::message::StageMark;

pub use crate::web::clean;
pub use failure::failure_reason;

/// The beginnings of messages, and the stage that runs from there on. The first that fits counts.
const BEGINNINGS: &[(&str, Stage)] = &[
    // Kubernetes' events, `reason: message`.
    ("FailedScheduling: ", Stage::Node),
    ("TriggeredScaleUp: ", Stage::Node),
    ("Scheduled: ", Stage::Image),
    ("Pulling: ", Stage::Image),
    ("Pulled: ", Stage::Start),
    ("Created: ", Stage::Start),
    ("Started: ", Stage::Start),
    // The process, its arguments and its engine.
    ("vLLM API server version", Stage::Start),
    ("non-default args:", Stage::Start),
    ("Initializing a V1 LLM engine", Stage::Start),
    ("Initializing an LLM engine", Stage::Start),
    // Weights.
    ("Starting to load model", Stage::Load),
    ("wake up the engine with tags", Stage::Load),
    // Compilation, memory profiling, KV cache.
    ("Model loading took", Stage::Compile),
    ("Warming up model for the compilation", Stage::Compile),
    ("Starting torch.compile", Stage::Compile),
    ("Dynamo bytecode transform time", Stage::Compile),
    ("torch.compile takes", Stage::Compile),
    ("Compiling a graph for", Stage::Compile),
    ("Directly load ", Stage::Compile),
    ("Cache the graph ", Stage::Compile),
    ("saved AOT compiled function", Stage::Compile),
    ("Initial profiling/warmup run took", Stage::Compile),
    ("Compile and warming up model for size", Stage::Compile),
    ("Profiling CUDA graph memory", Stage::Compile),
    ("Available KV cache memory", Stage::Compile),
    // The server.
    ("init engine (profile", Stage::Health),
    ("Supported tasks:", Stage::Health),
    ("Supported_tasks:", Stage::Health),
    ("Starting vLLM server on", Stage::Health),
    ("Starting vLLM API server", Stage::Health),
    ("Started server process", Stage::Health),
    ("Application startup complete.", Stage::Health),
];

/// What a line says of the wake; `None` for most lines.
pub fn stage(line: &str) -> Option<StageMark> {
    let plain = clean(line);
    let message = message(&plain);
    if let Some(stage) = bar(message) {
        return Some(StageMark {
            stage,
            percent: percent(message),
            hot: None,
        });
    }
    if message.starts_with("Loading weights took") {
        return Some(StageMark {
            stage: Stage::Load,
            percent: Some(100.0),
            hot: None,
        });
    }
    if message.starts_with("Graph capturing finished") {
        return Some(StageMark {
            stage: Stage::Capture,
            percent: Some(100.0),
            hot: None,
        });
    }
    // What is compiled is named in brackets from 0.32.0 on: `[backbone] Dynamo …`.
    let message = message
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
        .map_or(message, |(_, rest)| rest);
    let cache = message.contains("torch.compile cache") || message.contains("vLLM's torch.compile");
    let size = message.contains(" KV cache size: ");
    BEGINNINGS
        .iter()
        .find(|(beginning, _)| message.starts_with(beginning))
        .map(|(_, stage)| *stage)
        .or((cache || size).then_some(Stage::Compile))
        .map(|stage| StageMark {
            stage,
            percent: None,
            hot: hot(message),
        })
}

/// Whether a compiled graph was there from an earlier start; `None` for lines that say neither.
fn hot(message: &str) -> Option<bool> {
    let starts = |any: &[&str]| any.iter().any(|start| message.starts_with(start));
    if starts(&["Directly load "]) {
        Some(true)
    } else if starts(&[
        "Compiling a graph for",
        "Cache the graph ",
        "saved AOT compiled function",
    ]) || message.contains("torch.compile cache is disabled")
    {
        Some(false)
    } else {
        None
    }
}

/// The stage of a progress bar, by its description.
fn bar(message: &str) -> Option<Stage> {
    let loads = ["Loading ", "Multi-thread loading "]
        .iter()
        .any(|start| message.starts_with(start))
        && message.contains(" shards");
    if loads {
        Some(Stage::Load)
    } else if message.starts_with("Capturing CUDA graph") {
        Some(Stage::Capture)
    } else {
        None
    }
}

/// The number before the first `%`.
fn percent(message: &str) -> Option<f32> {
    let (before, _) = message.split_once('%')?;
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|p| (0.0..=100.0).contains(p))
}

/// A clean line without what stands before the message: the process, the level, the time, the place in the source.
pub(super) fn message(line: &str) -> &str {
    let mut rest = line.trim();
    if rest.starts_with('(')
        && let Some((name, after)) = rest.split_once(") ")
        && (name.contains(" pid=") || name.contains(" rank="))
    {
        rest = after.trim_start();
    }
    let Some((level, after)) = rest.split_once([' ', ':']) else {
        return rest;
    };
    if !matches!(level, "DEBUG" | "INFO" | "WARNING" | "ERROR" | "CRITICAL") {
        return rest;
    }
    let after = after.trim_start();
    // `MM-DD HH:MM:SS [file.py:line] message`; uvicorn's lines have the level only.
    let dated = after.as_bytes().first().is_some_and(u8::is_ascii_digit);
    match after.split_once('[').filter(|_| dated) {
        Some((_, place)) => place
            .split_once(']')
            .map_or("", |(_, text)| text.trim_start()),
        None => after,
    }
}

#[cfg(test)]
mod tests;

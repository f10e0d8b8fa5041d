//! Why an engine ended, from the tail of its log, in plain words with what to do.

use super::{clean, message};

/// A line that tells, and how to say it. `said` is what the engine said, shortened, where it adds something.
struct Sign {
    /// All of these stand in the line.
    holds: &'static [&'static str],
    /// What it means.
    means: &'static str,
    /// What to do.
    advice: &'static str,
    /// The engine's own words follow from here in the line; empty: they add nothing.
    said_from: &'static str,
}

const fn sign(
    holds: &'static [&'static str],
    means: &'static str,
    advice: &'static str,
    said_from: &'static str,
) -> Sign {
    Sign {
        holds,
        means,
        advice,
        said_from,
    }
}

/// Roots before consequences: one start that fails leaves several of these.
const SIGNS: &[Sign] = &[
    sign(
        &["CUDA out of memory"],
        "CUDA out of memory",
        "lower --gpu-memory-utilization or --max-num-seqs, or take more or larger GPUs",
        "",
    ),
    sign(
        &["OutOfMemoryError"],
        "the GPU ran out of memory",
        "lower --gpu-memory-utilization or --max-num-seqs, or take more or larger GPUs",
        "",
    ),
    sign(
        &["Free memory on device", "less than"],
        "the GPU's memory is already taken by something else",
        "end what holds it (nvidia-smi lists it), or lower --gpu-memory-utilization",
        "Free memory on device",
    ),
    sign(
        &[
            "Available memory on",
            "less than desired CPU memory utilization",
        ],
        "the machine has too little free memory for a CPU engine",
        "end what holds it, or lower --gpu-memory-utilization (it stands for the CPU's memory there)",
        "Available memory on",
    ),
    sign(
        &["KV cache is needed, which is larger than the available"],
        "the KV cache is too small for --max-model-len",
        "lower --max-model-len or raise --gpu-memory-utilization",
        "the estimated maximum model length is",
    ),
    sign(
        &["No available memory for the cache blocks"],
        "no memory is left for the KV cache",
        "raise --gpu-memory-utilization, or take more or larger GPUs",
        "",
    ),
    sign(
        &["less than requested memory for kv"],
        "the KV cache asked for does not fit into memory",
        "lower --kv-cache-memory-bytes",
        "Available memory on",
    ),
    sign(
        &["Address already in use"],
        "its port is in use",
        "end what listens there, or give the engine another --port",
        "",
    ),
    sign(
        &["Error while deserializing header"],
        "a weight file is corrupt",
        "fetch the model again",
        "Error while deserializing",
    ),
    sign(
        &["SafetensorError"],
        "a weight file is corrupt",
        "fetch the model again",
        "SafetensorError",
    ),
    sign(
        &["Weight files referenced in index but missing"],
        "weight files are missing",
        "fetch the model again",
        "Weight files referenced in index but missing",
    ),
    sign(
        &["Cannot find any model weights"],
        "there are no weights in the model's folder",
        "check the model's path, or fetch the model again",
        "",
    ),
    sign(
        &["does not recognize this architecture"],
        "this vLLM does not know the model's architecture",
        "take a newer vLLM, or another model",
        "model type",
    ),
    sign(
        &["Model architectures", "are not supported for now"],
        "this vLLM does not know the model's architecture",
        "take a newer vLLM, or another model",
        "Model architectures",
    ),
    sign(
        &["GatedRepoError"],
        "the model is gated on the hub",
        "accept its terms there, and give the engine a token (HF_TOKEN)",
        "",
    ),
    sign(
        &["RepositoryNotFoundError"],
        "the hub has no such model, or does not show it to this token",
        "check the model's name and HF_TOKEN",
        "",
    ),
    sign(
        &["LocalEntryNotFoundError"],
        "the model is not on this machine and the hub cannot be asked",
        "check the model's path, or let the engine reach the hub (HF_HUB_OFFLINE)",
        "",
    ),
    sign(
        &["Invalid repository ID or local directory specified"],
        "there is no model at its path",
        "check the model's path: it must hold a config.json",
        "Invalid repository ID",
    ),
    sign(
        &["Sleep mode is not supported"],
        "sleep mode is not supported on this machine",
        "leave out --enable-sleep-mode and set `sleep = \"release\"` or `\"never\"`",
        "",
    ),
    sign(
        &["must be divisible by tensor parallel size"],
        "the model cannot be split over this many GPUs",
        "choose another --tensor-parallel-size",
        "Total number",
    ),
    sign(
        &["is greater than the derived max_model_len"],
        "--max-model-len is more than the model can do",
        "lower --max-model-len",
        "User-specified max_model_len",
    ),
    sign(
        &["error: unrecognized arguments"],
        "this vLLM does not know an argument",
        "correct the command line",
        "unrecognized arguments",
    ),
    sign(
        &["error: argument"],
        "an argument is wrong",
        "correct the command line",
        "argument",
    ),
    sign(
        &["Timed out waiting for engine core processes to start"],
        "the engine took too long to start",
        "raise VLLM_ENGINE_READY_TIMEOUT_S, or load from faster storage",
        "",
    ),
    sign(
        &["No space left on device"],
        "the disk is full",
        "free space where the model, the caches and /dev/shm are",
        "",
    ),
    sign(
        &["OOMKilled"],
        "its machine ran out of memory and it was killed",
        "give it more memory",
        "",
    ),
    sign(
        &["Failed core proc(s)", ": -9"],
        "it was killed, most likely for want of memory on its machine",
        "give it more memory, and see the machine's kernel log",
        "",
    ),
    sign(
        &["died unexpectedly (exit code: -9)"],
        "it was killed, most likely for want of memory on its machine",
        "give it more memory, and see the machine's kernel log",
        "",
    ),
    sign(
        &["Back-off pulling image"],
        "its image cannot be pulled",
        "check the image's name and the right to pull it",
        "Back-off",
    ),
];

/// Why the engine ended, in plain words with what to do; `None` where the lines do not say.
///
/// `lines` is the tail of one run's log, oldest first, as it came.
pub fn failure_reason<S: AsRef<str>>(lines: &[S]) -> Option<String> {
    let plain: Vec<String> = lines.iter().map(|line| clean(line.as_ref())).collect();
    let plain: Vec<&str> = plain.iter().map(|line| message(line)).collect();
    for sign in SIGNS {
        let telling = plain
            .iter()
            .rfind(|line| sign.holds.iter().all(|part| line.contains(part)));
        if let Some(line) = telling {
            return Some(sign.say(line));
        }
    }
    first_error(&plain)
}

impl Sign {
    fn say(&self, line: &str) -> String {
        let Self { means, advice, .. } = self;
        let said = (!self.said_from.is_empty())
            .then(|| line.find(self.said_from))
            .flatten()
            .map(|at| shorten(&line[at..]));
        match said {
            Some(said) => format!("{means} ({said}); {advice}"),
            None => format!("{means}; {advice}"),
        }
    }
}

/// The first line that is an exception's, but for those that only point at another.
fn first_error(lines: &[&str]) -> Option<String> {
    const POINTERS: [&str; 3] = [
        "See root cause above",
        "check the stack trace above",
        "validation error for",
    ];
    // The first one: what follows in the log mostly follows from it.
    lines
        .iter()
        .filter(|line| !POINTERS.iter().any(|pointer| line.contains(pointer)))
        .find_map(|line| {
            let value = line.trim_start().strip_prefix("Value error, ");
            let exception = line.split_once(": ").filter(|(name, _)| {
                let short = name.rsplit('.').next().unwrap_or(name);
                !name.contains(' ')
                    && short.starts_with(|c: char| c.is_ascii_uppercase())
                    && (short.ends_with("Error") || short.ends_with("Exception"))
            });
            value
                .map(shorten)
                .or_else(|| exception.map(|_| shorten(line)))
        })
        .map(|said| format!("the engine ended with: {said}; see its log"))
}

/// At most one short sentence of what the engine said.
fn shorten(text: &str) -> String {
    const MOST: usize = 160;
    let text = text.split(" [type=").next().unwrap_or(text);
    let end = text
        .find(". ")
        .filter(|at| *at < MOST)
        .unwrap_or(text.len());
    let text = text[..end].trim_end_matches(['.', ',', ' ']);
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

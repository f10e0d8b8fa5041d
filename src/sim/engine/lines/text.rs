//! Figures as Python and tqdm write them.

/// The architecture that a model of the demo resolves to.
pub(super) fn architecture(model: &str) -> &'static str {
    if model.contains("coder") {
        "Qwen3MoeForCausalLM"
    } else if model.contains("phi") {
        "Phi3ForCausalLM"
    } else {
        "LlamaForCausalLM"
    }
}

/// Seconds as tqdm writes them: `01:07`.
pub(super) fn minutes(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    format!("{:02}:{:02}", whole / 60, whole % 60)
}

/// Seconds for one as tqdm writes them: `2.47s/it` or ` 1.93it/s`.
pub(super) fn rate(each: f64) -> String {
    if each > 1.0 {
        format!("{each:>5.2}s/it")
    } else {
        format!("{:>5.2}it/s", 1.0 / each.max(1e-6))
    }
}

/// A number with commas, as Python writes it: `1,048,576`.
pub(super) fn grouped(n: u32) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

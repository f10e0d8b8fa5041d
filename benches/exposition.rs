//! How fast a real page is read.

use divan::counter::BytesCount;
use fleetctl::source::{exposition, read_engine};

const PAGE: &str = include_str!("../tests/pages/vllm-0.32.0-load.txt");

fn main() {
    divan::main();
}

/// The scan alone, for a few families.
#[divan::bench]
fn scan(bencher: divan::Bencher) {
    bencher.counter(BytesCount::of_str(PAGE)).bench(|| {
        let mut sum = 0.0;
        exposition::scan(
            divan::black_box(PAGE),
            |name| {
                matches!(
                    name,
                    "vllm:num_requests_running"
                        | "vllm:num_requests_waiting"
                        | "vllm:kv_cache_usage_perc"
                        | "vllm:prompt_tokens_total"
                        | "vllm:generation_tokens_total"
                )
                .then_some(())
            },
            |(), line| sum += line.value,
        );
        sum
    });
}

/// The whole reading, with four histograms.
#[divan::bench]
fn read(bencher: divan::Bencher) {
    bencher
        .counter(BytesCount::of_str(PAGE))
        .bench(|| read_engine(divan::black_box(PAGE)));
}

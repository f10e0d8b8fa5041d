use super::*;

/// The figures of a page, in one comparable line.
fn figures(sample: &EngineSample) -> String {
    let n = |value: Option<f64>| value.map_or("–".to_owned(), |v| v.to_string());
    let h = |h: &Histogram| format!("{}/{}:{}", h.count(), h.bounds.len(), h.sum);
    format!(
        "running {} waiting {} kv {} prompt {} generation {} finished {} preemptions {} queries {} hits {} asleep {:?} ttft {} itl {} e2e {} queue {}",
        n(sample.running),
        n(sample.waiting),
        n(sample.kv),
        n(sample.prompt_tokens),
        n(sample.generation_tokens),
        n(sample.finished),
        n(sample.preemptions),
        n(sample.prefix_queries),
        n(sample.prefix_hits),
        sample.asleep,
        h(&sample.ttft),
        h(&sample.inter_token),
        h(&sample.e2e),
        h(&sample.queue),
    )
}

#[test]
fn recorded_pages() {
    let cases = [
        (
            include_str!("../../../tests/pages/vllm-0.32.0-load.txt"),
            "running 24 waiting 0 kv 0.008790135514589181 prompt 1045 generation 8060 finished 14 preemptions 0 queries 1045 hits 0 asleep Some(false) ttft 39/23:3.6040501594543457 itl 8021/20:32.8662512650003 e2e 14/22:2.597378730773926 queue 14/22:0.0002892720003728755",
        ),
        (
            include_str!("../../../tests/pages/vllm-0.14.1-load.txt"),
            "running 24 waiting 0 kv 0.008790135514589181 prompt 1045 generation 5873 finished 14 preemptions 0 queries 1045 hits 0 asleep Some(false) ttft 39/23:32.406081199645996 itl 5834/20:34.29980899399379 e2e 14/22:32.79773807525635 queue 14/22:0.00014903300052537816",
        ),
        (
            include_str!("../../../tests/pages/vllm-0.32.0-idle.txt"),
            "running 0 waiting 0 kv 0 prompt 0 generation 0 finished 0 preemptions 0 queries 0 hits 0 asleep Some(false) ttft 0/23:0 itl 0/20:0 e2e 0/22:0 queue 0/22:0",
        ),
        (
            include_str!("../../../tests/pages/vllm-0.32.0-asleep1.txt"),
            "running 0 waiting 0 kv 0 prompt 0 generation 0 finished 0 preemptions 0 queries 0 hits 0 asleep Some(true) ttft 0/23:0 itl 0/20:0 e2e 0/22:0 queue 0/22:0",
        ),
    ];
    for (page, expected) in cases {
        let sample = read(page).expect("a page of vLLM's");
        assert_eq!(figures(&sample), expected);
        let config = |name: &str| {
            sample
                .config
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(config("num_gpu_blocks"), Some("8192"));
        assert_eq!(config("block_size"), Some("128"));
        assert_eq!(config("engine"), None);
    }
}

#[test]
fn a_histogram_whole() {
    let sample = read(include_str!("../../../tests/pages/vllm-0.32.0-load.txt")).expect("vLLM's");
    let bounds = [
        0.001,
        0.005,
        0.01,
        0.02,
        0.04,
        0.06,
        0.08,
        0.1,
        0.25,
        0.5,
        0.75,
        1.0,
        2.5,
        5.0,
        7.5,
        10.0,
        20.0,
        40.0,
        80.0,
        160.0,
        640.0,
        2560.0,
        f64::INFINITY,
    ];
    let counts = [
        0.0, 1.0, 11.0, 12.0, 14.0, 36.0, 37.0, 37.0, 37.0, 37.0, 37.0, 37.0, 39.0, 39.0, 39.0,
        39.0, 39.0, 39.0, 39.0, 39.0, 39.0, 39.0, 39.0,
    ];
    assert_eq!(sample.ttft.bounds, bounds);
    assert_eq!(sample.ttft.counts, counts);
}

#[test]
fn names_of_old() {
    // As 0.8.5 wrote them: `model_name` only.
    let old = concat!(
        "vllm:num_requests_running{model_name=\"m\"} 3.0\n",
        "vllm:num_requests_waiting{model_name=\"m\"} 1.0\n",
        "vllm:gpu_cache_usage_perc{model_name=\"m\"} 0.25\n",
        "vllm:gpu_prefix_cache_queries_total{model_name=\"m\"} 100.0\n",
        "vllm:gpu_prefix_cache_hits_total{model_name=\"m\"} 40.0\n",
        "vllm:num_preemptions_total{model_name=\"m\"} 2.0\n",
        "vllm:prompt_tokens_total{model_name=\"m\"} 7.0\n",
        "vllm:generation_tokens_total{model_name=\"m\"} 8.0\n",
        "vllm:request_success_total{finished_reason=\"stop\",model_name=\"m\"} 5.0\n",
        "vllm:request_success_total{finished_reason=\"length\",model_name=\"m\"} 6.0\n",
        "vllm:time_per_output_token_seconds_bucket{le=\"0.01\",model_name=\"m\"} 1.0\n",
        "vllm:time_per_output_token_seconds_bucket{le=\"+Inf\",model_name=\"m\"} 4.0\n",
        "vllm:time_per_output_token_seconds_count{model_name=\"m\"} 4.0\n",
        "vllm:time_per_output_token_seconds_sum{model_name=\"m\"} 0.5\n",
        "vllm:iteration_tokens_total_sum{model_name=\"m\"} 99.0\n",
    );
    assert_eq!(
        figures(&read(old).expect("vLLM's")),
        "running 3 waiting 1 kv 0.25 prompt 7 generation 8 finished 11 preemptions 2 queries 100 hits 40 asleep None ttft 0/0:0 itl 4/2:0.5 e2e 0/0:0 queue 0/0:0"
    );
    // 0.9.2 to 0.11.1 have both; the new ones count, in either order.
    let both = format!(
        "vllm:kv_cache_usage_perc{{engine=\"0\"}} 0.5\nvllm:prefix_cache_hits_total{{engine=\"0\"}} 41.0\nvllm:inter_token_latency_seconds_bucket{{engine=\"0\",le=\"+Inf\"}} 9.0\n{old}"
    );
    assert_eq!(
        figures(&read(&both).expect("vLLM's")),
        "running 3 waiting 1 kv 0.5 prompt 7 generation 8 finished 11 preemptions 2 queries 100 hits 41 asleep None ttft 0/0:0 itl 9/1:0 e2e 0/0:0 queue 0/0:0"
    );
}

#[test]
fn several_engines() {
    let page = concat!(
        "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3.0\n",
        "vllm:num_requests_running{engine=\"1\",model_name=\"m\"} 4.0\n",
        "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.2\n",
        "vllm:kv_cache_usage_perc{engine=\"1\",model_name=\"m\"} 0.6\n",
        "vllm:engine_sleep_state{engine=\"0\",sleep_state=\"awake\"} 0.0\n",
        "vllm:engine_sleep_state{engine=\"0\",sleep_state=\"discard_all\"} 1.0\n",
        "vllm:engine_sleep_state{engine=\"1\",sleep_state=\"awake\"} 1.0\n",
        "vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=\"0.5\"} 1.0\n",
        "vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=\"+Inf\"} 2.0\n",
        "vllm:time_to_first_token_seconds_sum{engine=\"0\"} 1.5\n",
        "vllm:time_to_first_token_seconds_bucket{engine=\"1\",le=\"0.5\"} 10.0\n",
        "vllm:time_to_first_token_seconds_bucket{engine=\"1\",le=\"+Inf\"} 20.0\n",
        "vllm:time_to_first_token_seconds_sum{engine=\"1\"} 2.5\n",
        "vllm:num_requests_waiting{engine=\"0\"} NaN\n",
    );
    let sample = read(page).expect("vLLM's");
    assert_eq!(sample.running, Some(7.0));
    assert_eq!(sample.kv, Some(0.4));
    assert_eq!(sample.waiting, None);
    assert_eq!(sample.asleep, Some(false));
    assert_eq!(
        sample.ttft,
        Histogram {
            bounds: vec![0.5, f64::INFINITY],
            counts: vec![11.0, 22.0],
            sum: 4.0
        }
    );
}

#[test]
fn somebody_elses_page() {
    assert_eq!(read("process_cpu_seconds_total 3\nup 1\n"), None);
    assert_eq!(read(""), None);
}

//! One fleet with something of everything, standing still at a fixed time.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::fleet::backend::{Capacity, Hosted, LogLine, Pin, Price, SelfHosted, SleepWay};
use crate::fleet::engine::{EngineSample, Histogram};
use crate::fleet::gpu::Gpu;
use crate::fleet::history::Point;
use crate::fleet::ledger::{Ledger, Minute};
use crate::fleet::live::Live;
use crate::fleet::message::{Actor, AuditEntry};
use crate::fleet::model::{ColdPolicy, DataPath, Eval, MAX_WAITING};
use crate::fleet::request::{Operation, RequestRecord, Route, Usage};
use crate::fleet::wake::{Drain, Failure, StageSpan, Wake, WakeRecord};
use crate::fleet::{
    Backend, BackendId, Finding, Fleet, Kind, Model, ModelId, Severity, Stage, State, Usd,
};

/// The fleet time of every fixture.
pub(in crate::tui) fn now() -> DateTime<Utc> {
    "2026-11-20T22:56:30Z".parse().unwrap()
}

fn ago(seconds: i64) -> DateTime<Utc> {
    now() - TimeDelta::seconds(seconds)
}

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn stages() -> Vec<(Stage, i64)> {
    vec![
        (Stage::Node, 108),
        (Stage::Image, 41),
        (Stage::Start, 27),
        (Stage::Load, 150),
        (Stage::Compile, 32),
        (Stage::Capture, 18),
        (Stage::Health, 6),
    ]
}

fn past_wake(ended_ago: i64, stretch: i64) -> Arc<WakeRecord> {
    let stages: Vec<_> = stages()
        .into_iter()
        .map(|(stage, s)| (stage, TimeDelta::seconds(s * stretch / 10)))
        .collect();
    let took: TimeDelta = stages.iter().map(|(_, t)| *t).sum();
    Arc::new(WakeRecord {
        since: ago(ended_ago) - took,
        ended: ago(ended_ago),
        by: "request".into(),
        stages,
        hot: None,
        failure: None,
    })
}

fn ledger(
    rate: Option<&str>,
    tokens_out: u64,
    awake_s: i64,
    busy_s: i64,
    token_cost: &str,
) -> Ledger {
    let mut ledger = Ledger {
        until: Some(now()),
        tokens: usd(token_cost),
        requests: tokens_out / 320,
        tokens_in: tokens_out * 2,
        tokens_out,
        ..Ledger::default()
    };
    if let Some(rate) = rate {
        ledger.awake.add(usd(rate), 1, TimeDelta::seconds(awake_s));
        ledger
            .idle
            .add(usd(rate), 1, TimeDelta::seconds(awake_s - busy_s));
    }
    ledger.awake_ms = awake_s as u64 * 1000;
    ledger.busy_ms = busy_s as u64 * 1000;
    ledger.minutes = Arc::new(
        (0..90_i64)
            .rev()
            .map(|m| Minute {
                start: ago(30 + m * 60),
                rate: rate.map(usd),
                awake_ms: if awake_s > 0 { 60_000 } else { 0 },
                busy_ms: 30_000 + (m as u64 * 397) % 30_000,
                tokens_out: tokens_out / 90,
                cost: rate
                    .filter(|_| awake_s > 0)
                    .map_or(usd(token_cost).split(90).unwrap(), |r| {
                        usd(r).split(60).unwrap()
                    }),
                ..Minute::default()
            })
            .collect(),
    );
    ledger
}

fn histogram(p50: f64) -> Histogram {
    let bounds = vec![0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, f64::INFINITY];
    let counts = bounds
        .iter()
        .map(|b| 1000.0 * (1.0 - (-0.7 * b / p50).exp()))
        .collect();
    Histogram {
        bounds,
        counts,
        sum: 1000.0 * p50 * 1.2,
    }
}

struct Figures(f64, u32, u32, f64, f64, f64, Option<(f64, f64)>);

fn live(f: &Figures, share: f64) -> Live {
    let Figures(rate, running, waiting, p50, p95, tokens, gpu_kv) = *f;
    Live {
        read_at: Some(ago(1)),
        active_at: Some(ago(2)),
        requests_per_s: Some(rate),
        running: Some(running),
        waiting: Some(waiting),
        in_flight: running,
        ttft_p50: Some(p50),
        ttft_p95: Some(p95),
        tokens_per_s: Some(tokens),
        kv: gpu_kv.map(|(_, kv)| kv),
        gpu: gpu_kv.map(|(gpu, _)| gpu),
        gpu_history: Arc::new(gpu_kv.map_or_else(VecDeque::new, |(gpu, _)| {
            (0..60)
                .map(|i| (gpu * 100.0 + f64::from(i * 7 % 23) - 11.0).clamp(0.0, 100.0) as u8)
                .collect()
        })),
        share: Some(share),
        best_tokens_per_s: Some(tokens * 1.3),
        ..Live::default()
    }
}

fn backend(model: &str, id: &str, kind: Kind, state: State, weight: u32) -> Backend {
    Backend {
        id: id.into(),
        model: model.into(),
        kind,
        state,
        max_running: None,
        weight,
        pin: None,
        scheduled: None,
        drained: None,
        live: Live::default(),
        sample: None,
        gpus: Arc::new([]),
        ledger: Ledger::default(),
        wakes: VecDeque::new(),
        log: VecDeque::new(),
        place: None,
        doing: None,
        progress: None,
    }
}

fn own(rate: &str, hardware: &str, capacity: Capacity) -> Kind {
    Kind::SelfHosted(SelfHosted {
        rate: Some(usd(rate)),
        capacity,
        replicas: 1,
        sleep: SleepWay::Release,
        startable: true,
        idle_after: Some(TimeDelta::minutes(10)),
        schedule: None,
        budget: TimeDelta::minutes(8),
        cap: TimeDelta::minutes(10),
        grace: TimeDelta::seconds(120),
        group: None,
        hardware: hardware.into(),
        expected: stages()
            .into_iter()
            .map(|(stage, s)| (stage, TimeDelta::seconds(s)))
            .collect(),
        ceiling: Some(2000.0),
    })
}

fn hosted(provider: &str, input: &str, output: &str) -> Kind {
    Kind::Hosted(Hosted {
        provider: provider.into(),
        price: Some(Price {
            input: usd(input),
            cached: usd(input),
            output: usd(output),
        }),
    })
}

fn gpus(n: u32, util: f64) -> Arc<[Gpu]> {
    (0..n)
        .map(|index| Gpu {
            index,
            host: "gpu-node-1".into(),
            model: "NVIDIA A100-SXM4-80GB".into(),
            util: Some(util + f64::from(index)),
            dram_active: Some(0.61),
            memory_used: Some(72_300.0),
            memory_free: Some(8_700.0),
            power: Some(310.0 + f64::from(index) * 4.0),
            temperature: Some(61.0 + f64::from(index)),
            xid: Some(0.0),
            power_limit: None,
            holders: Vec::new(),
        })
        .collect()
}

/// The waking backend's state: in `load` at 61 %, 6:48 after it was asked for.
pub(in crate::tui) fn waking() -> State {
    let mut at = ago(408);
    let mut spans = Vec::new();
    for (stage, seconds) in [(Stage::Node, 108), (Stage::Image, 41), (Stage::Start, 27)] {
        let ended = at + TimeDelta::seconds(seconds);
        spans.push(StageSpan {
            stage,
            began: at,
            ended: Some(ended),
            percent: None,
        });
        at = ended;
    }
    spans.push(StageSpan {
        stage: Stage::Load,
        began: at,
        ended: None,
        percent: Some(61.0),
    });
    State::Waking(Wake {
        begun: true,
        hot: None,
        since: ago(408),
        by: "request".into(),
        stages: spans,
        late: false,
    })
}

/// The fleet of the sketches: one of every state.
#[expect(clippy::too_many_lines, reason = "a whole fleet, written out")]
pub(in crate::tui) fn fleet() -> Fleet {
    let mut ondemand = backend(
        "llama-3.3-70b",
        "a100-ondemand",
        own("23.00", "4×A100-80GB", Capacity::OnDemand),
        State::Warm { since: ago(8040) },
        65,
    );
    ondemand.pin = Some(Pin {
        until: Some("2026-11-21T18:00:00Z".parse().unwrap()),
        exactly: None,
        reason: "launch week".into(),
        by: "olga".into(),
    });
    ondemand.live = live(
        &Figures(4.0, 11, 0, 0.182, 0.410, 1412.0, Some((0.78, 0.41))),
        0.64,
    );
    ondemand.gpus = gpus(4, 76.0);
    ondemand.sample = Some(Arc::new(EngineSample {
        running: Some(11.0),
        waiting: Some(0.0),
        kv: Some(0.41),
        prompt_tokens: Some(9_812_004.0),
        generation_tokens: Some(4_301_222.0),
        finished: Some(13_441.0),
        preemptions: Some(3.0),
        prefix_queries: Some(9_812_004.0),
        prefix_hits: Some(2_210_000.0),
        asleep: Some(false),
        discarded: Some(false),
        ttft: histogram(0.182),
        inter_token: histogram(0.06),
        e2e: histogram(1.9),
        queue: histogram(0.05),
        config: vec![
            ("block_size".into(), "16".into()),
            ("num_gpu_blocks".into(), "27411".into()),
            ("cache_dtype".into(), "auto".into()),
        ],
    }));
    ondemand.ledger = ledger(Some("23.00"), 4_301_222, 8040, 6900, "0");
    ondemand.wakes.push_back(past_wake(8040, 10));

    let mut spot = backend(
        "llama-3.3-70b",
        "a100-spot",
        own("8.50", "4×A100-80GB", Capacity::Spot),
        State::Asleep { since: ago(2220) },
        0,
    );
    spot.ledger = ledger(Some("8.50"), 210_000, 0, 0, "0");
    spot.wakes.extend([
        past_wake(90_000, 9),
        past_wake(40_000, 11),
        past_wake(8000, 12),
    ]);

    let mut mini = backend(
        "llama-3.3-70b",
        "aoai-4o-mini",
        hosted("Azure OpenAI", "0.15", "0.60"),
        State::Ready { since: ago(9000) },
        35,
    );
    mini.live = live(&Figures(2.1, 3, 0, 0.320, 0.760, 264.0, None), 0.36);
    mini.ledger = ledger(None, 950_000, 0, 0, "0.855");

    let mut h100_a = backend(
        "qwen3-coder",
        "h100-a",
        own("7.84", "1×H100", Capacity::OnDemand),
        State::Warm { since: ago(21_720) },
        80,
    );
    h100_a.live = live(
        &Figures(2.2, 19, 2, 0.240, 0.980, 2904.0, Some((0.96, 0.88))),
        0.91,
    );
    h100_a.gpus = gpus(1, 96.0);
    h100_a.ledger = ledger(Some("7.84"), 9_800_000, 9000, 8600, "0");

    let mut h100_b = backend(
        "qwen3-coder",
        "h100-b",
        own("7.84", "1×H100", Capacity::OnDemand),
        waking(),
        20,
    );
    h100_b.live = Live {
        held: 3,
        read_at: Some(ago(2)),
        ..Live::default()
    };
    h100_b.ledger = ledger(Some("7.84"), 0, 408, 0, "0");
    h100_b.wakes.extend([
        past_wake(200_000, 9),
        past_wake(100_000, 10),
        past_wake(50_000, 14),
    ]);
    for (at, text) in [
        (
            400,
            "Scheduled: Successfully assigned llm/h100-b-0 to gpu-node-3",
        ),
        (290, "Pulling: Pulling image \"vllm/vllm-openai:v0.32.0\""),
        (
            240,
            "(APIServer pid=1) INFO 11-20 22:52:11 [api_utils.py:286] non-default args: {'model': 'Qwen/Qwen3-Coder'}",
        ),
        (
            230,
            "(Worker pid=88) INFO 11-20 22:52:40 [weight_utils.py:1131] Auto-prefetch is disabled because the filesystem (EXT4) is not a recognized network FS",
        ),
        (
            60,
            "Loading safetensors checkpoint shards:  57% Completed | 16/28 [03:37<02:43, 13.6s/it]",
        ),
        (
            41,
            "Loading safetensors checkpoint shards:  61% Completed | 17/28 [03:51<02:29, 13.6s/it]",
        ),
    ] {
        h100_b.push_log(LogLine {
            at: ago(at),
            text: text.into(),
        });
    }

    let mut gpt = backend(
        "qwen3-coder",
        "aoai-gpt-4.1",
        hosted("Azure OpenAI", "2.00", "8.00"),
        State::Limited {
            since: ago(9),
            until: now() + TimeDelta::seconds(21),
        },
        0,
    );
    gpt.live = live(&Figures(0.2, 1, 0, 0.610, 1.4, 41.0, None), 0.09);
    gpt.ledger = ledger(None, 55_000, 0, 0, "0.66");

    let mut t4_a = backend(
        "phi-4",
        "t4-a",
        own("0.53", "1×T4", Capacity::OnDemand),
        State::Warm { since: ago(660) },
        100,
    );
    t4_a.live = live(
        &Figures(0.9, 2, 0, 0.095, 0.140, 318.0, Some((0.23, 0.12))),
        1.0,
    );
    t4_a.live.active_at = Some(ago(108));
    t4_a.ledger = ledger(Some("0.53"), 1_150_000, 3600, 900, "0");

    let mut t4_b = backend(
        "bge-m3",
        "t4-b",
        own("0.53", "1×T4", Capacity::OnDemand),
        State::Draining(Drain {
            since: ago(34),
            by: "olga".into(),
            deadline: now() + TimeDelta::seconds(86),
            idle_reads: 0,
            stopping: false,
            was_warm: true,
        }),
        0,
    );
    t4_b.live = live(
        &Figures(0.0, 4, 0, 0.041, 0.060, 88.0, Some((0.09, 0.03))),
        0.0,
    );
    t4_b.ledger = ledger(Some("0.53"), 4_800_000, 3600, 1800, "0");

    let mut t4_c = backend(
        "bge-m3",
        "t4-c",
        own("0.53", "1×T4", Capacity::Spot),
        State::Failed(Failure { since: ago(130), reason: "CUDA out of memory while loading; lower --gpu-memory-utilization or use a larger GPU".into(), stage: Some(Stage::Load), allocated: false }),
        100,
    );
    t4_c.ledger = ledger(Some("0.53"), 0, 200, 0, "0");

    let backends: Vec<Arc<Backend>> = [ondemand, spot, mini, h100_a, h100_b, gpt, t4_a, t4_b, t4_c]
        .map(Arc::new)
        .into();
    let models = ["llama-3.3-70b", "qwen3-coder", "phi-4", "bge-m3"]
        .map(|name| {
            let id = ModelId::from(name);
            let own: Vec<BackendId> = backends
                .iter()
                .filter(|b| b.model == id)
                .map(|b| b.id.clone())
                .collect();
            let evals = own
                .iter()
                .enumerate()
                .filter(|_| name != "bge-m3")
                .map(|(i, b)| Eval {
                    backend: b.clone(),
                    name: "code".into(),
                    score: 74.0 - i as f64 * 1.5,
                    date: "2026-10-30".parse().unwrap(),
                })
                .collect();
            Arc::new(Model {
                id,
                backends: own,
                cold: ColdPolicy::Wait,
                data_path: DataPath::Any,
                rules: Vec::new(),
                max_waiting: MAX_WAITING,
                choose_backend: true,
                evals,
                routes: Vec::new(),
            })
        })
        .into();
    Fleet {
        name: "demo".into(),
        speed: 12,
        started: ago(9000),
        now: now(),
        gateway: Some("http://127.0.0.1:4000/v1".into()),
        fixed_per_month: usd("1700"),
        models,
        requests: requests(),
        answered: 24_120,
        failed: 3,
        audit: audit(),
        findings: vec![
            Finding {
                severity: Severity::Critical,
                backend: Some("h100-b".into()),
                what: "stalled 41 s in load; the last 3 took 24 s. 6:48 of 8:00 used, 3 requests held".into(),
                keys: vec![('\n', "look".into())],
            },
            Finding {
                severity: Severity::Critical,
                backend: Some("t4-c".into()),
                what: "failed in load: CUDA out of memory; lower --gpu-memory-utilization or use a larger GPU".into(),
                keys: vec![('w', "wake again".into())],
            },
            Finding { severity: Severity::Warning, backend: Some("aoai-gpt-4.1".into()), what: "limited (429) for another 21 s".into(), keys: vec![('r', "routing".into())] },
        ],
        history: Arc::new(history(&backends)),
        backends,
        undo: VecDeque::new(),
        not_recorded: None,
        config_refused: None,
        machine: None,
        clusters: Vec::new(),
        namespace: None,
        past: Arc::default(),
        dropped: 0,
    }
}

/// A fleet in which nothing has been configured.
pub(in crate::tui) fn empty() -> Fleet {
    Fleet {
        models: vec![],
        backends: vec![],
        requests: VecDeque::new(),
        audit: VecDeque::new(),
        findings: vec![],
        history: Arc::default(),
        ..fleet()
    }
}

fn history(backends: &[Arc<Backend>]) -> VecDeque<Arc<Point>> {
    (0..120_i32)
        .map(|i| {
            let wave = (f64::from(i) / 14.0).sin() * 30.0 + 70.0;
            Arc::new(Point {
                start: ago(i64::from(119 - i) * 15),
                to_self: wave as u32,
                to_hosted: (wave * 0.45) as u32 + (i % 7) as u32,
                held: if (60..72).contains(&i) { 6 } else { 0 },
                errors: 0,
                burn: backends
                    .iter()
                    .filter_map(|b| {
                        b.rate_now()
                            .filter(|r| *r > Usd::ZERO)
                            .map(|r| (b.id.clone(), r.as_f64()))
                    })
                    .collect(),
            })
        })
        .collect()
}

fn requests() -> VecDeque<Arc<RequestRecord>> {
    let rows = [
        (
            "llama-3.3-70b",
            Some("a100-ondemand"),
            Route::Weight,
            200,
            true,
            Some(181),
            4_210,
            Some((812, 407)),
            "0",
        ),
        (
            "llama-3.3-70b",
            Some("aoai-4o-mini"),
            Route::Weight,
            200,
            false,
            Some(322),
            2_900,
            Some((640, 390)),
            "0.00033",
        ),
        (
            "qwen3-coder",
            Some("h100-a"),
            Route::Weight,
            200,
            true,
            Some(260),
            9_800,
            Some((3_204, 811)),
            "0",
        ),
        (
            "qwen3-coder",
            Some("aoai-gpt-4.1"),
            Route::Fallback,
            429,
            false,
            None,
            45,
            None,
            "0",
        ),
        (
            "phi-4",
            Some("t4-a"),
            Route::Only,
            200,
            false,
            Some(96),
            800,
            Some((120, 64)),
            "0",
        ),
        (
            "qwen3-coder",
            Some("h100-a"),
            Route::Header,
            499,
            true,
            Some(241),
            3_000,
            Some((900, 120)),
            "0",
        ),
        ("nope", None, Route::None, 404, false, None, 1, None, "0"),
    ];
    (0..60_i64)
        .rev()
        .map(|i| {
            let (model, backend, route, status, streamed, ttft, took, usage, cost) =
                rows[(i as usize * 5) % rows.len()];
            Arc::new(RequestRecord {
                id: format!("req-{:04x}", 4096 + i),
                at: ago(i * 3),
                model: model.into(),
                operation: Operation::Chat,
                key: None,
                backend: backend.map(Into::into),
                route,
                status,
                streamed,
                ttft: ttft.map(TimeDelta::milliseconds),
                took: TimeDelta::milliseconds(took),
                held: (i == 11).then(|| TimeDelta::seconds(213)),
                usage: usage.map(|(input, output)| Usage {
                    input,
                    cached: 0,
                    output,
                    reasoning: 0,
                }),
                partial: status == 499,
                cost: Some(usd(cost)),
                error: (status == 429).then(|| "rate limited by the provider".to_owned()),
            })
        })
        .collect()
}

fn audit() -> VecDeque<Arc<AuditEntry>> {
    let entry = |seconds: i64, by: Actor, verb: &str, target: &str, result: &str, bad: bool| {
        Arc::new(AuditEntry {
            at: ago(seconds),
            by,
            verb: verb.into(),
            target: target.into(),
            result: result.into(),
            bad,
        })
    };
    VecDeque::from([
        entry(
            8040,
            Actor::Operator("olga".into()),
            "pin",
            "llama-3.3-70b/a100-ondemand",
            "pinned to 18:00: launch week",
            false,
        ),
        entry(
            2220,
            Actor::Policy("idle timer".into()),
            "sleep",
            "llama-3.3-70b/a100-spot",
            "asleep after 10m idle; saves $8.50/h",
            false,
        ),
        entry(
            408,
            Actor::Request,
            "wake",
            "qwen3-coder/h100-b",
            "waking",
            false,
        ),
        entry(
            130,
            Actor::Policy("engine".into()),
            "failed",
            "bge-m3/t4-c",
            "failed in load: CUDA out of memory",
            true,
        ),
        entry(
            60,
            Actor::Operator("olga".into()),
            "weights",
            "llama-3.3-70b",
            "a100-ondemand 65, a100-spot 0, aoai-4o-mini 35",
            false,
        ),
        entry(
            34,
            Actor::Operator("olga".into()),
            "drain",
            "bge-m3/t4-b",
            "draining; 4 requests left",
            false,
        ),
    ])
}

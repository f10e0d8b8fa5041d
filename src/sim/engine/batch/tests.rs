use proptest::prelude::*;

use super::super::spec::Shape;
use super::{Batch, Event, Full, Seq};

fn shape() -> Shape {
    Shape {
        single: 40.0,
        ceiling: 900.0,
        prefill: 5000.0,
        first: 0.0,
        kv_tokens: 20_000,
        max_seqs: 32,
        max_queued: Some(8),
    }
}

fn seq(id: u64, prompt: u32, target: u32, now: f64) -> Seq {
    Seq::new(id, prompt, 0, target, 4, now)
}

fn finished(events: &[Event]) -> Vec<u64> {
    events
        .iter()
        .filter(|e| e.seq.told == e.seq.target)
        .map(|e| e.seq.id)
        .collect()
}

#[test]
fn a_lone_request_takes_its_prefill_and_its_tokens() {
    let mut batch = Batch::new(shape(), 0.0);
    batch.submit(seq(1, 500, 101, 0.0)).unwrap();
    let events = batch.advance(60.0);
    assert!((events[0].seq.first - 0.1).abs() < 1e-6, "prefill");
    let end = events.last().unwrap();
    let alone = shape().total(1);
    assert!((end.at - 0.1 - 100.0 / alone).abs() < 1e-6, "decode");
    assert_eq!(events.len(), 5, "a first token and four tellings");
    assert!(batch.is_idle() && batch.next().is_none());
}

#[test]
fn requests_wait_when_the_cache_is_full() {
    let mut batch = Batch::new(shape(), 0.0);
    batch.submit(seq(1, 15_000, 100, 0.0)).unwrap();
    batch.submit(seq(2, 15_000, 100, 0.0)).unwrap();
    assert_eq!((batch.running(), batch.waiting()), (1, 1));
    let events = batch.advance(120.0);
    assert_eq!(finished(&events), [1, 2]);
    let second = events.iter().find(|e| e.seq.id == 2).unwrap();
    assert!(second.seq.admitted > 0.0);
}

#[test]
fn a_full_queue_refuses() {
    let mut batch = Batch::new(shape(), 0.0);
    for id in 0..40 {
        batch.submit(seq(id, 10, 400, 0.0)).unwrap();
    }
    assert_eq!(batch.submit(seq(99, 10, 400, 0.0)), Err(Full));
    assert_eq!((batch.running(), batch.waiting()), (32, 8));
}

#[test]
fn a_cancelled_request_makes_room() {
    let mut batch = Batch::new(shape(), 0.0);
    batch.submit(seq(1, 19_000, 100, 0.0)).unwrap();
    batch.submit(seq(2, 19_000, 100, 0.0)).unwrap();
    assert!(batch.cancel(1).is_some());
    assert_eq!((batch.running(), batch.waiting()), (1, 0));
    assert_eq!(finished(&batch.advance(60.0)), [2]);
}

proptest! {
    #[test]
    fn throughput_grows_with_the_batch_and_stays_below_the_ceiling(
        single in 5.0..200.0_f64,
        times in 2.0..60.0_f64,
        batch in 1_usize..300,
    ) {
        let shape = Shape { single, ceiling: single * times, ..shape() };
        prop_assert!(shape.total(batch) <= shape.total(batch + 1));
        prop_assert!(shape.total(batch) <= shape.ceiling);
        prop_assert!(shape.total(batch) <= single * batch as f64 + 1e-9);
        let (one, more) = (shape.total(batch) / batch as f64, shape.total(batch + 1) / (batch + 1) as f64);
        prop_assert!(more <= one + 1e-9, "nobody gets faster in a larger batch");
    }

    #[test]
    fn every_request_finishes_once_whatever_the_steps(
        asked in prop::collection::vec((1_u32..3000, 1_u32..300, 0.0..20.0_f64), 1..30),
        step in 0.01..7.0_f64,
    ) {
        let mut asked = asked;
        asked.sort_by(|a, b| a.2.total_cmp(&b.2));
        let roomy = Shape { max_queued: None, ..shape() };
        let (mut batch, mut events) = (Batch::new(roomy, 0.0), Vec::new());
        for (id, (prompt, target, at)) in asked.iter().enumerate() {
            events.extend(batch.advance(*at));
            batch.submit(seq(id as u64, *prompt, *target, *at)).unwrap();
        }
        let mut now = 20.0;
        while !batch.is_idle() {
            prop_assert!(batch.kv_usage() <= 1.0);
            now += step;
            prop_assert!(now < 5000.0, "it ends");
            events.extend(batch.advance(now));
        }
        let mut ends = finished(&events);
        ends.sort_unstable();
        prop_assert_eq!(ends, (0..asked.len() as u64).collect::<Vec<_>>());
        let told: u64 = events.iter().map(|e| u64::from(e.seq.told - e.from)).sum();
        prop_assert_eq!(told, asked.iter().map(|a| u64::from(a.1)).sum::<u64>());
        prop_assert!(events.windows(2).all(|w| w[0].at <= w[1].at));
    }

    #[test]
    fn steps_do_not_change_what_happens(
        asked in prop::collection::vec((1_u32..3000, 2_u32..300), 1..12),
        step in 0.05..3.0_f64,
    ) {
        let run = |step: f64| {
            let mut batch = Batch::new(Shape { max_queued: None, ..shape() }, 0.0);
            for (id, (prompt, target)) in asked.iter().enumerate() {
                batch.submit(seq(id as u64, *prompt, *target, 0.0)).unwrap();
            }
            let (mut now, mut events) = (0.0, Vec::new());
            while !batch.is_idle() {
                now += step;
                events.extend(batch.advance(now));
            }
            events
        };
        let (fine, coarse) = (run(step), run(1000.0));
        prop_assert_eq!(fine.len(), coarse.len());
        for (a, b) in fine.iter().zip(&coarse) {
            prop_assert!((a.at - b.at).abs() < 1e-3);
        }
    }
}

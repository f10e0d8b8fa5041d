//! Engines are read through the API's own way to pods, and a drain goes by what they say.

use fleetctl::fleet::{BackendId, Command};

use super::bench::Bench;
use super::world::{Manners, is_settled, live};
use super::yard::put;

#[tokio::test]
async fn a_drain_goes_by_the_pages_of_the_pods() {
    let bench = Bench::start().await;
    for line in [
        "node gpu-0",
        "deployment chat 1",
        "service chat",
        "hosted azure",
        "route chat chat=90 Backend:azure=10",
    ] {
        put(&bench.fake, line);
    }
    let _world = live(&bench.fake, &bench.engines, Manners::default());
    bench.until("pods that are ready", is_settled).await;
    bench.engines.set("llm/chat", |it| it.running = 2.0);
    let open = bench.reached().reading().open(3).await;
    open.sees("llm/chat", "says what runs on it", |b| {
        b.live.running == Some(2) && b.place.as_ref().is_some_and(|it| it.read_by.is_some())
    })
    .await;
    bench.engines.set("llm/chat", |it| it.arriving = 250.0);
    open.sees("llm/chat", "has its tokens counted", |b| {
        b.ledger.tokens_in >= 250 && b.ledger.tokens_in % 250 == 0
    })
    .await;
    bench.engines.set("llm/chat", |it| it.arriving = 0.0);
    let backend = BackendId::from("llm/chat");
    open.ask(Command::Drain { backend }).await.unwrap();
    let waits = "wait for two idle readings of every pod";
    open.sees("llm/chat", waits, |b| b.doing.as_deref() == Some(waits))
        .await;
    bench.engines.set("llm/chat", |it| it.running = 0.0);
    assert_eq!(open.ended("drain", 1).await, "done on fake");
    // Nothing but pages was asked of pods: no path that could wake an engine.
    let calls = bench.fake.calls();
    let of_pods = calls.iter().filter(|it| it.resource.contains("proxy"));
    let paths: std::collections::BTreeSet<&str> = of_pods
        .filter_map(|it| it.path.rsplit_once("/proxy").map(|(_, path)| path))
        .collect();
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["/metrics"]);
}

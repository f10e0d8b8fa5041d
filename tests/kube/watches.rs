//! What is seen stays true: whatever the API server and the way to it do.

use std::time::Duration;

use fleetctl::fleet::Fleet;
use fleetctl::fleet::cluster::{Part, PartState, SERVER};
use fleetctl::source::kube::Settings;
use serde_json::json;

use super::bench::{Bench, Open};
use super::yard::{self, put};
use crate::fake_kube::{Call, FakeKube, fixtures, on, watching};

/// How a kind stands.
fn part(fleet: &Fleet, resource: &str) -> PartState {
    let parts = &fleet.clusters[0].parts;
    let found = parts.iter().find(|it| it.resource == resource);
    found.map_or(PartState::Loading, |it| it.state.clone())
}

fn names(fleet: &Fleet) -> Vec<String> {
    let mut all: Vec<String> = fleet.backends.iter().map(|b| b.id.to_string()).collect();
    all.sort();
    all
}

/// Waits until these are all the backends there are.
async fn sees_only(open: &Open, wanted: &[&str]) {
    open.see(&format!("{wanted:?} and nothing else"), |fleet| {
        names(fleet) == wanted
    })
    .await;
}

async fn followed(bench: &Bench, resource: &str) {
    bench
        .until("a watch", |fake| fake.open_watches(resource) > 0)
        .await;
}

/// A cluster with one model, and a fleet that follows it.
async fn followed_cluster() -> (Bench, Open) {
    let bench = Bench::start().await;
    put(&bench.fake, "deployment chat 0");
    let open = bench.fleet().await;
    sees_only(&open, &["llm/chat"]).await;
    followed(&bench, "deployments").await;
    (bench, open)
}

#[tokio::test]
async fn a_long_list_comes_in_pages_and_is_whole() {
    let bench = Bench::start().await;
    fixtures::large(&bench.fake, 520, 600);
    let open = bench.fleet().await;
    let fleet = open.now();
    assert_eq!(fleet.backends.len(), 520);
    let pods: u32 = fleet
        .backends
        .iter()
        .map(|b| b.place.as_ref().unwrap().pods)
        .sum();
    assert_eq!(pods, 600);
    assert_eq!(bench.fake.count_lists("deployments"), 1);
    let more = |it: &Call| it.resource == "deployments" && !it.param("continue").is_empty();
    assert!(bench.fake.calls().iter().any(more), "it came on one page");
}

#[tokio::test]
async fn a_list_whose_pages_grow_too_old_on_the_way_is_asked_for_in_one() {
    let bench = Bench::start().await;
    fixtures::large(&bench.fake, 520, 0);
    let page = |it: &Call| it.resource == "deployments" && it.verb == "list";
    let next = move |it: &Call| page(it) && !it.param("continue").is_empty();
    bench.fake.fail_next(next, 410, None);
    let open = bench.fleet().await;
    assert_eq!(open.now().backends.len(), 520);
    let calls = bench.fake.calls();
    let asked: Vec<(bool, bool)> = calls
        .iter()
        .filter(|it| page(it))
        .map(|it| (!it.param("limit").is_empty(), next(it)))
        .collect();
    // A page, the next one which is too old, and all of it.
    assert_eq!(asked, [(true, false), (true, true), (false, false)]);
}

#[tokio::test]
async fn rules_that_cannot_be_listed_are_asked_for_one_by_one() {
    let bench = Bench::start().await;
    put(&bench.fake, "deployment chat 0");
    bench.fake.rules_incomplete(true);
    bench
        .fake
        .deny("update", "apps", "deployments/scale", Some("llm"));
    let open = bench.fleet().await;
    let known = |fleet: &Fleet| !fleet.clusters[0].permits.is_empty();
    let fleet = open.see("what may be done", known).await;
    let may = |verb: &str, resource: &str| {
        let permits = fleet.clusters[0].permits.iter();
        let mut of = permits.filter(|it| *it.verb == *verb && *it.resource == *resource);
        of.next().map(|it| (it.allowed, it.why.to_string()))
    };
    let never = Some((false, " (no RBAC policy matched)".to_owned()));
    assert_eq!(may("update", "deployments.apps/scale"), never);
    assert!(may("patch", "deployments.apps").is_some_and(|(allowed, _)| allowed));
    assert!(may("update", "statefulsets.apps/scale").is_some_and(|(allowed, _)| allowed));
}

#[tokio::test]
async fn an_idle_fleet_lists_once_and_no_more() {
    let (bench, open) = followed_cluster().await;
    for turn in 0..5 {
        bench.fake.end_watches();
        let opened = turn + 2;
        bench
            .until("the watch again", |fake| {
                fake.count_watches("deployments") >= opened
            })
            .await;
        put(&bench.fake, &format!("deployment chat-{turn} 0"));
        let name = format!("llm/chat-{turn}");
        open.see(&name, |fleet| names(fleet).contains(&name)).await;
    }
    for resource in [
        "deployments",
        "pods",
        "nodes",
        "httproutes",
        "scaledobjects",
        "events.events.k8s.io",
    ] {
        assert_eq!(bench.fake.count_lists(resource), 1, "{resource}");
    }
}

#[tokio::test]
async fn a_watch_that_is_too_old_is_listed_anew() {
    for as_http in [false, true] {
        let (bench, open) = followed_cluster().await;
        bench.fake.gone_as_http(as_http);
        bench.fake.stop().await;
        put(&bench.fake, "deployment next 0");
        bench.fake.delete("deployments/llm/chat");
        bench.fake.expire_everything();
        bench.fake.restart().await;
        // What is new is there once, and what is gone is gone.
        sees_only(&open, &["llm/next"]).await;
        assert!(
            bench.fake.count_lists("deployments") >= 2,
            "as HTTP: {as_http}"
        );
        open.see("deployments are followed", |fleet| {
            part(fleet, "deployments.apps") == PartState::Followed
        })
        .await;
    }
}

#[tokio::test]
async fn a_watch_that_breaks_goes_on_where_it_was() {
    let (bench, open) = followed_cluster().await;
    bench.fake.drop_watches();
    put(&bench.fake, "deployment next 0");
    sees_only(&open, &["llm/chat", "llm/next"]).await;
    bench.fake.delete("deployments/llm/chat");
    sees_only(&open, &["llm/next"]).await;
    assert_eq!(bench.fake.count_lists("deployments"), 1);
}

#[tokio::test]
async fn a_watch_that_says_nothing_is_taken_to_be_dead() {
    let (bench, open) = followed_cluster().await;
    bench.fake.silence_watches(true);
    put(&bench.fake, "deployment next 0");
    let before = bench.fake.count_watches("deployments");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(91)).await;
    tokio::time::resume();
    let said = open
        .see("that it is stale", |fleet| {
            matches!(part(fleet, "deployments.apps"), PartState::Stale { .. })
        })
        .await;
    let PartState::Stale { why, .. } = part(&said, "deployments.apps") else {
        unreachable!()
    };
    assert_eq!(why, "its watch has said nothing for 90 s");
    bench.fake.silence_watches(false);
    sees_only(&open, &["llm/chat", "llm/next"]).await;
    assert!(bench.fake.count_watches("deployments") > before);
    assert_eq!(bench.fake.count_lists("deployments"), 1);
}

#[tokio::test]
async fn an_api_server_that_is_gone_is_said_and_comes_back() {
    let (bench, open) = followed_cluster().await;
    let before = chrono::Utc::now();
    bench.fake.stop().await;
    let fleet = open
        .see("that it is stale", |fleet| {
            matches!(part(fleet, "deployments.apps"), PartState::Stale { .. })
        })
        .await;
    let PartState::Stale { since, why } = part(&fleet, "deployments.apps") else {
        unreachable!()
    };
    assert!(!why.is_empty());
    assert!(since <= chrono::Utc::now() && since > before - chrono::TimeDelta::minutes(1));
    // What was known stays on the screen.
    assert_eq!(names(&fleet), ["llm/chat"]);
    put(&bench.fake, "deployment next 0");
    bench.fake.restart().await;
    sees_only(&open, &["llm/chat", "llm/next"]).await;
    open.see("that all is followed", |fleet| {
        let mut parts = fleet.clusters[0].parts.iter();
        parts.all(|it| matches!(it.state, PartState::Followed | PartState::Absent))
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_is_not_there_at_first_is_waited_for() {
    let bench = Bench::start().await;
    put(&bench.fake, "deployment chat 0");
    bench.fake.stop().await;
    let open = bench.open(|_| ()).await;
    let fleet = open
        .see("that it is away", |fleet| {
            matches!(part(fleet, "the API server"), PartState::Stale { .. })
        })
        .await;
    assert!(fleet.backends.is_empty());
    bench.fake.restart().await;
    sees_only(&open, &["llm/chat"]).await;
}

#[tokio::test]
async fn one_that_is_busy_is_asked_again_when_it_says() {
    let bench = Bench::start().await;
    put(&bench.fake, "deployment chat 0");
    bench.fake.fail_next(on("GET", "deployments"), 429, Some(1));
    let begun = std::time::Instant::now();
    let open = bench.open(|_| ()).await;
    sees_only(&open, &["llm/chat"]).await;
    assert!(
        begun.elapsed() >= Duration::from_millis(700),
        "asked again too early"
    );
    assert_eq!(bench.fake.count_lists("deployments"), 2);
}

#[tokio::test]
async fn a_server_error_passes() {
    let (bench, open) = followed_cluster().await;
    let guard = bench.fake.fail_while(watching("deployments"), 500, None);
    bench.fake.end_watches();
    let fleet = open
        .see("that it is stale", |fleet| {
            matches!(part(fleet, "deployments.apps"), PartState::Stale { .. })
        })
        .await;
    let PartState::Stale { why, .. } = part(&fleet, "deployments.apps") else {
        unreachable!()
    };
    assert_eq!(why, "the API server said 500: etcdserver: leader changed");
    drop(guard);
    put(&bench.fake, "deployment next 0");
    sees_only(&open, &["llm/chat", "llm/next"]).await;
    open.see("that it is followed", |fleet| {
        part(fleet, "deployments.apps") == PartState::Followed
    })
    .await;
    assert_eq!(bench.fake.count_lists("deployments"), 1);
}

#[tokio::test]
async fn a_token_that_ran_out_is_read_again() {
    let bench = Bench::start().await;
    bench.fake.require_token(Some("first"));
    bench.write_kubeconfig();
    put(&bench.fake, "deployment chat 0");
    let open = bench.fleet().await;
    bench.fake.require_token(Some("second"));
    bench.fake.end_watches();
    let fleet = open
        .see("that it is a stranger", |fleet| {
            matches!(part(fleet, "deployments.apps"), PartState::Stale { .. })
        })
        .await;
    let PartState::Stale { why, .. } = part(&fleet, "deployments.apps") else {
        unreachable!()
    };
    assert!(
        why.contains("(401)") && why.contains("log in again"),
        "{why}"
    );
    bench.write_kubeconfig();
    put(&bench.fake, "deployment next 0");
    sees_only(&open, &["llm/chat", "llm/next"]).await;
}

#[tokio::test]
async fn what_one_may_not_see_is_said_and_the_rest_works() {
    let bench = Bench::start().await;
    for verb in ["list", "watch", "get"] {
        bench.fake.deny(verb, "*", "nodes", None);
    }
    put(&bench.fake, "deployment chat 0");
    let open = bench.fleet().await;
    sees_only(&open, &["llm/chat"]).await;
    let PartState::Forbidden { why } = part(&open.now(), "nodes") else {
        panic!("{:?}", part(&open.now(), "nodes"));
    };
    assert!(why.contains("cannot list resource \"nodes\""), "{why}");
    assert_eq!(part(&open.now(), "deployments.apps"), PartState::Followed);
}

#[tokio::test]
async fn what_a_cluster_does_not_have_is_absent() {
    let fake = FakeKube::start()
        .await
        .without("keda.sh")
        .without("kaito.sh")
        .without("gateway.networking.k8s.io");
    let bench = Bench::on(fake);
    put(&bench.fake, "deployment chat 0");
    let open = bench.fleet().await;
    sees_only(&open, &["llm/chat"]).await;
    for resource in [
        "scaledobjects.keda.sh",
        "workspaces.kaito.sh",
        "httproutes.gateway.networking.k8s.io",
    ] {
        assert_eq!(part(&open.now(), resource), PartState::Absent, "{resource}");
    }
    let asked = |it: &Call| it.path.contains("keda.sh");
    assert!(
        !bench.fake.calls().iter().any(asked),
        "what is not there was asked for"
    );
}

#[tokio::test]
async fn namespaces_and_labels_bound_what_is_looked_at() {
    let bench = Bench::start().await;
    put(&bench.fake, "deployment chat 0");
    put(&bench.fake, "deployment other 0");
    bench.fake.put(fixtures::vllm_deployment(
        "else",
        "far",
        "Qwen/Qwen3-32B",
        0,
    ));
    bench.fake.put(fixtures::vllm_deployment(
        "third",
        "farther",
        "Qwen/Qwen3-32B",
        0,
    ));
    let open = bench
        .open(|it| it.namespaces = vec!["llm".into(), "else".into()])
        .await;
    sees_only(&open, &["else/far", "llm/chat", "llm/other"]).await;
    let all =
        |it: &Call| it.verb == "list" && it.resource == "deployments" && it.namespace.is_none();
    assert!(
        !bench.fake.calls().iter().any(all),
        "all namespaces were listed"
    );
    let open = bench
        .open(|it| it.selector = Some("app.kubernetes.io/instance in (chat, far)".into()))
        .await;
    sees_only(&open, &["else/far", "llm/chat"]).await;
    put(&bench.fake, "deployment late 0");
    yard::put(
        &bench.fake,
        "merge deployments/llm/other {\"metadata\":{\"labels\":{\"app.kubernetes.io/instance\":\"chat\"}}}",
    );
    sees_only(&open, &["else/far", "llm/chat", "llm/other"]).await;
}

/// What of a kind is not understood: how many, the first and why; and what the fleet says of it.
fn odd(fleet: &Fleet, resource: &str) -> Option<(u32, String, String)> {
    let part = fleet.clusters[0].parts.iter();
    let found = part.clone().find(|it| it.resource == resource)?;
    let odd = found.odd.clone()?;
    Some((odd.count, odd.first, odd.why))
}

#[tokio::test]
async fn what_nobody_understands_hides_no_other_and_is_told() {
    const WHY: &str = "replicas: invalid type: string \"many\", expected u32";
    let bench = Bench::start().await;
    let mut it = yard::deployment("odd", 0);
    it["spec"]["replicas"] = "many".into();
    bench.fake.put(it);
    put(&bench.fake, "deployment chat 0");
    let open = bench.fleet().await;
    sees_only(&open, &["llm/chat"]).await;
    let resource = "deployments.apps";
    assert_eq!(part(&open.now(), resource), PartState::Followed);
    let told = |n, name: &str| Some((n, name.to_owned(), WHY.to_owned()));
    assert_eq!(odd(&open.now(), resource), told(1, "llm/odd"));
    let finding = format!("fake: llm/odd of {resource} is not understood and not shown: {WHY}");
    open.see(&finding, |fleet| {
        fleet.findings.iter().any(|it| it.what == finding)
    })
    .await;
    put(&bench.fake, "deployment next 0");
    sees_only(&open, &["llm/chat", "llm/next"]).await;
    // One more, which was understood before: it stays as it was then, and is told.
    let many = "merge deployments/llm/chat {\"spec\":{\"replicas\":\"many\"}}";
    put(&bench.fake, many);
    open.see("two of them", |fleet| {
        odd(fleet, resource) == told(2, "llm/chat")
    })
    .await;
    assert_eq!(names(&open.now()), ["llm/chat", "llm/next"]);
    put(&bench.fake, &many.replace("\"many\"", "0"));
    bench.fake.delete("deployments/llm/odd");
    open.see("none of them", |fleet| odd(fleet, resource).is_none())
        .await;
}

#[tokio::test]
async fn quantities_may_be_numbers() {
    let bench = Bench::start().await;
    put(&bench.fake, "lws chat 1 2");
    let limits = json!({"nvidia.com/gpu": 8, "cpu": 15.5, "memory": "96Gi"});
    let mut it = bench.fake.get("leaderworkersets/llm/chat").unwrap();
    for of in ["leaderTemplate", "workerTemplate"] {
        let container =
            &mut it["spec"]["leaderWorkerTemplate"][of]["spec"]["containers"][0]["resources"];
        container["limits"] = limits.clone();
    }
    bench.fake.put(it);
    let open = bench.fleet().await;
    sees_only(&open, &["llm/chat"]).await;
    let facts = open.now().backends[0].self_hosted().unwrap().clone();
    assert_eq!(facts.hardware, "16 GPUs –");
}

#[tokio::test]
async fn a_cluster_that_is_only_looked_at_is_never_written_to() {
    let (bench, open) = followed_cluster().await;
    put(&bench.fake, "hpa chat chat 1 4");
    open.sees("llm/chat", "has an autoscaler", |b| {
        b.place
            .as_ref()
            .is_some_and(|it| it.scaled_by().contains("HorizontalPodAutoscaler"))
    })
    .await;
    assert!(bench.fake.writes().is_empty());
}

#[tokio::test]
async fn what_is_installed_later_is_found_and_what_is_taken_away_is_gone() {
    let bench = Bench::on(FakeKube::start().await.without("keda.sh"));
    put(&bench.fake, "deployment chat 1");
    let often = |it: &mut Settings| it.served_every = Duration::from_millis(100);
    let open = bench.open(often).await;
    let resource = "scaledobjects.keda.sh";
    open.see("that it is not there", |it| {
        it.clusters[0].parts.len() > 1 && part(it, resource) == PartState::Absent
    })
    .await;
    bench.fake.install("keda.sh", true);
    put(&bench.fake, "scaledobject chat chat 0 4");
    let scaled = |b: &fleetctl::fleet::Backend| {
        let place = b.place.as_ref();
        place.is_some_and(|it| it.scaled_by().contains("ScaledObject"))
    };
    open.sees("llm/chat", "is scaled by KEDA", scaled).await;
    assert_eq!(part(&open.now(), resource), PartState::Followed);
    bench.fake.install("keda.sh", false);
    open.sees("llm/chat", "is scaled by nobody", |b| !scaled(b))
        .await;
    assert_eq!(part(&open.now(), resource), PartState::Absent);
}

#[tokio::test]
async fn who_may_see_one_namespace_sees_that_of_the_context() {
    let bench = Bench::start().await;
    for verb in ["list", "watch"] {
        bench.fake.deny(verb, "*", "*", Some(""));
    }
    let config = bench
        .fake
        .kubeconfig()
        .replace("namespace: default", "namespace: llm");
    std::fs::write(bench.dir().join("config"), config).unwrap();
    put(&bench.fake, "deployment chat 0");
    let open = bench.fleet().await;
    sees_only(&open, &["llm/chat"]).await;
    let PartState::Forbidden { why } = part(&open.now(), "namespaces") else {
        panic!("{:?}", part(&open.now(), "namespaces"));
    };
    assert!(
        why.contains("only llm, that of the context, is looked at"),
        "{why}"
    );
    assert_eq!(part(&open.now(), "pods"), PartState::Followed);
    // Who asks for all of them is told that they may not be seen.
    let all = bench.open(|it| it.everywhere = true).await;
    all.see("that pods may not be seen", |it| {
        matches!(
            it.clusters[0].parts.iter().find(|it| it.resource == "pods"),
            Some(Part {
                state: PartState::Forbidden { .. },
                ..
            })
        )
    })
    .await;
}

#[tokio::test]
async fn a_server_that_hangs_is_said_before_its_watches_are_taken_to_be_dead() {
    let (bench, open) = followed_cluster().await;
    let hangs = bench
        .fake
        .delay(|call| call.path == "/version", Duration::from_secs(3600));
    bench.fake.take_calls();
    pass(Duration::from_secs(11)).await;
    let asked = |fake: &FakeKube| fake.calls().iter().any(|it| it.path == "/version");
    bench.until("that it is asked", asked).await;
    pass(Duration::from_secs(6)).await;
    let is_old = |fleet: &Fleet| fleet.clusters[0].is_blind();
    let fleet = open.see("that it does not answer", is_old).await;
    let PartState::Stale { why, .. } = part(&fleet, SERVER) else {
        unreachable!()
    };
    assert_eq!(why, "no answer within 5 s");
    assert_eq!(part(&fleet, "pods"), PartState::Followed);
    drop(hangs);
    pass(Duration::from_secs(11)).await;
    open.see("that it answers", |fleet| !is_old(fleet)).await;
}

/// Lets time pass at once.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn without_httproutes_nobody_knows_whether_an_aigatewayroute_is_programmed() {
    let bench = Bench::start().await;
    for verb in ["list", "watch"] {
        let group = "gateway.networking.k8s.io";
        bench.fake.deny(verb, group, "httproutes", None);
    }
    for line in [
        "deployment chat 1",
        "service chat",
        "airoute chat chat=90 azure=10",
    ] {
        put(&bench.fake, line);
    }
    let _world = bench.lively().await;
    let open = bench.fleet().await;
    open.see("that it is not known", |fleet| {
        let mut rules = fleet.models.iter().flat_map(|it| &it.routes);
        rules.any(|it| {
            let why = it.programmed.as_ref().err();
            why.is_some_and(|it| it.contains("is not seen"))
        })
    })
    .await;
}

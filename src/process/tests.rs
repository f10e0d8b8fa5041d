use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{End, Engine, Phase, Spec, Tail};

/// Longer than any of this takes; what hangs fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn spec(folder: &Path, script: &str) -> Spec {
    Spec {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec![("GREETING".to_owned(), "on {port}".to_owned())],
        dir: None,
        port: None,
        gpus: vec![1, 3],
        stop_within: Duration::from_secs(10),
        folder: folder.join("engine"),
    }
}

async fn until(phases: &mut watch::Receiver<Phase>, wanted: impl FnMut(&Phase) -> bool) -> Phase {
    tokio::time::timeout(PATIENCE, phases.wait_for(wanted))
        .await
        .unwrap()
        .unwrap()
        .clone()
}

/// Its log, once it holds this.
async fn says(engine: &Engine, wanted: &str) -> String {
    let mut tail = Tail::of(engine.log());
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, async {
        while !text.contains(wanted) {
            text += &String::from_utf8(tail.read().unwrap()).unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    text
}

fn pid(phase: &Phase) -> u32 {
    match phase {
        Phase::Running { pid, .. } => *pid,
        Phase::Stopped | Phase::Exited { .. } => panic!("it does not run: {phase:?}"),
    }
}

fn left(engine: &Engine) -> usize {
    engine.alive().len()
}

#[tokio::test]
async fn it_runs_with_what_it_was_given_and_stops_with_all_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"echo "$GREETING, $CUDA_VISIBLE_DEVICES"; setsid sleep 600 & sleep 600 & echo ready; wait"#;
    let engine = Engine::open(spec(folder.path(), script)).await.unwrap();
    let phases = engine.phase();
    assert_eq!(*phases.borrow(), Phase::Stopped);
    engine.start().await.unwrap();
    engine.start().await.unwrap();
    assert!(
        matches!(*phases.borrow(), Phase::Running { run: 1, .. }),
        "once"
    );
    let said = says(&engine, "ready").await;
    assert!(
        said.contains(&format!("on {}, 1,3", engine.port())),
        "{said}"
    );
    assert!(left(&engine) >= 3);
    engine.stop().await.unwrap();
    assert_eq!((left(&engine), &*phases.borrow()), (0, &Phase::Stopped));
    engine.start().await.unwrap();
    assert!(matches!(*phases.borrow(), Phase::Running { run: 2, .. }));
    engine.stop().await.unwrap();
    let old = fs::read_to_string(folder.path().join("engine/engine.1.log")).unwrap();
    assert!(old.contains("ready"));
}

#[tokio::test]
async fn what_does_not_listen_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; echo deaf; while :; do sleep 600; done";
    let engine = Engine::open(Spec {
        stop_within: Duration::from_millis(100),
        ..spec(folder.path(), script)
    })
    .await
    .unwrap();
    engine.start().await.unwrap();
    says(&engine, "deaf").await;
    tokio::time::timeout(PATIENCE, engine.stop())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(left(&engine), 0);
}

#[tokio::test]
async fn an_end_by_itself_is_told_and_leaves_nobody_behind() {
    let cases = [
        ("sleep 600 & exit 3", Some(End::Status(3))),
        ("sleep 600 & kill -9 $$", Some(End::Signal(9))),
        // Workers of vLLM write their titles over their environment, which takes the mark away.
        (
            "env -i /bin/sleep 600 > /dev/null 2>&1 & env -i /usr/bin/setsid sleep 600 & sleep 0.2; kill -9 $$",
            Some(End::Signal(9)),
        ),
    ];
    for (script, told) in cases {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(spec(folder.path(), script)).await.unwrap();
        let mut phases = engine.phase();
        engine.start().await.unwrap();
        let phase = until(&mut phases, |it| matches!(it, Phase::Exited { .. })).await;
        assert!(
            matches!(phase, Phase::Exited { end, .. } if end == told),
            "{phase:?}"
        );
        tokio::time::timeout(PATIENCE, async {
            while left(&engine) > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn what_a_killed_one_left_behind_is_adopted() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo ready; sleep 600";
    let first = Engine::open(spec(folder.path(), script)).await.unwrap();
    first.start().await.unwrap();
    let began = pid(&first.phase().borrow());
    let again = Engine::open(spec(folder.path(), script)).await.unwrap();
    assert_eq!(pid(&again.phase().borrow()), began);
    assert_eq!(again.port(), first.port());
    // Its end is noticed although it is nobody's child any more.
    let mut phases = again.phase();
    again.end_all().await.unwrap();
    let phase = until(&mut phases, |it| matches!(it, Phase::Exited { .. })).await;
    assert_eq!(phase, Phase::Exited { run: 1, end: None });
    again.start().await.unwrap();
    assert!(matches!(*phases.borrow(), Phase::Running { run: 2, .. }));
    // One that is to be run otherwise is not the same.
    let other = Engine::open(spec(folder.path(), "sleep 601"))
        .await
        .unwrap();
    assert_eq!(*other.phase().borrow(), Phase::Stopped);
    assert_eq!(left(&other), 0);
}

#[tokio::test]
async fn processes_without_a_record_are_ended() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo ready; sleep 600";
    let engine = Engine::open(spec(folder.path(), script)).await.unwrap();
    engine.start().await.unwrap();
    says(&engine, "ready").await;
    fs::remove_file(folder.path().join("engine/run.json")).unwrap();
    let next = Engine::open(spec(folder.path(), script)).await.unwrap();
    assert_eq!((left(&next), &*next.phase().borrow()), (0, &Phase::Stopped));
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let with = |change: fn(&mut Spec)| {
        let mut spec = spec(folder.path(), "sleep 600");
        change(&mut spec);
        spec
    };
    let cases = [
        (
            with(|it| it.command = vec!["/no/such/engine".into()]),
            "`/no/such/engine` is not there",
        ),
        (
            with(|it| it.dir = Some("/no/such/folder".into())),
            "its folder /no/such/folder is not there",
        ),
        (
            with(|it| it.command = vec!["/etc/passwd".into()]),
            "may not be run",
        ),
        (
            Spec {
                port: Some(taken.local_addr().unwrap().port()),
                ..spec(folder.path(), "sleep 600")
            },
            "is taken by another program",
        ),
    ];
    for (spec, told) in cases {
        let engine: Arc<Engine> = Engine::open(spec).await.unwrap();
        let said = engine.start().await.unwrap_err();
        assert!(said.contains(told), "{said}");
        assert_eq!(*engine.phase().borrow(), Phase::Stopped);
    }
}

#[test]
fn a_log_is_read_as_it_grows_and_after_it_began_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut tail = Tail::of(path.clone());
    assert_eq!(tail.read().unwrap(), b"");
    fs::write(&path, "one\n").unwrap();
    assert_eq!(tail.read().unwrap(), b"one\n");
    fs::write(&path, "one\ntwo").unwrap();
    assert_eq!(tail.read().unwrap(), b"two");
    assert_eq!(tail.read().unwrap(), b"");
    fs::write(&path, "3\n").unwrap();
    assert_eq!(tail.read().unwrap(), b"3\n");
}

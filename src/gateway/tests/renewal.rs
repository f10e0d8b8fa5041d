//! A config that changes while the gateway serves.

use std::sync::Arc;

use super::fake::{
    asleep, error, fleet, gateway, header, hosted, self_hosted, text, upstream, warm,
};
use crate::fleet::model::{ColdPolicy, DataPath};
use crate::fleet::{Fleet, Observation};
use crate::gateway::{Client, Key, Settings, Upstream};

const CHAT: &str = r#""model":"m""#;
const ANSWER: &str = r#"{"choices":[]}"#;

fn of(backends: Vec<crate::fleet::Backend>) -> Fleet {
    fleet(ColdPolicy::Wait, DataPath::Any, backends)
}

#[tokio::test]
async fn what_is_under_way_ends_as_it_began_and_what_comes_goes_by_the_new_config() {
    let (old, mut old_got) = upstream().await;
    let (new, mut new_got) = upstream().await;
    let (other, mut other_got) = upstream().await;
    let both = || vec![self_hosted("a", 1, warm()), hosted("b", 0)];
    let mut gateway = gateway(of(both()), &[("a", old), ("b", other)]).await;
    let before = gateway.send(CHAT, &[]);
    let held_back = old_got.recv().await.unwrap();

    // `a` moves, `b` goes, and clients need a key.
    gateway
        .picture
        .send_replace(Arc::new(of(vec![self_hosted("a", 1, warm())])));
    let client = Client {
        name: "app".into(),
        key: Key::new("secret"),
        self_only: false,
        models: None,
    };
    let settings = Settings::default();
    gateway
        .gate
        .renew(settings, vec![client], vec![Upstream::at("a", new)]);

    assert_eq!(
        error(gateway.send(CHAT, &[]).await.unwrap()).await["code"],
        "invalid_api_key"
    );
    let key = [("authorization", "Bearer secret")];
    let after = gateway.send(CHAT, &key);
    new_got.recv().await.unwrap().answer(200, &[], ANSWER);
    assert_eq!(text(after.await.unwrap()).await, ANSWER);
    assert_eq!(gateway.gate.in_flight(&"a".into()), 1, "the one of before");
    held_back.answer(200, &[], ANSWER);
    let before = before.await.unwrap();
    assert_eq!(header(&before, "x-fleet-backend"), "a");
    assert_eq!(text(before).await, ANSWER);
    for _ in 0..2 {
        assert_eq!(gateway.record().await.status, 200);
    }
    assert_eq!(gateway.gate.in_flight(&"a".into()), 0);
    let gone = [key[0], ("x-fleet-backend", "b")];
    assert_eq!(gateway.send(CHAT, &gone).await.unwrap().status(), 400);
    assert!(old_got.try_recv().is_err() && other_got.try_recv().is_err());
}

#[tokio::test]
async fn who_waits_is_counted_and_let_go_by_the_config_of_before() {
    let (near, mut got) = upstream().await;
    let mut gateway = gateway(
        of(vec![self_hosted("a", 1, asleep())]),
        &[("a", near.clone())],
    )
    .await;
    let waiting = gateway.send(CHAT, &[]);
    until_held(&mut gateway, 1).await;

    let more = || vec![self_hosted("a", 1, asleep()), hosted("c", 0)];
    gateway.picture.send_replace(Arc::new(of(more())));
    gateway.gate.renew(
        Settings::default(),
        Vec::new(),
        vec![Upstream::at("a", near)],
    );
    let second = gateway.send(CHAT, &[]);
    until_held(&mut gateway, 2).await;

    let awake = vec![self_hosted("a", 1, warm()), hosted("c", 0)];
    gateway.picture.send_replace(Arc::new(of(awake)));
    for _ in 0..2 {
        got.recv().await.unwrap().answer(200, &[], ANSWER);
    }
    for sent in [waiting, second] {
        assert_eq!(text(sent.await.unwrap()).await, ANSWER);
    }
}

async fn until_held(gateway: &mut super::fake::Gateway, n: u32) {
    loop {
        if let Observation::Gateway { held, .. } = gateway.observations.recv().await.unwrap()
            && held.iter().map(|(_, n)| n).sum::<u32>() == n
        {
            return;
        }
    }
}

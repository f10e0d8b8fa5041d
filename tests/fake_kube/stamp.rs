//! What the server stamps on an object: times, UIDs, names, managers.

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::resources::Kind;
use super::write::Write;

/// This moment as `metav1.Time` writes it.
pub(super) fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Numbers that differ from each other, the same in every run.
fn scramble(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number for a text.
pub(super) fn seed(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A UID of the usual form.
pub(super) fn uid(seed: u64) -> String {
    let (a, b) = (scramble(seed), scramble(seed ^ u64::MAX));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}

/// Letters as `generateName` and pod template hashes have them.
pub(super) fn suffix(seed: u64, length: u32) -> String {
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let mut left = scramble(seed);
    (0..length)
        .map(|_| {
            let letter = letters[(left % letters.len() as u64) as usize];
            left /= letters.len() as u64;
            char::from(letter)
        })
        .collect()
}

/// Records who has written in `managedFields`.
pub(super) fn manage(kind: &Kind, value: &mut Value, write: &Write) {
    let mut entry = json!({
        "manager": write.manager,
        "operation": write.operation,
        "apiVersion": kind.api_version(),
        "time": now(),
        "fieldsType": "FieldsV1",
        "fieldsV1": { "f:spec": {} },
    });
    if let Some(sub) = write.sub {
        entry["subresource"] = sub.into();
    }
    let fields = &mut value["metadata"]["managedFields"];
    if !fields.is_array() {
        *fields = json!([]);
    }
    let same = |e: &Value| {
        ["manager", "operation", "subresource"]
            .iter()
            .all(|k| e[*k] == entry[*k])
    };
    if let Some(list) = fields.as_array_mut() {
        match list.iter().position(same) {
            Some(at) => list[at] = entry,
            None => list.push(entry),
        }
    }
}

/// Fills in what the server fills in for a new object.
pub(super) fn born(kind: &Kind, value: &mut Value, seed: u64) {
    value["kind"] = kind.kind.into();
    value["apiVersion"] = kind.api_version().into();
    let meta = &mut value["metadata"];
    if meta["uid"].as_str().is_none_or(str::is_empty) {
        meta["uid"] = uid(seed).into();
    }
    if !meta["creationTimestamp"].is_string() {
        meta["creationTimestamp"] = now().into();
    }
    if kind.generation && !meta["generation"].is_u64() {
        meta["generation"] = 1.into();
    }
    if kind.scale.is_some() && value["spec"]["replicas"].is_null() {
        value["spec"]["replicas"] = 1.into();
    }
}

//! The domain, told as stories: each file is a small fleet, timed inputs, and what must be true after each.
//!
//! Adding a case is adding a file to `tests/scenarios/fleet`. A step is either an order (`do`) or something that was seen (`see`);
//! before it the fleet ticks second by second up to its time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a story that cannot be told has failed"
)]

mod story;

use story::Story;

#[test]
fn every_story_goes_as_it_is_told() {
    let mut wrong = Vec::new();
    let mut told = 0;
    let mut paths: Vec<_> = std::fs::read_dir("tests/scenarios/fleet")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let story: Story = toml::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        told += 1;
        wrong.extend(
            story
                .tell()
                .into_iter()
                .map(|what| format!("{name}: {what}")),
        );
    }
    assert!(told > 15, "only {told} stories were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_wrong_story_is_noticed() {
    let text = std::fs::read_to_string("tests/scenarios/fleet/wake.toml").unwrap();
    let story: Story = toml::from_str(&text.replace("gpu = \"warm\"", "gpu = \"asleep\"")).unwrap();
    assert!(!story.tell().is_empty());
    assert!(toml::from_str::<Story>(&text.replace("about", "abuot")).is_err());
}

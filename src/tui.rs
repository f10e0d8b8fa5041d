//! The console: holds only what a screen needs to know, draws a [`crate::fleet::Fleet`], sends commands.
//!
//! `update(&mut App, Event) -> Vec<Effect>` and `view::draw(&App, Rect, &mut Buffer)` are pure: neither awaits, reads a clock or does I/O.

pub mod app;
pub mod event;
pub mod frames;
pub mod keymap;
pub mod pin_form;
pub mod run;
pub mod terminal;
pub mod text;
pub mod theme;
pub mod update;
pub mod view;
pub mod widget;

#[cfg(test)]
mod tests;

//! Progress bars on standard error, where somebody sees them.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Output;

/// A bar over bytes.
pub fn bytes(output: Output, what: &'static str) -> ProgressBar {
    bar(output, what, "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

/// A bar over tokens.
pub fn tokens(output: Output, what: &'static str) -> ProgressBar {
    bar(output, what, "{msg} {bar:30} {pos}/{len} tokens {per_sec}")
}

/// A spinner while something takes its time.
pub fn spinner(output: Output, what: &'static str) -> ProgressBar {
    let bar = bar(output, what, "{spinner} {msg} {elapsed}");
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn bar(output: Output, what: &'static str, template: &str) -> ProgressBar {
    let target =
        if output.shows_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(0), target).with_style(style).with_message(what)
}

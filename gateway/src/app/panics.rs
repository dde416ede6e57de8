//! What is said of a panic: one line of the log with its place, as of anything else that happens.

use std::{any::Any, panic, thread};

/// Panics go to the log from here on.
pub(super) fn log() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = thread::current();
        let thread = thread.name().unwrap_or("?");
        tracing::error!(place, thread, "panic: {}", message(info.payload()));
    }));
}

fn message(payload: &dyn Any) -> &str {
    let owned = || payload.downcast_ref::<String>().map(String::as_str);
    payload.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("without words")
}

//! Log lines on standard error; standard output belongs to answers.

use std::{
    io::{self, IsTerminal as _},
    sync::OnceLock,
};

use tracing_subscriber::{
    EnvFilter, Registry, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use crate::settings::{LogFormat, LogSettings};

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging for this process. Does nothing where logging was started before.
pub fn start(settings: &LogSettings) {
    // The filter was tried when the settings were read.
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::registry().with(filter);
    let started = match settings.format {
        LogFormat::Json => lines
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false)
                    .with_writer(io::stderr),
            )
            .try_init(),
        LogFormat::Text => lines
            .with(
                fmt::layer()
                    .with_ansi(io::stderr().is_terminal())
                    .with_writer(io::stderr),
            )
            .try_init(),
    };
    // An embedding program may have its own logging; it keeps it.
    if started.is_ok() {
        // An error says that it is there already, which it is not.
        drop(FILTER.set(handle));
    }
}

/// Logs by another filter from now on, where [`start`] has started logging.
pub(crate) fn set_filter(filter: &str) {
    if let (Some(handle), Ok(filter)) = (FILTER.get(), EnvFilter::try_new(filter)) {
        // Fails where the subscriber is gone: then there is no log.
        drop(handle.reload(filter));
    }
}

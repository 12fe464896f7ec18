//! Log lines on standard error; standard output belongs to answers.

use std::{
    io::{self, IsTerminal as _},
    sync::OnceLock,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    filter::{FilterExt as _, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use super::traces::Traces;
use crate::settings::{LogFormat, LogSettings};

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Reads the text of a filter. A field's value in it is a text and no regular expression: a short
/// one of those can take seconds to be read, and nobody should wonder why a server does not start.
/// Only ASCII, because the library's reader panics at some other characters.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, String> {
    if !text.is_ascii() {
        return Err("only ASCII characters can be in it".to_owned());
    }
    let read = EnvFilter::builder().with_regex(false).parse(text);
    read.map_err(|error| error.to_string())
}

/// Starts logging for this process. Does nothing where logging was started before.
pub fn start(settings: &LogSettings) {
    start_beside(settings, None);
}

/// [`start`], and the library's spans are recorded in `traces`.
pub fn start_beside(settings: &LogSettings, traces: Option<&Traces>) {
    // The filter was tried when the settings were read.
    let filter = filter(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    // Of no span: where nobody else wants one, it then costs a look at a flag.
    let events = filter_fn(|about| about.is_event()).with_max_level_hint(LevelFilter::TRACE);
    let filter = events.and(filter);
    let lines = match settings.format {
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(io::stderr)
            .with_filter(filter)
            .boxed(),
        LogFormat::Text => fmt::layer()
            .with_ansi(io::stderr().is_terminal())
            .with_writer(io::stderr)
            .with_filter(filter)
            .boxed(),
    };
    let started = tracing_subscriber::registry()
        .with(lines)
        .with(traces.map(Traces::layer))
        .try_init();
    // An embedding program may have its own logging; it keeps it.
    if started.is_ok() {
        // An error says that it is there already, which it is not.
        drop(FILTER.set(handle));
    }
}

/// Logs by another filter from now on, where [`start`] has started logging.
pub(crate) fn set_filter(filter: &str) {
    if let (Some(handle), Ok(filter)) = (FILTER.get(), self::filter(filter)) {
        // Fails where the subscriber is gone: then there is no log.
        drop(handle.reload(filter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_at_once_or_refused() {
        for text in [
            "info",
            "info,vestibule=debug",
            "",
            "vestibule[request{reason=expired}]=debug",
        ] {
            assert!(filter(text).is_ok(), "{text}");
        }
        for text in ["vestibule=loud", "info, [\u{562}{}", "\u{fc}=info"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }
}

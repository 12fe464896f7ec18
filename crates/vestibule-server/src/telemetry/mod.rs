//! What the operator sees: log lines, one line per request, metrics, traces.

pub mod access_log;
pub mod logs;
pub mod metrics;
pub mod traces;

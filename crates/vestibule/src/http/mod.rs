//! The edge in: the only module that knows tower and axum.

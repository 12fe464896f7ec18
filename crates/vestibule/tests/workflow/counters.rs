//! The metrics of what a test starts on its own thread.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Counters and gauges by name, whatever their labels.
#[derive(Clone, Debug, Default)]
struct Book(Arc<Mutex<HashMap<String, Arc<AtomicU64>>>>);

/// Counts from now on, until it is dropped.
pub struct Counters {
    book: Book,
    _recording: metrics::LocalRecorderGuard<'static>,
}

impl Counters {
    pub fn here() -> Self {
        let book = Book::default();
        let recorder: &'static Book = Box::leak(Box::new(book.clone()));
        Self {
            book,
            _recording: metrics::set_default_local_recorder(recorder),
        }
    }

    pub fn hits(&self) -> u64 {
        self.book.read("vestibule_token_cache_hits_total")
    }

    pub fn misses(&self) -> u64 {
        self.book.read("vestibule_token_cache_misses_total")
    }

    pub fn entries(&self) -> u64 {
        // A gauge is a float in these bits.
        f64::from_bits(self.book.read("vestibule_token_cache_entries")) as u64
    }
}

impl Book {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let mut cells = self.0.lock().unwrap();
        Arc::clone(cells.entry(key.name().to_owned()).or_default())
    }

    fn read(&self, name: &str) -> u64 {
        let cells = self.0.lock().unwrap();
        cells
            .get(name)
            .map_or(0, |cell| cell.load(Ordering::SeqCst))
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

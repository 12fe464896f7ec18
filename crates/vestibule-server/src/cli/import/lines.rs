//! The lines of a file that is read several times, whatever it is.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek as _},
    path::Path,
};

/// The longest line that is looked at. A user with the longest values takes some 20 KiB, escapes and
/// all; more would let a broken file take all memory.
pub(super) const LONGEST: usize = 64 * 1024;

/// What Excel and others write before the first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A file that can be read from its beginning again and again.
#[derive(Debug)]
pub(super) struct Source(File);

/// One line, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'l> {
    /// The first is 1.
    pub(super) number: u64,
    pub(super) bytes: &'l [u8],
    /// It was longer than [`LONGEST`], and this is its beginning.
    pub(super) cut: bool,
}

/// Reads line by line.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    number: u64,
    line: Vec<u8>,
}

impl Source {
    /// The file; `-` is standard input. What can be read only once is kept in a file without a name.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Self::kept(io::stdin().lock());
        }
        let file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if about.is_file() {
            return Ok(Self(file));
        }
        Self::kept(file)
    }

    fn kept(mut from: impl Read) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        io::copy(&mut from, &mut file)?;
        Ok(Self(file))
    }

    /// Its lines, from the first on.
    pub(super) fn lines(&self) -> io::Result<Lines<BufReader<&File>>> {
        let mut file = &self.0;
        file.rewind()?;
        Ok(Lines::new(BufReader::with_capacity(LONGEST, file)))
    }
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            number: 0,
            line: Vec::new(),
        }
    }

    /// The next line; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let (mut any, mut cut) = (false, false);
        loop {
            let part = match self.reader.fill_buf() {
                Ok(part) => part,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if part.is_empty() {
                break;
            }
            any = true;
            let (text, taken, ended) = match part.iter().position(|&byte| byte == b'\n') {
                Some(end) => (part.get(..end).unwrap_or_default(), end + 1, true),
                None => (part, part.len(), false),
            };
            // One byte more, for what ends with \r\n.
            let room = (LONGEST + 1).saturating_sub(self.line.len());
            self.line.extend(text.iter().take(room));
            cut |= text.len() > room;
            self.reader.consume(taken);
            if ended {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        let mut bytes = self.line.as_slice();
        if !cut {
            bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        }
        if self.number == 1 {
            bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        }
        let cut = cut || bytes.len() > LONGEST;
        Ok(Some(Line {
            number: self.number,
            bytes: bytes.get(..LONGEST).unwrap_or(bytes),
            cut,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line's bytes, and whether it was cut; read in small pieces.
    fn all(text: &[u8]) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Lines::new(BufReader::with_capacity(3, text));
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            assert_eq!(line.number, all.len() as u64 + 1);
            all.push((line.bytes.to_vec(), line.cut));
        }
        all
    }

    fn whole(lines: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        lines.iter().map(|line| (line.to_vec(), false)).collect()
    }

    #[test]
    fn ends_of_lines() {
        assert_eq!(all(b""), whole(&[]));
        assert_eq!(all(b"one"), whole(&[b"one"]));
        assert_eq!(all(b"one\n"), whole(&[b"one"]));
        assert_eq!(
            all(b"one\r\n\n two \r\n\xff\0"),
            whole(&[b"one", b"", b" two ", b"\xff\0"])
        );
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        assert_eq!(
            all("\u{feff}a\n\u{feff}b".as_bytes()),
            whole(&[b"a", "\u{feff}b".as_bytes()])
        );
    }

    #[test]
    fn long_lines_are_cut_and_the_next_is_whole() {
        for end in ["\n", "\r\n"] {
            for (length, cut) in [(LONGEST, false), (LONGEST + 1, true), (1 << 20, true)] {
                let text = format!("{}{end}next", "x".repeat(length));
                let lines = all(text.as_bytes());
                assert_eq!(lines.len(), 2);
                assert_eq!((lines[0].0.len(), lines[0].1), (LONGEST, cut), "{length}");
                assert_eq!(lines[1], (b"next".to_vec(), false));
            }
        }
    }
}

//! A file that somebody else has opened: a piece of memory from the process before, say.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
};

use super::ReadFile;

/// Reads a file that is open already from its beginning. It has a place of its own in it, for a descriptor that came from
/// another process shares the system's (unix(7)).
#[derive(Debug)]
pub struct Opened {
    file: File,
    at: u64,
    length: u64,
}

impl Opened {
    /// Reads what is in the file now; what is added later is not looked at.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, at: 0, length })
    }
}

impl Read for Opened {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = into.len().min(left);
        let read = self.file.read_at(into.get_mut(..wanted).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl ReadFile for Opened {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_onto(&mut self, into: &mut Vec<u8>, length: usize) -> io::Result<usize> {
        self.by_ref().take(length as u64).read_to_end(into)
    }
}

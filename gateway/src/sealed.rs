//! Memory that goes from process to process as a file, and that nobody can change once it is sealed (memfd_create(2)).
//!
//! It is written like a file, and sealed when it is whole. Until its last descriptor is closed it counts as memory of the
//! process that wrote it, wherever that descriptor is.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

/// New memory, which can be sealed. `name` is for who looks at the process.
///
/// # Errors
/// When the system gives none.
pub fn memory(name: &str) -> io::Result<File> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into())
}

/// Nobody can change it any more, nor take that back.
///
/// # Errors
/// When somebody has it mapped to write.
pub fn seal(memory: File) -> io::Result<OwnedFd> {
    fcntl_add_seals(&memory, against_change() | SealFlags::SEAL)?;
    Ok(memory.into())
}

/// Whether it cannot change any more. A file of another kind can.
pub fn is_sealed(memory: impl AsFd) -> bool {
    fcntl_get_seals(memory).is_ok_and(|seals| seals.contains(against_change()))
}

fn against_change() -> SealFlags {
    SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_sealed_can_be_read_and_not_changed() {
        let mut memory = memory("test").unwrap();
        memory.write_all(b"whole").unwrap();
        assert!(!is_sealed(&memory));
        let mut sealed = File::from(seal(memory).unwrap());
        assert!(is_sealed(&sealed));
        assert!(sealed.write_all(b"more").is_err() && sealed.set_len(1).is_err());
        assert!(!is_sealed(tempfile::tempfile().unwrap()));
    }
}

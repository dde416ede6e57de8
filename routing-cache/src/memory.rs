//! What the kernel is told about large memory: to provide it at once, and to lay it out on huge pages.
//!
//! Nothing here changes what memory holds, and nothing depends on whether the kernel does as it is asked: an error says
//! only why things are slower than they could be. Measured with 112 MiB: touched page by page 62 ms, provided at once
//! 40 ms, on huge pages 10 ms; a look-up in a million apps on huge pages takes three quarters of the time.

use std::{fs, io, ptr::NonNull};

/// What is smaller is not worth a system call.
const LARGE: usize = 1 << 20;
/// What the kernel's addresses are rounded to; a multiple of every page size in use (4 to 64 KiB).
const PAGE: usize = 64 << 10;
/// A huge page of x86-64, and of AArch64 with pages of 4 KiB.
const HUGE: usize = 2 << 20;
/// As a power of two of pages of 4 KiB.
const HUGE_ORDER: u32 = 9;
/// Source: madvise(2), since Linux 6.1; include/uapi/asm-generic/mman-common.h.
const MADV_COLLAPSE: libc::c_int = 25;

/// Has the room that `vector` has left provided at once: it is about to be filled. On huge pages, where so many are free
/// that the kernel need not move other memory to make some, which can take longer than all it saves.
///
/// # Errors
/// Where the kernel cannot (Linux before 5.14, no memory); then it comes page by page, as it is filled.
pub fn provide(vector: &mut Vec<u8>) -> io::Result<()> {
    let room = vector.spare_capacity_mut();
    let Some((start, length)) = within(NonNull::from(&mut *room).cast(), room.len(), PAGE) else { return Ok(()) };
    if length < LARGE {
        return Ok(());
    }
    if free_huge_pages() > 2 * (length / HUGE) as u64 {
        // One byte of each, for there to be something that is to be laid on it.
        for byte in room.iter_mut().step_by(HUGE) {
            byte.write(0);
        }
        // ignored: what is not on huge pages comes on small ones.
        let _ = lay(start, length);
    }
    advise(start, length, libc::MADV_POPULATE_WRITE)
}

/// Huge pages that stand free; none where the kernel does not tell (proc_buddyinfo(5) is for root alone on some systems).
fn free_huge_pages() -> u64 {
    fs::read_to_string("/proc/buddyinfo").map_or(0, |text| text.lines().map(free_in_zone).sum())
}

/// `Node 0, zone Normal` and how many blocks of each power of two of pages are free.
fn free_in_zone(line: &str) -> u64 {
    let blocks = line.split_whitespace().skip(4).map(|count| count.parse().unwrap_or(0_u64));
    (0..).zip(blocks).map(|(order, count)| if order < HUGE_ORDER { 0 } else { count << (order - HUGE_ORDER) }).sum()
}

/// Has `bytes` laid out on huge pages, by copying them where they are not: 0.3 ms for each MiB. A thread that reads a part
/// while that is moved waits for it. The memory should be there to stay.
///
/// # Errors
/// Where the kernel cannot (Linux before 6.1, no huge pages to be had); then it stays as it is.
pub fn lay_on_huge_pages(bytes: &[u8]) -> io::Result<()> {
    lay(NonNull::from(bytes).cast(), bytes.len())
}

fn lay(start: NonNull<u8>, length: usize) -> io::Result<()> {
    let Some((start, length)) = within(start, length, HUGE) else { return Ok(()) };
    advise(start, length, MADV_COLLAPSE)
}

/// The whole pages of a range of memory.
fn within(start: NonNull<u8>, length: usize, page: usize) -> Option<(NonNull<u8>, usize)> {
    let before = start.align_offset(page);
    let length = length.checked_sub(before)? / page * page;
    (length > 0).then(|| (start.map_addr(|address| address.saturating_add(before)), length))
}

#[allow(unsafe_code)] // see SAFETY below; there is no safe interface to madvise(2), and it saves a third of a start.
fn advise(start: NonNull<u8>, length: usize, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: both advices that are given leave what the memory holds as it is, whoever reads or writes it meanwhile, and the
    // kernel checks that the range is mapped. The pointer is not kept.
    let done = unsafe { libc::madvise(start.as_ptr().cast(), length, advice) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 40 << 20;

    /// Page faults of this thread so far.
    fn faults() -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = text.rsplit_once(") ").unwrap();
        // proc(5): minflt is the tenth, counted with the pid and the name.
        fields.split(' ').nth(7).unwrap().parse().unwrap()
    }

    #[test]
    fn what_is_provided_is_filled_without_page_faults_and_keeps_what_it_holds() {
        let mut vector = Vec::with_capacity(BYTES);
        vector.extend_from_slice(b"here");
        if let Err(error) = provide(&mut vector) {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            return;
        }
        let before = faults();
        vector.resize(BYTES, 7);
        assert!(faults() - before < (BYTES / (4 << 10)) as u64 / 4, "{} faults", faults() - before);
        assert!(vector.starts_with(b"here\x07"));
    }

    #[test]
    fn blocks_of_a_huge_page_or_more_are_counted_as_so_many() {
        let line = "Node 0, zone   Normal   1009   3084   1731   1129    692    284    158    101     78     43     35";
        assert_eq!(free_in_zone(line), 43 + 2 * 35);
        for other in ["", "Node 0, zone", "Node 0, zone Normal 1 2 3", "Node 0, zone Normal a b c d e f g h i j k"] {
            assert_eq!(free_in_zone(other), 0, "{other}");
        }
    }

    #[test]
    fn what_is_laid_on_huge_pages_holds_what_it_held() {
        let bytes: Vec<u8> = (0..BYTES).map(|at| (at / 11) as u8).collect();
        // ignored: a machine may have no huge pages; what it holds is the same in either case.
        let _ = lay_on_huge_pages(&bytes);
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == (at / 11) as u8));
    }

    #[test]
    fn only_whole_pages_within_are_spoken_of() {
        let bytes = vec![0_u8; 4 * PAGE];
        for from in [0, 1, PAGE - 1, PAGE + 1] {
            let part = bytes.get(from..).unwrap();
            let (start, length) = within(NonNull::from(part).cast(), part.len(), PAGE).unwrap();
            let (first, last) = (part.as_ptr() as usize, part.as_ptr() as usize + part.len());
            let start = start.as_ptr() as usize;
            assert!(
                start.is_multiple_of(PAGE) && length.is_multiple_of(PAGE) && start >= first && start + length <= last
            );
        }
        assert!(within(NonNull::from(&bytes[1..PAGE]).cast(), PAGE - 1, PAGE).is_none());
        assert!(lay_on_huge_pages(&[]).is_ok() && provide(&mut Vec::new()).is_ok());
    }
}

//! What the system says of this process, under the names that every Prometheus exporter uses. Linux tells it; elsewhere there is nothing.

use std::fs;
use std::path::Path;

/// What the system says of this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) open_fds: u64,
    pub(super) max_fds: u64,
}

impl Process {
    /// Asks the system. Reads a few small files, so not on a thread that others wait for.
    pub(super) fn look() -> Option<Self> {
        Self::read(Path::new("/proc/self"))
    }

    fn read(dir: &Path) -> Option<Self> {
        let stat = fs::read_to_string(dir.join("stat")).ok()?;
        let memory = fs::read_to_string(dir.join("statm")).ok()?;
        let limits = fs::read_to_string(dir.join("limits")).ok()?;
        let auxiliary = fs::read(dir.join("auxv")).unwrap_or_default();
        let open = fs::read_dir(dir.join("fd")).ok()?.count();
        let page = auxiliary_value(&auxiliary, AT_PAGESZ).unwrap_or(4_096);
        let (all, resident) = pages(&memory)?;
        Some(Self {
            cpu_seconds: as_float(ticks(&stat)?) / as_float(auxiliary_value(&auxiliary, AT_CLKTCK).unwrap_or(100)),
            resident_bytes: resident.saturating_mul(page),
            virtual_bytes: all.saturating_mul(page),
            // One of them is the listing itself.
            open_fds: u64::try_from(open).unwrap_or(u64::MAX).saturating_sub(1),
            max_fds: max_open_files(&limits)?,
        })
    }
}

/// Clock ticks in user mode and in the system: fields 14 and 15 of `stat`. The name of the program, field 2, may hold blanks and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.saturating_add(system))
}

/// Pages of the address space, and those in memory.
fn pages(statm: &str) -> Option<(u64, u64)> {
    let mut fields = statm.split_ascii_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn max_open_files(limits: &str) -> Option<u64> {
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_ascii_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

/// The auxiliary vector is pairs of words, in the order of bytes of the machine: a type, and its value.
fn auxiliary_value(vector: &[u8], wanted: usize) -> Option<u64> {
    const WORD: usize = size_of::<usize>();
    let (words, _) = vector.as_chunks::<WORD>();
    let mut pairs = words.chunks_exact(2).filter_map(|pair| match pair {
        [kind, value] => Some((usize::from_ne_bytes(*kind), usize::from_ne_bytes(*value))),
        _ => None,
    });
    pairs.find(|(kind, _)| *kind == wanted).and_then(|(_, value)| u64::try_from(value).ok()).filter(|value| *value > 0)
}

/// A float holds whole numbers up to 2^53, which are more ticks than a process lives.
const fn as_float(n: u64) -> f64 {
    n as f64
}

const AT_PAGESZ: usize = 6;
const AT_CLKTCK: usize = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_ticks_behind_a_name_that_looks_like_more() {
        let stat = "4242 (a) b (c 9) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 8 0 1234 5678 90";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("4242 (a) S 1"), None);
    }

    #[test]
    fn reads_the_limit_of_open_files() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 524288               files     \n";
        assert_eq!(max_open_files(limits), Some(1024));
        assert_eq!(max_open_files(&limits.replace("1024 ", "unlimited ")), Some(u64::MAX));
        assert_eq!(max_open_files(""), None);
    }

    #[test]
    fn reads_the_auxiliary_vector() {
        let bytes: Vec<u8> = [AT_PAGESZ, 16_384, AT_CLKTCK, 250, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(auxiliary_value(&bytes, AT_PAGESZ), Some(16_384));
        assert_eq!(auxiliary_value(&bytes, AT_CLKTCK), Some(250));
        assert_eq!(auxiliary_value(&bytes, 99), None);
        assert_eq!(auxiliary_value(&[], AT_PAGESZ), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_takes_memory_and_has_files_open() {
        let process = Process::look().unwrap();
        assert!(process.resident_bytes > 100_000 && process.resident_bytes < process.virtual_bytes, "{process:?}");
        assert!(process.open_fds >= 1 && process.open_fds < process.max_fds, "{process:?}");
    }
}

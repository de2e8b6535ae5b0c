//! How much memory this process may use: decides whether reading ahead in a mapped file helps or evicts what
//! is needed. Also how much was read from devices, which tells whether it was in memory. Knows the files in
//! which Linux states limits; without a limit, the machine's memory counts.
#![allow(unsafe_code)]

use std::fs;
use std::path::Path;

/// Whether files of so many bytes together are too large for memory to cache. Then nothing of them should be read ahead
/// that was not asked for.
pub fn crowds(bytes: u64) -> bool {
    bytes > cached_bytes()
}

/// So many bytes of files can be cached: half of the memory, because others need memory too.
pub(super) fn cached_bytes() -> u64 {
    limit() / 2
}

/// Bytes of memory that this process may use, including its page cache: the lowest of the machine's memory
/// and the limits of its control groups.
fn limit() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = (info.totalram as u64).saturating_mul(info.mem_unit.into());
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    least_limit(Path::new("/sys/fs/cgroup"), &groups).map_or(machine, |limit| limit.min(machine))
}

/// How many pages this thread has had read from devices: by page faults, reads and what it asked to be read ahead. Some
/// kernels count only the faults.
pub(super) fn pages_read() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel writes into `usage`, which has the size that it expects.
    let failed = unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    if failed != 0 {
        return 0;
    }
    // SAFETY: zeroed, which is a valid value of these integers, and then filled by the kernel.
    let usage = unsafe { usage.assume_init() };
    let blocks = u64::try_from(usage.ru_inblock).unwrap_or_default();
    let faults = u64::try_from(usage.ru_majflt).unwrap_or_default();
    // Blocks of 512 bytes.
    (blocks / 8).max(faults)
}

/// The lowest limit of the groups named in `/proc/self/cgroup`, and of their ancestors, under `root`.
fn least_limit(root: &Path, groups: &str) -> Option<u64> {
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (hierarchy, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            v1 if v1.split(',').any(|controller| controller == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = hierarchy.join(path.trim_start_matches('/'));
        for above in group.ancestors().take_while(|above| above.starts_with(&hierarchy)) {
            // "max", or no content at all, means no limit.
            let limit = fs::read_to_string(above.join(file)).ok().and_then(|text| text.trim().parse().ok());
            least = [least, limit].into_iter().flatten().min();
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{least_limit, limit};

    #[test]
    fn the_least_limit_of_a_group_and_those_above_it_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::create_dir_all(root.join("a/b")).expect("a group");
        fs::create_dir_all(root.join("memory/c")).expect("a group");
        let say = |file: &str, limit: &str| fs::write(root.join(file), limit).expect("a file");
        say("a/b/memory.max", "max\n");
        assert_eq!(least_limit(root, "0::/a/b\n"), None);
        say("a/memory.max", "5000\n");
        assert_eq!(least_limit(root, "0::/a/b\n"), Some(5000));
        say("a/b/memory.max", "700\n");
        assert_eq!(least_limit(root, "0::/a/b\n"), Some(700));
        say("memory/c/memory.limit_in_bytes", "600\n");
        assert_eq!(least_limit(root, "3:cpu:/c\n4:memory:/c\n0::/a/b\n"), Some(600));
        assert_eq!(least_limit(root, "0::/nowhere\nrubbish\n"), None);
    }

    #[test]
    fn this_process_has_some_memory() {
        assert!(limit() > 1 << 20);
    }
}

//! `CLOCK_MONOTONIC` as the protocol's time.

use std::mem::MaybeUninit;

use teredo::Instant;

/// Now, on the clock `bpf_ktime_get_coarse_ns` reads as well.
pub fn now() -> Instant {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: clock_gettime fills the structure; it cannot fail for CLOCK_MONOTONIC with a valid pointer.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr());
        time.assume_init()
    };
    let nanos = u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0);
    Instant::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards() {
        let first = now();
        assert!(now() >= first && first > Instant::default());
    }
}

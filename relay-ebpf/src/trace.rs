//! Per-packet traces for development: feature `trace`, compiled out otherwise.

/// Logs what became of a frame.
#[cfg(feature = "trace")]
macro_rules! trace {
    ($frame:expr, $reason:expr, $bytes:expr) => {
        aya_log_ebpf::info!(
            $frame.context(),
            "port {} {} {} bytes",
            $frame.ingress_ifindex(),
            $reason.as_str(),
            $bytes
        )
    };
}

/// Logs nothing.
#[cfg(not(feature = "trace"))]
macro_rules! trace {
    ($frame:expr, $reason:expr, $bytes:expr) => {};
}

pub(crate) use trace;

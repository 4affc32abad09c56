//! Per-packet traces of the program in the daemon's log; a development aid (feature `trace`).

use std::os::fd::AsFd as _;
use std::thread;

use aya::Ebpf;
use aya_log::EbpfLogger;
use tracing::warn;
use tracing_log::LogTracer;

use crate::slowpath::poll::{STOP_CHECK, wait_readable};

/// Logs what the program traces, as long as the process lives.
pub(super) fn follow(ebpf: &mut Ebpf) {
    // aya-log speaks to the log crate. Set already when `auto` loads the program a second time.
    let _ = LogTracer::init();
    let mut logger = match EbpfLogger::init(ebpf) {
        Ok(logger) => logger,
        Err(error) => return warn!(%error, "the program's traces cannot be read"),
    };
    let read = move || {
        while wait_readable(logger.as_fd(), STOP_CHECK).is_ok() {
            logger.flush();
        }
    };
    if let Err(error) = thread::Builder::new().name("trace".into()).spawn(read) {
        warn!(%error, "the program's traces are not read");
    }
}

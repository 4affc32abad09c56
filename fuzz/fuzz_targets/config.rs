//! Any file as the configuration: it is sound within every bound, or refused by line or key.
#![no_main]

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use relay_user::cli::RelayFlags;
use relay_user::config::{KEYS, MAX_MAX_PEERS, RelaySettings, settings};
use relay_user::error::StartError;
use rustix::fs::MemfdFlags;
use teredo::addr::SERVER_PORT;

/// The file, in memory: settings are read by path.
static FILE: LazyLock<File> = LazyLock::new(|| {
    let file = rustix::fs::memfd_create("configuration", MemfdFlags::CLOEXEC);
    File::from(file.expect("memory for a file"))
});

fuzz_target!(|text: &[u8]| {
    let mut file = &*FILE;
    file.set_len(0).expect("cut off");
    file.rewind().expect("at its begin");
    file.write_all(text).expect("written");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let flags = RelayFlags {
        config: Some(path),
        ..RelayFlags::default()
    };
    match settings(&flags) {
        Ok(settings) => assert_sound(&settings),
        Err(error) => assert_helpful(&error, text),
    }
});

fn assert_sound(settings: &RelaySettings) {
    assert!((1..=MAX_MAX_PEERS).contains(&settings.max_peers));
    assert!(settings.shards.get() <= 64);
    assert!(settings.limits.new_peers_per_s > 0 && settings.limits.pending_peers > 0);
    if let Some(bind) = settings.bind {
        //
        assert!(![0, SERVER_PORT].contains(&bind.port));
        assert!(!bind.ip.is_unspecified() && !bind.ip.is_loopback() && !bind.ip.is_multicast());
    }
}

/// A refusal says where: in the file by line, or which key of it.
fn assert_helpful(error: &StartError, text: &[u8]) {
    let line = error.cause.strip_prefix("line ").map(|rest| {
        let digits = rest.split(':').next().unwrap_or_default();
        digits.parse::<usize>().expect("the number of a line")
    });
    match line {
        Some(line) => {
            let lines = 1 + text.iter().filter(|byte| **byte == b'\n').count();
            assert!((1..=lines).contains(&line), "{error}");
        }
        None if std::str::from_utf8(text).is_err() => assert_eq!(error.key, "--config"),
        None => {
            let key = error.key.trim_start_matches("--");
            assert!(KEYS.iter().any(|known| known.name == key), "{error}");
        }
    }
    assert!(!error.next.is_empty(), "{error}");
}

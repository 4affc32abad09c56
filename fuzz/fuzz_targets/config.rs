//! Any file as the configuration: it is sound within every bound, or refused by line or key.
#![no_main]

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use relay_user::cli::{RelayFlags, ServerFlags};
use relay_user::config::{
    DaemonSettings, KEYS, MAX_ALLOW_NON_GLOBAL, MAX_IFACES, MAX_MAX_PEERS, RelaySettings,
    SERVER_KEYS, Sections, ServerSettings, sections, server_settings, settings,
};
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
    let config = Some(path.clone());
    let as_relay = settings(&RelayFlags {
        config: config.clone(),
        ..RelayFlags::default()
    });
    match &as_relay {
        Ok(relay) => assert_relay(relay),
        Err(error) => assert_helpful(error, text),
    }
    let as_server = server_settings(&ServerFlags {
        config,
        ..ServerFlags::default()
    });
    match &as_server {
        Ok(server) => {
            assert_daemon(&server.daemon);
            assert_server(&server.server);
        }
        Err(error) => assert_helpful(error, text),
    }
    // What both make of one file is what each makes of it.
    match sections(&path) {
        Ok(Sections::Relay { relay, server }) => {
            assert_eq!(Ok(*relay), as_relay);
            if let Some(server) = server {
                assert_server(&server);
            }
        }
        Ok(Sections::Server(_)) => assert!(as_server.is_ok()),
        Err(error) if error.cause.starts_with("neither a section") => {}
        Err(error) => assert_helpful(&error, text),
    }
});

fn assert_daemon(settings: &DaemonSettings) {
    let mut names = settings.ifaces.clone();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), settings.ifaces.len());
    assert!((1..=MAX_IFACES).contains(&names.len()));
    assert!(settings.allow_non_global.len() <= MAX_ALLOW_NON_GLOBAL);
}

fn assert_relay(settings: &RelaySettings) {
    assert_daemon(&settings.daemon);
    assert!((1..=MAX_MAX_PEERS).contains(&settings.max_peers));
    assert!(settings.shards.get() <= 64);
    assert!(settings.limits.new_peers_per_s > 0 && settings.limits.pending_peers > 0);
    if let Some(bind) = settings.bind {
        //
        assert!(![0, SERVER_PORT].contains(&bind.port));
        assert!(settings.daemon.may_talk_to(bind.ip));
        assert!(!bind.ip.is_unspecified() && !bind.ip.is_loopback() && !bind.ip.is_multicast());
    }
}

fn assert_server(settings: &ServerSettings) {
    // S-1.
    assert_ne!(settings.primary, settings.secondary);
    assert!(settings.allow_non_global.len() <= MAX_ALLOW_NON_GLOBAL);
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
        None if str::from_utf8(text).is_err() => assert_eq!(error.key, "--config"),
        None => {
            let key = error.key.trim_start_matches("--");
            let mut known = KEYS.iter().chain(SERVER_KEYS);
            assert!(known.any(|known| known.name == key), "{error}");
        }
    }
    assert!(!error.next.is_empty(), "{error}");
}

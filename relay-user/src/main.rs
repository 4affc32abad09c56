//! The `shipworm` binary: parses the command line, does what it says, and ends with the documented exit code.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use relay_user::cli::{
    AskFlags, BothFlags, Cli, Command, EXIT_CANNOT_START, EXIT_CONFIGURATION, EXIT_FAILED,
    PeersFlags, RelayFlags, RunFlags, ServerFlags,
};
use relay_user::config::{self, DaemonSettings, InterfaceInfo, Sections};
use relay_user::net::Snapshot;
use relay_user::status::{render_peers, render_status};
use relay_user::{control, logging, role};
use serde::Serialize;

fn main() -> ExitCode {
    // Ends with 2 by itself when the command line is wrong, with 0 after --help and --version.
    let done = match Cli::parse().command {
        Command::Relay(flags) => relay(&flags),
        Command::Server(flags) => server(&flags),
        Command::Run(flags) => both(&flags),
        Command::Check(flags) => check(&flags),
        Command::Status(flags) => status(&flags),
        Command::Peers(flags) => peers(&flags),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { code, message }) => {
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::from(code)
        }
    }
}

/// What is said on standard error, and the exit code.
struct Failed {
    code: u8,
    message: String,
}

fn failed(code: u8) -> impl Fn(&dyn Display) -> Failed {
    move |error| Failed {
        code,
        message: error.to_string(),
    }
}

fn relay(RunFlags { relay, take_over }: &RunFlags) -> Result<(), Failed> {
    let settings = config::settings(relay).map_err(|e| failed(EXIT_CONFIGURATION)(&e))?;
    start_log(&settings.daemon)?;
    role::relay::run(&settings, None, *take_over).map_err(|e| failed(e.exit_code())(&e))
}

fn server(flags: &ServerFlags) -> Result<(), Failed> {
    let settings =
        config::server_settings(flags).map_err(|e| failed(EXIT_CONFIGURATION)(&e.of("server")))?;
    start_log(&settings.daemon)?;
    role::server::run(settings).map_err(|e| failed(e.exit_code())(&e))
}

/// Relay and server as the sections of the file ask for them.
fn both(flags: &BothFlags) -> Result<(), Failed> {
    let sections =
        config::sections(&flags.config).map_err(|e| failed(EXIT_CONFIGURATION)(&e.of("run")))?;
    match sections {
        Sections::Relay { relay, server } => {
            start_log(&relay.daemon)?;
            role::relay::run(&relay, server, flags.take_over)
        }
        Sections::Server(server) => {
            start_log(&server.daemon)?;
            role::server::run(*server)
        }
    }
    .map_err(|e| failed(e.exit_code())(&e))
}

fn start_log(daemon: &DaemonSettings) -> Result<(), Failed> {
    logging::start(daemon.log, daemon.log_format).map_err(|e| failed(EXIT_FAILED)(&e))
}

/// What the file has a section for; without one, and with flags alone, the relay.
fn check(flags: &RelayFlags) -> Result<(), Failed> {
    let configuration = failed(EXIT_CONFIGURATION);
    let cannot_start = failed(EXIT_CANNOT_START);
    let wanted = config::wanted(flags).map_err(|e| configuration(&e))?;
    let snapshot = Snapshot::take().map_err(|e| {
        cannot_start(&format_args!(
            "relay: interfaces: the kernel does not list them: {e}"
        ))
    })?;
    let interfaces = InterfaceInfo::all(&snapshot);
    let (relay, server) = match wanted {
        Sections::Relay { relay, server } => (relay, server),
        Sections::Server(alone) => {
            let plan = config::plan_server(&alone, &interfaces)
                .and_then(|plan| role::foresee(&alone.daemon, None, &snapshot).map(|()| plan));
            return print(&plan.map_err(|e| cannot_start(&e.of("server")))?);
        }
    };
    let (_, plan) = config::check(&relay, &interfaces).map_err(|e| cannot_start(&e))?;
    role::foresee(&relay.daemon, relay.pin_dir.as_deref(), &snapshot)
        .and_then(|()| role::foresee_tun(&snapshot))
        .map_err(|e| cannot_start(&e))?;
    print(&plan)?;
    if let Some(server) = &server {
        let plan = config::check_server(server, &interfaces).map_err(|e| cannot_start(&e))?;
        print(&plan)?;
    }
    Ok(())
}

fn status(flags: &AskFlags) -> Result<(), Failed> {
    let status = control::status(&flags.socket)
        .map_err(|e| failed(EXIT_FAILED)(&format_args!("status: {e}")))?;
    if flags.json {
        print_json(&status)
    } else {
        print(&render_status(&status))
    }
}

fn peers(flags: &PeersFlags) -> Result<(), Failed> {
    let peers = control::peers(&flags.ask.socket, flags.limit)
        .map_err(|e| failed(EXIT_FAILED)(&format_args!("peers: {e}")))?;
    if flags.ask.json {
        print_json(&peers)
    } else {
        print(&render_peers(&peers))
    }
}

fn print_json(value: &impl Serialize) -> Result<(), Failed> {
    let text = serde_json::to_string(value).map_err(|e| failed(EXIT_FAILED)(&e))?;
    print(&format_args!("{text}\n"))
}

/// Prints to standard output; a reader that has seen enough (`| head`) is no failure.
fn print(text: &dyn Display) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(failed(EXIT_FAILED)(&e)),
        _ => Ok(()),
    }
}

//! The small internet with the relay in it, kept up for somebody to look around.
//!
//! `cargo xtask lab` builds what it needs and starts it.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;

use lab::demo::{Cast, Interrupts, PICTURE, Remains, Screen, parse_datapath, preflight};
use lab::shipworm::{Datapath, Settings};
use lab::{Lab, Node, Options};

const TICK: Duration = Duration::from_secs(1);

/// The small internet with shipworm in the middle, kept up until Ctrl-C.
#[derive(Parser)]
#[command(name = "shipworm-lab")]
struct Args {
    /// How the relay carries packets: xdp, xdp-generic or userspace
    #[arg(long, default_value = "xdp", value_parser = parse_datapath)]
    datapath: Datapath,
}

fn main() -> ExitCode {
    match keep(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn keep(args: &Args) -> Result<()> {
    let interrupts = Interrupts::block()?;
    preflight()?;
    let mut screen = Screen::new();
    screen.print(&format!("{PICTURE}\n"))?;
    let lab = Lab::new(&Options::default())?;
    let remains = Remains::of(&lab)?;
    {
        let mut cast = Cast::start(&lab, &Settings::new(args.datapath))?;
        screen.print(&guide(&lab, &cast)?)?;
        while !interrupts.wait(TICK) && cast.relay.is_running() {}
        screen.print("\nTaking everything down.\n")?;
        cast.end()?;
    }
    drop(lab);
    remains.assert_gone()
}

/// How to enter every machine, and where the daemons' words go.
fn guide(lab: &Lab, cast: &Cast<'_>) -> Result<String> {
    let mut text = String::from("Run a command on a machine (a shell, ping, tshark, ip):\n\n");
    for node in lab.nodes() {
        writeln!(
            text,
            "  {:<12} nsenter --net={} COMMAND",
            node.name(),
            node.netns().path()
        )?;
        writeln!(text, "{}", addresses(node)?)?;
    }
    writeln!(text, "Clients:")?;
    for (site, client) in &cast.clients {
        writeln!(
            text,
            "  {:<5} {:<38} log {}",
            site.nat.to_string(),
            client.ipv6().to_string(),
            client.process().log_path().display()
        )?;
    }
    let relay = &cast.relay;
    let (program, socket) = (relay.binary().display(), relay.socket().display());
    write!(
        text,
        "\nServer:  log {}\nRelay:   log {}\n         {program} status --socket {socket}\n         \
         {program} peers --socket {socket}\nHost:    {}\n\nCtrl-C takes everything down.\n",
        cast.server.process().log_path().display(),
        relay.process().log_path().display(),
        Lab::HOST
    )?;
    Ok(text)
}

/// Interfaces and addresses of `node`, one interface a line.
fn addresses(node: &Node) -> Result<String> {
    let table = node.run(["ip", "-brief", "address", "show", "scope", "global"])?;
    let mut text = String::new();
    for line in table.lines() {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let name = name.split('@').next().unwrap_or(name);
        let addresses: Vec<_> = words.skip(1).collect();
        if name != "lo" && !addresses.is_empty() {
            writeln!(text, "      {name:<10} {}", addresses.join("  "))?;
        }
    }
    Ok(text)
}

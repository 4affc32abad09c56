//! A small internet with the relay in the middle, and a live table of what crosses it.
//!
//! `cargo xtask run` builds what it needs and starts it.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::{Value, json};

use lab::demo::{
    Board, Cast, DaemonCpu, Interrupts, Moment, PICTURE, Remains, Screen, Status, compact, drive,
    failures, full, parse_datapath, preflight,
};
use lab::shipworm::{Datapath, Relay, Settings};
use lab::{Lab, Options};

const TICK: Duration = Duration::from_secs(1);
/// Ticks between two blocks where no terminal is.
const TICKS_PER_BLOCK: u32 = 5;
const LOG_TAIL_LINES: usize = 20;

/// A small internet in network namespaces with shipworm in the middle, and a live table.
///
/// Exits with 0 if every client exchanged echoes and transfers both ways, and the fast path
/// carried at least 90 % of the data (with an XDP datapath); else with 1.
#[derive(Parser)]
#[command(name = "demo")]
struct Args {
    /// End after so many seconds of traffic (default: at Ctrl-C)
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// How the relay carries packets: xdp, xdp-generic or userspace
    #[arg(long, default_value = "xdp", value_parser = parse_datapath)]
    datapath: Datapath,
    /// Write the final figures there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match demo(&args) {
        Ok(Outcome::Crossed) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => {
            eprintln!("demo: ended before there was traffic");
            ExitCode::FAILURE
        }
        Ok(Outcome::Failed(log)) => {
            eprintln!("\nThe last lines of the relay's log:\n{log}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// How the demo went.
enum Outcome {
    Crossed,
    /// With the end of the relay's log.
    Failed(String),
    Interrupted,
}

fn demo(args: &Args) -> Result<Outcome> {
    let interrupts = Interrupts::block()?;
    preflight()?;
    let mut screen = Screen::new();
    screen.print(&format!("{PICTURE}\n"))?;

    let start = Instant::now();
    let lab = Lab::new(&Options::default())?;
    let remains = Remains::of(&lab)?;
    screen.print(&format!(
        "{:>5.1} s  {} namespaces are connected\n",
        start.elapsed().as_secs_f64(),
        lab.nodes().len()
    ))?;
    if interrupts.came() {
        return Ok(Outcome::Interrupted);
    }
    let outcome = {
        let cast = Cast::start(&lab, &Settings::new(args.datapath))?;
        screen.print(&format!(
            "{:>5.1} s  the relay is ready, all clients have qualified\n\n",
            start.elapsed().as_secs_f64()
        ))?;
        if interrupts.came() {
            cast.end()?;
            return Ok(Outcome::Interrupted);
        }
        perform(args, interrupts, &lab, cast, &mut screen)?
    };
    drop(lab);
    remains.assert_gone()?;
    screen.print("Everything is gone again: processes, namespaces, files.\n")?;
    Ok(outcome)
}

/// Lets traffic cross until the end, and says how it went.
fn perform(
    args: &Args,
    interrupts: Interrupts,
    lab: &Lab,
    mut cast: Cast<'_>,
    screen: &mut Screen,
) -> Result<Outcome> {
    let board = Board::new(&cast.clients);
    let stage = Stage {
        board: &board,
        start: Instant::now(),
        cpu: DaemonCpu::below(cast.relay.process().pid()),
    };
    let watched = thread::scope(|scope| {
        let _stop = StopAtEnd(&board);
        drive(scope, lab, &cast.clients, &board);
        stage.watch(args, interrupts, &cast.relay, screen)
    });
    watched?;

    let mut failed = Vec::new();
    let (last, status) = match stage.moment(&cast.relay) {
        Ok(seen) => seen,
        Err(error) => {
            let end = if cast.relay.is_running() {
                "does not answer"
            } else {
                "has ended"
            };
            failed.push(format!("the relay {end}: {error:#}"));
            (stage.moment_without_relay(), Value::Null)
        }
    };
    let log = tail(&cast.relay.log());
    failed.extend(failures(&last.clients, last.status.as_ref(), args.datapath));
    // What a relay that has ended by itself left is not its proper end's fault.
    if cast.relay.is_running()
        && let Err(error) = cast.end()
    {
        failed.push(format!("{error:#}"));
    }
    screen.print(&format!("\n{}", full(&last)))?;
    screen.print(&conclusion(&failed))?;
    if let Some(path) = &args.json {
        let summary = json!({
            "seconds": last.elapsed.as_secs_f64(),
            "datapath": args.datapath.as_str(),
            "clients": last.clients,
            "daemon_cpu_percent": last.cpu_percent,
            "relay": status,
            "failures": failed,
        });
        fs::write(path, format!("{summary:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if failed.is_empty() {
        Outcome::Crossed
    } else {
        Outcome::Failed(log)
    })
}

/// Ends the traffic, also when watching it fails.
struct StopAtEnd<'a>(&'a Board);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Where the numbers of a moment come from.
struct Stage<'a> {
    board: &'a Board,
    start: Instant,
    cpu: Option<DaemonCpu>,
}

impl Stage<'_> {
    /// Shows the table until time is up, a signal comes or the relay does not answer.
    fn watch(
        &self,
        args: &Args,
        interrupts: Interrupts,
        relay: &Relay<'_>,
        screen: &mut Screen,
    ) -> io::Result<()> {
        let end = args.seconds.map(Duration::from_secs);
        for tick in 1.. {
            let next = end.map_or(TICK * tick, |end| end.min(TICK * tick));
            if interrupts.wait(next.saturating_sub(self.start.elapsed())) {
                break;
            }
            if end.is_some_and(|end| self.start.elapsed() >= end) {
                break;
            }
            if !screen.is_terminal() && !tick.is_multiple_of(TICKS_PER_BLOCK) {
                continue;
            }
            // The final look will find the same and name it.
            let Ok((moment, _)) = self.moment(relay) else {
                break;
            };
            if screen.is_terminal() {
                screen.redraw(&full(&moment))?;
            } else {
                screen.print(&compact(&moment))?;
            }
        }
        Ok(())
    }

    /// The table's numbers now, and all the relay said.
    fn moment(&self, relay: &Relay<'_>) -> Result<(Moment, Value)> {
        let json = relay.status()?;
        let moment = Moment {
            status: Some(Status::read(&json)?),
            ..self.moment_without_relay()
        };
        Ok((moment, json))
    }

    fn moment_without_relay(&self) -> Moment {
        Moment {
            elapsed: self.start.elapsed(),
            clients: self.board.clients(),
            status: None,
            cpu_percent: self.cpu.and_then(|cpu| cpu.percent()),
        }
    }
}

fn conclusion(failed: &[String]) -> String {
    if failed.is_empty() {
        return "\nTraffic crossed the relay both ways for every client.\n".to_owned();
    }
    let lines: Vec<_> = failed.iter().map(|what| format!("  {what}\n")).collect();
    format!("\nFAILED:\n{}", lines.concat())
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

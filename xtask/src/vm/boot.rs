//! Starting the machine and listening to it.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::packages::Tools;
use super::protocol::{Line, Transcript};
use crate::sh::sh;

/// The machine's cards, in pairs of one cable: name of the tap and last byte of the MAC address. The relay has one
/// end of each, the generator the other. `bench/vm/init` knows them by their MAC addresses.
const CABLES: [[(&str, u8); 2]; 2] = [
    [("relay-wan", 1), ("gen-wan", 3)],
    [("relay-lan", 2), ("gen-lan", 4)],
];
const PROCESSORS: u8 = 2;
/// Native XDP wants a transmit queue of its own for every processor beside those in use.
const QUEUE_PAIRS: u8 = 2 * PROCESSORS;
/// Interrupts of a card: one for each queue, one for configuration, one for control.
const VECTORS: u8 = 2 * QUEUE_PAIRS + 2;
const MEMORY_MB: &str = "1536";
/// The machine stops itself so much earlier than we lose patience, that it may say where it was.
const GRACE: Duration = Duration::from_secs(20);

/// Lays the cables in a network namespace of its own, which ends with the machine, and becomes the emulator.
const CABLING: &str = "\
echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
for cable in wan lan; do
  ip link add $cable type bridge mcast_snooping 0
  ip link set $cable up
  for end in relay gen; do
    ip tuntap add name $end-$cable mode tap multi_queue
    ip link set $end-$cable master $cable up
  done
done
exec \"$@\"";

/// A machine to be run.
pub(crate) struct Machine<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) kernel: &'a Path,
    pub(crate) initramfs: &'a Path,
    /// Where what the kernel and the programs say goes.
    pub(crate) console: PathBuf,
    /// Which tests of the XDP program are run; all if not given.
    pub(crate) tests: Option<&'a str>,
    /// Whether what the verifier says is taken as it is, not compared with the record.
    pub(crate) accept: bool,
    pub(crate) timeout: Duration,
}

impl Machine<'_> {
    /// Boots it and listens until it has switched itself off.
    ///
    /// # Errors
    /// It cannot be started, says something that is not understood, or is not off in time.
    pub(crate) fn run(&self) -> Result<Transcript> {
        let deadline = Instant::now() + self.timeout;
        let mut child = sh("boot the virtual machine", "unshare")
            .args(["--net", "nice", "-n", "19", "sh", "-ec", CABLING, "sh"])
            .args([&self.tools.qemu])
            .args(self.arguments())
            .env("LD_LIBRARY_PATH", self.tools.libraries())
            .env("QEMU_MODULE_DIR", self.tools.libraries().join("qemu"))
            .shown_as(&format!(
                "qemu-system-x86_64 ... -kernel {} (at most {} s)",
                self.kernel.display(),
                self.timeout.as_secs()
            ))
            .spawn()?;
        let said = child
            .stdout
            .take()
            .context("the machine's second serial port is a pipe")
            .and_then(|port| listen(&lines_of(port), deadline));
        // Off by itself, or to be switched off: either way nothing of it is left.
        if said.is_err() {
            child
                .kill()
                .context("cannot switch the virtual machine off")?;
        }
        end(child, deadline)?;
        said
    }

    fn arguments(&self) -> Vec<OsString> {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let mut arguments = words("-accel tcg,thread=multi -cpu max -nodefaults -no-user-config");
        arguments.extend(words("-display none -no-reboot -device virtio-rng-pci"));
        arguments.extend(["-m".into(), MEMORY_MB.into()]);
        arguments.extend(["-smp".into(), PROCESSORS.to_string().into()]);
        for directory in self.tools.firmware() {
            arguments.extend(["-L".into(), directory.into()]);
        }
        arguments.extend(["-kernel".into(), self.kernel.into()]);
        arguments.extend(["-initrd".into(), self.initramfs.into()]);
        arguments.extend(["-append".into(), self.command_line().into()]);
        let mut console = OsString::from("file:");
        console.push(&self.console);
        arguments.extend(["-serial".into(), console]);
        arguments.extend(words("-serial stdio"));
        for (tap, mac) in CABLES.into_iter().flatten() {
            arguments.extend(words(&card(tap, mac)));
        }
        arguments
    }

    fn command_line(&self) -> String {
        let seconds = self.timeout.saturating_sub(GRACE).as_secs();
        let mut line =
            format!("console=ttyS0 quiet panic=-1 mitigations=off nokaslr vm.seconds={seconds}");
        if let Some(tests) = self.tests {
            line += &format!(" vm.tests={tests}");
        }
        if self.accept {
            line += " vm.accept=1";
        }
        line
    }
}

/// Segments of several packets must not reach XDP, and checksums are to be there when it looks.
fn card(tap: &str, mac: u8) -> String {
    format!(
        "-netdev tap,id={tap},ifname={tap},script=no,downscript=no,queues={QUEUE_PAIRS} \
         -device virtio-net-pci,netdev={tap},mac=52:54:00:00:00:{mac:02x},mq=on,vectors={VECTORS},romfile=,\
         csum=off,guest_csum=off,gso=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off"
    )
}

/// The lines of the port, without blocking who waits for them with a deadline.
fn lines_of(port: ChildStdout) -> Receiver<std::io::Result<String>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(port).lines() {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Listens until the other end closes.
fn listen(lines: &Receiver<std::io::Result<String>>, deadline: Instant) -> Result<Transcript> {
    let mut transcript = Transcript::default();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let line = line.context("the virtual machine's second serial port")?;
                eprintln!("  {}", line.trim_end());
                transcript.add(Line::parse(&line).map_err(|what| anyhow!(what))?);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(transcript),
            Err(RecvTimeoutError::Timeout) => bail!(
                "the virtual machine is not off in time; the last it said is above (longer: --timeout, fewer tests: --tests)"
            ),
        }
    }
}

/// Waits for the emulator, whose output has ended.
fn end(mut child: Child, deadline: Instant) -> Result<()> {
    let (sender, ended) = mpsc::channel();
    let id = child.id();
    thread::spawn(move || sender.send(child.wait()));
    match ended.recv_timeout(deadline.saturating_duration_since(Instant::now()) + GRACE) {
        Ok(status) => {
            status.context("waiting for the emulator")?;
            Ok(())
        }
        Err(_) => bail!("the emulator, process {id}, does not end; end it by hand"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_cable_are_on_its_bridge() {
        for [relay, generator] in CABLES {
            let cable = relay.0.strip_prefix("relay-").unwrap();
            assert_eq!(generator.0.strip_prefix("gen-"), Some(cable));
            assert!(CABLING.contains(cable));
        }
    }

    #[test]
    fn a_card_has_queues_to_spare_for_xdp_and_leaves_nothing_to_offloads() {
        let card = card("relay-wan", 1);
        assert!(card.contains("ifname=relay-wan,"), "{card}");
        assert!(card.contains("mac=52:54:00:00:00:01,"), "{card}");
        assert!(
            card.contains("queues=4 ") && card.contains("vectors=10,"),
            "{card}"
        );
        for offload in [
            "csum",
            "guest_csum",
            "guest_tso4",
            "guest_tso6",
            "guest_ecn",
            "guest_ufo",
        ] {
            assert!(
                card.contains(&format!("{offload}=off")),
                "{offload} in {card}"
            );
        }
    }

    #[test]
    fn words_of_a_machine_are_collected_until_it_falls_silent() {
        let (sender, receiver) = mpsc::channel();
        for line in ["kernel 6.1", "check a ok", "end"] {
            sender.send(Ok(line.to_owned())).unwrap();
        }
        drop(sender);
        let transcript = listen(&receiver, Instant::now() + Duration::from_mins(1)).unwrap();
        assert!(transcript.ended);
        assert_eq!(transcript.checks.len(), 1);
    }

    #[test]
    fn a_machine_that_says_nothing_is_given_up() {
        let (_sender, receiver) = mpsc::channel();
        let error = listen(&receiver, Instant::now()).unwrap_err().to_string();
        assert!(error.contains("--timeout"), "{error}");
    }

    #[test]
    fn words_that_are_not_understood_end_the_run() {
        let (sender, receiver) = mpsc::channel();
        sender.send(Ok("Kernel panic".to_owned())).unwrap();
        let error = listen(&receiver, Instant::now() + Duration::from_mins(1)).unwrap_err();
        assert!(error.to_string().contains("Kernel panic"), "{error}");
    }
}

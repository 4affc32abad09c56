//! The demo: everybody in the small internet, traffic through the relay, and a table of it.

mod cast;
mod cpu;
mod interrupts;
mod leave;
mod preflight;
mod screen;
mod status;
mod table;
mod traffic;
mod verdict;

pub use cast::{Cast, parse_datapath};
pub use cpu::DaemonCpu;
pub use interrupts::Interrupts;
pub use leave::Remains;
pub use preflight::preflight;
pub use screen::Screen;
pub use status::Status;
pub use table::{Moment, compact, full};
pub use traffic::{Board, Client, Leg, drive};
pub use verdict::failures;

/// What the demo builds.
pub const PICTURE: &str = "\
Five miredo clients qualify at shipworm and talk to a native IPv6 host through shipworm:

  pub  client ----------+
  cone client -- NAT ---+     shipworm server
  addr client -- NAT ---+             |
  port client -- NAT ---+---- IPv4 internet ==== shipworm relay ==== IPv6 ---- host
  sym  client -- NAT ---+     198.51.100.0/24      XDP on both         2001:db8:2::2
                              203.0.113.0/24       sides

Every machine is a network namespace with its own interfaces, every NAT the kernel's own.
Nothing of this machine's network is touched, and nothing stays when the demo ends.
Echoes and TCP transfers cross the relay inward (host to client) and outward. The first echo
inward meets a cold relay and waits for bubbles; the first one outward finds the way open.
";

//! A small internet in network namespaces.
//!
//! ```text
//!                      server .2 .3 ------- v6r ------- host 2001:db8:2::2
//!                         |   2001:db8:3::/64 |  2001:db8:2::/64
//!      203.0.113.0/28     |                   | 2001:db8:1::/64, 2001::/32 -> relay
//!                         |                   |
//!        bench -------- inet -------------- relay   203.0.113.18 / 2001:db8:1::2
//!    198.51.100.98        |   203.0.113.16/28
//!    (+ .128/25)          |
//!                         +-- 198.51.100.0/28  pub client  .2                   (no NAT)
//!                         +-- 198.51.100.16/28 cone router .18 -- 10.64.1.2 cone client
//!                         +-- 198.51.100.32/28 addr router .34 -- 10.64.2.2 addr client
//!                         +-- 198.51.100.48/28 port router .50 -- 10.64.3.2 port client
//!                         +-- 198.51.100.64/28 sym  router .66 -- 10.64.4.2 sym  client
//! ```
//!
//! Interfaces: in inet `lb-srv lb-rly lb-bench` and `lb-pub` to `lb-sym`; in v6r `lb-srv lb-rly
//! lb-host`; in a NAT router `lb-wan` and `lb-nat`; in a client `lb-lan`; in bench `lb-v4`; in
//! server, relay and host `lb-v4`, `lb-v6`; in a one-armed relay `lb-nic`. A tagged leg has its
//! addresses on a VLAN device, for example `lb-v4.100`. Client *i* binds UDP port 40000+*i*; the three cone
//! NATs map it to 50000+*i*.
//!
//! A lab has no global names: any number of them run side by side, and one that is killed
//! leaves nothing behind.

pub mod both;
mod cable;
mod capture;
pub mod demo;
mod init;
mod judge;
mod leftovers;
mod legs;
mod many_addresses;
pub mod miredo;
mod mounts;
mod nat;
mod netns;
mod node;
mod packet_socket;
mod ping;
mod process;
mod service;
pub mod shipworm;
mod tap;
pub mod teredo_client;
pub mod teredo_server;
mod topology;
pub mod transfer;
mod vlan;
mod wait;
mod xdp_pass;

pub use cable::CableEnd;
pub use capture::{Capture, Pcap};
pub use judge::{Verdict, assert_checksums_right};
pub use leftovers::Traces;
pub use nat::Nat;
pub use netns::Netns;
pub use node::Node;
pub use ping::{Ping, PingReport};
pub use process::{Pids, Process};
pub use topology::{Cabling, Lab, Options, RELAY_PORT, Site};
pub use vlan::VlanDevice;
pub use wait::{wait_for, wait_for_some};
pub use xdp_pass::XdpPass;

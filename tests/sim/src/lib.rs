//! A Teredo internet on a virtual clock, replayed from a seed.
//!
//! ```text
//! seed ─► Plan ─► World ─► Outcome { trace, violations, figures }
//!                  │ ▲
//!      relays, servers, clients behind NATs, hosts, attackers, links
//!                  │
//!                  └──► Observer: what must never be, judged from outside
//! ```
//!
//! Nothing here reads a clock, draws from a global source or iterates in an order the process chooses: the same plan gives the
//! same trace. Relays are `teredo`'s state machine behind [`RelayNode`](relay::RelayNode), servers and clients stand
//! behind [`TeredoServer`](server::TeredoServer) and [`TeredoClient`](client::TeredoClient). The server and the client here
//! are written from the rules alone, and share with the relay the wire formats and nothing else.
//!
//! `docs/simulation.md` tells what is simulated, what is judged, and how to run a seed again.

pub mod attack;
pub mod check;
pub mod client;
pub mod explore;
pub mod flaw;
pub mod line_table;
pub mod nat;
pub mod net;
pub mod packet;
pub mod plan;
pub mod relay;
pub mod scale;
pub mod server;
pub mod world;

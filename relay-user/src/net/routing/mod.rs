//! The kernel's routes, as far as keeping its answers depends on them: what has changed, and whether an answer
//! may be kept at all.
//!
//! [`RouteWatch`] tells of every change as an [`Event`]; [`Judge::all_plain`] looks at everything there is. Routes
//! themselves are never copied: whoever wants one asks the kernel.
//!
//! An answer is kept by what identifies a packet's destination, so it may be kept only while the kernel decides by
//! nothing else. Routes and rules are *plain* when that is so:
//!
//! | | IPv4: one peer's outer packets | IPv6: packets to one native destination |
//! |---|---|---|
//! | constant, may be looked at | addresses, ports, protocol, device, mark | destination, device, mark |
//! | differs, may not | TOS | source, protocol, ports, traffic class, flow label |
//! | multipath | plain, unless it asks for the state of neighbours | not plain |
//! | routes that expire | there are none | not plain: the kernel tells of it up to 30 s late |

mod event;
mod message;
mod request;
mod route;
mod watch;

use std::io;

pub use event::{Event, Families, Family, Link, Neighbour};
pub use request::NeighbourUse;
pub use route::Judge;
pub use watch::RouteWatch;

impl Judge {
    /// Whether every rule and every route of `family` is plain, by a look at all of them. Ends at the first that is not.
    ///
    /// # Errors
    /// The kernel's refusal, and [`io::ErrorKind::Interrupted`] when something changed meanwhile and may have been missed.
    pub fn all_plain(&self, family: Family) -> io::Result<bool> {
        let all = |kind| {
            request::dump(kind, family.number(), |message| {
                route::is_plain(message, self).unwrap_or(true)
            })
        };
        Ok(all(libc::RTM_GETRULE)? && all(libc::RTM_GETROUTE)?)
    }
}

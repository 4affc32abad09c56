//! A server's settings, and datagrams that arrive one after the other.

use serde::{Deserialize, Serialize};

use crate::case::Step;
use crate::reference::server::{Bursts, Rules};

/// What server and program are loaded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Program {
    /// Documentation ranges are opened; a relay has another port of the primary address.
    Lab,
    /// Global unicast alone, credentials required, the secondary address somewhere else.
    Strict,
    /// Everything is opened that can be, and next hops are kept.
    Open,
    /// Buckets of a few packets.
    Scarce,
}

/// All of them.
pub(crate) const PROGRAMS: [Program; 4] = [
    Program::Lab,
    Program::Strict,
    Program::Open,
    Program::Scarce,
];

/// Port of the relay beside the server.
pub(crate) const RELAY_PORT: u16 = 3545;

/// More than a case sends.
const PLENTY: u32 = 1_000_000;

impl Program {
    pub(crate) fn has_relay(self) -> bool {
        matches!(self, Self::Lab | Self::Scarce)
    }

    /// What a server of this program goes by.
    pub(crate) fn rules(self) -> Rules {
        let (primary, secondary) = match self {
            // The captured server's.
            Self::Lab | Self::Scarce => (0xcb00_7102, 0xcb00_7103),
            Self::Strict => (0x5db8_0001, 0x0202_0202),
            Self::Open => (0x0202_0202, 0xc633_6432),
        };
        let burst = |few| if self == Self::Scarce { few } else { PLENTY };
        Rules {
            primary,
            secondary,
            requires_credentials: self == Self::Strict,
            opened: match self {
                Self::Strict => vec![],
                Self::Open => vec![(0, 0)],
                Self::Lab | Self::Scarce => {
                    vec![(0xc633_6400, 24), (0xc000_0200, 24), (0xcb00_7100, 24)]
                }
            },
            own: vec![0xc633_6409, 0x0808_0404],
            broadcasts: vec![0xc633_643f, 0x0808_04ff],
            bursts: Bursts {
                source: burst(2),
                target: burst(2),
                native: burst(1),
            },
        }
    }
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) program: Program,
    pub(crate) steps: Vec<Step>,
}

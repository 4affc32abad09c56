//! What can happen, and to whom.

use teredo::addr::Mapped;

/// Something that will happen.
#[derive(Clone, Debug, Hash)]
pub(super) enum Event {
    V4 {
        from: Mapped,
        to: Mapped,
        payload: Vec<u8>,
    },
    V6(Vec<u8>),
    WakeRelay(usize),
    WakeClient(usize),
    Flow(usize),
    Happens(Happening),
}

/// Something from outside.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum Happening {
    WeatherEnds,
    WeatherBegins,
    CutOff(usize),
    Reconnected,
    NatReboots(usize),
    NatMoves(usize),
    RelayRestarts { relay: usize, keeps_table: bool },
    RouteFlaps(usize),
    Attack,
}

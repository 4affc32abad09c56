//! What relay and server are both made of.

pub(crate) mod hosts;
pub(crate) mod keyed;
pub(crate) mod limits;
pub(crate) mod seed;
pub(crate) mod tally;

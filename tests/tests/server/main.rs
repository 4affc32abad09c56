//! Our Teredo server on its machine, with real miredo clients and with scripted ones.

mod matrix;
mod qualification;
mod rivals;

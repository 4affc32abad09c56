//! Token buckets by IPv4 address (S-17), of each CPU's own.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use relay_common::{
    RATE_KINDS, RATE_LINES, Rate, RateLine, Reason, rate_line, rate_time, take, take_again,
};

use crate::config;
use crate::maps::RATES;

/// Takes one packet's worth for a packet that `ip` sends on.
///
/// # Errors
/// [`Reason::OuterSourceRateExceeded`].
#[inline(always)]
pub(super) fn from_source(ip: u32) -> Result<(), Reason> {
    let exceeded = Reason::OuterSourceRateExceeded;
    take_from(0, ip, config::server_source_rate(), exceeded)
}

/// Takes one packet's worth for a packet to `ip`, an advertisement or one that is sent on.
///
/// # Errors
/// [`Reason::TargetRateExceeded`].
#[inline(always)]
pub(super) fn to_target(ip: u32) -> Result<(), Reason> {
    let exceeded = Reason::TargetRateExceeded;
    take_from(1, ip, config::server_target_rate(), exceeded)
}

#[inline(always)]
fn take_from(kind: u32, ip: u32, rate: Rate, exceeded: Reason) -> Result<(), Reason> {
    // SAFETY: the helper has no precondition.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    let number = (cpu * RATE_KINDS + kind) * RATE_LINES + rate_line(ip, config::rate_key());
    // A CPU user space knew nothing of.
    let line = RATES.get_ptr_mut(number).ok_or(Reason::PassToServer)?;
    // SAFETY: the line is this CPU's own and XDP programs do not nest on one CPU.
    let line = unsafe { &mut *line };
    let now = rate_time(config::now_ns());
    let latest = latest(line).ok_or(Reason::PassToServer)?;
    if *latest as u32 == ip {
        *latest = take_again(*latest, ip, now, rate).ok_or(exceeded)?;
        return Ok(());
    }
    let taken = take(line, ip, now, rate).ok_or(exceeded)?;
    // SAFETY: a reference to the word.
    unsafe { write_volatile(&raw mut line.latest, taken.way as u64) };
    *self::latest(line).ok_or(Reason::PassToServer)? = taken.bucket;
    Ok(())
}

/// The bucket that was asked for last.
///
/// The number is loaded: what a map holds the verifier takes as it comes. As it was computed it would follow it back, and keep
/// every way to here apart that differs in what is known of the address.
#[inline(always)]
fn latest(line: &mut RateLine) -> Option<&mut u64> {
    // SAFETY: a reference to the word.
    let way = unsafe { read_volatile(&raw const line.latest) } as usize;
    line.buckets.get_mut(way)
}

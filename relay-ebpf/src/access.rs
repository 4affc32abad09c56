//! Whom the operator serves: prefixes that are allowed and denied.
//!
//! Where a kind of address is unrestricted the verifier knows it and removes the question.

use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use relay_common::{KeyWords, MappedWord, Reason, access};

use crate::config;
use crate::maps::{CLIENT_ACCESS, NATIVE_ACCESS, SERVER_ACCESS};

/// Whether this native host is served. One in whose address an IPv4 address is embedded is the slow path's to judge.
///
/// # Errors
/// [`Reason::NativeDenied`].
#[inline(always)]
pub(crate) fn native(ip: &[u8; 16]) -> Result<(), Reason> {
    judge(config::native_access(), &NATIVE_ACCESS, || *ip).ok_or(Reason::NativeDenied)
}

/// Whether the client of this Teredo address and its server are served, by what the address says.
///
/// # Errors
/// [`Reason::ClientDenied`], [`Reason::ServerDenied`].
#[inline(always)]
pub(crate) fn client(teredo: &[u8; 16]) -> Result<(), Reason> {
    let [.., a, b, c, d] = teredo;
    judge(config::client_access(), &CLIENT_ACCESS, || [!a, !b, !c, !d])
        .ok_or(Reason::ClientDenied)?;
    let [_, _, _, _, a, b, c, d, ..] = teredo;
    judge(config::server_access(), &SERVER_ACCESS, || [*a, *b, *c, *d]).ok_or(Reason::ServerDenied)
}

/// Whether the client is served at the address that was learned, where that is another than its Teredo address says.
///
/// # Errors
/// [`Reason::ClientDenied`].
#[inline(always)]
pub(crate) fn learned(peer: KeyWords, mapped: MappedWord) -> Result<(), Reason> {
    let others = config::client_access();
    if others == access::UNRESTRICTED || mapped.ip() == peer.embedded().ip() {
        return Ok(());
    }
    judge(others, &CLIENT_ACCESS, || mapped.ip().to_ne_bytes()).ok_or(Reason::ClientDenied)
}

/// `None`: it is not served.
#[inline(always)]
fn judge<const BYTES: usize>(
    others: u8,
    map: &LpmTrie<[u8; BYTES], u8>,
    address: impl FnOnce() -> [u8; BYTES],
) -> Option<()> {
    if others == access::UNRESTRICTED {
        return Some(());
    }
    let key = Key::new(8 * BYTES as u32, address());
    let found = map.get(&key).copied().unwrap_or(others);
    (found == access::ALLOWED).then_some(())
}

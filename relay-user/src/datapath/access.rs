//! The maps of who is served.
#![allow(unreachable_pub, reason = "public for rigs alone")]

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use relay_common::{access, maps};
use teredo::relay::{Access, AccessList, Rule};

use super::broken_build;
use crate::error::StartError;

/// How the program judges an address that no prefix of the list holds.
pub fn of_others(list: &AccessList) -> u8 {
    match (list.is_empty(), list.allows_others()) {
        (true, _) => access::UNRESTRICTED,
        (false, true) => access::ALLOWED,
        (false, false) => access::DENIED,
    }
}

/// Enters the prefixes, which stay as they are while the program runs.
///
/// # Errors
/// The kernel's refusal, for want of memory.
pub fn enter_access(ebpf: &mut Ebpf, lists: &Access) -> Result<(), StartError> {
    let ipv4 = |rule: &Rule| (rule.first.to_be_bytes()[..4]).try_into().unwrap_or([0; 4]);
    enter(ebpf, maps::NATIVE_ACCESS, &lists.native, |rule| {
        rule.first.to_be_bytes()
    })?;
    enter(ebpf, maps::CLIENT_ACCESS, &lists.clients, ipv4)?;
    enter(ebpf, maps::SERVER_ACCESS, &lists.servers, ipv4)
}

fn enter<const BYTES: usize>(
    ebpf: &mut Ebpf,
    name: &str,
    list: &AccessList,
    first: impl Fn(&Rule) -> [u8; BYTES],
) -> Result<(), StartError>
where
    [u8; BYTES]: aya::Pod,
{
    let map = ebpf
        .map_mut(name)
        .ok_or_else(|| broken_build("map", name, "not in the embedded object"))?;
    let mut map: LpmTrie<_, [u8; BYTES], u8> =
        LpmTrie::try_from(map).map_err(|error| broken_build("map", name, error.to_string()))?;
    for rule in list.rules() {
        let verdict = if rule.is_allowed {
            access::ALLOWED
        } else {
            access::DENIED
        };
        let key = Key::new(rule.len.into(), first(rule));
        map.insert(&key, verdict, 0).map_err(|error| {
            StartError::new("map", name, error.to_string(), "give fewer prefixes")
        })?;
    }
    Ok(())
}

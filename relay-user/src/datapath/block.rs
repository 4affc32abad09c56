//! The program's configuration block, and what the maps are sized and filled with before it runs.
#![allow(unreachable_pub, reason = "public for rigs alone")]

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader};
use relay_common::{RATE_KINDS, RATE_LINES, Rate, RelayConfig, TableShape, access, maps};
use teredo::relay::Ipv4Net;

use super::access::of_others;
use super::{Clock, Secrets, ServerRole, Settings, broken_build};
use crate::error::StartError;
use crate::slowpath::xsk::PUNT_FRAME_MAX;

/// The block of `settings`, for a peer table of that shape.
pub(super) fn config_of(settings: &Settings, table: TableShape, clock: Clock) -> RelayConfig {
    let mut config = RelayConfig {
        table,
        id_key: settings.secrets.identification,
        route_key: settings.secrets.routes,
        jiffy_ns: clock.jiffy_ns,
        clock_offset_ns: clock.offset_ns,
        fib_ifindex: settings.fib_ifindex,
        punt_frame_max: PUNT_FRAME_MAX,
        ..RelayConfig::default()
    };
    if let Some(relay) = &settings.relay {
        config.service_ipv4 = relay.service.ip().octets();
        config.service_port = relay.service.port().to_be_bytes();
        config.tunnel_mtu = relay.tunnel_mtu;
        config.native_access = of_others(&relay.access.native);
        config.client_access = of_others(&relay.access.clients);
        config.server_access = of_others(&relay.access.servers);
    }
    if let Some(server) = &settings.server {
        describe_server(&mut config, server, &settings.secrets);
    }
    config
}

/// Writes the server's part of the block.
pub fn describe_server(config: &mut RelayConfig, server: &ServerRole, secrets: &Secrets) {
    let limits = server.limits;
    config.server_primary = server.primary.octets();
    config.server_secondary = server.secondary.octets();
    config.server_requires_credentials = server.require_credentials.into();
    config.server_opened = (!server.allow_non_global.is_empty()).into();
    config.rate_key = secrets.rates;
    config.server_source_rate = Rate::new(limits.source_per_s, limits.source_burst);
    config.server_target_rate = Rate::new(limits.target_per_s, limits.target_burst);
}

/// Gives the map of buckets a part for each CPU the machine may have, or next to nothing where there is no server.
///
/// # Errors
/// The machine does not say how many CPUs it may have.
pub fn size_rates(loader: &mut EbpfLoader<'_>, has_server: bool) -> Result<(), StartError> {
    let lines = if has_server {
        let cpus = nr_cpus()
            .map_err(|(path, error)| StartError::new("CPUs", path, error.to_string(), ""))?;
        u32::try_from(cpus)
            .unwrap_or(u32::MAX)
            .saturating_mul(RATE_KINDS * RATE_LINES)
    } else {
        1
    };
    loader.map_max_entries(maps::RATES, lines);
    Ok(())
}

/// Enters the ranges the server may send to although they are not global unicast.
///
/// # Errors
/// The kernel's refusal: too many.
pub fn enter_opened(ebpf: &mut Ebpf, opened: &[Ipv4Net]) -> Result<(), StartError> {
    let name = maps::SERVER_OPENED;
    let map = ebpf
        .map_mut(name)
        .ok_or_else(|| broken_build("map", name, "not in the embedded object"))?;
    let mut map: LpmTrie<_, [u8; 4], u8> =
        LpmTrie::try_from(map).map_err(|error| broken_build("map", name, error.to_string()))?;
    for net in opened {
        let key = Key::new(net.prefix_len().into(), net.network().octets());
        map.insert(&key, access::ALLOWED, 0).map_err(|error| {
            StartError::new(
                "--allow-non-global",
                net.to_string(),
                error.to_string(),
                "give fewer prefixes",
            )
        })?;
    }
    Ok(())
}

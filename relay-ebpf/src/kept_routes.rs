//! Routes that were asked for lately: two small caches of each CPU's own, by destination. The one to native hosts, the other to
//! those a server sends to, who come and go faster.

use relay_common::maps::MAX_KEPT_ROUTES;
use relay_common::{KeptRoute, MappedWord};

use crate::config;
use crate::maps::KEPT_ROUTES;

/// The one place where a destination's route is kept.
pub(crate) struct KeptSlot(*mut KeptRoute);

impl KeptSlot {
    /// The place for a native host.
    #[inline(always)]
    pub(crate) fn of_native(destination: [u64; 2]) -> Option<Self> {
        Self::of(destination, 0)
    }

    /// The place for `target`, and what it goes by. The port may decide on the route as well.
    #[inline(always)]
    pub(crate) fn of_target(target: MappedWord) -> (Option<Self>, [u64; 2]) {
        let destination = [target.0, 0];
        (Self::of(destination, MAX_KEPT_ROUTES), destination)
    }

    #[inline(always)]
    fn of(destination: [u64; 2], first: u32) -> Option<Self> {
        const INDEX_BITS: u32 = MAX_KEPT_ROUTES.trailing_zeros();
        let key = config::route_key();
        let hash = (destination[0] ^ key).wrapping_mul(key | 1) ^ destination[1];
        let hash = (hash ^ (hash >> 32)).wrapping_mul(key | 1);
        KEPT_ROUTES
            .get_ptr_mut(first + (hash >> (u64::BITS - INDEX_BITS)) as u32)
            .map(Self)
    }

    /// Number and version of the next hop kept for `destination`.
    #[inline(always)]
    pub(crate) fn get(&self, destination: [u64; 2]) -> Option<(u32, u32)> {
        // SAFETY: the element is this CPU's own and XDP programs do not nest on one CPU.
        let route = unsafe { &*self.0 };
        let differs =
            (route.destination[0] ^ destination[0]) | (route.destination[1] ^ destination[1]);
        (differs == 0).then_some((route.hop, route.version))
    }

    /// Keeps a next hop for `destination`, in the place of whatever was there.
    #[inline(always)]
    pub(crate) fn put(self, destination: [u64; 2], hop: u32, version: u32) {
        // SAFETY: as in `get`.
        let route = unsafe { &mut *self.0 };
        route.destination = destination;
        route.hop = hop;
        route.version = version;
    }
}

const _: () = assert!(MAX_KEPT_ROUTES.is_power_of_two());

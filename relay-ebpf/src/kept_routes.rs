//! Routes to native hosts that were asked for lately: a small cache of each CPU's own, by destination.

use relay_common::KeptRoute;
use relay_common::maps::MAX_KEPT_ROUTES;

use crate::config;
use crate::maps::KEPT_ROUTES;

/// The one place where a destination's route is kept.
pub(crate) struct KeptSlot(*mut KeptRoute);

impl KeptSlot {
    /// The place for `destination`.
    #[inline(always)]
    pub(crate) fn of(destination: [u64; 2]) -> Option<Self> {
        const INDEX_BITS: u32 = MAX_KEPT_ROUTES.trailing_zeros();
        let key = config::route_key();
        let hash = (destination[0] ^ key).wrapping_mul(key | 1) ^ destination[1];
        let hash = (hash ^ (hash >> 32)).wrapping_mul(key | 1);
        KEPT_ROUTES
            .get_ptr_mut((hash >> (u64::BITS - INDEX_BITS)) as u32)
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

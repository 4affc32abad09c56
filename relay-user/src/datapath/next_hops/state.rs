//! What is known of routes, links and neighbours, and what follows for the next hops.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use relay_common::{Egress, HOPS, HopKey, Ticks};

use super::slots::{Numbers, SLOTS, Slots};
use crate::net::routing::{Event, Families, Family, Link, Neighbour};

/// Next hops of a family are entered again when its routes have not changed for this long. A change costs each peer one
/// question to the kernel; while they keep coming, keeping answers is not worth it. It also outlasts by far the time between the
/// kernel's word of a removal and the removal, which comes after it.
pub(super) const QUIET: Duration = Duration::from_millis(200);

/// Retired slots from which on their numbers are called in even if nobody wants a slot.
const RETIRED_MAX: u32 = HOPS / 4;

/// Live next hops up to which a lack of free slots is bad luck with homes rather than a full map.
const CROWDED_MIN: u32 = HOPS / 2;

/// What is known of the routes of a family.
#[derive(Debug, Default)]
struct Routes {
    /// All of them are plain: answers may be kept.
    plain: bool,
    /// Whether they are plain must be found out.
    unsure: bool,
    /// Changes so far.
    changes: u64,
    /// Changes so far to something not plain.
    doubts: u64,
    changed_at: Option<Instant>,
}

impl Routes {
    fn are_quiet(&self, now: Instant) -> bool {
        self.changed_at
            .is_none_or(|at| now.saturating_duration_since(at) >= QUIET)
    }
}

/// A next hop written but not yet live.
#[derive(Clone, Copy, Debug)]
pub(super) struct Staged {
    number: usize,
    key: HopKey,
    egress: Egress,
    changes: u64,
}

/// A look at all routes of a family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) family: Family,
    doubts: u64,
}

/// All that is known, and the slots.
#[derive(Debug)]
pub(super) struct State {
    slots: Slots,
    routes: [Routes; Family::ALL.len()],
    links: HashMap<u32, Link>,
    /// As many as the kernel has, which bounds them (`gc_thresh3`).
    neighbours: HashMap<(u32, IpAddr), Neighbour>,
    egress: HashMap<u32, Egress>,
    /// No free slot was where a wanted next hop could stand.
    lacking: bool,
}

impl State {
    pub(super) fn new(slots: Slots) -> Self {
        Self {
            slots,
            routes: Family::ALL.map(|_| Routes {
                unsure: true,
                ..Routes::default()
            }),
            links: HashMap::new(),
            neighbours: HashMap::new(),
            egress: HashMap::new(),
            lacking: false,
        }
    }

    pub(super) const fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Whether the program may keep next hops of `family`.
    pub(super) const fn keeps(&self, family: Family) -> bool {
        self.routes[family as usize].plain
    }

    /// Draws the consequences of `event` at once.
    pub(super) fn apply(&mut self, event: &Event, now: Instant) {
        match *event {
            Event::Routes { families, plain } => self.routes_changed(families, plain, now),
            Event::Settings { family, ifindex } => {
                if ifindex == 0 || self.links.get(&ifindex).is_some_and(|link| link.up) {
                    self.routes_changed(Families::One(family), true, now);
                }
            }
            Event::Link { ifindex, now: link } => self.link_changed(ifindex, link, now),
            Event::Neighbour {
                ifindex,
                address,
                now: neighbour,
            } => self.neighbour_changed(ifindex, address, neighbour),
            Event::Lost => {
                self.links.clear();
                self.neighbours.clear();
                self.routes_changed(Families::Both, false, now);
            }
        }
    }

    fn routes_changed(&mut self, families: Families, plain: bool, now: Instant) {
        for family in Family::ALL.into_iter().filter(|f| families.contains(*f)) {
            self.slots
                .retire(|key| key.family == u32::from(family.number()));
            let routes = &mut self.routes[family as usize];
            routes.changes += 1;
            routes.changed_at = Some(now);
            if !plain {
                routes.doubts += 1;
                routes.plain = false;
                self.slots.allow(family, false);
            }
            // What went may have been the last that was not plain.
            routes.unsure |= !routes.plain;
        }
    }

    /// When a device goes down or loses its carrier, routes go of which the kernel does not tell, at least of IPv4. On one
    /// that is down there are none.
    fn link_changed(&mut self, ifindex: u32, link: Option<Link>, now: Instant) {
        let before = match link {
            Some(link) => self.links.insert(ifindex, link),
            None => self.links.remove(&ifindex),
        };
        let is_up = |link: &Option<Link>| link.is_some_and(|link| link.up);
        if before != link && (is_up(&before) || is_up(&link)) {
            self.routes_changed(Families::Both, true, now);
        }
    }

    fn neighbour_changed(&mut self, ifindex: u32, address: IpAddr, now: Option<Neighbour>) {
        let place = (ifindex, address);
        let before = match now {
            Some(neighbour) => self.neighbours.insert(place, neighbour),
            None => self.neighbours.remove(&place),
        };
        if let Some(before) = before
            && now.is_none_or(|now| now.mac != before.mac)
        {
            self.slots
                .retire(|key| key.ifindex == ifindex && key.destination_mac == before.mac);
        }
    }

    /// How frames leave through each device now.
    pub(super) fn set_egress(&mut self, egress: &HashMap<u32, Egress>) {
        let before = std::mem::replace(&mut self.egress, egress.clone());
        self.slots
            .retire(|key| before.get(&key.ifindex) != egress.get(&key.ifindex));
    }

    #[cfg(test)]
    pub(super) fn slots_mut(&mut self) -> &mut Slots {
        &mut self.slots
    }

    /// The next hop `number` and how frames leave by it, if it is still what it was as `version`, and live at `now`.
    pub(super) fn live(&self, number: u32, version: u32, now: Ticks) -> Option<(HopKey, Egress)> {
        let key = self.slots.live_as(number, version, now)?;
        Some((key, *self.egress.get(&key.ifindex)?))
    }

    /// All that the kernel had told at `now` has been applied.
    pub(super) fn renew(&mut self, now: Ticks) {
        self.slots.renew(now);
    }

    /// Nobody tells of changes any more: nothing may be kept from now on.
    pub(super) fn go_deaf(&mut self) {
        self.slots.retire(|_| true);
        for family in Family::ALL {
            self.slots.allow(family, false);
            let routes = &mut self.routes[family as usize];
            (routes.plain, routes.unsure) = (false, false);
        }
    }

    /// Writes a wanted next hop, if it may be kept and there is room.
    pub(super) fn stage(&mut self, key: HopKey, now: Instant) -> Option<Staged> {
        let routes = self.routes_of(&key)?;
        let (may_keep, changes) = (routes.plain && routes.are_quiet(now), routes.changes);
        let egress = *self.egress.get(&key.ifindex)?;
        if !may_keep || !self.is_true(&key) || self.slots.has(&key) {
            return None;
        }
        let staged = self.slots.stage(key, egress);
        self.lacking |= staged.is_none();
        Some(Staged {
            number: staged?,
            key,
            egress,
            changes,
        })
    }

    /// Makes a staged next hop live, unless something has changed meanwhile. No run of the program may be left that
    /// began before it was staged.
    pub(super) fn publish(&mut self, staged: &Staged) {
        let unchanged = self
            .routes_of(&staged.key)
            .is_some_and(|routes| routes.plain && routes.changes == staged.changes);
        let same_egress = self.egress.get(&staged.key.ifindex) == Some(&staged.egress);
        if unchanged && same_egress && self.is_true(&staged.key) {
            self.slots.publish(staged.number);
        } else {
            self.slots.abandon(staged.number);
        }
    }

    /// Gives up a staged next hop.
    pub(super) fn abandon(&mut self, staged: &Staged) {
        self.slots.abandon(staged.number);
    }

    /// Whether link and neighbour are what `key` says.
    fn is_true(&self, key: &HopKey) -> bool {
        let link = self.links.get(&key.ifindex);
        let through = link.is_some_and(|link| link.up && link.mac == key.source_mac);
        let mut neighbours = self.neighbours.iter();
        key.mtu != 0
            && through
            && neighbours.any(|((ifindex, _), neighbour)| {
                *ifindex == key.ifindex && neighbour.mac == key.destination_mac
            })
    }

    /// Neighbours whose use the kernel cannot see: those behind live next hops that it looks after itself.
    pub(super) fn neighbours_in_use(&self) -> Vec<(u32, IpAddr)> {
        let live: Vec<HopKey> = self.slots.live().collect();
        let in_use = |ifindex: u32, neighbour: &Neighbour| {
            neighbour.discovered
                && live
                    .iter()
                    .any(|key| key.ifindex == ifindex && key.destination_mac == neighbour.mac)
        };
        self.neighbours
            .iter()
            .filter(|((ifindex, _), neighbour)| in_use(*ifindex, neighbour))
            .map(|(place, _)| *place)
            .collect()
    }

    /// A family of which it is not known whether its routes are plain, once they are quiet.
    pub(super) fn look(&mut self, family: Family, now: Instant) -> Option<Look> {
        let routes = &mut self.routes[family as usize];
        let due = routes.unsure && routes.are_quiet(now);
        due.then(|| {
            routes.unsure = false;
            Look {
                family,
                doubts: routes.doubts,
            }
        })
    }

    /// What the look has shown: whether all were plain, or nothing. Routes that changed meanwhile have told themselves what they
    /// are.
    pub(super) fn looked(&mut self, look: Look, plain: Option<bool>) {
        let routes = &mut self.routes[look.family as usize];
        match plain {
            Some(true) if routes.doubts == look.doubts => {
                (routes.plain, routes.unsure) = (true, false);
                self.slots.allow(look.family, true);
            }
            Some(false) => {}
            _ => routes.unsure = true,
        }
    }

    /// The retired slots, if their numbers should be called in.
    pub(super) fn to_call_in(&self) -> Option<Numbers> {
        let retired = self.slots.counts().retired;
        let due = retired >= RETIRED_MAX || (self.lacking && retired > 0);
        due.then(|| self.slots.retired())
    }

    /// Frees `numbers`, which nobody holds any more.
    pub(super) fn free(&mut self, numbers: &Numbers) {
        self.slots.free(numbers);
        self.lacking = false;
    }

    /// Whether next hops lack slots although the map is half empty.
    pub(super) fn is_crowded(&self) -> bool {
        let counts = self.slots.counts();
        self.lacking && counts.retired == 0 && counts.live < CROWDED_MIN
    }

    /// Gives every next hop another home.
    pub(super) fn move_homes(&mut self) {
        self.slots.move_homes();
        self.lacking = false;
    }

    fn routes_of(&self, key: &HopKey) -> Option<&Routes> {
        let family = Family::of(u8::try_from(key.family).ok()?)?;
        Some(&self.routes[family as usize])
    }
}

const _: () = assert!(SLOTS == HOPS as usize);

#[cfg(test)]
mod tests;

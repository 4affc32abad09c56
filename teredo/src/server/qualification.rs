//! Solicitations answered with advertisements (S-5, S-10 to S-12, S-20 to S-22).

use super::command::Local;
use super::{Order, Server};
use crate::addr::Mapped;
use crate::wire::auth::Auth;
use crate::wire::origin::Origin;
use crate::wire::payload::Payload;
use crate::wire::rs_ra::RouterSolicitation;
use crate::{Fate, Instant};

impl Server {
    /// Answers a router solicitation that came to `at` from `outer`, to the outer source and nowhere else.
    ///
    /// Everything in the answer is the server's own, or of this very solicitation.
    pub(super) fn advertise(
        &mut self,
        now: Instant,
        at: Local,
        outer: Mapped,
        received: &Payload<'_>,
    ) -> Result<Order, Fate> {
        let solicitation = RouterSolicitation::parse(received.header, received.body)
            .map_err(|_| Fate::SolicitationInvalid)?;
        let key = match &received.auth {
            Some(auth) if !is_plain(auth) => Some(self.config.credentials.verify(
                auth,
                received.origin,
                received.packet,
            )?),
            _ if self.config.require_credentials => return Err(Fate::CredentialsMissing),
            _ => None,
        };
        // What is answered goes to where it came from, or seems to.
        if !self.targets.take_or_take_over(now, outer.ip) {
            return Err(Fate::TargetRateExceeded);
        }
        let origin = Origin { mapped: outer };
        let packet = self.advertisement.to(&solicitation.source);
        if let Some(asked) = &received.auth {
            match key {
                Some(key) => key.write_answer(asked, origin, &packet, &mut self.out),
                None => Auth::with_nonce(asked.nonce).write(&mut self.out),
            }
        }
        self.out.extend_from_slice(&origin.to_bytes());
        self.out.extend_from_slice(&packet);
        let from = if solicitation.cone() { at.other() } else { at };
        Ok(Order::Advertise { from })
    }
}

/// Whether the header carries no credentials, as those of deployed clients.
const fn is_plain(auth: &Auth<'_>) -> bool {
    auth.client_id().is_empty() && auth.auth_value().is_empty()
}

//! S-10 to S-12 and S-20 to S-23: a solicitation and its answer.

use hmac::{Hmac, Mac as _};
use sha1::Sha1;

use super::super::Ended;
use super::super::bytes::upper_sum;
use super::super::datagram::Auth;
use super::{Arrival, CREDENTIALS, Leaving, Received, Taken, Verdict, is_valid, origin, take};

impl Arrival<'_> {
    pub(super) fn advertise(
        &self,
        received: &Received<'_>,
        taken: &mut Taken,
        verdict: &mut Verdict,
    ) -> Result<Ended, Ended> {
        let payload = &received.payload;
        verdict.may_pass |= self.rules.requires_credentials
            || payload.packet.len() != 48
            || payload.origin.is_some()
            || !payload.tail.is_empty();
        if !is_valid(payload.packet) {
            return Err("SolicitationInvalid");
        }
        let asks_securely = payload
            .auth
            .as_ref()
            .is_some_and(|auth| !auth.id.is_empty() || !auth.value.is_empty());
        let key = match &payload.auth {
            Some(auth) if asks_securely => {
                Some(proven(auth, payload.origin.unwrap_or(&[]), payload.packet)?)
            }
            _ if self.rules.requires_credentials => return Err("CredentialsMissing"),
            _ => None,
        };
        let burst = self.rules.bursts.target;
        take(&mut taken.targets, received.from.0, burst).ok_or("TargetRateExceeded")?;

        let answer = self.advertisement(&received.source);
        let origin = origin(received.from);
        let mut sent = Vec::new();
        if let Some(auth) = &payload.auth {
            sent.extend(header(auth, key, &origin, &answer));
        }
        sent.extend(origin);
        sent.extend(answer);
        // S-10: the cone bit.
        let is_from_primary =
            (received.at == self.rules.primary) != (received.source[8] & 0x80 != 0);
        verdict.leaving = Some(Leaving::Datagram {
            from: if is_from_primary {
                self.rules.primary
            } else {
                self.rules.secondary
            },
            to: received.from,
            payload: sent,
        });
        Ok("Advertised")
    }

    /// The packet of 2.7.
    fn advertisement(&self, to: &[u8; 16]) -> Vec<u8> {
        let mut packet = [
            &[0x60, 0, 0, 0, 0, 56, 58, 255][..],
            &self.link_local(),
            to,
            // ICMPv6: neither hop limit nor lifetime, retransmission after 2000 ms.
            &[134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x07, 0xd0],
            &[3, 4, 64, 0x40],
            &[0xff; 8],
            &[0; 4],
            &[0x20, 0x01, 0, 0],
            &self.rules.primary.to_be_bytes(),
            &[0; 8],
            // 1280.
            &[5, 1, 0, 0, 0, 0, 5, 0],
        ]
        .concat();
        let sum = !upper_sum(&packet, 58);
        packet[42..44].copy_from_slice(&sum.to_be_bytes());
        packet
    }
}

/// Secret of a client, and the confirmation it gets.
type Key = (&'static [u8], u8);

/// The key of the client that sent `auth`, if it has it (S-21).
fn proven(auth: &Auth<'_>, origin: &[u8], packet: &[u8]) -> Result<Key, Ended> {
    let client = CREDENTIALS.iter().find(|client| client.0 == auth.id);
    let (_, secret, is_old) = client.ok_or("ClientIdUnknown")?;
    if value(secret, &[auth.end, origin, packet]) != auth.value {
        return Err("CredentialsWrong");
    }
    Ok((secret, u8::from(*is_old)))
}

/// The header of the answer: nonce and identifier as in the question (S-12).
fn header(auth: &Auth<'_>, key: Option<Key>, origin: &[u8], answer: &[u8]) -> Vec<u8> {
    let nonce = &auth.end[..8];
    let Some((secret, confirmation)) = key else {
        return [&[0, 1, 0, 0], nonce, &[0]].concat();
    };
    let value = value(secret, &[nonce, &[confirmation], origin, answer]);
    let lens = [auth.id.len(), value.len()].map(|len| len.to_le_bytes()[0]);
    [&[0, 1], &lens[..], auth.id, &value, nonce, &[confirmation]].concat()
}

/// HMAC-SHA1 over all parts (S-20).
pub(crate) fn value(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("secrets have any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

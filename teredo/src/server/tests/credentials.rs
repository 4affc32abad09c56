//! S-5, S-20 to S-22: secure qualification.

use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::*;
use crate::server::{AUTH_VALUE_LEN, CredentialError, Credentials, KeyState};

const ID: &[u8] = b"client-1";
const SECRET: &[u8] = b"secret of client 1";
const NONCE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// A server that knows `ID`, and of another client.
fn bench(state: KeyState) -> Bench {
    let mut credentials = Credentials::default();
    credentials.insert(ID, SECRET, state).unwrap();
    credentials
        .insert(b"client-2", b"another secret", KeyState::Current)
        .unwrap();
    Bench::configured(|config| config.credentials = credentials)
}

/// S-20, written down once more: HMAC-SHA1 over nonce, confirmation, origin indication and packet.
fn value(secret: &[u8], covered: &[&[u8]]) -> [u8; AUTH_VALUE_LEN] {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).unwrap();
    for part in covered {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// A solicitation of the client `id` that has `secret`.
fn signed(id: &[u8], secret: &[u8]) -> Vec<u8> {
    let packet = solicitation(RESTRICTED_SOURCE);
    let value = value(secret, &[&NONCE, &[0], &packet]);
    let auth = Auth::secure(id, &value, NONCE, 0).unwrap();
    payload::build(Some(&auth), None, &packet)
}

/// S-21: same identifier, same nonce, key good, a value of the client's own secret over origin and advertisement.
#[test]
fn a_client_that_has_the_secret_gets_an_answer_that_proves_the_server_has_it_too() {
    for (state, confirmation) in [(KeyState::Current, 0), (KeyState::Retired, 1)] {
        let (_, answer) = bench(state).advertised(Local::Primary, NAT, &signed(ID, SECRET));
        let parsed = payload::parse(&answer).unwrap();
        let auth = parsed.auth.unwrap();
        let origin = Origin { mapped: NAT }.to_bytes();
        let expected = value(SECRET, &[&NONCE, &[confirmation], &origin, parsed.packet]);
        assert_eq!(auth.client_id(), ID);
        assert_eq!(auth.auth_value(), expected);
        assert_eq!((auth.nonce, auth.confirmation), (NONCE, confirmation));
        let plain = Bench::new().advertised(Local::Primary, NAT, &solicitation(RESTRICTED_SOURCE));
        assert!(plain.1.ends_with(parsed.packet));
    }
}

/// S-20: every bit of what the value covers, and of the value, counts.
#[test]
fn a_solicitation_changed_under_way_is_not_answered() {
    let mut bench = bench(KeyState::Current);
    let good = signed(ID, SECRET);
    for bit in 8 * (4 + ID.len())..8 * (13 + ID.len() + AUTH_VALUE_LEN) {
        let mut changed = good.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            bench.refused(NAT, &changed),
            Fate::CredentialsWrong,
            "{bit}"
        );
    }
    // The packet's own checksum speaks first, unless it is made right again.
    let other_packet = solicitation(CONE_SOURCE);
    let header = good.len() - other_packet.len();
    let changed = [&good[..header], &other_packet].concat();
    assert_eq!(bench.refused(NAT, &changed), Fate::CredentialsWrong);
    assert_eq!(bench.receive(NAT, &good).0, Fate::Advertised);
}

/// S-20: an origin indication is covered where there is one; trailers never are.
#[test]
fn an_origin_indication_is_covered_and_a_trailer_is_not() {
    let mut bench = bench(KeyState::Current);
    let packet = solicitation(RESTRICTED_SOURCE);
    let origin = Origin { mapped: OTHER_NAT };
    let with = value(SECRET, &[&NONCE, &[0], &origin.to_bytes(), &packet]);
    let without = value(SECRET, &[&NONCE, &[0], &packet]);
    for (value, origin, expected) in [
        (with, Some(&origin), Fate::Advertised),
        (without, Some(&origin), Fate::CredentialsWrong),
        (with, None, Fate::CredentialsWrong),
        (without, None, Fate::Advertised),
    ] {
        let auth = Auth::secure(ID, &value, NONCE, 0).unwrap();
        let mut sent = payload::build(Some(&auth), origin, &packet);
        assert_eq!(bench.receive(NAT, &sent).0, expected);
        sent.extend([1, 4, 9, 9, 9, 9]);
        assert_eq!(bench.receive(NAT, &sent).0, expected);
    }
}

/// S-21: a key that has expired is one nobody knows.
#[test]
fn an_unknown_client_is_not_answered() {
    let mut bench = bench(KeyState::Current);
    for id in [&b"client-3"[..], b"client-", b"client-11", b"\0", &[7; 255]] {
        assert_eq!(
            bench.refused(NAT, &signed(id, SECRET)),
            Fate::ClientIdUnknown
        );
    }
    let nameless = signed(&[], SECRET);
    assert_eq!(bench.refused(NAT, &nameless), Fate::ClientIdUnknown);
    let mut without = Bench::new();
    assert_eq!(
        without.refused(NAT, &signed(ID, SECRET)),
        Fate::ClientIdUnknown
    );
}

/// S-20, S-21.
#[test]
fn a_client_without_the_secret_is_not_answered() {
    let mut bench = bench(KeyState::Retired);
    for secret in [&b"another secret"[..], b"secret of client ", b"\0"] {
        assert_eq!(
            bench.refused(NAT, &signed(ID, secret)),
            Fate::CredentialsWrong
        );
    }
    let packet = solicitation(RESTRICTED_SOURCE);
    let right = value(SECRET, &[&NONCE, &[0], &packet]);
    for cut in [
        &[][..],
        &right[..1],
        &right[..19],
        &[&right[..], &[0]].concat(),
    ] {
        let auth = Auth::secure(ID, cut, NONCE, 0).unwrap();
        let sent = payload::build(Some(&auth), None, &packet);
        assert_eq!(bench.refused(NAT, &sent), Fate::CredentialsWrong);
    }
}

/// S-11 comes first: what is no solicitation has no credentials to judge.
#[test]
fn credentials_do_not_make_a_solicitation_valid() {
    let mut bench = bench(KeyState::Current);
    let mut packet = solicitation(RESTRICTED_SOURCE);
    packet[7] = 64;
    let value = value(SECRET, &[&NONCE, &[0], &packet]);
    let auth = Auth::secure(ID, &value, NONCE, 0).unwrap();
    let sent = payload::build(Some(&auth), None, &packet);
    assert_eq!(bench.refused(NAT, &sent), Fate::SolicitationInvalid);
}

/// S-5.
#[test]
fn where_credentials_are_required_nobody_is_answered_without() {
    let mut bench = bench(KeyState::Current);
    bench.server.config.require_credentials = true;
    let plain = solicitation(RESTRICTED_SOURCE);
    for sent in [plain.clone(), with_nonce(NONCE, &plain)] {
        assert_eq!(bench.refused(NAT, &sent), Fate::CredentialsMissing);
    }
    assert_eq!(
        bench.refused(NAT, &signed(b"nobody", SECRET)),
        Fate::ClientIdUnknown
    );
    assert_eq!(bench.receive(NAT, &signed(ID, SECRET)).0, Fate::Advertised);
}

/// S-5, S-12: elsewhere clients with and without credentials live side by side.
#[test]
fn where_credentials_are_not_required_clients_without_are_answered_as_ever() {
    let plain = with_nonce(NONCE, &solicitation(RESTRICTED_SOURCE));
    let mut with_keys = bench(KeyState::Current);
    assert_eq!(
        with_keys.receive(NAT, &plain),
        Bench::new().receive(NAT, &plain)
    );
}

/// S-22: a server without memory answers a repeated solicitation, where it came from this time.
#[test]
fn a_replayed_solicitation_yields_an_answer_to_the_replayer_alone() {
    let mut bench = bench(KeyState::Current);
    let sent = signed(ID, SECRET);
    let (_, first) = bench.advertised(Local::Primary, NAT, &sent);
    let (_, again) = bench.advertised(Local::Primary, NAT, &sent);
    assert_eq!(first, again);
    let (_, replayed) = bench.advertised(Local::Primary, OTHER_NAT, &sent);
    let origin = payload::parse(&replayed).unwrap().origin;
    assert_eq!(origin, Some(Origin { mapped: OTHER_NAT }));
}

/// S-5: credentials are for solicitations. What is forwarded needs none, and loses them.
#[test]
fn forwarding_asks_for_no_credentials() {
    let mut bench = bench(KeyState::Current);
    bench.server.config.require_credentials = true;
    let bubble = bubble_to(client(NAT).octets());
    assert_eq!(
        bench.forwarded(RELAY, &bubble).1,
        with_origin(RELAY, &bubble)
    );
}

#[test]
fn identifiers_have_1_to_255_bytes_and_stand_once_and_secrets_are_not_empty() {
    let mut credentials = Credentials::default();
    let mut insert = |id: &[u8], secret: &[u8]| credentials.insert(id, secret, KeyState::Current);
    assert_eq!(insert(b"", b"x"), Err(CredentialError::IdLength(0)));
    assert_eq!(insert(&[1; 256], b"x"), Err(CredentialError::IdLength(256)));
    assert_eq!(insert(b"a", b""), Err(CredentialError::SecretEmpty));
    assert_eq!(insert(&[1; 255], &[0; 1000]), Ok(()));
    assert_eq!(insert(b"a", b"x"), Ok(()));
    assert_eq!(insert(b"a", b"y"), Err(CredentialError::IdTwice));
    assert_eq!(credentials.len(), 2);
}

#[test]
fn debug_output_tells_no_secret() {
    let mut credentials = Credentials::default();
    credentials.insert(ID, SECRET, KeyState::Current).unwrap();
    let mut config = Config::new(PRIMARY);
    config.credentials = credentials;
    let shown = format!("{config:?} {config:#?}");
    assert!(shown.contains("1 clients"), "{shown}");
    for part in ["client-1", "secret of", "115, 101", "HMAC", "Hmac"] {
        assert!(!shown.contains(part), "{shown}");
    }
}

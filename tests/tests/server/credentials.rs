//! Secure qualification (S-5, S-20 to S-22), and what an answer must not tell about others (S-12, A-23).

use std::collections::HashMap;

use lab::shipworm::Datapath;
use sha1::{Digest, Sha1};

use crate::account::Account;
use crate::scripted::{Datagram, Left, PRIMARY, SECONDARY, Scene, stranger};
use crate::solicit::{Answer, CONE_SOLICITATION, Header, Known, SOLICITATION, secret_file};
use crate::with_and_without_xdp;

const NONCE: [u8; 8] = *b"nonce-01";

fn alice() -> Known {
    Known::new("alice", "the secret of alice")
}

fn bob() -> Known {
    Known::new("bob", "the secret of bob, who gets a new one").retired()
}

fn stranger_asks(payload: impl Into<Vec<u8>>) -> Datagram {
    Datagram::new(stranger(1), PRIMARY, payload)
}

/// The advertisement in what has left, which is nothing else.
fn answer(left: Vec<Left>) -> (Datagram, Answer) {
    let [only]: [Left; 1] = left.try_into().expect("one answer");
    let datagram = only.datagram();
    let answer = Answer::read(&datagram);
    (datagram, answer)
}

/// Sends it, and expects silence and `reason`.
fn refused(account: &mut Account<'_>, what: &str, payload: impl Into<Vec<u8>>, reason: &str) {
    let (left, counted) = account.ask(stranger_asks(payload));
    assert_eq!(left, [], "{what}");
    assert_eq!(counted, reason, "{what}");
}

fn both_sides_prove_to_have_the_secret(datapath: Datapath) {
    let scene = Scene::new();
    let file = secret_file(&[alice(), bob()]);
    let flags = ["--secret-file", file.path().to_str().unwrap()];
    let mut account = Account::open(&scene, datapath, &flags);
    for known in [alice(), bob()] {
        for at in [PRIMARY, SECONDARY] {
            let asked = Datagram::new(stranger(1), at, known.solicitation(NONCE));
            let (datagram, answer) = answer(account.send([asked]));
            assert_eq!((datagram.from, datagram.to), (at, stranger(1)));
            known.assert_answered(NONCE, &answer);
        }
    }
    let cone = alice().header(NONCE, &CONE_SOLICITATION);
    let asked = stranger_asks(cone.before(&CONE_SOLICITATION));
    let (datagram, secured) = answer(account.send([asked]));
    assert_eq!((datagram.from, datagram.to), (SECONDARY, stranger(1)));
    alice().assert_answered(NONCE, &secured);

    // Who does without is served as ever.
    let (_, plain) = answer(account.send([stranger_asks(SOLICITATION)]));
    assert_eq!(plain.header, None);
    let nonce_alone = Header::of_nonce(NONCE);
    let (_, plain) = answer(account.send([stranger_asks(nonce_alone.before(&SOLICITATION))]));
    assert_eq!(plain.header, Some(nonce_alone));
    account.close();
}

fn nobody_gets_an_answer_by_wrong_credentials(datapath: Datapath) {
    let scene = Scene::new();
    let file = secret_file(&[alice(), bob()]);
    let flags = ["--secret-file", file.path().to_str().unwrap()];
    let mut account = Account::open(&scene, datapath, &flags);
    let good = alice().header(NONCE, &SOLICITATION);

    let mallory = Known::new("mallory", alice().secret);
    let with_id = |id: &[u8]| Header {
        id: id.to_vec(),
        ..good.clone()
    };
    for (what, header) in [
        ("nobody's id", mallory.header(NONCE, &SOLICITATION)),
        ("no id, but a value", with_id(b"")),
        ("the beginning of an id", with_id(b"alic")),
        ("an id and more", with_id(b"alice\0")),
    ] {
        refused(
            &mut account,
            what,
            header.before(&SOLICITATION),
            "ClientIdUnknown",
        );
    }

    let with_value = |value: &[u8]| Header {
        value: value.to_vec(),
        ..good.clone()
    };
    let of_another = Known::new("alice", bob().secret);
    let mut wrong = vec![
        (
            "the secret of another",
            of_another.header(NONCE, &SOLICITATION),
            SOLICITATION,
        ),
        ("the id of another", with_id(b"bob"), SOLICITATION),
        ("no value", with_value(b""), SOLICITATION),
        (
            "the beginning of the value",
            with_value(&good.value[..12]),
            SOLICITATION,
        ),
        (
            "the value and more",
            with_value(&[&good.value[..], &[0]].concat()),
            SOLICITATION,
        ),
        (
            "another nonce",
            Header {
                nonce: *b"nonce-02",
                ..good.clone()
            },
            SOLICITATION,
        ),
        (
            "a confirmation",
            Header {
                confirmation: 1,
                ..good.clone()
            },
            SOLICITATION,
        ),
        ("another packet", good.clone(), CONE_SOLICITATION),
    ];
    for at in 0..good.value.len() {
        let mut value = good.value.clone();
        value[at] ^= 1;
        wrong.push(("one bit of the value", with_value(&value), SOLICITATION));
    }
    for (what, header, packet) in wrong {
        refused(
            &mut account,
            what,
            header.before(&packet),
            "CredentialsWrong",
        );
    }
    // An origin indication is covered where there is one (S-20).
    let with_origin = [&[0; 8][..], &SOLICITATION].concat();
    refused(
        &mut account,
        "an origin",
        good.before(&with_origin),
        "CredentialsWrong",
    );
    account.close();
}

fn a_replay_yields_the_same_answer_to_the_replayer_alone(datapath: Datapath) {
    let scene = Scene::new();
    let file = secret_file(&[alice()]);
    let flags = ["--secret-file", file.path().to_str().unwrap()];
    let mut account = Account::open(&scene, datapath, &flags);
    let asked = alice().solicitation(NONCE);
    let (_, to_alice) = answer(account.send([stranger_asks(&asked[..])]));
    for n in [2, 3, 1, 2] {
        let replayed = Datagram::new(stranger(n), PRIMARY, asked.clone());
        let (datagram, again) = answer(account.send([replayed]));
        assert_eq!(datagram.to, stranger(n));
        alice().assert_answered(NONCE, &again);
        // The server keeps nothing: only the origin, and what covers it, is another.
        assert_eq!(again == to_alice, n == 1);
        assert_eq!(again.packet, to_alice.packet);
    }
    account.close();
}

fn an_expired_client_is_unknown(datapath: Datapath) {
    let scene = Scene::new();
    let both = secret_file(&[alice(), bob()]);
    let flags = ["--secret-file", both.path().to_str().unwrap()];
    let mut account = Account::open(&scene, datapath, &flags);
    let (_, secured) = answer(account.send([stranger_asks(bob().solicitation(NONCE))]));
    bob().assert_answered(NONCE, &secured);
    account.close();

    let without_bob = secret_file(&[alice()]);
    let flags = ["--secret-file", without_bob.path().to_str().unwrap()];
    let mut account = Account::open(&scene, datapath, &flags);
    refused(
        &mut account,
        "expired",
        bob().solicitation(NONCE),
        "ClientIdUnknown",
    );
    let (_, secured) = answer(account.send([stranger_asks(alice().solicitation(NONCE))]));
    alice().assert_answered(NONCE, &secured);
    account.close();
}

fn where_credentials_are_required_nobody_is_answered_without(datapath: Datapath) {
    let scene = Scene::new();
    let file = secret_file(&[alice()]);
    let flags = [
        "--secret-file",
        file.path().to_str().unwrap(),
        "--require-auth=true",
    ];
    let mut account = Account::open(&scene, datapath, &flags);
    let nonce_alone = Header::of_nonce(NONCE).before(&SOLICITATION);
    for (what, payload) in [
        ("no header", SOLICITATION.to_vec()),
        ("a header with a nonce alone", nonce_alone),
        ("no header, cone bit", CONE_SOLICITATION.to_vec()),
    ] {
        refused(&mut account, what, payload, "CredentialsMissing");
    }
    let (_, secured) = answer(account.send([stranger_asks(alice().solicitation(NONCE))]));
    alice().assert_answered(NONCE, &secured);
    account.close();
}

/// Bytes that are `n`'s own in the role `what`, and occur nowhere else.
fn own<const N: usize>(what: &str, n: u32) -> [u8; N] {
    let digest = Sha1::new().chain_update(what).chain_update(n.to_be_bytes());
    *digest.finalize().first_chunk().unwrap()
}

fn no_answer_tells_of_another_client(datapath: Datapath) {
    const CLIENTS: u32 = 1000;
    const ID_LEN: usize = 12;
    /// Coprime to the number of clients: they come in no order.
    const STRIDE: u32 = 389;
    let known = |n| Known::new(own::<ID_LEN>("id", n), own::<20>("secret", n));
    let scene = Scene::new();
    let all: Vec<_> = (0..CLIENTS).map(known).collect();
    let file = secret_file(&all);
    let flags = ["--secret-file", file.path().to_str().unwrap()];
    let mut account = Account::open(&scene, datapath, &flags);

    let nonces: HashMap<[u8; 8], u32> = (0..CLIENTS).map(|n| (own("nonce", n), n)).collect();
    let ids: HashMap<[u8; ID_LEN], u32> = (0..CLIENTS).map(|n| (own("id", n), n)).collect();
    let ask = |n: u32| {
        let nonce = own("nonce", n);
        let payload = match n % 3 {
            0 => SOLICITATION.to_vec(),
            1 => Header::of_nonce(nonce).before(&SOLICITATION),
            _ => known(n).solicitation(nonce),
        };
        Datagram::new(stranger(n), PRIMARY, payload)
    };
    let left = account.send((0..CLIENTS).map(|i| ask(i * STRIDE % CLIENTS)));
    assert_eq!(left.len(), CLIENTS as usize);
    let mut answered = vec![0; CLIENTS as usize];
    for datagram in left.into_iter().map(Left::datagram) {
        let n = (0..CLIENTS).find(|n| stranger(*n) == datagram.to).unwrap();
        answered[n as usize] += 1;
        let answer = Answer::read(&datagram);
        match n % 3 {
            0 => assert_eq!(answer.header, None),
            1 => assert_eq!(answer.header, Some(Header::of_nonce(own("nonce", n)))),
            _ => known(n).assert_answered(own("nonce", n), &answer),
        }
        let theirs = |found: Option<&u32>| found.is_some_and(|whose| *whose != n);
        for window in datagram.payload.array_windows() {
            assert!(!theirs(nonces.get(window)), "a nonce of another");
        }
        for window in datagram.payload.array_windows() {
            assert!(!theirs(ids.get(window)), "an identifier of another");
        }
    }
    assert!(answered.iter().all(|answers| *answers == 1));
    account.close();
}

with_and_without_xdp! {
    both_sides_prove_to_have_the_secret:
        in_xdp_both_sides_prove_to_have_the_secret,
        in_user_space_both_sides_prove_to_have_the_secret;
    nobody_gets_an_answer_by_wrong_credentials:
        in_xdp_nobody_gets_an_answer_by_wrong_credentials,
        in_user_space_nobody_gets_an_answer_by_wrong_credentials;
    a_replay_yields_the_same_answer_to_the_replayer_alone:
        in_xdp_a_replay_yields_the_same_answer_to_the_replayer_alone,
        in_user_space_a_replay_yields_the_same_answer_to_the_replayer_alone;
    an_expired_client_is_unknown:
        in_xdp_an_expired_client_is_unknown,
        in_user_space_an_expired_client_is_unknown;
    where_credentials_are_required_nobody_is_answered_without:
        in_xdp_where_credentials_are_required_nobody_is_answered_without,
        in_user_space_where_credentials_are_required_nobody_is_answered_without;
    no_answer_tells_of_another_client:
        in_xdp_no_answer_tells_of_another_client,
        in_user_space_no_answer_tells_of_another_client;
}

//! A server used to send packets at somebody: how much comes out for what goes in, and how often (A-5, A-19, S-17).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Instant;

use lab::shipworm::Datapath;
use teredo::addr::Mapped;
use teredo::server::Limits;
use teredo::wire::bubble;
use teredo::wire::origin::Origin;
use teredo::wire::payload;
use teredo::wire::trailer::Trailers;

use crate::account::Account;
use crate::block::assert_block;
use crate::packet;
use crate::scripted::{Datagram, Left, PRIMARY, Scene, client, client_of, stranger};
use crate::solicit::{CONE_SOLICITATION, Header, Known, SOLICITATION, secret_file};
use crate::with_and_without_xdp;

const NATIVE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);
const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);
const NONCE: [u8; 8] = *b"a nonce!";
/// Far more than may leave at once.
const FLOOD: u32 = 10_000;
/// What an answer may be longer than what asked for it, in hundredths: twice as long would be worth forging.
const LONGEST: usize = 199;

fn known() -> Known {
    Known::new("a", "the secret of a client")
}

fn attacker() -> SocketAddrV4 {
    stranger(1)
}

fn target() -> SocketAddrV4 {
    stranger(2)
}

fn bubble_between(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    bubble::build(source.octets(), destination.octets(), &Trailers::default())
}

/// Everything the server sends anything for, and the largest of what it does not.
fn kinds() -> Vec<(&'static str, Vec<u8>)> {
    let (own, theirs) = (client(attacker()).into(), client(target()).into());
    let elsewhere = client_of(OTHER_SERVER, target()).into();
    let origin = Origin {
        mapped: Mapped::from(stranger(3)),
    };
    let to_client = bubble_between(own, theirs);
    vec![
        ("a solicitation", SOLICITATION.to_vec()),
        (
            "a solicitation with the cone bit",
            CONE_SOLICITATION.to_vec(),
        ),
        (
            "a solicitation with a nonce",
            Header::of_nonce(NONCE).before(&SOLICITATION),
        ),
        (
            "a solicitation with credentials",
            known().solicitation(NONCE),
        ),
        (
            "a solicitation with wrong credentials",
            Header {
                value: vec![0; 20],
                ..known().header(NONCE, &SOLICITATION)
            }
            .before(&SOLICITATION),
        ),
        ("a bubble to a client of this server", to_client.clone()),
        (
            "a bubble to it with an origin indication",
            payload::build(None, Some(&origin), &to_client),
        ),
        (
            "a bubble to it with a nonce in front",
            Header::of_nonce(NONCE).before(&to_client),
        ),
        (
            "a bubble to a client of another server",
            bubble_between(own, elsewhere),
        ),
        (
            "an echo of 8 bytes to a client of this server",
            packet::echo(own, theirs, b""),
        ),
        (
            "an echo of 88 bytes to it",
            packet::echo(own, theirs, &[0; 80]),
        ),
        (
            "an echo of 8 bytes to native IPv6",
            packet::echo(own, NATIVE, b""),
        ),
        (
            "an echo of 88 bytes to native IPv6",
            packet::echo(own, NATIVE, &[0; 80]),
        ),
        ("anything else", packet::udp(own, theirs, &[0; 1000])),
    ]
}

fn hundredths(out: usize, of: usize) -> usize {
    (100 * out).div_ceil(of)
}

fn where_it_goes(left: &[Left]) -> &'static str {
    match left {
        [] => "nothing",
        [Left::Datagram(datagram)] if datagram.to == attacker() => "an advertisement to who asked",
        [Left::Datagram(datagram)] if datagram.to == target() => "the packet to the client",
        [Left::Native(_)] => "the packet to native IPv6",
        _ => panic!("for one datagram: {left:?}"),
    }
}

fn nothing_comes_out_twice_nor_twice_as_long(datapath: Datapath) {
    let scene = Scene::new();
    let file = secret_file(&[known()]);
    let flags = ["--secret-file", file.path().to_str().unwrap()];
    let mut account = Account::open(&scene, datapath, &flags);
    let mut table = String::from(
        "| what comes | bytes | packets out | bytes out for each | what leaves |\n|---|---|---|---|---|\n",
    );
    for (what, payload) in kinds() {
        let datagram = Datagram::new(attacker(), PRIMARY, payload);
        let bytes = datagram.bytes();
        let left = account.send([datagram]);
        let factor = hundredths(left.iter().map(Left::bytes).sum(), bytes);
        assert!(left.len() <= 1 && factor <= LONGEST, "{what}: {left:?}");
        let (whole, part) = (factor / 100, factor % 100);
        let (packets, where_to) = (left.len(), where_it_goes(&left));
        writeln!(
            table,
            "| {what} | {bytes} | {packets} | {whole}.{part:02} | {where_to} |"
        )
        .unwrap();
    }
    account.close();
    assert_block("server-amplification", &table);
}

/// Sends a flood and expects `burst` packets to leave, and no more than `per_s` a second besides.
fn assert_bounded(
    account: &mut Account<'_>,
    (per_s, burst): (u32, u32),
    flood: impl Fn(u32) -> Datagram,
) -> Vec<Left> {
    let start = Instant::now();
    let left = account.send((0..FLOOD).map(flood));
    let most = f64::from(burst) + f64::from(per_s) * start.elapsed().as_secs_f64();
    let count = u32::try_from(left.len()).unwrap();
    println!(
        "{count} of {FLOOD} in {:?}, at most {most:.0}",
        start.elapsed()
    );
    assert!(f64::from(count) <= most.ceil(), "{count}, not {most}");
    assert!(count >= burst, "{count}, not {burst}");
    left
}

fn one_source_gets_no_more_than_its_rate(datapath: Datapath) {
    let limits = Limits::default();
    let scene = Scene::new();
    let mut account = Account::open(&scene, datapath, &[]);
    let rate = (limits.source_per_s, limits.source_burst);
    let asks = [SOLICITATION, CONE_SOLICITATION];
    let left = assert_bounded(&mut account, rate, |n| {
        // Another port is no other source.
        let port = u16::try_from(1024 + n).unwrap();
        let from = SocketAddrV4::new(*attacker().ip(), port);
        Datagram::new(from, PRIMARY, asks[n as usize % 2])
    });
    for answer in left {
        assert_eq!(answer.datagram().to.ip(), attacker().ip());
    }
    assert!(account.outcome()["OuterSourceRateExceeded"] > 0);
    // Nobody else is worse off.
    let other = Datagram::new(stranger(7), PRIMARY, SOLICITATION);
    assert_eq!(account.ask(other).1, "Advertised");
    account.close();
}

fn one_target_gets_no_more_than_its_rate(datapath: Datapath) {
    let limits = Limits::default();
    let scene = Scene::new();
    let mut account = Account::open(&scene, datapath, &[]);
    let rate = (limits.target_per_s, limits.target_burst);
    let left = assert_bounded(&mut account, rate, |n| {
        let from = stranger(100 + n);
        let bubble = bubble_between(client(from).into(), client(target()).into());
        Datagram::new(from, PRIMARY, bubble)
    });
    for forwarded in left {
        assert_eq!(forwarded.datagram().to, target());
    }
    assert!(account.outcome()["TargetRateExceeded"] > 0);
    let other = bubble_between(client(attacker()).into(), client(stranger(7)).into());
    let other = Datagram::new(attacker(), PRIMARY, other);
    assert_eq!(account.ask(other).1, "ForwardedToClient");
    account.close();
}

fn native_ipv6_gets_no_more_than_its_rate(datapath: Datapath) {
    let limits = Limits::default();
    let scene = Scene::new();
    let mut account = Account::open(&scene, datapath, &[]);
    let rate = (limits.native_per_s, limits.native_burst);
    assert_bounded(&mut account, rate, |n| {
        let from = stranger(100 + n);
        Datagram::new(
            from,
            PRIMARY,
            packet::echo(client(from).into(), NATIVE, b""),
        )
    });
    assert!(account.outcome()["NativeRateExceeded"] > 0);
    account.close();
}

with_and_without_xdp! {
    nothing_comes_out_twice_nor_twice_as_long:
        in_xdp_nothing_comes_out_twice_nor_twice_as_long,
        in_user_space_nothing_comes_out_twice_nor_twice_as_long;
    one_source_gets_no_more_than_its_rate:
        in_xdp_one_source_gets_no_more_than_its_rate,
        in_user_space_one_source_gets_no_more_than_its_rate;
    one_target_gets_no_more_than_its_rate:
        in_xdp_one_target_gets_no_more_than_its_rate,
        in_user_space_one_target_gets_no_more_than_its_rate;
    native_ipv6_gets_no_more_than_its_rate:
        in_xdp_native_ipv6_gets_no_more_than_its_rate,
        in_user_space_native_ipv6_gets_no_more_than_its_rate;
}

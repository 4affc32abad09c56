//! A server used to send packets at somebody: how much comes out for what goes in, and how often (A-5, A-19, S-17).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Instant;

use lab::shipworm::Datapath;
use teredo::addr::Mapped;
use teredo::wire::payload;
use teredo::wire::trailer::Trailers;
use teredo::wire::{self, origin::Origin};

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
    wire::bubble::build(source.octets(), destination.octets(), &Trailers::default())
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

/// A rate and a burst that a flood exceeds, and the flags that set them for the limit `of`.
const PER_S: u32 = 100;
const BURST: u32 = 200;

fn limit(of: &str) -> [String; 2] {
    [
        format!("--{of}-per-s={PER_S}"),
        format!("--{of}-burst={BURST}"),
    ]
}

/// Sends a flood to a server whose limit `of` is low, and expects that it bounds what leaves, which is given, under
/// `reason`. Then somebody whom the limit does not concern is served.
fn bounded(
    datapath: Datapath,
    (of, reason): (&str, &str),
    flood: impl Fn(u32) -> Datagram,
    somebody: Datagram,
) -> Vec<Left> {
    let scene = Scene::new();
    let flags = limit(of);
    let mut account = Account::open(&scene, datapath, &flags.each_ref().map(String::as_str));
    // The program counts on each CPU for itself. A frame is received on that which has sent it, but for those that come
    // while another is at it.
    let cores = core_affinity::get_core_ids().unwrap();
    assert!(core_affinity::set_for_current(cores[0]));
    let start = Instant::now();
    let left = account.send((0..FLOOD).map(flood));
    let counts = if datapath == Datapath::Userspace {
        1.0
    } else {
        2.0
    };
    let most = counts * (f64::from(BURST) + f64::from(PER_S) * start.elapsed().as_secs_f64());
    let count = u32::try_from(left.len()).unwrap();
    println!(
        "{count} of {FLOOD} in {:?}, at most {most:.0}",
        start.elapsed()
    );
    assert!(f64::from(count) <= most.ceil(), "{count}, not {most}");
    assert!(count >= BURST, "{count}");
    assert_eq!(account.outcome()[reason], u64::from(FLOOD - count));
    assert_eq!(account.send([somebody]).len(), 1);
    account.close();
    left
}

fn one_address_gets_no_more_advertisements_than_its_rate(datapath: Datapath) {
    let asks = [SOLICITATION, CONE_SOLICITATION];
    let ask = |n: u32| {
        // Another port is no other address.
        let port = u16::try_from(1024 + n).unwrap();
        let from = SocketAddrV4::new(*attacker().ip(), port);
        Datagram::new(from, PRIMARY, asks[n as usize % 2])
    };
    let other = Datagram::new(stranger(7), PRIMARY, SOLICITATION);
    let left = bounded(datapath, ("target", "TargetRateExceeded"), ask, other);
    for answer in left {
        assert_eq!(answer.datagram().to.ip(), attacker().ip());
    }
}

/// From one client to another.
fn bubble(from: SocketAddrV4, to: SocketAddrV4) -> Datagram {
    let packet = bubble_between(client(from).into(), client(to).into());
    Datagram::new(from, PRIMARY, packet)
}

fn one_address_gets_no_more_bubbles_than_its_rate(datapath: Datapath) {
    let to_target = |n| bubble(stranger(100 + n), target());
    let other = bubble(attacker(), stranger(7));
    let left = bounded(datapath, ("target", "TargetRateExceeded"), to_target, other);
    for forwarded in left {
        assert_eq!(forwarded.datagram().to, target());
    }
}

fn one_source_sends_no_more_on_than_its_rate(datapath: Datapath) {
    let from_attacker = |n| bubble(attacker(), stranger(100 + n));
    let other = bubble(stranger(7), target());
    bounded(
        datapath,
        ("source", "OuterSourceRateExceeded"),
        from_attacker,
        other,
    );
}

fn native_ipv6_gets_no_more_than_its_rate(datapath: Datapath) {
    let echo = |n| {
        let from = stranger(100 + n);
        Datagram::new(
            from,
            PRIMARY,
            packet::echo(client(from).into(), NATIVE, b""),
        )
    };
    let other = Datagram::new(attacker(), PRIMARY, SOLICITATION);
    bounded(datapath, ("native", "NativeRateExceeded"), echo, other);
}

with_and_without_xdp! {
    nothing_comes_out_twice_nor_twice_as_long:
        in_xdp_nothing_comes_out_twice_nor_twice_as_long,
        in_user_space_nothing_comes_out_twice_nor_twice_as_long;
    one_address_gets_no_more_advertisements_than_its_rate:
        in_xdp_one_address_gets_no_more_advertisements_than_its_rate,
        in_user_space_one_address_gets_no_more_advertisements_than_its_rate;
    one_address_gets_no_more_bubbles_than_its_rate:
        in_xdp_one_address_gets_no_more_bubbles_than_its_rate,
        in_user_space_one_address_gets_no_more_bubbles_than_its_rate;
    one_source_sends_no_more_on_than_its_rate:
        in_xdp_one_source_sends_no_more_on_than_its_rate,
        in_user_space_one_source_sends_no_more_on_than_its_rate;
    native_ipv6_gets_no_more_than_its_rate:
        in_xdp_native_ipv6_gets_no_more_than_its_rate,
        in_user_space_native_ipv6_gets_no_more_than_its_rate;
}

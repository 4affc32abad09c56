//! Echoes and transfers, and what became of them.

use std::net::{Ipv6Addr, SocketAddrV4};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::{Lab, Ping, PingReport, Site, miredo, transfer};

/// Echoes of one client and direction: 5 a second.
const SERIES: Ping = Ping {
    count: 5,
    interval: Duration::from_millis(200),
    linger: Duration::from_secs(2),
    data_len: 56,
};
/// One request alone, which may have to wait for bubbles.
const FIRST: Ping = Ping {
    count: 1,
    interval: Duration::ZERO,
    linger: Duration::from_secs(5),
    data_len: 56,
};
/// With [`TRANSFER_PAUSE`] this keeps transfers below 1 MiB/s.
const TRANSFER_BYTES: u64 = 256 << 10;
const TRANSFER_PAUSE: Duration = Duration::from_millis(250);
/// Between the first packets of two clients, which in one batch would not be five measurements.
const OPENING_PAUSE: Duration = Duration::from_millis(100);
/// Before something that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A client and its traffic.
#[derive(Clone, Debug, Serialize)]
pub struct Client {
    /// Name of its NAT.
    pub nat: String,
    /// Its Teredo address.
    pub address: Ipv6Addr,
    /// Address and port its server saw, which are in its Teredo address.
    pub mapped: SocketAddrV4,
    /// Time it took to qualify, in milliseconds.
    pub qualified_ms: f64,
    /// Traffic the native host began.
    pub inward: Leg,
    /// Traffic the client began.
    pub outward: Leg,
}

/// The traffic of one client in one direction.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Leg {
    /// From the first echo request to the first reply, in milliseconds. Inward the relay does
    /// not know the client yet; outward it does, because inward came first.
    pub first_reply_ms: Option<f64>,
    /// Echo requests, without those that may still be answered.
    pub sent: u64,
    /// Echo replies.
    pub received: u64,
    /// Transfers that arrived whole and unchanged.
    pub transfers: u64,
    /// Their bytes.
    pub transferred: u64,
    /// What went wrong.
    pub errors: Vec<String>,
}

/// Who began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Inward,
    Outward,
}

const DIRECTIONS: [Direction; 2] = [Direction::Inward, Direction::Outward];

/// What all traffic threads write and the table reads.
#[derive(Debug)]
pub struct Board {
    clients: Mutex<Vec<Client>>,
    stopped: Mutex<bool>,
    stopping: Condvar,
}

impl Board {
    /// A board without traffic.
    pub fn new(clients: &[(&Site, miredo::Client)]) -> Self {
        let row = |(site, client): &(&Site, miredo::Client)| {
            let mapped = client.address.mapped();
            Client {
                nat: site.nat.to_string(),
                address: client.ipv6(),
                mapped: SocketAddrV4::new(mapped.ip, mapped.port),
                qualified_ms: milliseconds(client.qualified_in),
                inward: Leg::default(),
                outward: Leg::default(),
            }
        };
        Self {
            clients: Mutex::new(clients.iter().map(row).collect()),
            stopped: Mutex::new(false),
            stopping: Condvar::new(),
        }
    }

    /// All clients at this moment.
    pub fn clients(&self) -> Vec<Client> {
        lock(&self.clients).clone()
    }

    /// Ends all traffic; what is under way comes to its end.
    pub fn stop(&self) {
        *lock(&self.stopped) = true;
        self.stopping.notify_all();
    }

    fn is_stopped(&self) -> bool {
        *lock(&self.stopped)
    }

    /// Waits, but not beyond the end of all traffic.
    fn pause(&self, time: Duration) {
        let stopped = lock(&self.stopped);
        let _ended = self
            .stopping
            .wait_timeout_while(stopped, time, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
    }

    fn note(&self, client: usize, direction: Direction, change: impl FnOnce(&mut Leg)) {
        if let Some(client) = lock(&self.clients).get_mut(client) {
            change(match direction {
                Direction::Inward => &mut client.inward,
                Direction::Outward => &mut client.outward,
            });
        }
    }

    fn note_echoes(&self, client: usize, direction: Direction, report: Result<PingReport>) {
        match report {
            Ok(report) => self.note(client, direction, |leg| {
                leg.sent += u64::from(report.sent);
                leg.received += u64::from(report.received);
            }),
            Err(error) => {
                self.note(client, direction, |leg| {
                    leg.errors.push(format!("{error:#}"));
                });
                self.pause(RETRY_PAUSE);
            }
        }
    }
}

impl Leg {
    /// Echo requests nobody answered.
    pub const fn lost(&self) -> u64 {
        self.sent - self.received
    }
}

/// Starts the traffic of all clients in threads that end after [`Board::stop`].
pub fn drive<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    lab: &'env Lab,
    clients: &'env [(&'env Site, miredo::Client)],
    board: &'env Board,
) {
    let ends = |row: usize| {
        let (site, client) = &clients[row];
        Ends {
            lab,
            site,
            client: client.ipv6(),
            row,
            board,
        }
    };
    for (row, turn) in (0..clients.len()).zip(0..) {
        let ends = ends(row);
        scope.spawn(move || {
            board.pause(OPENING_PAUSE * turn);
            // Inward alone first: what the client sends would open the way for it.
            for direction in DIRECTIONS {
                ends.open(direction);
            }
            scope.spawn(move || ends.echo(Direction::Inward));
            ends.echo(Direction::Outward);
        });
    }
    let all: Vec<_> = (0..clients.len()).map(ends).collect();
    scope.spawn(move || {
        while !board.is_stopped() {
            for ends in &all {
                for direction in DIRECTIONS {
                    ends.transfer(direction);
                }
            }
            board.pause(TRANSFER_PAUSE);
        }
    });
}

/// A client and the native host.
#[derive(Clone, Copy)]
struct Ends<'a> {
    lab: &'a Lab,
    site: &'a Site,
    client: Ipv6Addr,
    row: usize,
    board: &'a Board,
}

impl Ends<'_> {
    fn ping(&self, direction: Direction, series: &Ping) -> Result<PingReport> {
        match direction {
            Direction::Inward => series.run(&self.lab.host, self.client),
            Direction::Outward => series.run(&self.site.client, Lab::HOST),
        }
    }

    /// Echoes until the first reply.
    fn open(&self, direction: Direction) {
        let start = Instant::now();
        let mut answered = false;
        while !answered && !self.board.is_stopped() {
            let report = self.ping(direction, &FIRST);
            answered = report.as_ref().is_ok_and(|report| report.received > 0);
            if answered {
                let took = milliseconds(start.elapsed());
                self.board.note(self.row, direction, |leg| {
                    leg.first_reply_ms = Some(took);
                });
            }
            self.board.note_echoes(self.row, direction, report);
        }
    }

    fn echo(&self, direction: Direction) {
        while !self.board.is_stopped() {
            let report = self.ping(direction, &SERIES);
            self.board.note_echoes(self.row, direction, report);
        }
    }

    /// A transfer, once the client has met the host.
    fn transfer(&self, direction: Direction) {
        let met = lock(&self.board.clients)
            .get(self.row)
            .is_some_and(Client::has_met_host);
        if !met || self.board.is_stopped() {
            return;
        }
        let (host, client) = (&self.lab.host, &self.site.client);
        let moved = match direction {
            Direction::Inward => transfer::tcp(host, client, self.client, TRANSFER_BYTES),
            Direction::Outward => transfer::tcp(client, host, Lab::HOST, TRANSFER_BYTES),
        };
        self.board.note(self.row, direction, |leg| match moved {
            Ok(moved) => {
                leg.transfers += 1;
                leg.transferred += moved.bytes;
            }
            Err(error) => leg.errors.push(format!("transfer: {error:#}")),
        });
        self.board.pause(TRANSFER_PAUSE);
    }
}

impl Client {
    fn has_met_host(&self) -> bool {
        self.inward.first_reply_ms.is_some() && self.outward.first_reply_ms.is_some()
    }
}

fn milliseconds(time: Duration) -> f64 {
    1000.0 * time.as_secs_f64()
}

/// The counters make sense after any panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

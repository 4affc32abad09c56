//! A daemon that runs: its threads, what its control thread does, and how it ends.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::Arc;

use sd_notify::NotifyState;
use teredo::server::Local;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::workers::{Ended, Workers};
use crate::control::{self, Ask, Server, Successor};
use crate::datapath::{Datapath, NextHopKeeper};
use crate::error::StartError;
use crate::net::{self, Snapshot};
use crate::sandbox::Sandbox;
use crate::slowpath::front_ends;
use crate::slowpath::server::ServerPath;
use crate::slowpath::shards::SlowPath;
use crate::slowpath::tun::{self, TUN_NAME, Tun};
use crate::slowpath::udp::ServiceSocket;
use crate::slowpath::xsk::PuntSocket;

/// Why a daemon that works ends.
pub(super) enum End {
    /// By a signal.
    Asked,
    /// Another takes over.
    Succeeded(Successor),
}

/// What a relay has.
pub(super) struct RelayParts {
    pub(super) slow: Arc<SlowPath>,
    pub(super) service: Arc<ServiceSocket>,
    pub(super) tun: Arc<Tun>,
}

/// Everything that runs. Dropping it stops it, in the order of the fields.
pub(super) struct Running {
    pub(super) workers: Workers,
    pub(super) datapath: Option<Datapath>,
    pub(super) relay: Option<RelayParts>,
    pub(super) server: Option<Arc<ServerPath>>,
}

impl Running {
    /// Last, when everything behind it works: traffic comes by this route.
    pub(super) fn open_up(&self, sandbox: Option<Sandbox>) -> Result<(), StartError> {
        if let Some(RelayParts { tun, .. }) = &self.relay {
            let datapath = self.datapath.as_ref();
            let outlives = datapath.is_some_and(|datapath| datapath.pinned_in().is_some());
            tun.persist(outlives)
                .map_err(|error| tun::refused(&error))?;
            tun.add_route().map_err(|error| {
                StartError::new(
                    "route",
                    format!("2001::/32 dev {TUN_NAME}"),
                    error.to_string(),
                    "another route for it may be there: ip -6 route show 2001::/32",
                )
            })?;
        }
        sandbox.map_or(Ok(()), Sandbox::seal)
    }

    pub(super) fn start_relay(
        &mut self,
        punts: Vec<PuntSocket>,
        shards: usize,
        receiver: ServiceSocket,
    ) -> io::Result<()> {
        let Some(RelayParts { slow, tun, .. }) = &self.relay else {
            return Ok(());
        };
        for (worker, sockets) in share(punts, shards).into_iter().enumerate() {
            let slow = Arc::clone(slow);
            self.workers
                .start(&format!("punts-{worker}"), move |stop| {
                    front_ends::punts(sockets, &slow, stop)
                })?;
        }
        if let Some(events) = self.datapath.as_mut().and_then(Datapath::probes) {
            let slow = Arc::clone(slow);
            self.workers.start("probes", move |stop| {
                front_ends::probes(events, &slow, stop)
            })?;
        }
        let service = Arc::clone(slow);
        self.workers.start("service", move |stop| {
            front_ends::service_socket(&receiver, &service, stop)
        })?;
        let (routed, tun) = (Arc::clone(slow), Arc::clone(tun));
        self.workers
            .start("tun", move |stop| front_ends::tun(&tun, &routed, stop))?;
        let slow = Arc::clone(slow);
        self.workers
            .start("timer", move |stop| slow.keep_time(stop))
    }

    pub(super) fn start_next_hops(&mut self, next_hops: Option<NextHopKeeper>) -> io::Result<()> {
        let Some(NextHopKeeper {
            mut follower,
            mut keeper,
        }) = next_hops
        else {
            return Ok(());
        };
        self.workers.start("routes", move |stop| {
            follower.run(stop);
            Ok(())
        })?;
        self.workers.start("next-hops", move |stop| {
            keeper.run(stop);
            Ok(())
        })
    }

    pub(super) fn start_server(&mut self) -> io::Result<()> {
        let Some(server) = &self.server else {
            return Ok(());
        };
        for (name, local) in [("primary", Local::Primary), ("secondary", Local::Secondary)] {
            let server = Arc::clone(server);
            self.workers
                .start(name, move |stop| server.serve(local, stop))?;
        }
        Ok(())
    }

    /// The control thread's work: signals, the control socket, and the machine's changes.
    pub(super) async fn control(
        &mut self,
        server: &Server,
        asks: mpsc::Sender<Ask>,
        mut ended: Ended,
    ) -> Result<End, String> {
        let signals = |kind| signal(kind).map_err(|error| format!("signals: {error}"));
        let mut terminate = signals(SignalKind::terminate())?;
        let mut interrupt = signals(SignalKind::interrupt())?;
        let (changed, mut changes) = mpsc::channel(1);
        let watch = tokio::spawn(async move {
            if let Err(error) = net::watch(changed).await {
                warn!(%error, "the kernel no longer tells of changed interfaces and addresses");
            }
        });
        let (successors, mut succeeded) = control::successors();
        let serve = server.serve(asks, successors);
        tokio::pin!(serve);

        info!("ready");
        // A service manager that knew the relay before must not take its end for the service's.
        let own = NotifyState::MainPid(std::process::id());
        let _ = sd_notify::notify(false, &[NotifyState::Ready, own]);
        let end = loop {
            tokio::select! {
                _ = terminate.recv() => break Ok(End::Asked),
                _ = interrupt.recv() => break Ok(End::Asked),
                Some(successor) = succeeded.recv() => {
                    if self.relay.is_some() {
                        break Ok(End::Succeeded(successor));
                    }
                    successor.refuse("a server alone has nothing to hand over: stop it and start the other");
                }
                Some(name) = ended.recv() => break Err(format!("the thread {name} failed")),
                result = &mut serve => break Err(match result {
                    Ok(()) => "the control socket was closed".to_owned(),
                    Err(error) => format!("control socket: {error}"),
                }),
                Some(()) = changes.recv() => self.follow_machine().await,
            }
        };
        watch.abort();
        end
    }

    /// Links or addresses have changed.
    async fn follow_machine(&mut self) {
        match Snapshot::take_async().await {
            Ok(snapshot) => {
                if let Some(datapath) = &mut self.datapath {
                    datapath.reconcile(&snapshot);
                }
                self.set_own_ipv4(&snapshot);
            }
            Err(error) => warn!(%error, "cannot list interfaces"),
        }
    }

    pub(super) fn set_own_ipv4(&self, snapshot: &Snapshot) {
        let own: Vec<Ipv4Addr> = snapshot.own_ipv4().collect();
        let broadcasts: Vec<Ipv4Addr> = snapshot.directed_broadcasts().collect();
        // What is broken ends the daemon by itself: its threads have ended.
        if let Some(relay) = &self.relay {
            let _ = relay.slow.set_own_ipv4(&own, &broadcasts);
        }
        if let Some(server) = &self.server {
            let _ = server.set_own_ipv4(&own, &broadcasts);
        }
    }

    /// Route, front ends, program, queues, device: nothing new comes in before what it needs is gone.
    pub(super) fn stop(&mut self) {
        if let Some(relay) = &self.relay
            && let Err(error) = relay.tun.remove_route()
        {
            warn!(%error, "the route to 2001::/32 was gone already");
        }
        self.stop_workers();
        if let Some(datapath) = self.datapath.take() {
            datapath.detach();
        }
        let Some(relay) = &self.relay else {
            return;
        };
        let _ = relay.slow.shut_down();
        if let Err(error) = relay.tun.persist(false) {
            warn!(%error, "the TUN device stays");
        }
    }

    /// Front ends, when nothing new comes to their queues.
    fn stop_workers(&mut self) {
        if let Some(datapath) = &mut self.datapath {
            datapath.forget_sockets();
        }
        self.workers.stop();
    }

    /// Leaves program, peers, route and device to `successor`, with the sockets in which packets wait from now on.
    pub(super) fn hand_over(mut self, successor: Successor) {
        let Some(relay) = self.relay.take() else {
            return;
        };
        self.stop_workers();
        let _ = relay.slow.shut_down();
        if let Err(error) = relay.tun.persist(true) {
            warn!(%error, "the TUN device ends with this process");
        }
        if let Some(datapath) = self.datapath.take() {
            datapath.leave();
        }
        let mut sockets = vec![relay.service.as_fd(), relay.tun.as_fd()];
        if let Some(server) = &self.server {
            sockets.extend(server.sockets());
        }
        if let Err(error) = successor.give(&sockets) {
            warn!(%error, "nobody takes over after all: established peers are carried on, new ones are not");
        }
    }
}

/// Deals numbered things out to at most `ways`, none of which gets nothing.
fn share<T>(things: Vec<T>, ways: usize) -> Vec<Vec<(usize, T)>> {
    let ways = ways.min(things.len());
    let mut shares: Vec<Vec<(usize, T)>> = (0..ways).map(|_| Vec::new()).collect();
    for (number, thing) in things.into_iter().enumerate() {
        shares[number % ways].push((number, thing));
    }
    shares
}

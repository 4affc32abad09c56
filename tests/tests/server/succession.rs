//! A server whose process is replaced (invariant 14): what waits in its sockets is handed over with them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use lab::both::Both;
use lab::shipworm::Datapath;

use crate::honest::Honest;
use crate::scripted::quiet_lab;
use crate::with_and_without_xdp;

const CLIENTS: u32 = 20;
/// Longer than a new process takes to begin.
const PATIENCE: Duration = Duration::from_secs(20);

fn no_solicitation_is_lost_when_another_process_takes_over(datapath: Datapath) {
    let lab = quiet_lab();
    let mut server = Both::start(&lab, datapath, "").unwrap();
    let mut honest = Honest::new(&lab, CLIENTS, Both::PRIMARY, PATIENCE);
    let over = AtomicBool::new(false);
    let experience = thread::scope(|scope| {
        let asking = scope.spawn(|| honest.qualify_until(&over));
        let taken: Vec<_> = (0..2).map(|_| server.take_over()).collect();
        over.store(true, Relaxed);
        let experience = asking.join().unwrap();
        for taken in taken {
            taken.unwrap();
        }
        experience
    });
    println!("{datapath}: {experience:?}");
    assert!(experience.asked > 0);
    assert_eq!(experience.answered, experience.asked, "{experience:?}");
    server.stop().unwrap();
}

with_and_without_xdp! {
    no_solicitation_is_lost_when_another_process_takes_over:
        in_xdp_no_solicitation_is_lost_when_another_process_takes_over,
        in_user_space_no_solicitation_is_lost_when_another_process_takes_over;
}

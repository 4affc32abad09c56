//! The small form of the scale run.

use shipworm_sim::scale;

/// Clients.
const CLIENTS: u32 = 100_000;

/// Less than one in a million may find no room; the relay itself keeps what is under way and nothing for a trusted peer.
#[test]
fn a_hundred_thousand_clients_cost_their_entries_and_little_more() {
    let report = scale::run(CLIENTS);
    assert_eq!((report.trusted, report.refused), (CLIENTS.into(), 0));
    let grown = report.resident_bytes - report.resident_before_bytes;
    println!("{report:?}");
    assert!(grown < report.table_bytes + (64 << 20), "{grown} bytes");
}

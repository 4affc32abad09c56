//! What the generated frames met: an oracle that is not asked about a rule says nothing about it.

use std::collections::BTreeMap;
use std::fmt;

use relay_common::{Kind, Reason};

/// Outcomes, by the name of their reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) by_reference: BTreeMap<&'static str, u64>,
    pub(crate) by_fast_path: BTreeMap<&'static str, u64>,
}

/// What no frame of a case ends in: it takes time, other settings or a kernel that refuses.
const ELSEWHERE: [&str; 12] = [
    "PassToServer",
    "EncapsulatedFromQueue",
    "NoHeadroom",
    "FrameUnreadable",
    "SendFailed",
    "DestinationNotTeredo",
    "SourcePrefixLimitExceeded",
    "QueueMemoryFull",
    "BubblesUnanswered",
    "PeerBlocked",
    "ShutDown",
    "FrameTooLargeToPunt",
];

/// What a datagram to a server can end in.
pub(crate) const OF_SERVER: [&str; 40] = [
    "NotOurs",
    "OuterFragment",
    "OuterOptions",
    "OuterChecksumWrong",
    "OuterLengthMismatch",
    "OuterUdpChecksumWrong",
    "OuterSourcePortZero",
    "OuterSourceNotGlobal",
    "OuterSourceOwn",
    "OuterSourceMismatch",
    "PayloadNotTeredo",
    "AuthenticationTruncated",
    "OriginTruncated",
    "HeaderOutOfOrder",
    "InnerTruncated",
    "InnerVersionNot6",
    "DestinationMulticast",
    "DestinationNotGlobal",
    "DestinationNotServed",
    "DestinationEmbedsForbiddenAddress",
    "MappedAddressNotGlobal",
    "MappedPortZero",
    "MappedAddressOwn",
    "HopLimitExceeded",
    "Advertised",
    "ForwardedToClient",
    "ForwardedToNative",
    "NotBubbleNorIcmp6",
    "ServerAddressed",
    "ClientOfAnotherServer",
    "SolicitationInvalid",
    "CredentialsMissing",
    "ClientIdUnknown",
    "CredentialsWrong",
    "Icmp6TooLarge",
    "Icmp6NotCarried",
    "TrailersTooLong",
    "OuterSourceRateExceeded",
    "TargetRateExceeded",
    "NativeRateExceeded",
];

/// Those a relay has too.
const OF_BOTH: &[&str] = OF_SERVER.split_at(24).0;

/// What the program itself settles of it, and what it leaves to the sockets.
pub(crate) const OF_SERVER_IN_XDP: [&str; 33] = [
    "PassToServer",
    "NotOurs",
    "OuterFragment",
    "OuterOptions",
    "OuterChecksumWrong",
    "OuterLengthMismatch",
    "OuterSourcePortZero",
    "OuterSourceNotGlobal",
    "OuterSourceOwn",
    "OuterSourceMismatch",
    "PayloadNotTeredo",
    "AuthenticationTruncated",
    "OriginTruncated",
    "HeaderOutOfOrder",
    "InnerTruncated",
    "InnerVersionNot6",
    "DestinationMulticast",
    "DestinationNotGlobal",
    "MappedAddressNotGlobal",
    "MappedPortZero",
    "MappedAddressOwn",
    "Advertised",
    "ForwardedToClient",
    "NotBubbleNorIcmp6",
    "ServerAddressed",
    "ClientOfAnotherServer",
    "SolicitationInvalid",
    "Icmp6TooLarge",
    "Icmp6NotCarried",
    "TrailersTooLong",
    "OuterSourceRateExceeded",
    "TargetRateExceeded",
    "PuntPeerUnknown",
];

impl Tally {
    pub(crate) fn note(&mut self, reference: &'static str, fast_path: Reason) {
        *self.by_reference.entry(reference).or_default() += 1;
        *self.by_fast_path.entry(fast_path.as_str()).or_default() += 1;
    }

    /// # Panics
    /// If there is a reason of a relay no frame ended in, though it could.
    pub(crate) fn assert_nothing_was_missed(&self) {
        let names = |is_punted: bool| {
            let reasons = Reason::ALL.iter().filter(move |reason| {
                let name = reason.as_str();
                let is_elsewhere = ELSEWHERE.contains(&name);
                let is_of_server_alone = OF_SERVER.contains(&name) && !OF_BOTH.contains(&name);
                (reason.kind() == Kind::Punted) == is_punted && !is_elsewhere && !is_of_server_alone
            });
            reasons.map(|reason| reason.as_str()).collect::<Vec<_>>()
        };
        self.assert_met(&names(false), &names(true));
    }

    /// # Panics
    /// Unless frames ended in all these reasons.
    pub(crate) fn assert_met(&self, by_reference: &[&'static str], by_fast_path: &[&'static str]) {
        let missed = |names: &[&'static str], by: &BTreeMap<_, _>| {
            let missed = names.iter().copied().filter(|name| !by.contains_key(name));
            missed.collect::<Vec<&str>>()
        };
        let missed = [
            missed(by_reference, &self.by_reference),
            missed(by_fast_path, &self.by_fast_path),
        ]
        .concat();
        assert!(missed.is_empty(), "no frame ended in {missed:?}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (whose, by) in [
            ("reference", &self.by_reference),
            ("fast path", &self.by_fast_path),
        ] {
            writeln!(f, "{whose}: {by:?}")?;
        }
        Ok(())
    }
}

//! What was sent, received and dropped, by kind: the numbers behind the metrics and behind the claim that every kind of
//! message was seen in both directions. Plain numbers; who shows them decides how.

/// Kinds of messages, wrappers and streams of both layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A probe over UDP.
    Ping,
    /// A request to probe another member.
    IndirectPing,
    /// The answer to a probe.
    Ack,
    /// The answer that there was no answer.
    Nack,
    /// A suspicion.
    Suspect,
    /// A member's own description.
    Alive,
    /// A death or a departure.
    Dead,
    /// A full exchange of state over TCP.
    PushPull,
    /// A probe over TCP.
    StreamPing,
    /// Its answer.
    StreamAck,
    /// A user message over TCP.
    StreamUser,
    /// An error over TCP.
    StreamError,
    /// Several messages in one packet.
    Compound,
    /// A compressed message.
    Compressed,
    /// A packet with a checksum.
    Checksum,
    /// An encrypted packet or stream.
    Encrypted,
    /// A labelled packet or stream.
    Label,
    /// A message of Serf's layer in a packet.
    User,
    /// Serf: a member joins.
    JoinIntent,
    /// Serf: a member leaves, or is made to.
    LeaveIntent,
    /// Serf: clocks and statuses in an exchange of state.
    SerfState,
    /// Serf: a user event.
    UserEvent,
    /// Serf: a query.
    Query,
    /// Serf: an answer to a query.
    QueryResponse,
    /// Serf: an acknowledgement of a query.
    QueryAck,
    /// Serf: a message to be passed on.
    Relay,
}

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Self; 26] = [
        Self::Ping,
        Self::IndirectPing,
        Self::Ack,
        Self::Nack,
        Self::Suspect,
        Self::Alive,
        Self::Dead,
        Self::PushPull,
        Self::StreamPing,
        Self::StreamAck,
        Self::StreamUser,
        Self::StreamError,
        Self::Compound,
        Self::Compressed,
        Self::Checksum,
        Self::Encrypted,
        Self::Label,
        Self::User,
        Self::JoinIntent,
        Self::LeaveIntent,
        Self::SerfState,
        Self::UserEvent,
        Self::Query,
        Self::QueryResponse,
        Self::QueryAck,
        Self::Relay,
    ];
}

/// Why something that arrived had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// It did not decode.
    Malformed,
    /// A kind we do not know.
    Unknown,
    /// A wrong checksum.
    Checksum,
    /// No key of ours opens it.
    Undecryptable,
    /// Plain although we have a key, or sealed although we have none.
    Encryption,
    /// A label that is not ours.
    Label,
    /// A ping for a name that is not ours.
    WrongNode,
    /// An answer to a question that nobody asks any more.
    Unasked,
    /// A member whose versions make no sense.
    Versions,
    /// A bound was reached: streams, relays, members, queue.
    Full,
    /// An event or query older than the buffer.
    Old,
    /// A query whose filter is not for us or does not compile.
    Filter,
}

impl DropReason {
    /// Every reason, in order.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::Unknown,
        Self::Checksum,
        Self::Undecryptable,
        Self::Encryption,
        Self::Label,
        Self::WrongNode,
        Self::Unasked,
        Self::Versions,
        Self::Full,
        Self::Old,
        Self::Filter,
    ];
}

/// All counters of a pool, since it was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    sent: [u64; Kind::ALL.len()],
    received: [u64; Kind::ALL.len()],
    dropped: [u64; DropReason::ALL.len()],
    /// Packets handed to the network.
    pub packets_sent: u64,
    /// Their bytes.
    pub packet_bytes_sent: u64,
    /// Packets taken from the network.
    pub packets_received: u64,
    /// Their bytes.
    pub packet_bytes_received: u64,
    /// Bytes written to streams.
    pub stream_bytes_sent: u64,
    /// Bytes read from streams.
    pub stream_bytes_received: u64,
    /// Probes of other members begun.
    pub probes: u64,
    /// Probes that nothing answered.
    pub probes_failed: u64,
    /// Probes that only TCP answered: UDP does not get through.
    pub probes_by_stream: u64,
    /// Times we had to say that we are alive after all.
    pub refutations: u64,
    /// Two members claimed one name.
    pub name_conflicts: u64,
    /// Members that came back within a minute of failing.
    pub flaps: u64,
}

impl Counters {
    /// Messages of this kind that we sent.
    #[must_use]
    pub fn sent(&self, kind: Kind) -> u64 {
        self.sent[kind as usize]
    }

    /// Messages of this kind that arrived and decoded.
    #[must_use]
    pub fn received(&self, kind: Kind) -> u64 {
        self.received[kind as usize]
    }

    /// What was dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    pub(crate) fn count_sent(&mut self, kind: Kind) {
        self.sent[kind as usize] += 1;
    }

    pub(crate) fn count_received(&mut self, kind: Kind) {
        self.received[kind as usize] += 1;
    }

    pub(crate) fn count_dropped(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    /// Counts what an error says.
    pub(crate) fn count_error(&mut self, error: &crate::wire::WireError) {
        use crate::wire::WireError;
        self.count_dropped(match error {
            WireError::UnknownKind { .. } => DropReason::Unknown,
            WireError::Checksum { .. } => DropReason::Checksum,
            WireError::Decrypt => DropReason::Undecryptable,
            WireError::Encryption { .. } => DropReason::Encryption,
            WireError::Label => DropReason::Label,
            WireError::Truncated { .. }
            | WireError::Type { .. }
            | WireError::Range { .. }
            | WireError::Utf8
            | WireError::Depth { .. }
            | WireError::TooLong { .. }
            | WireError::Address { .. }
            | WireError::Empty
            | WireError::Wrapped { .. }
            | WireError::Algorithm { .. }
            | WireError::Compression => DropReason::Malformed,
        });
    }
}

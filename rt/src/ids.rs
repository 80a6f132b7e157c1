//! Newtypes for every identity and position. Bare integers are for counting.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id!(/// One of the 16,384 parts of the key space.
    SlotId(u16));
id!(/// A Raft group, unique in the cluster.
    GroupId(u64));
id!(/// A group's short number inside one core's log.
    GroupSlot(u16));
id!(/// A core of a node: its number is durable.
    CoreId(u16));
id!(/// A Raft voter or learner: node number in the high bits, core in the low 16.
    ReplicaId(u64));
id!(/// Raft's election counter.
    Term(u64));
id!(/// Raft's log position, 1 is the first entry, 0 is "none".
    LogIndex(u64));
id!(/// A file of a core's log, never reused.
    SegmentId(u64));
id!(/// A frame of a core's log, from 1, never reused; 0 is "none".
    FrameNo(u64));

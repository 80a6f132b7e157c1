//! [`Mesh`]: what a core has for the others, gathered over a turn and sent at its end.

use std::collections::VecDeque;

use slotcore_netio::mesh::MeshPort;
use slotcore_rt::ids::CoreId;

use crate::parcel::Parcel;

/// Unsent bytes for one core above which no more commands are taken for it, until it has caught up.
const OUTBOX_BYTES_MAX: usize = 1 << 20;
/// Emptied parcels kept for reuse, and the bytes above which a buffer is given back to the allocator instead.
const SPARE_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 256 * 1024;

/// A parcel whose requests are being carried out.
pub struct Unread {
    /// Who sent it.
    pub from: u16,
    /// Its requests.
    pub parcel: Parcel,
    /// Where the next one starts.
    pub at: usize,
}

/// See the module's text.
pub struct Mesh {
    port: MeshPort<Parcel>,
    /// By destination; the core's own holds parts of its own commands and never leaves. Behind those of the cores: those of
    /// the same core of other nodes, by node ([`Mesh::far`]).
    boxes: Vec<Parcel>,
    /// Parcels that were received and not opened, oldest first, with their senders.
    pub arrived: VecDeque<(u16, Parcel)>,
    /// Requests that could not be carried out at once, oldest first.
    pub unread: VecDeque<Unread>,
    spare: Vec<Parcel>,
}

impl Mesh {
    /// By this port, nothing under way.
    pub fn new(port: MeshPort<Parcel>) -> Self {
        Self {
            boxes: (0..port.cores()).map(|_| Parcel::default()).collect(),
            port,
            arrived: VecDeque::new(),
            unread: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// The rings themselves.
    pub fn port(&self) -> &MeshPort<Parcel> {
        &self.port
    }

    /// This core.
    pub fn me(&self) -> CoreId {
        CoreId(self.port.core() as u16)
    }

    /// How many cores there are.
    #[inline]
    pub fn cores(&self) -> usize {
        self.port.cores()
    }

    /// The same core of another node, as a destination beside the cores of this one.
    pub fn far(&self, node: u16) -> u16 {
        self.cores() as u16 + node
    }

    /// The node of a destination that [`Mesh::far`] gave; `None`: it is a core of this one.
    pub fn node_of(&self, destination: u16) -> Option<u16> {
        destination.checked_sub(self.cores() as u16)
    }

    /// What goes to a core, or to another node, at the end of the turn.
    #[inline]
    pub fn to(&mut self, core: u16) -> &mut Parcel {
        &mut self.boxes[usize::from(core)]
    }

    /// There are so many nodes, numbered from 1.
    pub fn make_far(&mut self, nodes: u16) {
        let boxes = self.cores() + usize::from(nodes) + 1;
        self.boxes.resize_with(boxes.max(self.boxes.len()), Parcel::default);
    }

    /// True while a core is so far behind that no more should be asked of it.
    #[inline]
    pub fn is_clogged(&self, core: u16) -> bool {
        self.boxes[usize::from(core)].bytes() > OUTBOX_BYTES_MAX
    }

    /// Takes what this core has for itself.
    pub fn take_own(&mut self) -> Parcel {
        self.take(self.port.core() as u16)
    }

    /// Takes what this core has for another one, or for another node.
    pub fn take(&mut self, destination: u16) -> Parcel {
        let spare = self.spare.pop().unwrap_or_default();
        std::mem::replace(&mut self.boxes[usize::from(destination)], spare)
    }

    /// The next parcel of another core.
    pub fn receive(&mut self) -> Option<(u16, Parcel)> {
        (0..self.cores()).find_map(|core| Some((core as u16, self.port.receive(core)?)))
    }

    /// Sends every parcel that has something in it; what finds no room stays. True when all is gone.
    pub fn flush(&mut self) -> bool {
        let mut all = true;
        for core in 0..self.cores() {
            if core == self.port.core() || self.boxes[core].is_empty() {
                continue;
            }
            let parcel = std::mem::replace(&mut self.boxes[core], self.spare.pop().unwrap_or_default());
            if let Err(parcel) = self.port.send(core, parcel) {
                let spare = std::mem::replace(&mut self.boxes[core], parcel);
                self.recycle(spare);
                all = false;
            }
        }
        all
    }

    /// True when nothing is to be sent and nothing to be carried out.
    pub fn is_quiet(&self) -> bool {
        self.unread.is_empty()
            && self.arrived.is_empty()
            && self.boxes.iter().all(Parcel::is_empty)
            && !self.port.has_mail()
    }

    /// Keeps the buffers of a parcel that was read.
    pub fn recycle(&mut self, mut parcel: Parcel) {
        if self.spare.len() < SPARE_MAX {
            parcel.notes.clear();
            for buffer in [&mut parcel.requests, &mut parcel.replies, &mut parcel.casts] {
                buffer.clear();
                if buffer.capacity() > SPARE_BYTES_MAX {
                    *buffer = Vec::new();
                }
            }
            self.spare.push(parcel);
        }
    }
}

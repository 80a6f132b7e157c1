//! The manifest of a group: which files hold its state, up to which entry of the log.
//!
//! [`Version`] is the whole of it. A flush or a merge is an [`Edit`]: pure, it makes the next version of the one before,
//! or refuses when the files it worked on are not those that are there. The next version is written as one `Manifest`
//! record of the log, which the log keeps whole in each checkpoint; so a change is atomic by being in one frame, and there
//! is no file of its own that could be missing, torn or swapped.
//!
//! Order on disk: new files written and synced, then the record durable, and only then the files unlinked that
//! [`Version::apply`] says are no longer needed. Files that no manifest names are left over from a crash.
//!
//! Format: `docs/formats/manifest.md`.

mod codec;
mod edit;
mod version;

pub use codec::ManifestError;
pub use edit::{Edit, EditError};
pub use version::{BlobFile, FileRef, RunVersion, SideState, TreeVersion, Version};

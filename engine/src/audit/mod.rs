//! Audit: reading everything that a core has stored, and saying what is damaged, where, and whom it touches.
//!
//! A start reads what it needs and stops at the first damage. An audit reads every byte, goes on behind damage, and tells
//! apart what never counted (a torn tail, leftovers of a crash) from what had been durable. It changes nothing, and does
//! its reading through the same traits as a start, so it works on memory as on a disk.

mod blobs;
mod core;
mod finding;
mod log;
mod sorted;

pub use self::core::{CoreAudit, GroupAudit, audit_core};
pub use finding::{AuditError, AuditedFile, Finding, Verdict};
pub use log::{LogAudit, audit_log};
pub use sorted::open_sorted;

//! A whole core: its log, the manifests in it, and the files that they name.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use slotcore_rt::ids::{CoreId, GroupId, GroupSlot, LogIndex};

use super::blobs::audit_blob;
use super::finding::{AuditError, AuditedFile, Finding, Verdict};
use super::log::{LogAudit, audit_log};
use super::sorted::audit_sorted;
use crate::log::{LogPos, SegmentSource};
use crate::manifest::Version;
use crate::store::{FileName, FileSource};

/// A group, as far as it can be told.
#[derive(Clone, Debug)]
pub struct GroupAudit {
    /// Its slot in the log.
    pub slot: GroupSlot,
    /// Its name; `None` when the log cannot be opened.
    pub id: Option<GroupId>,
    /// The last entry that the log has let go of, and the last one there is.
    pub purged: LogPos,
    /// See `purged`.
    pub last: LogPos,
    /// Its manifest; `None` when it makes no sense.
    pub version: Option<Version>,
}

/// What an audit of a core found.
pub struct CoreAudit {
    /// Of its log.
    pub log: LogAudit,
    /// Of its groups.
    pub groups: Vec<GroupAudit>,
    /// Everything damaged, by file and place; [`LogAudit::findings`] are among them.
    pub findings: Vec<Finding>,
}

impl CoreAudit {
    /// Whether anything is hit that had been durable.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.verdict == Verdict::Corrupt)
    }
}

/// Reads everything that a core has stored. `kept`: a snapshot elsewhere stands for the entries up to this one, if there is any.
///
/// # Errors
/// Something cannot be read at all. Damage is no error.
pub fn audit_core(
    core: CoreId,
    segments: &mut dyn SegmentSource,
    files: &mut dyn FileSource,
    kept: LogIndex,
) -> Result<CoreAudit, AuditError> {
    let log = audit_log(core, segments)?;
    let mut findings = log.findings.clone();
    let listed = files.list().map_err(|error| AuditError::Io { file: None, error })?;
    let listed: BTreeMap<FileName, u64> = listed.into_iter().collect();
    let mut named = BTreeSet::new();
    let mut groups = Vec::new();
    for (slot, found) in groups_of(&log) {
        let Found {
            id,
            purged,
            last,
            manifest,
        } = found;
        let version = Version::decode(&manifest);
        if let Ok(version) = &version {
            audit_version(slot, version, &listed, files, &mut named, &mut findings)?;
        }
        if let Some(what) = manifest_problem(&version, kept, purged)
            && let Some(&segment) = log.chain.last()
        {
            let mut finding = Finding::new(Verdict::Corrupt, AuditedFile::Segment(segment), 0, 0, what);
            finding.groups.push(slot);
            findings.push(finding);
        }
        groups.push(GroupAudit {
            slot,
            id,
            purged,
            last,
            version: version.ok(),
        });
    }
    // While a manifest is unreadable, or the newest one is not known, nobody knows what is left over.
    let all_known = log.log.is_some() && groups.iter().all(|group| group.version.is_some());
    if all_known {
        let left_over = listed.iter().filter(|(name, _)| !named.contains(*name));
        findings.extend(left_over.map(|(&name, &bytes)| {
            let what = "no manifest names it";
            Finding::new(Verdict::LeftOver, AuditedFile::Store(name), 0, bytes, what)
        }));
    }
    findings.sort_by_key(|finding| (finding.file, finding.offset));
    Ok(CoreAudit { log, groups, findings })
}

struct Found {
    id: Option<GroupId>,
    purged: LogPos,
    last: LogPos,
    manifest: Bytes,
}

/// The groups of the log; when it cannot be opened, those whose manifests can be read.
fn groups_of(audit: &LogAudit) -> Vec<(GroupSlot, Found)> {
    let Some(log) = &audit.log else {
        let manifests = audit.manifests.iter();
        return manifests
            .map(|(&slot, manifest)| {
                let (purged, last) = Default::default();
                let manifest = manifest.clone();
                let id = None;
                (
                    slot,
                    Found {
                        id,
                        purged,
                        last,
                        manifest,
                    },
                )
            })
            .collect();
    };
    log.groups()
        .map(|(slot, group)| {
            let found = Found {
                id: Some(group.id()),
                purged: group.purged(),
                last: group.last(),
                manifest: group.manifest().clone(),
            };
            (slot, found)
        })
        .collect()
}

fn manifest_problem(
    version: &Result<Version, crate::manifest::ManifestError>,
    kept: LogIndex,
    purged: LogPos,
) -> Option<String> {
    let held = match version {
        Err(error) => return Some(error.to_string()),
        Ok(version) => version.flushed.index.max(kept),
    };
    (held < purged.index).then(|| {
        format!(
            "the files hold everything up to entry {held}, but the log begins behind entry {}",
            purged.index
        )
    })
}

/// Checks every file that a manifest names; adds their names to `named`.
fn audit_version(
    slot: GroupSlot,
    version: &Version,
    listed: &BTreeMap<FileName, u64>,
    files: &mut dyn FileSource,
    named: &mut BTreeSet<FileName>,
    findings: &mut Vec<Finding>,
) -> Result<(), AuditError> {
    let mut found = Vec::new();
    let mut bad_blobs = BTreeMap::new();
    for blob in &version.blobs {
        let name = FileName::blob(blob.file);
        named.insert(name);
        let problem = length_problem(name, blob.file_bytes, listed);
        let too_short = problem.is_some();
        found.extend(problem);
        if too_short || !audit_blob(files, blob, &mut found)? {
            let there = listed.get(&name).copied().unwrap_or(0);
            bad_blobs.insert(blob.file, there);
        }
    }
    for file in version.files() {
        let name = FileName::sorted(file.file);
        named.insert(name);
        match length_problem(name, file.file_bytes, listed) {
            Some(problem) => found.push(Finding {
                ords: Some((file.props.ord_min.max(file.from_ord), file.props.ord_max)),
                ..problem
            }),
            None => audit_sorted(files, file, &bad_blobs, &mut found)?,
        }
    }
    for mut finding in found {
        finding.groups.push(slot);
        findings.push(finding);
    }
    Ok(())
}

/// A file that is missing, or not as long as it was.
fn length_problem(file: FileName, expected: u64, listed: &BTreeMap<FileName, u64>) -> Option<Finding> {
    let (offset, what) = match listed.get(&file) {
        None => (0, "the file is missing".to_string()),
        Some(&found) if found != expected => (found.min(expected), format!("{found} bytes instead of {expected}")),
        Some(_) => return None,
    };
    let bytes = expected - offset;
    Some(Finding::new(
        Verdict::Corrupt,
        AuditedFile::Store(file),
        offset,
        bytes,
        what,
    ))
}

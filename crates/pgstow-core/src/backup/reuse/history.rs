//! Same history: nothing that the earlier backup saw can have been taken back since. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::doubt::Doubt;
use crate::repository::format::manifest::{Manifest, Source};

/// Transactions between the two snapshots up to which 32-bit transaction ids are compared. The
/// comparison holds for 2^31; the readers' clocks run on while they work.
const MOST_TRANSACTIONS: u64 = 1 << 30;

/// The backup that is being made, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(in crate::backup) struct Present<'a> {
    /// Server and database.
    pub(in crate::backup) source: &'a Source,
    /// The server's `fsync` is on.
    pub(in crate::backup) fsync: bool,
    /// The snapshot's `xmax`: no transaction so far has a higher id.
    pub(in crate::backup) next_transaction: u64,
    /// When the snapshot was taken.
    pub(in crate::backup) taken_at: Timestamp,
    /// `--full`.
    pub(in crate::backup) full: bool,
    /// Longest time without reading everything.
    pub(in crate::backup) full_every: Duration,
}

/// Shows that `base` and the backup that is being made look at one history.
///
/// # Errors
/// The first doubt.
pub(in crate::backup) fn same(base: &Manifest, present: &Present<'_>) -> Result<(), Doubt> {
    let (then, now) = (&base.source, present.source);
    if present.full {
        return Err(Doubt::Asked);
    }
    let require = |holds: bool, why: &'static str| if holds { Ok(()) } else { Err(Doubt::History(why)) };
    let Some(proof) = &base.proof else {
        return Err(Doubt::History("the earlier backup recorded no proof"));
    };
    require(!now.in_recovery, "the server is a standby")?;
    require(!then.in_recovery, "the server was a standby")?;
    require(present.fsync && proof.fsync, "fsync is off on the server")?;
    require(proof.durable, "the earlier backup ended before the server had its log on disk")?;
    let known = now.system_identifier.is_some() && now.timeline.is_some();
    require(known, "this role may not ask for the server's identity (pg_control_system)")?;
    require(then.system_identifier == now.system_identifier, "it is another server")?;
    require(then.timeline == now.timeline, "the server is on another timeline")?;
    require(then.postmaster_started_us == now.postmaster_started_us, "the server was restarted")?;
    require(then.database_oid == now.database_oid, "it is another database")?;
    let same_row = now.database_xmin.is_some() && then.database_xmin == now.database_xmin;
    require(same_row, "the database was created anew or altered")?;
    let passed = present.next_transaction.checked_sub(base.snapshot.xmin);
    require(
        passed.is_some_and(|passed| passed < MOST_TRANSACTIONS),
        "too many transactions since the earlier backup",
    )?;
    let age = present.taken_at.duration_since(proof.read_in_full_at);
    // A time that lies ahead is a clock that was set back: nobody knows how long ago that was.
    let fresh = Duration::try_from(age).is_ok_and(|age| age < present.full_every);
    if fresh { Ok(()) } else { Err(Doubt::Due) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::repository::format::id::BackupId;
    use crate::repository::format::manifest::{LargeObjects, Selection, Snapshot};
    use crate::repository::format::proof::Proof;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn time(days: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + days * 24 * 3600).unwrap()
    }

    pub(in super::super) fn base() -> Manifest {
        Manifest {
            format_version: 1,
            backup: BackupId::new("prod_2026-11-21T09-12-04Z").unwrap(),
            source: Source {
                endpoint: "db:5432".into(),
                database: "shop".into(),
                database_oid: 16384,
                database_xmin: Some(700),
                server_version_num: 150_018,
                server_version: "15.18".into(),
                system_identifier: Some("7500000000000000000".into()),
                timeline: Some(1),
                postmaster_started_us: 1_800_000_000_000_000,
                in_recovery: false,
                encoding: "UTF8".into(),
                collate: "C".into(),
                ctype: "C".into(),
                role: "reader".into(),
            },
            snapshot: Snapshot { id: "1".into(), xmin: (1 << 32) + 5, taken_at: time(0) },
            selection: Selection::default(),
            tables: Vec::new(),
            sequences: Vec::new(),
            materialized_views: Vec::new(),
            large_objects: LargeObjects::default(),
            encryption: None,
            object_key: None,
            objects: Vec::new(),
            files: Vec::new(),
            not_carried: Vec::new(),
            proof: Some(Proof {
                fsync: true,
                durable: true,
                read_in_full_at: time(0),
                definitions: None,
                large_objects: None,
            }),
        }
    }

    pub(in super::super) fn present(source: &Source) -> Present<'_> {
        Present {
            source,
            fsync: true,
            next_transaction: (1 << 32) + 500,
            taken_at: time(1),
            full: false,
            full_every: 7 * DAY,
        }
    }

    #[test]
    fn the_same_server_a_day_later_is_one_history() {
        let base = base();
        assert_eq!(same(&base, &present(&base.source)), Ok(()));
    }

    #[test]
    fn every_other_past_is_a_doubt() {
        type Change = fn(&mut Manifest);
        let changes: [(&str, Change); 13] = [
            ("no proof", |base| base.proof = None),
            ("was a standby", |base| base.source.in_recovery = true),
            ("fsync", |base| base.proof.as_mut().unwrap().fsync = false),
            ("log on disk", |base| base.proof.as_mut().unwrap().durable = false),
            ("identity", |base| base.source.system_identifier = None),
            ("another server", |base| base.source.system_identifier = Some("8".into())),
            ("another timeline", |base| base.source.timeline = Some(2)),
            ("restarted", |base| base.source.postmaster_started_us += 1),
            ("another database", |base| base.source.database_oid += 1),
            ("created anew", |base| base.source.database_xmin = Some(701)),
            ("too many transactions", |base| base.snapshot.xmin = (1 << 32) + 501),
            ("time to time", |base| base.proof.as_mut().unwrap().read_in_full_at = time(-6)),
            ("time to time", |base| base.proof.as_mut().unwrap().read_in_full_at = time(2)),
        ];
        for (expected, change) in changes {
            let mut other = base();
            change(&mut other);
            // Where both lack the identity it is the present one's fault.
            let mut source = base().source;
            if other.source.system_identifier.is_none() {
                source.system_identifier = None;
            }
            let doubt = same(&other, &present(&source)).expect_err(expected).to_string();
            assert!(doubt.contains(expected), "{expected}: {doubt}");
        }
    }

    #[test]
    fn the_present_can_be_the_reason_too() {
        let base = base();
        let doubt = |present: Present<'_>| same(&base, &present).unwrap_err().to_string();
        assert!(doubt(Present { full: true, ..present(&base.source) }).contains("asked for"));
        assert!(doubt(Present { fsync: false, ..present(&base.source) }).contains("fsync"));
        assert!(doubt(Present { full_every: DAY, ..present(&base.source) }).contains("time to time"));
        let far = (1 << 32) + 5 + MOST_TRANSACTIONS;
        assert!(doubt(Present { next_transaction: far, ..present(&base.source) }).contains("too many"));
        let standby = Source { in_recovery: true, ..base.source.clone() };
        assert!(doubt(present(&standby)).contains("is a standby"));
    }
}

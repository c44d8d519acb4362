//! Proves that what an earlier backup read has not changed, so that it can be taken over.
//!
//! PostgreSQL never edits a row version in place, and never changes its `xmin` (freezing keeps the
//! raw value). So content is tied to a row version's place and `xmin`, and the rows of a range of
//! pages that are visible now are exactly those that an earlier backup read there, if all of this
//! holds:
//!
//! 1. **Same history** ([`history`]). The same server, timeline and database, the same postmaster
//!    since then, no standby, and the earlier snapshot's log was on disk ([`durable`]) with `fsync`
//!    on: nothing that the earlier backup saw can have been taken back, neither by a crash nor by any
//!    way of rewinding a server, which all need a new postmaster.
//! 2. **Same storage** ([`earlier`]). The same table OID and filenode, a permanent heap, and both
//!    backups showed under lock that storage and snapshot belong together.
//! 3. **No newer row** ([`probe`]). No visible row of the range has an `xmin` that is not older than
//!    the oldest transaction that ran when the earlier snapshot was taken.
//! 4. **Same count** ([`probe`]). As many rows are visible as the earlier backup read.
//! 5. **Same rendering** ([`rendering`]). Equal fingerprints of all that turns the columns' values into
//!    bytes.
//!
//! By 3, every row visible now was committed before the earlier snapshot; it is not deleted now, so
//! it was visible then: what is there now is a subset of what was there then. By 4, both are equal.
//! By 5, they look the same. No hash of data is trusted, no row is written to the source.
//!
//! Any doubt means reading, and every [`Doubt`] is counted and shown. What this gives up: damage that
//! the source's disks do to a row between two readings is not noticed. So everything is read anew
//! every now and then; with content ids that costs time, not space.

mod bases;
pub(super) mod definitions;
mod doubt;
mod durable;
mod earlier;
mod history;
mod large_objects;
mod probe;
pub(super) mod rendering;
mod report;

pub(super) use bases::{Bases, DefinitionsBase};
pub(super) use doubt::Doubt;
pub(super) use durable::Flush;
pub(super) use earlier::{Earlier, Judged, Now, Since};
pub(super) use history::{Present, same as same_history};
pub(super) use large_objects::{LargeObjectRows, read as read_large_object_rows};
pub(super) use probe::{Question, Verdict, ask};
pub(super) use report::{Origin, Tally};
pub use report::{ReadReason, ReuseReport};

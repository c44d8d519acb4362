//! What is measured: the cases, their names and what each is about.

use clap::ValueEnum;

use crate::data::{Change, DataSet};

/// One thing that everybody has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Case {
    /// The first backup, into an empty repository.
    Full,
    /// A backup when nothing has changed since the last one.
    Unchanged,
    /// A restore into a new database.
    Restore,
    /// A backup after 1 % of the rows was added.
    Appended,
    /// A backup after 1 % of the rows was updated in one place.
    UpdatedTogether,
    /// A backup after every hundredth row was updated.
    UpdatedScattered,
    /// The first backup of many small tables.
    ManyFull,
    /// A backup of many small tables when nothing has changed.
    ManyUnchanged,
    /// A restore of many small tables.
    ManyRestore,
}

/// What a competitor is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// A backup with nothing to build on.
    First,
    /// A backup that may build on the one before.
    Next,
    /// A restore of the last backup.
    Restore,
}

impl Case {
    /// All, in the order they are measured in.
    pub(crate) const ALL: [Self; 9] = [
        Self::Full,
        Self::Unchanged,
        Self::Restore,
        Self::Appended,
        Self::UpdatedTogether,
        Self::UpdatedScattered,
        Self::ManyFull,
        Self::ManyUnchanged,
        Self::ManyRestore,
    ];

    /// Name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Heading in the report.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Full => "First full backup",
            Self::Unchanged => "Nothing changed",
            Self::Restore => "Restore into a new database",
            Self::Appended => "1 % appended",
            Self::UpdatedTogether => "1 % updated in one place",
            Self::UpdatedScattered => "1 % updated, scattered",
            Self::ManyFull => "Many small tables: first full backup",
            Self::ManyUnchanged => "Many small tables: nothing changed",
            Self::ManyRestore => "Many small tables: restore into a new database",
        }
    }

    pub(crate) fn data_set(self) -> DataSet {
        match self {
            Self::ManyFull | Self::ManyUnchanged | Self::ManyRestore => DataSet::Many,
            _ => DataSet::Main,
        }
    }

    pub(crate) fn activity(self) -> Activity {
        match self {
            Self::Full | Self::ManyFull => Activity::First,
            Self::Restore | Self::ManyRestore => Activity::Restore,
            _ => Activity::Next,
        }
    }

    /// What happens to the source before each round.
    pub(crate) fn change(self) -> Option<Change> {
        match self {
            Self::Appended => Some(Change::Appended),
            Self::UpdatedTogether => Some(Change::UpdatedTogether),
            Self::UpdatedScattered => Some(Change::UpdatedScattered),
            _ => None,
        }
    }
}

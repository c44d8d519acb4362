//! The document that holds the figures: what is between its two markers is replaced, the prose
//! around them stays.

use std::path::{Path, PathBuf};

use pgstow_core::{Error, Result};

const BEGIN: &str = "<!-- begin figures -->\n";
const END: &str = "<!-- end figures -->\n";

/// A document with both markers.
#[derive(Debug)]
pub(crate) struct Document {
    path: PathBuf,
}

impl Document {
    /// Makes sure, before anything is measured, that the figures can be put in.
    ///
    /// # Errors
    /// A file that cannot be read or has not both markers.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let document = Self { path: path.to_owned() };
        document.with("")?;
        Ok(document)
    }

    /// Replaces what is between the markers.
    ///
    /// # Errors
    /// As [`Document::open`], or a file that cannot be written.
    pub(crate) fn write(&self, figures: &str) -> Result<()> {
        let text = self.with(figures)?;
        std::fs::write(&self.path, text)
            .map_err(|error| Error::failed(format!("cannot write {}", self.path.display())).source(error))
    }

    fn with(&self, figures: &str) -> Result<String> {
        let text = std::fs::read_to_string(&self.path)
            .map_err(|error| Error::failed(format!("cannot read {}", self.path.display())).source(error))?;
        replaced(&text, figures).ok_or_else(|| {
            Error::failed(format!("{} has no place for figures", self.path.display()))
                .hint(format!("put these lines where they belong:\n{BEGIN}{END}"))
        })
    }
}

fn replaced(text: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n\n{END}{after}", figures.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prose_around_the_figures_stays() {
        let text = format!("# Title\n\n{BEGIN}old\n{END}\nlast words\n");
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(new, format!("# Title\n\n{BEGIN}\nnew\n\n{END}\nlast words\n"));
        assert_eq!(replaced(&new, "new").unwrap(), new);
        assert_eq!(replaced("no markers", "new"), None);
        assert_eq!(replaced(&format!("{END}{BEGIN}"), "new"), None);
    }
}

//! Files of the repository, and what its pages tell operators to run.

use std::path::{Path, PathBuf};

use super::read;

/// A file of the repository.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The blocks of a page in a language, in order.
pub(crate) fn blocks(page: &str, language: &str) -> Vec<String> {
    let page = read(&in_repository(page));
    let fence = format!("\n```{language}\n");
    let parts = page.split(fence.as_str()).skip(1);
    parts.map(|rest| rest.split_once("\n```").unwrap_or_else(|| panic!("a block does not end: {rest}")).0.to_owned()).collect()
}

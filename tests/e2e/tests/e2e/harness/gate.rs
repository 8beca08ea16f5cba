//! A command that stands still until the test lets it go on: so a deployment can be met in the middle of a step.

use std::path::{Path, PathBuf};

use certctl_testkit::wait_until;

use super::{Home, LONG, write, write_script};

/// The gate.
pub(crate) struct Gate {
    /// The command to use in place of the one behind the gate, with the same arguments.
    pub(crate) script: PathBuf,
    folder: PathBuf,
}

impl Gate {
    /// A gate before a program.
    pub(crate) fn before(home: &Home, name: &str, program: &Path) -> Self {
        let folder = home.join(name);
        let (place, program) = (folder.display(), program.display());
        let wait = format!("touch '{place}/reached'\nwhile [ ! -e '{place}/open' ]; do sleep 0.05; done\nexec '{program}' \"$@\"");
        Self { script: write_script(&folder.join("gate.sh"), &wait), folder }
    }

    /// Waits until something stands before it.
    pub(crate) async fn reached(&self) {
        wait_until("a command at the gate", LONG, async || self.folder.join("reached").exists()).await;
    }

    /// Lets everything through from now on.
    pub(crate) fn open(&self) {
        write(&self.folder.join("open"), "");
    }
}

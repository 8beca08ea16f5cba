//! Completion scripts for shells.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::app::App;
use crate::cli::Cli;
use crate::failure::Failure;

/// For which shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Known,
}

/// A shell whose scripts are looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    /// Prints the script.
    pub(crate) fn run(&self, app: &App) -> Result<(), Failure> {
        let shell = match self.shell {
            Known::Bash => Shell::Bash,
            Known::Zsh => Shell::Zsh,
            Known::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "certctl", &mut script);
        app.out.write(&String::from_utf8_lossy(&script))
    }
}

pub(crate) const EXAMPLES: &str = "Examples:
  certctl completions bash > ~/.local/share/bash-completion/completions/certctl
  certctl completions zsh > ~/.zfunc/_certctl
  certctl completions fish > ~/.config/fish/completions/certctl.fish";

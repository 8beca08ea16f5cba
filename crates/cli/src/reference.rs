//! The reference page of the command line, written from the same tree that reads it.

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory as _};

use crate::cli::Cli;
use crate::environment::VARIABLES;
use crate::failure::EXIT_CODES;
use crate::output::Format;

/// The page in Markdown.
pub(crate) fn page() -> String {
    let mut root = Cli::command();
    root.build();
    let mut page = format!("{HEAD}\n");
    page += "## Flags of all commands\n\n";
    page += &table(root.get_arguments().filter(|arg| arg.is_global_set()));
    page += "\n## Output formats\n\n| `-o` | what is printed |\n| --- | --- |\n";
    for format in <Format as clap::ValueEnum>::value_variants() {
        if let Some(value) = clap::ValueEnum::to_possible_value(format) {
            page += &format!("| `{}` | {} |\n", value.get_name(), plain(value.get_help()));
        }
    }
    page += "\nData goes to standard output, everything else to standard error.\n";
    page += "\n## Environment\n\n| variable | meaning |\n| --- | --- |\n";
    page = VARIABLES.iter().fold(page, |page, (name, meaning)| page + &format!("| `{name}` | {meaning} |\n"));
    page += "\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n";
    page = EXIT_CODES.iter().fold(page, |page, (code, meaning)| page + &format!("| {code} | {meaning} |\n"));
    page += "\n## Commands\n";
    for command in shown(&root) {
        write(&mut page, command, "certctl");
    }
    page
}

/// The subcommands that people see.
pub(crate) fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn write(page: &mut String, command: &Command, parent: &str) {
    let name = format!("{parent} {}", command.get_name());
    *page += &format!("\n### {name}\n\n{}.\n", plain(command.get_about()));
    let aliases: Vec<String> = command.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
    if !aliases.is_empty() {
        *page += &format!("\nAlso: {}\n", aliases.join(", "));
    }
    if !command.has_subcommands() {
        let usage = command.clone().render_usage().to_string();
        *page += &format!("\n```text\n{}\n```\n", usage.trim_start_matches("Usage: "));
        let own: Vec<&Arg> =
            command.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help").collect();
        if !own.is_empty() {
            *page += &format!("\n{}", table(own.into_iter()));
        }
    }
    let examples = plain(command.get_after_help());
    if let Some(examples) = examples.strip_prefix("Examples:\n") {
        let lines: Vec<&str> = examples.lines().map(str::trim).collect();
        *page += &format!("\n```sh\n{}\n```\n", lines.join("\n"));
    }
    for command in shown(command) {
        write(page, command, &name);
    }
}

fn table<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    arguments.filter(|arg| !arg.is_hide_set()).fold("| flag | meaning |\n| --- | --- |\n".to_owned(), |text, arg| {
        let values: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set() && arg.get_action().takes_values() && !arg.is_hide_possible_values_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let values = if values.is_empty() { String::new() } else { format!(" One of {}.", values.join(", ")) };
        let default: Vec<String> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty()).collect();
        let default = if default.is_empty() || !arg.get_action().takes_values() {
            String::new()
        } else {
            format!(" Default `{}`.", default.join(" "))
        };
        let help = plain(arg.get_long_help().or_else(|| arg.get_help())).replace('|', "\\|");
        let help = if help.ends_with(['.', ']']) { help } else { help + "." };
        text + &format!("| `{}` | {help}{values}{default} |\n", spelled(arg))
    })
}

fn spelled(arg: &Arg) -> String {
    let value = arg.get_value_names().filter(|_| arg.get_action().takes_values()).map(|names| names.join(" "));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    match (short.into_iter().chain(long).collect::<Vec<_>>(), value) {
        (flags, None) => flags.join(", "),
        (flags, Some(value)) if flags.is_empty() => value,
        (flags, Some(value)) => format!("{} {value}", flags.join(", ")),
    }
}

fn plain(text: Option<&StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().trim().to_owned()
}

const HEAD: &str = "# The command line

`certctl` does what the REST API can do. This page is written by the program itself (`cargo xtask codegen`).

Wherever a command takes a NAME, an id will do as well. Several servers are kept apart as contexts, in
`~/.config/certctl/config.toml`, which only its owner can read.
";

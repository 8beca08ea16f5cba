use clap::{Command as Tree, CommandFactory as _, Parser as _};

use super::*;
use crate::reference::shown;

fn leaves<'a>(command: &'a Tree, name: &str, found: &mut Vec<(String, &'a Tree)>) {
    let name = format!("{name} {}", command.get_name()).trim().to_owned();
    let below: Vec<&Tree> = shown(command).collect();
    for command in below {
        leaves(command, &name, found);
    }
    found.push((name, command));
}

fn helps(command: &Tree, name: &str) -> String {
    let mut found = Vec::new();
    leaves(command, name, &mut found);
    found.reverse();
    found.into_iter().fold(String::new(), |text, (name, command)| {
        let mut command = command.clone().bin_name(name.clone()).term_width(100);
        text + &format!("==== {name}\n{}\n", command.render_help())
    })
}

#[test]
fn the_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_says_what_it_does_and_shows_examples() {
    let mut root = Cli::command();
    root.build();
    let mut found = Vec::new();
    leaves(&root, "", &mut found);
    assert!(found.len() > 80, "{}", found.len());
    for (name, command) in found {
        assert!(command.get_about().is_some_and(|about| !about.to_string().ends_with('.')), "{name} says nothing, or ends in a dot");
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(examples.starts_with("Examples:\n"), "{name} has no examples");
    }
}

#[test]
fn every_example_can_be_parsed() {
    let mut root = Cli::command();
    root.build();
    let mut found = Vec::new();
    leaves(&root, "", &mut found);
    for (name, command) in found {
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in examples.lines().skip(1).filter(|line| !line.is_empty()).take_while(|line| line.starts_with("  ")) {
            let words = words(line);
            let parsed = Cli::try_parse_from(&words);
            assert!(parsed.is_ok(), "{name}: {line}: {}", parsed.unwrap_err());
        }
    }
}

/// The words of the part of a shell line that runs this program.
fn words(line: &str) -> Vec<String> {
    let run = line.split_once("certctl").unwrap().1;
    let run = run.split([')', '|', '>']).next().unwrap();
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in format!("certctl{run}").chars().chain([' ']) {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    words
}

#[test]
fn help_of_the_program() {
    insta::assert_snapshot!(Cli::command().term_width(100).render_long_help());
}

#[test]
fn help_of_every_command() {
    let mut root = Cli::command();
    root.build();
    for command in shown(&root) {
        insta::with_settings!({ snapshot_suffix => command.get_name() }, {
            insta::assert_snapshot!(helps(command, "certctl"));
        });
    }
}

#[test]
fn the_reference_page() {
    insta::assert_snapshot!(crate::reference::page());
}

#[test]
fn mistakes_are_usage_errors() {
    for line in [
        "certctl",
        "certctl bla",
        "certctl owners",
        "certctl owners bla",
        "certctl owners get",
        "certctl owners create",
        "certctl owners edit web-ops",
        "certctl owners list --limit 0",
        "certctl owners list --limit 5 --all",
        "certctl certs list --status Sleeping",
        "certctl certs list -o xml",
        "certctl certs list --filter nothing",
        "certctl certs request --name web --san bad_name!",
        "certctl certs request --name web --tag novalue",
        "certctl certs revoke web",
        "certctl certs revoke web --reason removeFromCRL",
        "certctl certs revoke web --reason superseded --serial 1f --version ver-1",
        "certctl certs bulk-renew",
        "certctl agents retire web-1 --force",
        "certctl profiles create --name p --key DSA",
        "certctl policies create --name p --window-days soon",
        "certctl --timeout 5 status",
        "certctl completions powershell",
    ] {
        let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn reasons_are_read_in_every_spelling_and_listed_when_wrong() {
    for reason in ["keyCompromise", "key_compromise", "key-compromise", "KEYCOMPROMISE"] {
        assert!(Cli::try_parse_from(["certctl", "certs", "revoke", "web", "--reason", reason]).is_ok(), "{reason}");
    }
    let error = Cli::try_parse_from(["certctl", "certs", "revoke", "web", "--reason", "boredom"]).unwrap_err().to_string();
    assert!(error.contains("superseded") && error.contains("privilegeWithdrawn"), "{error}");
}

#[test]
fn flags_of_all_commands_may_stand_anywhere() {
    for line in ["certctl -o json certs list", "certctl certs -o json list", "certctl certs list -o json"] {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(cli.flags.output.format, Format::Json, "{line}");
    }
}

#[test]
fn only_what_waits_for_work_waits_long() {
    let waits = |line: &str| Cli::try_parse_from(line.split(' ')).unwrap().command.waits();
    assert_eq!(waits("certctl certs request --name web --san a.test --wait"), Waits::Work);
    assert_eq!(waits("certctl jobs wait job-1"), Waits::Work);
    assert_eq!(waits("certctl certs renew web"), Waits::Answers);
    assert_eq!(waits("certctl audit verify"), Waits::LongAnswers);
    assert_eq!(waits("certctl certs bulk-renew --team platform"), Waits::LongAnswers);
    assert_eq!(waits("certctl owners list"), Waits::Answers);
}

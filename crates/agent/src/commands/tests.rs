use super::*;

#[test]
fn the_command_line_is_sound_and_every_command_has_examples() {
    let mut description = description();
    description.clone().debug_assert();
    for command in description.get_subcommands_mut() {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example"), "{} has no examples", command.get_name());
    }
    assert!(description.render_help().to_string().contains("certctl-agent enroll"));
}

#[test]
fn a_token_is_not_shown_by_help_or_debug() {
    let line = CommandLine::try_parse_from(["certctl-agent", "enroll", "--server", "https://x.test", "--token", "ce_1_hunter2"]).unwrap();
    assert!(!format!("{line:?}").contains("hunter2"));
}

#[test]
fn contradicting_flags_are_refused() {
    for flags in [
        &["enroll", "--token", "x", "--token-file", "y"][..],
        &["enroll", "--ca", "x", "--ca-sha256", "y"],
        &["enroll", "--ca-sha256", "abc"],
        &["allow", "nginx", "--", "reboot"],
        &["allow", "apache"],
        &["fly"],
    ] {
        assert!(CommandLine::try_parse_from([&["certctl-agent"], flags].concat()).is_err(), "{flags:?}");
    }
}

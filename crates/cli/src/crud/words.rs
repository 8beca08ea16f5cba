//! What the help texts of the common commands say.

use crate::noun::{Noun, Verb};

/// The word on the command line.
pub(super) const fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::List => "list",
        Verb::Get => "get",
        Verb::Create => "create",
        Verb::Edit => "edit",
        Verb::Delete => "delete",
    }
}

/// One line about the command.
pub(super) fn about(noun: &Noun, verb: Verb) -> String {
    let Noun { one, many, .. } = noun;
    match verb {
        Verb::List => format!("List {many}"),
        Verb::Get => format!("Show one {one}"),
        Verb::Create => format!("Make {} {one}", article(one)),
        Verb::Edit => format!("Change {} {one}: what is not named stays as it is", article(one)),
        Verb::Delete => format!("Delete {many}"),
    }
}

/// Examples of the command.
pub(super) fn examples(noun: &Noun, verb: Verb) -> String {
    let Noun { command, example, create_example, edit_example, .. } = noun;
    let lines = match verb {
        Verb::List => {
            let mut lines = vec![format!("{command} list")];
            if let Some(sort) = noun.sorts.first() {
                lines.push(format!("{command} list --sort -{sort} --limit 10 -o wide"));
            }
            lines.push(format!("{command} list --all -o ndjson"));
            lines
        }
        Verb::Get => vec![format!("{command} get {example}"), format!("{command} get {example} -o yaml")],
        Verb::Create => {
            vec![format!("{command} create {create_example}"), format!("{command} create --from-file {}.yaml", noun.one.replace(' ', "-"))]
        }
        Verb::Edit => vec![format!("{command} edit {example} {edit_example}"), format!("{command} edit {example} --from-file patch.json")],
        Verb::Delete => vec![format!("{command} delete {example}"), format!("{command} delete {example} --yes")],
    };
    lines.iter().fold("Examples:".to_owned(), |text, line| format!("{text}\n  certctl {line}"))
}

/// How to change one. The generated line would spell out every flag, since one of them must be there.
pub(super) fn edit_usage(noun: &Noun) -> String {
    format!("certctl {} edit [OPTIONS] <NAME>", noun.command)
}

/// `a` or `an`, as the word asks for.
pub(super) fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'A']) { "an" } else { "a" }
}

//! Flags that fill fields: how the command line reads them, and what becomes of them in a request.

use std::str::FromStr as _;

use certctl_domain::time::Timestamp;
use certctl_domain::x509::San;
use clap::builder::{PossibleValuesParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

use crate::assign;
use crate::failure::Failure;
use crate::noun::{Flag, Takes};
use crate::session::Session;
use crate::span;

/// A flag that was given, with what was given.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// The flag.
    pub(crate) flag: &'static Flag,
    values: Vec<String>,
}

/// Adds the flags to a command.
pub(crate) fn add(command: Command, flags: &'static [Flag]) -> Command {
    flags.iter().fold(command, |command, flag| command.arg(argument(flag)))
}

/// The flags that were given.
pub(crate) fn given(matches: &ArgMatches, flags: &'static [Flag]) -> Vec<Given> {
    let given = flags.iter().map(|flag| Given { flag, values: texts(matches, flag.name) });
    given.filter(|given| !given.values.is_empty()).collect()
}

/// All values of an argument.
pub(crate) fn texts(matches: &ArgMatches, id: &str) -> Vec<String> {
    matches.get_many::<String>(id).map(|values| values.cloned().collect()).unwrap_or_default()
}

/// Puts what was given into the body of a request.
pub(crate) async fn fill(body: &mut Map<String, Value>, given: &[Given], session: &Session) -> Result<(), Failure> {
    for one in given {
        let value = one.value(session).await?;
        match (body.get_mut(one.flag.field), value) {
            // Labels and settings add to what a file brought.
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
            (_, value) => {
                body.insert(one.flag.field.to_owned(), value);
            }
        }
    }
    Ok(())
}

impl Given {
    /// As a parameter of a query.
    pub(crate) async fn parameter(&self, session: &Session) -> Result<String, Failure> {
        Ok(match self.value(session).await? {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }

    /// As the value of a field.
    async fn value(&self, session: &Session) -> Result<Value, Failure> {
        let first = || self.values.first().map(String::as_str).unwrap_or_default();
        Ok(match self.flag.takes {
            Takes::Text => json!(first()),
            Takes::Choice(words) => json!(spelled(words, first())),
            Takes::Choices(words) => self.values.iter().map(|word| json!(spelled(words, word))).collect(),
            Takes::Texts | Takes::Sans => json!(self.values),
            Takes::Number => json!(number(first())?),
            Takes::Numbers => Value::Array(self.values.iter().map(|value| number(value).map(Value::from)).collect::<Result<_, _>>()?),
            Takes::Bool => json!(first() == "true"),
            Takes::Seconds => json!(length(first())?.as_secs()),
            Takes::FromNow => json!(span::after(session.now, length(first())?)),
            Takes::Past => json!(past(first(), session.now)?),
            Takes::Labels => {
                let labels = self.values.iter().map(|label| label.split_once('=').unwrap_or((label, "")));
                Value::Object(labels.map(|(key, value)| (key.to_owned(), json!(value))).collect())
            }
            Takes::Settings => {
                let mut settings = Map::new();
                for setting in &self.values {
                    let (path, text) = assign::split(setting)?;
                    assign::put(&mut settings, &path, assign::value(text)?);
                }
                Value::Object(settings)
            }
            Takes::One(kind) => json!(session.id_of(kind, first()).await?),
            Takes::Many(kind) => {
                let mut ids = Vec::with_capacity(self.values.len());
                for name in &self.values {
                    ids.push(json!(session.id_of(kind, name).await?));
                }
                Value::Array(ids)
            }
            Takes::KeyRules => Value::Array(self.values.iter().map(|rule| key_rule(rule)).collect::<Result<_, _>>()?),
        })
    }
}

fn argument(flag: &'static Flag) -> Arg {
    let arg = Arg::new(flag.name).long(flag.name).help(flag.help).action(ArgAction::Set);
    let text = |check: fn(&str) -> Result<(), String>| ValueParser::new(move |text: &str| check(text).map(|()| text.to_owned()));
    match flag.takes {
        Takes::Text => arg.value_name("TEXT"),
        Takes::Texts => arg.value_name("TEXT").action(ArgAction::Append),
        Takes::Sans => arg
            .value_name("NAME")
            .action(ArgAction::Append)
            .value_parser(text(|text| San::parse(text).map(|_| ()).map_err(|error| error.to_string()))),
        Takes::Choice(words) => arg.value_name("WORD").ignore_case(true).value_parser(PossibleValuesParser::new(words)),
        Takes::Choices(words) => {
            arg.value_name("WORD").ignore_case(true).action(ArgAction::Append).value_parser(PossibleValuesParser::new(words))
        }
        Takes::Number => {
            arg.value_name("N").allow_negative_numbers(true).value_parser(text(|text| number(text).map(|_| ()).map_err(|e| e.to_string())))
        }
        Takes::Numbers => arg
            .value_name("N,N")
            .action(ArgAction::Append)
            .value_delimiter(',')
            .value_parser(text(|text| number(text).map(|_| ()).map_err(|e| e.to_string()))),
        Takes::Bool => arg
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(PossibleValuesParser::new(["true", "false"])),
        Takes::Seconds | Takes::FromNow => arg.value_name("TIME").value_parser(text(|text| span::parse(text).map(|_| ()))),
        Takes::Past => {
            arg.value_name("TIME").value_parser(text(|text| past(text, Timestamp::UNIX_EPOCH).map(|_| ()).map_err(|e| e.to_string())))
        }
        Takes::Labels => arg.value_name("KEY=VALUE").action(ArgAction::Append).value_parser(text(|text| match text.split_once('=') {
            Some((key, _)) if !key.is_empty() => Ok(()),
            _ => Err("it is not of the form key=value".to_owned()),
        })),
        Takes::Settings => arg
            .value_name("KEY=VALUE")
            .action(ArgAction::Append)
            .value_parser(text(|text| assign::split(text).map(|_| ()).map_err(|error| error.to_string()))),
        Takes::One(_) => arg.value_name("NAME"),
        Takes::Many(_) => arg.value_name("NAME").action(ArgAction::Append),
        Takes::KeyRules => arg
            .value_name("KEY[:BITS]")
            .action(ArgAction::Append)
            .value_parser(text(|text| key_rule(text).map(|_| ()).map_err(|error| error.to_string()))),
    }
}

/// The word as the API spells it: people need not mind upper and lower case.
fn spelled<'a>(words: &[&'a str], word: &'a str) -> &'a str {
    words.iter().find(|known| known.eq_ignore_ascii_case(word)).copied().unwrap_or(word)
}

fn number(text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| Failure::usage(format!("`{text}` is not a whole number")))
}

fn length(text: &str) -> Result<std::time::Duration, Failure> {
    span::parse(text).map_err(Failure::usage)
}

/// An instant as it is written, or a length of time before now.
pub(crate) fn past(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(length) = span::parse(text) {
        return Ok(now.saturating_sub(time::Duration::try_from(length).unwrap_or(time::Duration::MAX)));
    }
    Timestamp::from_str(text).map_err(|error| Failure::usage(format!("{error}, nor a length of time before now such as 24h")))
}

fn key_rule(text: &str) -> Result<Value, Failure> {
    let fail = || Failure::usage(format!("`{text}` is not a key: RSA, ECDSA or Ed25519, with the least size as in RSA:3072"));
    let (family, bits) = text.split_once(':').unwrap_or((text, "0"));
    let family = ["RSA", "ECDSA", "Ed25519"].into_iter().find(|known| known.eq_ignore_ascii_case(family)).ok_or_else(fail)?;
    let bits: u32 = bits.parse().map_err(|_| fail())?;
    Ok(json!({"algorithm": family, "min_size": bits}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_rules_and_times_are_read() {
        assert_eq!(key_rule("rsa:3072").unwrap(), json!({"algorithm": "RSA", "min_size": 3072}));
        assert_eq!(key_rule("Ed25519").unwrap(), json!({"algorithm": "Ed25519", "min_size": 0}));
        assert!(key_rule("DSA").is_err() && key_rule("RSA:big").is_err());
        let now = Timestamp::from_unix_seconds(100_000).unwrap();
        assert_eq!(past("1h", now).unwrap().unix_seconds(), 96_400);
        assert_eq!(past("1970-01-02T00:00:00Z", now).unwrap().unix_seconds(), 86_400);
        assert!(past("yesterday", now).unwrap_err().told().contains("24h"));
    }
}

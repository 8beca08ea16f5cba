//! A parser of OpenMetrics 1.0 that takes nothing but what the specification allows, as far as the server uses it.

use std::collections::{BTreeMap, BTreeSet};

/// A family of metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) unit: Option<String>,
    pub(crate) samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// All families of an exposition, or what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Vec<Family>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("the exposition does not end with # EOF and a line feed")?;
    let mut families: Vec<Family> = Vec::new();
    for line in body.split_terminator('\n') {
        read_line(line, &mut families).map_err(|why| format!("{why}: {line}"))?;
    }
    let mut names = BTreeSet::new();
    let mut series = BTreeSet::new();
    for family in &families {
        check(family).map_err(|why| format!("{}: {why}", family.name))?;
        // No name of one family's samples may be taken for another family's.
        for suffix in suffixes(&family.kind) {
            if !names.insert(format!("{}{suffix}", family.name)) {
                return Err(format!("{}{suffix} is the name of two things", family.name));
            }
        }
        for sample in &family.samples {
            if !series.insert((sample.name.clone(), sample.labels.clone())) {
                return Err(format!("{sample:?} is there twice"));
            }
        }
    }
    Ok(families)
}

fn read_line(line: &str, families: &mut Vec<Family>) -> Result<(), String> {
    let Some(comment) = line.strip_prefix("# ") else {
        let sample = read_sample(line)?;
        let family = families.last_mut().ok_or("a sample without a family")?;
        let suffix = sample.name.strip_prefix(&family.name).ok_or("a sample outside of its family")?;
        if !suffixes(&family.kind).contains(&suffix) {
            return Err(format!("a {} has no sample with the suffix `{suffix}`", family.kind));
        }
        family.samples.push(sample);
        return Ok(());
    };
    let mut words = comment.splitn(3, ' ');
    let (Some(what), Some(name), Some(text)) = (words.next(), words.next(), words.next()) else {
        return Err("a comment that says nothing".to_owned());
    };
    if families.last().is_none_or(|family| family.name != name) {
        if !is_name(name) || families.iter().any(|family| family.name == name) {
            return Err("a name that is none, or a family in two places".to_owned());
        }
        families.push(Family { name: name.to_owned(), ..Family::default() });
    }
    let family = families.last_mut().ok_or("no family")?;
    if !family.samples.is_empty() {
        return Err("a description after the first sample".to_owned());
    }
    match what {
        "HELP" if family.help.is_empty() && !text.contains(['\\', '"']) => text.clone_into(&mut family.help),
        "TYPE" if family.kind.is_empty() && !suffixes(text).is_empty() => text.clone_into(&mut family.kind),
        "UNIT" if family.unit.is_none() && name.ends_with(&format!("_{text}")) => family.unit = Some(text.to_owned()),
        _ => return Err("a description that is there twice, unknown, or does not fit".to_owned()),
    }
    Ok(())
}

fn read_sample(line: &str) -> Result<Sample, String> {
    let (series, value) = line.rsplit_once(' ').ok_or("no value")?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, read_labels(labels.strip_suffix('}').ok_or("labels that do not end")?)?),
        None => (series, BTreeMap::new()),
    };
    if !is_name(name) {
        return Err("a name that is none".to_owned());
    }
    let value = match value {
        "+Inf" | "-Inf" | "NaN" => return Err("a value that the server has no use for".to_owned()),
        number => number.parse().map_err(|_| "a value that is no number")?,
    };
    Ok(Sample { name: name.to_owned(), labels, value })
}

fn read_labels(mut text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    loop {
        let (name, rest) = text.split_once("=\"").ok_or("a label without a value")?;
        let (mut value, mut rest) = (String::new(), rest.chars());
        loop {
            match rest.next().ok_or("a label whose value does not end")? {
                '"' => break,
                '\\' => value.push(match rest.next() {
                    Some('n') => '\n',
                    Some(c @ ('\\' | '"')) => c,
                    _ => return Err("an escape that is none".to_owned()),
                }),
                c => value.push(c),
            }
        }
        if !is_name(name) || name.contains(':') || name.starts_with("__") || labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("a label `{name}` that is none, or is there twice"));
        }
        text = match rest.as_str() {
            "" => return Ok(labels),
            rest => rest.strip_prefix(',').ok_or("something between two labels")?,
        };
    }
}

fn check(family: &Family) -> Result<(), String> {
    if family.kind.is_empty() || family.help.is_empty() {
        return Err("it has no type or no help".to_owned());
    }
    match family.kind.as_str() {
        "counter" if family.samples.iter().any(|sample| sample.value < 0.0) => Err("a counter below zero".to_owned()),
        "info" if family.unit.is_some() || family.samples.iter().any(|sample| sample.value != 1.0) => {
            Err("an info with a unit or a value".to_owned())
        }
        "histogram" => check_histogram(family),
        _ => Ok(()),
    }
}

/// Of each series: buckets in rising order to +Inf, their counts not falling, and the last one the count of all.
fn check_histogram(family: &Family) -> Result<(), String> {
    let mut bounds: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    let mut last_group = None;
    let mut groups = BTreeSet::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        if last_group.as_ref() != Some(&labels) && !groups.insert(labels.clone()) {
            return Err(format!("the series of {labels:?} are mixed with others"));
        }
        last_group = Some(labels.clone());
        match (sample.name.strip_prefix(&family.name), bound) {
            (Some("_bucket"), Some(bound)) => {
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().map_err(|_| "a bound that is no number")? };
                bounds.entry(labels).or_default().push((bound, sample.value));
            }
            (Some("_count"), None) => drop(counts.insert(labels, sample.value)),
            (Some("_sum"), None) if sample.value >= 0.0 => {}
            _ => return Err(format!("{sample:?} does not belong to a histogram")),
        }
    }
    for (labels, bounds) in &bounds {
        let rising = bounds.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let whole = bounds.last().is_some_and(|(bound, all)| *bound == f64::INFINITY && counts.get(labels) == Some(all));
        if !rising || !whole {
            return Err(format!("the buckets of {labels:?} do not rise to the count: {bounds:?}"));
        }
    }
    if counts.len() == bounds.len() { Ok(()) } else { Err("a count without buckets".to_owned()) }
}

fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "gauge" => &[""],
        "counter" => &["_total"],
        "info" => &["_info"],
        "histogram" => &["_bucket", "_sum", "_count"],
        _ => &[],
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
}

#[test]
fn takes_what_the_specification_shows() {
    let text = "# HELP acme_http_router_request_seconds Latency.\n# TYPE acme_http_router_request_seconds histogram\n# UNIT acme_http_router_request_seconds seconds\n\
                acme_http_router_request_seconds_sum{path=\"/a \\\"b\\\\\\n{}\",method=\"GET\"} 9036.32\n\
                acme_http_router_request_seconds_count{path=\"/a \\\"b\\\\\\n{}\",method=\"GET\"} 7\n\
                acme_http_router_request_seconds_bucket{path=\"/a \\\"b\\\\\\n{}\",method=\"GET\",le=\"+Inf\"} 7\n\
                # HELP go_goroutines Number.\n# TYPE go_goroutines gauge\ngo_goroutines 69\n# EOF\n";
    let families = parse(text).unwrap();
    assert_eq!(
        families.iter().map(|family| family.name.as_str()).collect::<Vec<_>>(),
        ["acme_http_router_request_seconds", "go_goroutines"]
    );
    assert_eq!(families[0].samples[0].labels["path"], "/a \"b\\\n{}");
}

#[test]
fn refuses_what_is_not_openmetrics() {
    let gauge = "# HELP a A.\n# TYPE a gauge\n";
    let histogram = "# HELP a A.\n# TYPE a histogram\n";
    for (text, why) in [
        (format!("{gauge}a 1\n"), "does not end"),
        (format!("{gauge}a 1\n# EOF"), "does not end"),
        (format!("{gauge}a 1\n\n# EOF\n"), "no value"),
        (format!("{gauge}a one\n# EOF\n"), "no number"),
        (format!("{gauge}a_total 1\n# EOF\n"), "suffix"),
        (format!("{gauge}b 1\n# EOF\n"), "outside"),
        (format!("{gauge}a 1\na 2\n# EOF\n"), "twice"),
        (format!("{gauge}a{{b=\"1\",b=\"2\"}} 1\n# EOF\n"), "twice"),
        (format!("{gauge}a{{b=\"1}} 1\n# EOF\n"), "does not end"),
        (format!("{gauge}a{{b=\"\\x\"}} 1\n# EOF\n"), "escape"),
        (format!("{gauge}a{{b=\"1\" c=\"2\"}} 1\n# EOF\n"), "between two labels"),
        (format!("{gauge}# UNIT a seconds\n# EOF\n"), "does not fit"),
        (format!("{gauge}a 1\n# TYPE a gauge\n# EOF\n"), "after the first sample"),
        (format!("{gauge}a 1\n# HELP b B.\n# TYPE b gauge\n# HELP a A.\n# EOF\n"), "two places"),
        ("# TYPE a gauge\na 1\n# EOF\n".to_owned(), "no help"),
        ("# HELP a A.\n# TYPE a counter\na_total -1\n# EOF\n".to_owned(), "below zero"),
        ("# HELP a A.\n# TYPE a counter\n# HELP a_total A.\n# TYPE a_total gauge\n# EOF\n".to_owned(), "two things"),
        (format!("{histogram}a_bucket{{le=\"1\"}} 2\na_bucket{{le=\"+Inf\"}} 1\na_count 1\n# EOF\n"), "do not rise"),
        (format!("{histogram}a_bucket{{le=\"1\"}} 1\na_count 1\n# EOF\n"), "do not rise"),
        (format!("{histogram}a_count 1\n# EOF\n"), "without buckets"),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.contains(why), "{error}\n{text}");
    }
}

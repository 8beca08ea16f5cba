//! Lists: search, filters, sorting, and as many pages as were asked for.

use std::marker::PhantomData;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use super::flags::{self, Given};
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::noun::Known;
use crate::session::Session;

/// What is asked of a list.
#[derive(Debug)]
pub(crate) struct Listing<N> {
    search: Option<String>,
    sort: Option<String>,
    limit: Option<u64>,
    all: bool,
    filters: Vec<(String, String)>,
    given: Vec<Given>,
    noun: PhantomData<N>,
}

impl<N: Known> Listing<N> {
    /// Fetches the pages at this path and prints them.
    pub(crate) async fn show(&self, session: &Session, path: &str) -> Result<(), Failure> {
        let mut query = self.query(session).await?;
        let wanted = if self.all { u64::MAX } else { self.limit.unwrap_or(DEFAULT_LIMIT) };
        let mut shown: u64 = 0;
        let mut whole: Option<Doc> = None;
        let mut total: Option<u64> = None;
        loop {
            let size = (wanted - shown).min(LARGEST_PAGE).to_string();
            let mut parameters: Vec<(&str, &str)> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            parameters.push(("per_page", &size));
            let page: Doc = session.client.get(path, &parameters).await?;
            let rows = doc::rows(&page);
            let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
            total = total.or_else(|| doc::at(&page, "total").and_then(Doc::as_u64));
            if session.out.streams() {
                session.out.rows(N::NOUN, rows, shown == 0)?;
            }
            shown = shown.saturating_add(count);
            let next = doc::at(&page, "next_cursor").and_then(Doc::as_str).map(str::to_owned);
            if !session.out.streams() {
                match &mut whole {
                    None => whole = Some(page),
                    Some(whole) => append(whole, page),
                }
            }
            match next {
                Some(cursor) if count > 0 && shown < wanted => {
                    query.retain(|(name, _)| name != "cursor");
                    query.push(("cursor".to_owned(), cursor));
                }
                _ => break,
            }
        }
        if let Some(whole) = whole {
            session.out.page(N::NOUN, &whole)?;
        }
        self.say_how_many(session, shown, total);
        Ok(())
    }

    async fn query(&self, session: &Session) -> Result<Vec<(String, String)>, Failure> {
        let mut query = self.filters.clone();
        for given in &self.given {
            query.push((given.flag.field.to_owned(), given.parameter(session).await?));
        }
        query.extend(self.search.clone().map(|text| ("q".to_owned(), text)));
        query.extend(self.sort.clone().map(|field| ("sort".to_owned(), field)));
        Ok(query)
    }

    fn say_how_many(&self, session: &Session, shown: u64, total: Option<u64>) {
        let many = N::NOUN.many;
        let narrowed = self.search.is_some() || !self.filters.is_empty() || !self.given.is_empty();
        match total {
            _ if shown == 0 && narrowed => session.out.note(&format!("no {many} match; without filters: certctl {} list", N::NOUN.command)),
            _ if shown == 0 => session.out.note(&format!("no {many} yet; {}", N::NOUN.empty)),
            Some(total) if shown < total => session.out.note(&format!("{shown} of {total} {many}; --all shows all, -q searches")),
            _ => {}
        }
    }
}

impl<N: Known> Args for Listing<N> {
    fn augment_args(command: Command) -> Command {
        let sorts = N::NOUN.sorts.join(", ");
        flags::add(command, N::NOUN.filters)
            .arg(
                Arg::new("search")
                    .short('q')
                    .long("search")
                    .value_name("TEXT")
                    .help("Only what has this text in its name or other searched fields"),
            )
            .arg(
                Arg::new("filter")
                    .long("filter")
                    .value_name("FIELD=VALUE")
                    .action(ArgAction::Append)
                    .value_parser(pair)
                    .hide_short_help(true)
                    .help("Any other filter of the API; repeat for more"),
            )
            .arg(
                Arg::new("sort")
                    .long("sort")
                    .value_name("FIELD")
                    .allow_hyphen_values(true)
                    .help(format!("Field to sort by, - before it for descending order: {sorts}")),
            )
            .arg(
                Arg::new("limit")
                    .long("limit")
                    .value_name("N")
                    .value_parser(clap::value_parser!(u64).range(1..))
                    .conflicts_with("all")
                    .help(format!("The most to show [default: {DEFAULT_LIMIT}]")),
            )
            .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("Show all, however many"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<N: Known> FromArgMatches for Listing<N> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self {
            search: matches.get_one("search").cloned(),
            sort: matches.get_one("sort").cloned(),
            limit: matches.get_one("limit").copied(),
            all: matches.get_flag("all"),
            filters: matches.get_many("filter").map(|filters| filters.cloned().collect()).unwrap_or_default(),
            given: flags::given(matches, N::NOUN.filters),
            noun: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, value)) if !field.is_empty() => Ok((field.to_owned(), value.to_owned())),
        _ => Err("it is not of the form field=value".to_owned()),
    }
}

/// Adds the rows of a further page to the pages before it; where the next one begins is what the further page says.
fn append(whole: &mut Doc, page: Doc) {
    let Doc::Mapping(mut page) = page else { return };
    if let (Some(Doc::Sequence(all)), Some(Doc::Sequence(rows))) = (whole.get_mut("data"), page.remove("data")) {
        all.extend(rows);
    }
    if let Some(fields) = whole.as_mapping_mut() {
        match page.remove("next_cursor").filter(|next| !next.is_null()) {
            Some(next) => drop(fields.insert("next_cursor".into(), next)),
            None => drop(fields.remove("next_cursor")),
        }
    }
}

const DEFAULT_LIMIT: u64 = 50;
const LARGEST_PAGE: u64 = 500;

//! "Did you mean": the known name nearest to one that is not known.

/// The nearest of `known` to `word`, if one is near enough to be what was meant.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_ascii_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let lower = candidate.to_ascii_lowercase();
        // `LISTEN` for `SERVER_LISTEN`, `url` for `database.url`: the last part is what people remember.
        let is_tail = word.len() > 2 && lower.strip_suffix(&word).is_some_and(|head| head.ends_with(['_', '.']));
        let distance = if is_tail { 1 } else { strsim::damerau_levenshtein(&word, &lower) };
        let allowed = (word.len().max(lower.len()) / 3).max(1);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["server.listen", "database.url", "database.max_connections"];
        assert_eq!(nearest("server.lisen", known), Some("server.listen"));
        assert_eq!(nearest("listen", known), Some("server.listen"));
        assert_eq!(nearest("url", known), Some("database.url"));
        assert_eq!(nearest("DATABASE.MAX_CONNS", known), Some("database.max_connections"));
        assert_eq!(nearest("oidc.client_id", known), None);
    }
}

//! What a scrape gives.

//! The end-to-end tests: the real programs against real software. They are all in `tests/e2e`; nothing is here for anybody to call.

//! Settings that are each right but do not go together.

use super::error::ConfigError;
use super::settings::{AgentSettings, BackupSettings, DatabaseSettings, EncryptionSettings, Sections, ServerSettings, TlsSettings};

/// Checks every pair of sections of which both could be read, and puts the password into the database URL.
pub(super) fn combine(sections: &mut Sections, errors: &mut Vec<ConfigError>) {
    if let Some(tls) = &sections.tls {
        errors.extend(pair_is_whole(tls));
    }
    if let Some(database) = &mut sections.database {
        errors.extend(put_password_in(database));
    }
    if let (Some(database), Some(encryption)) = (&sections.database, &sections.encryption) {
        errors.extend(key_is_given(database, encryption));
    }
    if let Some(agents) = &sections.agents {
        errors.extend(silence_is_long_enough(agents));
    }
    if let Some(backup) = &sections.backup {
        errors.extend(backup_goes_to_one_place(backup));
    }
    if let (Some(server), Some(agents)) = (&sections.server, &sections.agents) {
        errors.extend(poll_fits_into_request(server, agents));
    }
}

/// What is allowed but deserves a word in the log.
pub(super) fn warnings(database: &DatabaseSettings) -> Option<String> {
    database
        .url
        .is_clear_to_another_host()
        .then(|| "database.url says sslmode=disable for another host: the password and all data cross the network in clear".to_owned())
}

fn conflict(key: &'static str, why: &str, hint: &str) -> ConfigError {
    ConfigError::Conflict { key, why: why.to_owned(), hint: hint.to_owned() }
}

fn pair_is_whole(tls: &TlsSettings) -> Option<ConfigError> {
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => Some(conflict(
            "tls.key_file",
            "`tls.cert_file` is given without `tls.key_file`",
            "give both, or neither to let the server make its own pair",
        )),
        (None, Some(_)) => Some(conflict(
            "tls.cert_file",
            "`tls.key_file` is given without `tls.cert_file`",
            "give both, or neither to let the server make its own pair",
        )),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn put_password_in(database: &mut DatabaseSettings) -> Option<ConfigError> {
    let password = database.password.as_ref()?;
    match database.url.with_password(password) {
        Ok(url) => {
            database.url = url;
            None
        }
        Err(bad) => {
            let hint = bad.hint.unwrap_or_default();
            Some(ConfigError::Conflict { key: "database.password", why: format!("`database.password` {}", bad.why), hint })
        }
    }
}

fn key_is_given(database: &DatabaseSettings, encryption: &EncryptionSettings) -> Option<ConfigError> {
    if encryption.key.is_some() {
        return None;
    }
    if database.url.is_postgres() {
        return Some(conflict(
            "encryption.key",
            "`encryption.key` is needed with PostgreSQL, as every replica must have the same one",
            "make one with `openssl rand -base64 32`, keep a copy, and give it as CERTCTL_ENCRYPTION_KEY_FILE",
        ));
    }
    if encryption.previous_keys.is_empty() {
        return None;
    }
    Some(conflict(
        "encryption.key",
        "`encryption.previous_keys` is given without `encryption.key`, so there is nothing to seal with anew",
        "give the new key as encryption.key",
    ))
}

fn backup_goes_to_one_place(backup: &BackupSettings) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let both = |one: bool, other: bool| one && other;
    if both(backup.directory.is_some(), backup.s3_bucket.is_some()) {
        errors.push(conflict(
            "backup.s3_bucket",
            "`backup.directory` and `backup.s3_bucket` are both given, and backups go to one place",
            "leave one of them out; a second place takes a second run with other settings",
        ));
    }
    if backup.s3_access_key_id.is_some() != backup.s3_secret_access_key.is_some() {
        errors.push(conflict(
            "backup.s3_secret_access_key",
            "of `backup.s3_access_key_id` and `backup.s3_secret_access_key` one is given without the other",
            "give both, or neither to use a role",
        ));
    }
    if backup.s3_role_arn.is_some() != backup.s3_web_identity_token_file.is_some() {
        errors.push(conflict(
            "backup.s3_web_identity_token_file",
            "of `backup.s3_role_arn` and `backup.s3_web_identity_token_file` one is given without the other",
            "give both; in a pod the file is a projected service account token",
        ));
    }
    if both(backup.s3_access_key_id.is_some(), backup.s3_role_arn.is_some()) {
        errors.push(conflict(
            "backup.s3_role_arn",
            "`backup.s3_access_key_id` and `backup.s3_role_arn` are both given",
            "leave one of them out",
        ));
    }
    if backup.s3_sts_endpoint.as_ref().is_some_and(|url| url.as_url().scheme() != "https") {
        errors.push(conflict(
            "backup.s3_sts_endpoint",
            "`backup.s3_sts_endpoint` does not begin with https://, so the token and the keys would cross the network in clear",
            "write it with https://; backup.s3_ca_file names a CA of your own",
        ));
    }
    if backup.s3_kms_key_id.is_some() && backup.s3_encryption != Some(super::choice::BucketEncryption::Kms) {
        errors.push(conflict(
            "backup.s3_kms_key_id",
            "`backup.s3_kms_key_id` is given, but `backup.s3_encryption` is not aws:kms",
            "set backup.s3_encryption to aws:kms, or leave the key out",
        ));
    }
    errors
}

fn silence_is_long_enough(agents: &AgentSettings) -> Option<ConfigError> {
    (agents.offline_after < agents.heartbeat_interval.saturating_mul(2)).then(|| {
        conflict(
            "agents.offline_after",
            "`agents.offline_after` is shorter than twice `agents.heartbeat_interval`, so one lost heartbeat would count as offline",
            "make agents.offline_after longer or agents.heartbeat_interval shorter",
        )
    })
}

fn poll_fits_into_request(server: &ServerSettings, agents: &AgentSettings) -> Option<ConfigError> {
    (agents.poll_wait >= server.request_timeout).then(|| {
        conflict(
            "agents.poll_wait",
            "`agents.poll_wait` is not shorter than `server.request_timeout`, so every poll without work would end in an error",
            "make agents.poll_wait shorter or server.request_timeout longer",
        )
    })
}

//! A bucket: an upload in parts that becomes an object when the last part is there, and not before.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use certctl_domain::secret::Secret;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{Certificate, ClientOptions, ObjectStore as _, ObjectStoreExt as _, RetryConfig, WriteMultipart};
use tokio::runtime::Handle;
use url::Url;

use super::{Item, Upload};
use crate::BackupError;

/// Which bucket, and how to reach it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub bucket: String,
    /// Before every name; empty or `a/b`.
    pub prefix: String,
    /// Another S3 than Amazon's.
    pub endpoint: Option<Url>,
    /// The region that requests are signed for.
    pub region: String,
    /// Where the bucket's name stands in a URL.
    pub style: Style,
    /// Certificates in PEM to trust beside the system's.
    pub ca_pem: Option<String>,
    /// Who we are.
    pub credentials: Credentials,
    /// How the bucket's side encrypts.
    pub encryption: ServerSide,
}

/// Where the bucket's name stands in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `https://endpoint/bucket/name`
    Path,
    /// `https://bucket.endpoint/name`
    VirtualHost,
}

/// Who we are to the bucket.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A key that was given.
    Static {
        /// Its id.
        key_id: String,
        /// The secret part.
        secret: Secret<String>,
        /// For keys that expire.
        session_token: Option<Secret<String>>,
    },
    /// A role, taken on with a token that somebody else keeps fresh in a file.
    WebIdentity {
        /// The role.
        role_arn: String,
        /// The file.
        token_file: String,
        /// Where roles are taken on, when it is not the region's own place.
        sts: Option<Url>,
    },
    /// The role of the machine, from its metadata service.
    Instance,
}

/// How the bucket's side encrypts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSide {
    /// As the bucket does by itself.
    AsTheBucket,
    /// Under keys of S3 (SSE-S3).
    Aes256,
    /// Under a key of the key management service (SSE-KMS): this one, or the account's own.
    Kms(Option<String>),
}

/// A bucket.
#[derive(Debug)]
pub struct S3 {
    client: Arc<AmazonS3>,
    bucket: String,
    prefix: String,
    runtime: Handle,
}

impl S3 {
    /// Prepares a client; asks for nothing. What it does later blocks until `runtime` has done it.
    ///
    /// # Errors
    /// When the settings do not make a client.
    pub fn new(settings: &Settings, runtime: Handle) -> Result<Self, BackupError> {
        let unusable = |e: object_store::Error| BackupError::new("the S3 settings do not make a client").because(e);
        let mut options = ClientOptions::new()
            .with_connect_timeout(Duration::from_secs(10))
            .with_read_timeout(Duration::from_secs(300))
            // Archives are large: a whole exchange may take as long as it moves.
            .with_timeout_disabled()
            .with_allow_http(settings.endpoint.as_ref().is_some_and(|url| url.scheme() == "http"));
        if let Some(pem) = &settings.ca_pem {
            let roots = Certificate::from_pem_bundle(pem.as_bytes()).map_err(unusable)?;
            options = roots.into_iter().fold(options, ClientOptions::with_root_certificate);
        }
        let retry = RetryConfig { max_retries: 5, retry_timeout: Duration::from_secs(60), ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_virtual_hosted_style_request(settings.style == Style::VirtualHost)
            .with_client_options(options)
            .with_retry(retry);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint_of(endpoint, settings));
        }
        builder = match &settings.credentials {
            Credentials::Static { key_id, secret, session_token } => {
                let builder = builder.with_access_key_id(key_id).with_secret_access_key(secret.expose());
                match session_token {
                    Some(token) => builder.with_token(token.expose()),
                    None => builder,
                }
            }
            Credentials::WebIdentity { role_arn, token_file, sts } => {
                let builder = builder
                    .with_config(AmazonS3ConfigKey::RoleArn, role_arn)
                    .with_config(AmazonS3ConfigKey::RoleSessionName, "certctl-backup")
                    .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token_file);
                match sts {
                    Some(url) => builder.with_config(AmazonS3ConfigKey::StsEndpoint, bare(url)),
                    None => builder,
                }
            }
            Credentials::Instance => builder,
        };
        let encryption_key: AmazonS3ConfigKey = "aws_server_side_encryption".parse().map_err(unusable)?;
        builder = match &settings.encryption {
            ServerSide::AsTheBucket => builder,
            ServerSide::Aes256 => builder.with_config(encryption_key, "AES256"),
            ServerSide::Kms(None) => builder.with_config(encryption_key, "aws:kms"),
            ServerSide::Kms(Some(key)) => builder.with_sse_kms_encryption(key),
        };
        let client = Arc::new(builder.build().map_err(unusable)?);
        let prefix = settings.prefix.trim_matches('/').to_owned();
        Ok(Self { client, bucket: settings.bucket.clone(), prefix, runtime })
    }

    pub(super) fn describe(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{}", self.bucket, self.prefix)
    }

    /// Whether there is one of that name is not asked: that takes a right more, and names do not come twice.
    pub(super) fn create(&self, name: &str) -> Result<Box<dyn Upload>, BackupError> {
        let path = self.path(name);
        let upload = self.runtime.block_on(self.client.put_multipart(&path)).map_err(|e| self.failed("takes no upload", e))?;
        let upload = WriteMultipart::new_with_chunk_size(upload, PART);
        Ok(Box::new(Parts {
            upload: Some(upload),
            runtime: self.runtime.clone(),
            what: format!("{name} cannot be written to {}", self.describe()),
        }))
    }

    pub(super) fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, BackupError> {
        let what = format!("{name} cannot be read from {}", self.describe());
        let object = self.runtime.block_on(self.client.get(&self.path(name)));
        let stream = object.map_err(|e| BackupError::new(&what).because(e))?.into_stream();
        Ok(Box::new(Body { stream, rest: Vec::new(), at: 0, runtime: self.runtime.clone(), what }))
    }

    pub(super) fn list(&self) -> Result<Vec<Item>, BackupError> {
        let prefix = (!self.prefix.is_empty()).then(|| Path::from(self.prefix.as_str()));
        let listed = self.runtime.block_on(self.client.list(prefix.as_ref()).try_collect::<Vec<_>>());
        let listed = listed.map_err(|e| self.failed("cannot be listed", e))?;
        let inside = |path: &Path| {
            let text = path.as_ref();
            let name = if self.prefix.is_empty() { text } else { text.strip_prefix(&self.prefix)?.strip_prefix('/')? };
            (!name.contains('/')).then(|| name.to_owned())
        };
        Ok(listed.into_iter().filter_map(|object| Some(Item { name: inside(&object.location)?, size: object.size })).collect())
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), BackupError> {
        match self.runtime.block_on(self.client.delete(&self.path(name))) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(&format!("does not remove {name}"), error)),
        }
    }

    fn path(&self, name: &str) -> Path {
        Path::from(if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) })
    }

    fn failed(&self, what: &str, error: object_store::Error) -> BackupError {
        let denied = matches!(error, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. });
        let failed = BackupError::new(format!("{} {what}", self.describe())).because(error);
        if denied {
            failed.hint("a backup needs s3:PutObject and s3:GetObject there; list, verify latest, prune and restore latest need s3:ListBucket, and prune s3:DeleteObject")
        } else {
            failed
        }
    }
}

/// An upload in parts. Two are on their way while a third is filled: 48 MiB at most, however large the archive is.
struct Parts {
    upload: Option<WriteMultipart>,
    runtime: Handle,
    what: String,
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(upload) = &mut self.upload else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let what = &self.what;
        self.runtime.block_on(async {
            upload.wait_for_capacity(2).await.map_err(|e| BackupError::new(what).because(e).into_io())?;
            upload.write(bytes);
            Ok(bytes.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for Parts {
    fn finish(mut self: Box<Self>) -> Result<(), BackupError> {
        let Some(upload) = self.upload.take() else {
            return Err(BackupError::new(&self.what));
        };
        certctl_connector_core::fault::point("backup.written");
        self.runtime.block_on(upload.finish()).map_err(|e| BackupError::new(&self.what).because(e))?;
        certctl_connector_core::fault::point("backup.named");
        Ok(())
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take()
            && let Err(error) = self.runtime.block_on(upload.abort())
        {
            tracing::warn!(%error, "parts of an unfinished upload stay in the bucket until a rule of the bucket removes them");
        }
    }
}

/// An object as it comes.
struct Body {
    stream: BoxStream<'static, object_store::Result<bytes::Bytes>>,
    rest: Vec<u8>,
    at: usize,
    runtime: Handle,
    what: String,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.rest.len() {
            match self.runtime.block_on(self.stream.next()) {
                None => return Ok(0),
                Some(Ok(bytes)) => (self.rest, self.at) = (bytes.to_vec(), 0),
                Some(Err(error)) => return Err(BackupError::new(&self.what).because(error).into_io()),
            }
        }
        let length = self.rest.get(self.at..).map_or(Ok(0), |mut rest| rest.read(buffer))?;
        self.at += length;
        Ok(length)
    }
}

/// With the bucket's name before the host, where that is the style: the client takes another endpoint as it is.
fn endpoint_of(endpoint: &Url, settings: &Settings) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    let mut url = endpoint.clone();
    if settings.style == Style::VirtualHost && url.set_host(Some(&format!("{}.{host}", settings.bucket))).is_ok() {
        return bare(&url);
    }
    bare(endpoint)
}

fn bare(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// Parts of one size; S3 takes 10 000 of them, so an archive may have 156 GiB.
const PART: usize = 16 * 1024 * 1024;

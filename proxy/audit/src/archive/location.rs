//! Where an archive is, by its URL. Credentials come from the environment, as each store's own tools take them.

use crate::archive::{ArchiveError, Store};
use jiff::Timestamp;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// An archive's address.
#[derive(Clone, Eq, PartialEq)]
pub struct Location {
    place: Place,
    /// As it was given.
    url: String,
}

#[derive(Clone, Eq, PartialEq)]
enum Place {
    Directory(PathBuf),
    S3(Url),
    Google(Url),
    Azure(Url),
}

/// For how long objects are locked when they are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lock {
    /// Days from the day they are written.
    pub days: u32,
}

impl Lock {
    /// When a lock that begins now ends: the end of a UTC day, so that one client does for a day.
    pub(crate) fn until(self, now: Timestamp) -> Timestamp {
        const DAY: i64 = 86_400;
        let day = now.as_second().div_euclid(DAY) + i64::from(self.days) + 1;
        Timestamp::from_second(day * DAY).unwrap_or(Timestamp::MAX)
    }
}

/// What is meant to happen in a store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    Read,
    /// With a lock until this time.
    Write(Option<Timestamp>),
}

impl Location {
    /// Whether this names an archive rather than a file.
    pub fn is_one(text: &str) -> bool {
        ["s3://", "gs://", "az://", "file://"].iter().any(|scheme| text.starts_with(scheme))
    }

    /// `s3://BUCKET[/PREFIX]`, `gs://BUCKET[/PREFIX]`, `az://CONTAINER[/PREFIX]` or `file:///DIRECTORY`.
    ///
    /// # Errors
    /// What is wrong with the URL. One with a user, a password or a query is refused: a command line is seen by others.
    pub fn parse(text: &str) -> Result<Self, ArchiveError> {
        let wrong = |why: &str| ArchiveError::Location { why: why.to_owned() };
        let form = "expected s3://BUCKET[/PREFIX], gs://BUCKET[/PREFIX], az://CONTAINER[/PREFIX] or file:///DIRECTORY";
        if !Self::is_one(text) {
            return Err(wrong(form));
        }
        let url: Url = text.parse().or(Err(wrong(form)))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong(
                "the URL holds no user, password or query: credentials come from the environment",
            ));
        }
        let place = match (url.scheme(), url.host_str()) {
            ("file", None) => Place::Directory(url.to_file_path().or(Err(wrong(form)))?),
            ("s3", Some(_)) => Place::S3(url),
            ("gs", Some(_)) => Place::Google(url),
            ("az", Some(_)) => Place::Azure(url),
            _ => return Err(wrong(form)),
        };
        Ok(Self { place, url: text.trim_end_matches('/').to_owned() })
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Whether objects can be locked as they are written. Elsewhere the bucket's or container's own policy does it.
    pub fn takes_lock(&self) -> bool {
        matches!(self.place, Place::S3(_))
    }

    /// A client of it. Asks nothing yet, but creates the directory to be written.
    pub(crate) fn open(&self, purpose: Purpose) -> Result<Store, ArchiveError> {
        // Deliveries are repeated here, where it can be seen that they are.
        let retry = match purpose {
            Purpose::Read => RetryConfig { retry_timeout: PATIENCE, ..RetryConfig::default() },
            Purpose::Write(_) => RetryConfig { max_retries: 0, ..RetryConfig::default() },
        };
        let objects = self.client(purpose, retry.clone(), None)?;
        let prefix = match &self.place {
            Place::Directory(_) => "",
            Place::S3(url) | Place::Google(url) | Place::Azure(url) => url.path(),
        };
        let prefix = ObjectPath::from_url_path(prefix)
            .map_err(|error| ArchiveError::Location { why: error.to_string() })?;
        let store = Store::new(objects, prefix);
        match purpose {
            Purpose::Write(Some(until)) => {
                Ok(store.creating_with(self.client(purpose, retry, Some(until))?))
            }
            Purpose::Write(None) | Purpose::Read => Ok(store),
        }
    }

    /// A client, which locks what it creates until this time.
    fn client(
        &self,
        purpose: Purpose,
        retry: RetryConfig,
        lock: Option<Timestamp>,
    ) -> Result<Arc<dyn ObjectStore>, ArchiveError> {
        let failed = |error: object_store::Error| ArchiveError::Location { why: super::store::say(&error) };
        Ok(match &self.place {
            Place::Directory(directory) => Arc::new(local(directory, purpose)?),
            Place::S3(url) => {
                Arc::new(s3(lock)?.with_url(url.as_str()).with_retry(retry).build().map_err(failed)?)
            }
            Place::Google(url) => {
                let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry);
                Arc::new(builder.build().map_err(failed)?)
            }
            Place::Azure(url) => {
                let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry);
                Arc::new(builder.build().map_err(failed)?)
            }
        })
    }
}

impl FromStr for Location {
    type Err = ArchiveError;

    fn from_str(text: &str) -> Result<Self, ArchiveError> {
        Self::parse(text)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({})", self.url)
    }
}

/// How long a reader goes on asking a store that does not answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory; what is written there is on disk before it counts.
fn local(directory: &Path, purpose: Purpose) -> Result<LocalFileSystem, ArchiveError> {
    if purpose != Purpose::Read {
        use std::os::unix::fs::DirBuilderExt as _;
        let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        created.map_err(|source| ArchiveError::Io { path: directory.to_owned(), source })?;
    }
    match LocalFileSystem::new_with_prefix(directory) {
        Ok(store) => Ok(store.with_fsync(true)),
        Err(error) => Err(ArchiveError::Location { why: super::store::say(&error) }),
    }
}

/// The environment's settings; with checksums, without which S3 takes no object that is to be locked; and with the
/// headers that lock it, which the client signs when it creates.
fn s3(lock: Option<Timestamp>) -> Result<AmazonS3Builder, ArchiveError> {
    let builder = AmazonS3Builder::from_env().with_checksum_algorithm(Checksum::SHA256);
    let Some(until) = lock else { return Ok(builder) };
    let mut headers = HeaderMap::new();
    let until = HeaderValue::from_str(&until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let until = until.map_err(|error| ArchiveError::Location { why: error.to_string() })?;
    headers.insert(HeaderName::from_static("x-amz-object-lock-mode"), HeaderValue::from_static("COMPLIANCE"));
    headers.insert(HeaderName::from_static("x-amz-object-lock-retain-until-date"), until);
    Ok(builder.with_client_options(client_options().with_default_headers(headers)))
}

/// The environment's settings of the client (`AWS_ALLOW_HTTP` and the like), which options given in code replace.
fn client_options() -> ClientOptions {
    std::env::vars()
        .filter(|(name, _)| name.starts_with("AWS_"))
        .filter_map(|(name, value)| Some((client_key(&name)?, value)))
        .fold(ClientOptions::new(), |options, (key, value)| options.with_config(key, value))
}

fn client_key(name: &str) -> Option<ClientConfigKey> {
    match name.to_ascii_lowercase().parse() {
        Ok(AmazonS3ConfigKey::Client(key)) => Some(key),
        // Other settings are the builder's own.
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_store_and_no_credential() {
        for good in ["s3://b", "s3://b/a/c", "gs://b/p", "az://c", "file:///var/lib/archive"] {
            assert_eq!(Location::parse(good).unwrap().as_str(), good);
        }
        for bad in ["s3://", "s3:///p", "file://host/p", "file:relative", "http://b", "/var/lib", "s3"] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
        for secret in ["s3://me:hunter2@b/p", "az://c/p?sig=hunter2", "s3://hunter2@b"] {
            let error = Location::parse(secret).unwrap_err().to_string();
            assert!(error.contains("environment") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_lock_ends_with_a_day_and_never_early() {
        let now: Timestamp = "2026-11-29T18:00:00Z".parse().unwrap();
        let until = Lock { days: 365 }.until(now);
        assert_eq!(until.to_string(), "2027-11-30T00:00:00Z");
        let later: Timestamp = "2026-11-29T23:59:59Z".parse().unwrap();
        assert_eq!(Lock { days: 365 }.until(later), until);
    }
}

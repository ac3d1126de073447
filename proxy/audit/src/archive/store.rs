//! What an archive asks of its store.

use crate::archive::ArchiveError;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::path::Path as ObjectPath;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};
use std::fmt;
use std::sync::Arc;

/// The store of an archive, and the prefix of all its objects.
#[derive(Clone)]
pub(crate) struct Store {
    objects: Arc<dyn ObjectStore>,
    /// The client that creates: with a lock it sends headers that no other request may have.
    creator: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
}

impl Store {
    pub(super) fn new(objects: Arc<dyn ObjectStore>, prefix: ObjectPath) -> Self {
        Self { creator: Arc::clone(&objects), objects, prefix }
    }

    /// The same, with another client for what is created.
    pub(super) fn creating_with(self, creator: Arc<dyn ObjectStore>) -> Self {
        Self { creator, ..self }
    }

    /// The folder of these names below the prefix.
    pub(crate) fn folder<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> ObjectPath {
        names.into_iter().fold(self.prefix.clone(), ObjectPath::join)
    }

    /// All objects below a folder, in no order. Their names are relative to the prefix.
    pub(crate) async fn list(&self, folder: &ObjectPath) -> Result<Vec<ObjectMeta>, ArchiveError> {
        let below = (!folder.is_root()).then_some(folder);
        let listed = self.objects.list(below).try_collect().await;
        listed.map_err(|error| failed(format!("list {folder}"), &error))
    }

    /// Names of an object below the prefix.
    pub(crate) fn names(&self, object: &ObjectPath) -> Vec<String> {
        let names = object.prefix_match(&self.prefix).into_iter().flatten();
        names.map(|name| name.as_ref().to_owned()).collect()
    }

    /// The whole object.
    pub(crate) async fn get(&self, object: &ObjectPath) -> Result<Bytes, ArchiveError> {
        let got = async { self.objects.get(object).await?.bytes().await };
        got.await.map_err(|error| failed(format!("read {object}"), &error))
    }

    /// Writes an object that must not be there. That it is there with the same bytes is as good: an earlier attempt
    /// whose answer was lost.
    pub(crate) async fn create(&self, object: &ObjectPath, bytes: Bytes) -> Result<(), ArchiveError> {
        let payload = PutPayload::from_bytes(bytes.clone());
        match self.creator.put_opts(object, payload, PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists { .. }) => self.compare(object, &bytes).await,
            Err(Error::NotImplemented { .. }) => self.create_unconditionally(object, bytes).await,
            Err(error) => Err(failed(format!("write {object}"), &error)),
        }
    }

    /// For a store without conditional writes.
    async fn create_unconditionally(&self, object: &ObjectPath, bytes: Bytes) -> Result<(), ArchiveError> {
        match self.objects.head(object).await {
            Ok(_) => self.compare(object, &bytes).await,
            Err(Error::NotFound { .. }) => {
                let written = self.creator.put(object, PutPayload::from_bytes(bytes)).await;
                written.map(drop).map_err(|error| failed(format!("write {object}"), &error))
            }
            Err(error) => Err(failed(format!("look for {object}"), &error)),
        }
    }

    async fn compare(&self, object: &ObjectPath, bytes: &Bytes) -> Result<(), ArchiveError> {
        if self.get(object).await? == *bytes {
            return Ok(());
        }
        Err(ArchiveError::Differs { path: object.to_string() })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("prefix", &self.prefix.as_ref()).finish_non_exhaustive()
    }
}

fn failed(doing: String, error: &Error) -> ArchiveError {
    ArchiveError::Store { doing, why: say(error) }
}

/// An error of the store without what may be a secret: a URL's query can be a signature.
pub(super) fn say(error: &Error) -> String {
    let text = crate::causes::chain(error);
    let mut said = String::new();
    let mut in_url = false;
    let mut hidden = false;
    for (position, character) in text.char_indices() {
        let rest = text.get(position..).unwrap_or_default();
        in_url |= rest.starts_with("://");
        if character.is_whitespace() || matches!(character, '"' | ')' | '>' | '`') {
            (in_url, hidden) = (false, false);
        }
        hidden |= in_url && character == '?';
        if !hidden && !character.is_control() {
            said.push(character);
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_says_holds_no_signature() {
        let why = "GET https://a.blob.core.windows.net/c/p?sv=1&sig=hunter2: timed out (url: \"https://h/p?sig=hunter2\") what?";
        let error = Error::Generic { store: "Azure", source: why.into() };
        let said = say(&error);
        assert!(!said.contains("hunter2") && said.contains("timed out") && said.ends_with("what?"), "{said}");
        assert!(said.contains("https://a.blob.core.windows.net/c/p "), "{said}");
    }

    #[tokio::test]
    async fn what_a_store_that_is_not_there_says_is_told_once_with_its_cause() {
        let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let store = object_store::aws::AmazonS3Builder::new()
            .with_endpoint(format!("http://{refusing}"))
            .with_allow_http(true)
            .with_bucket_name("logs")
            .with_skip_signature(true)
            .with_retry(object_store::RetryConfig { max_retries: 0, ..Default::default() })
            .build()
            .unwrap();
        let said = say(&store.get(&ObjectPath::from("log/key")).await.unwrap_err());
        for once in ["Error performing GET", "log/key", "error sending request", "onnection refused"] {
            assert_eq!(said.matches(once).count(), 1, "{once}: {said}");
        }
    }
}

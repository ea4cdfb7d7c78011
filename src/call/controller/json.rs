//! How values of verbs stand in JSON where `serde` has no way of its own.

use serde::{Deserialize, Deserializer};

/// A name that must be there.
pub(super) fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(name: D) -> Result<Option<T>, D::Error> {
    T::deserialize(name).map(Some)
}

/// Octets: a text where they are one, else numbers.
pub(super) mod octets {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Octets {
        Text(String),
        Raw(Vec<u8>),
    }

    pub fn serialize<S: Serializer>(octets: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(octets.as_ref()) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_seq(octets.as_ref()),
        }
    }

    pub fn deserialize<'de, T: From<Vec<u8>>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        Ok(T::from(match Octets::deserialize(deserializer)? {
            Octets::Text(text) => text.into_bytes(),
            Octets::Raw(octets) => octets,
        }))
    }
}

/// A path that several have.
pub(super) mod shared_path {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(path: &Arc<Path>, serializer: S) -> Result<S::Ok, S::Error> {
        (**path).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Path>, D::Error> {
        PathBuf::deserialize(deserializer).map(Arc::from)
    }
}

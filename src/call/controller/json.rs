//! JSON encodings of values in verbs that `serde` does not provide.

use serde::{Deserialize, Deserializer};

/// An id that must be present.
pub(super) fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(name: D) -> Result<Option<T>, D::Error> {
    T::deserialize(name).map(Some)
}

/// Octets: a string if they are UTF-8, otherwise an array of numbers.
pub(crate) mod octets {
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

/// Header fields as pairs of octets.
pub(crate) mod fields {
    use b2b_sip::endpoint::HeaderFields;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize)]
    struct Field<'a>(#[serde(with = "super::octets")] &'a [u8], #[serde(with = "super::octets")] &'a [u8]);

    #[derive(Deserialize)]
    struct Read(
        #[serde(deserialize_with = "super::octets::deserialize")] Bytes,
        #[serde(deserialize_with = "super::octets::deserialize")] Bytes,
    );

    pub fn serialize<S: Serializer>(fields: &[(Bytes, Bytes)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(fields.iter().map(|(name, value)| Field(name, value)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderFields, D::Error> {
        let read = Vec::<Read>::deserialize(deserializer)?;
        Ok(read.into_iter().map(|Read(name, value)| (name, value)).collect())
    }
}

/// Shared header fields.
pub(crate) mod shared_fields {
    use std::sync::Arc;

    use bytes::Bytes;
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(
        fields: &Arc<[(Bytes, Bytes)]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::fields::serialize(fields, serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<[(Bytes, Bytes)]>, D::Error> {
        super::fields::deserialize(deserializer).map(Arc::from)
    }
}

/// A shared path.
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

//! Manifests as people write them: a stream of YAML documents, any kinds mixed.

//! The Kubernetes API through the gate.

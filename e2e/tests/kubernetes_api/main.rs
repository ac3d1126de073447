//! The Kubernetes API through the gate: a real kubectl, a real API server, real pods; and beside other protocols.

#![cfg(test)]

mod scene;

mod conformance;
mod crash;
mod forensics;
mod full_disk;
mod holds;
mod kubernetes_custom;
mod kubernetes_encryption;
mod kubernetes_first_session;
mod kubernetes_http2;
mod kubernetes_proxies;
mod kubernetes_reads;
mod kubernetes_streams;
mod load;
mod pods;
mod sizes;
mod whole;

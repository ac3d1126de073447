//! The harness's Kubernetes: it starts, does what a cluster does, and leaves nothing behind.

#![cfg(test)]

mod api_server;
mod approver_binding;
mod chart;
mod compose;
mod end;
mod gitops;
mod impersonation;
mod node;
mod proxy_control;

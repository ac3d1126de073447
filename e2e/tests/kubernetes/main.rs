//! Stories of a cluster: the chart installed on a real node, gateways as pods, agents and approvers as they come.
//! A fresh namespace each; one node for all of them.

#![cfg(test)]

mod api_server_away;
mod approval;
mod ci_pod;
mod claim;
mod collector;
mod deletion;
mod first_session;
mod getting_started;
mod helm_test;
mod kubernetes_gateway;
mod latency;
mod live;
mod operator_killed;
mod place;
mod policy_change;
mod rollout;
mod rotation;
mod scene;
mod spool_on_claim;
mod ssh_gateway;

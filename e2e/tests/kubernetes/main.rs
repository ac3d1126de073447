//! Stories of a cluster: the chart installed on a real node, gateways as pods, agents and approvers as they come.
//! A fresh namespace each; one node for all of them.

#![cfg(test)]

mod approval;
mod first_session;
mod scene;

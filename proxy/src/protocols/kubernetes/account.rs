//! What the other cluster says of the account under which the gateway acts there as its agents.

use super::Kubernetes;
use crds::v1alpha1::UpstreamAccount;
use proxy_core::gate::Chain;
use std::time::Duration;

/// How soon to ask again while it may not do what it has to: nothing tells of a change of rights.
const SOON: Duration = Duration::from_secs(5);
/// How soon to ask again where the cluster did not say, or said less than could be.
const LATER: Duration = Duration::from_mins(1);
/// How soon to ask again where all is well.
const NOW_AND_THEN: Duration = Duration::from_mins(10);
/// Most names of a report.
const MOST: usize = 128;

impl Kubernetes {
    /// Asks; logs what differs from `before`. `None` for the cluster in which the gateway runs, which the operator asks.
    ///
    /// Cancel safe.
    pub(in crate::protocols) async fn account(
        &self,
        before: Option<&UpstreamAccount>,
    ) -> Option<(UpstreamAccount, Duration)> {
        if !self.elsewhere {
            return None;
        }
        let mut account = UpstreamAccount::default();
        match self.protocol.rights().await {
            Ok(lack) => (account.missing, account.narrow) = (lack.missing, lack.narrow),
            Err(error) => account.problem = Some(Chain(&error).to_string()),
        }
        account.missing.truncate(MOST);
        if before != Some(&account) {
            self.log(&account);
        }
        let again = match &account {
            UpstreamAccount { problem: Some(_), .. } => LATER,
            UpstreamAccount { missing, .. } if !missing.is_empty() => SOON,
            UpstreamAccount { narrow, .. } if !narrow.is_empty() => LATER,
            UpstreamAccount { .. } => NOW_AND_THEN,
        };
        Some((account, again))
    }

    fn log(&self, account: &UpstreamAccount) {
        let resource = format!("{}/{}", self.resource.namespace, self.resource.name);
        if let Some(problem) = &account.problem {
            tracing::warn!(
                resource,
                problem,
                "spec.kubernetes.kubeconfigRef: whether its account may act as agents in its cluster is not known"
            );
        } else if !account.missing.is_empty() {
            tracing::error!(
                resource,
                missing = account.missing.join(", "),
                "spec.kubernetes.kubeconfigRef: its cluster does not let its account impersonate what every agent needs, \
                 and refuses what agents ask: give it the rights of examples/kubernetes-api/rights.yaml there"
            );
        } else {
            tracing::info!(
                resource,
                some_only = account.narrow.join(", "),
                "spec.kubernetes.kubeconfigRef: its account may act as agents in its cluster"
            );
        }
    }
}

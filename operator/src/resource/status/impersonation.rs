//! The condition `Impersonation`: whether the gateway may act as its agents.

use crate::args::Settings;
use crate::conditions::Wanted;
use crate::names;
use crate::resource::rights::Rights;
use crate::resource::validate::ValidatedResource;
use crds::v1alpha1::conditions::IMPERSONATION;

/// Reason: no right to act as an agent.
pub(super) const NOT_GRANTED: &str = "NotGranted";

/// The condition. `None`: the protocol is another one, or another cluster was not asked yet.
pub(super) fn condition(
    validated: &ValidatedResource,
    rights: &Rights,
    settings: &Settings,
) -> Option<Wanted> {
    if let Some(secret) = &validated.elsewhere {
        return elsewhere(secret, rights);
    }
    let wanted = validated.impersonation.as_ref()?;
    let (namespace, account) = (&validated.namespace, validated.gateway());
    let granting = settings.grants_impersonation_in(namespace);
    let role =
        format!("ClusterRole {}: {}", names::impersonator(namespace, &validated.name), wanted.describe());
    let remedy = format!(
        "add the namespace {namespace} to the chart's impersonation.namespaces, or bind the right to the ServiceAccount \
         {account} yourself"
    );
    Some(match rights {
        Rights::NotNeeded if granting => Wanted::no(
            IMPERSONATION,
            "NobodyMayCome",
            "no Policy selects this Resource yet, so nothing is granted",
        ),
        Rights::NotNeeded => {
            let message = format!(
                "spec.kubernetes: the operator lets no gateway of namespace {namespace} act as its agents; before a Policy \
                 selects this Resource, {remedy}"
            );
            Wanted::no(IMPERSONATION, NOT_GRANTED, message)
        }
        Rights::Held if granting => Wanted::yes(IMPERSONATION, "Granted", role),
        Rights::Held => {
            let message =
                format!("others than the operator let the ServiceAccount {account} act as its agents");
            Wanted::yes(IMPERSONATION, "GrantedByOthers", message)
        }
        Rights::Missing(_) if granting => {
            Wanted::no(IMPERSONATION, "Pending", format!("the API server does not go by it yet: {role}"))
        }
        Rights::Missing(missing) => {
            let message = format!(
                "spec.kubernetes: the API server does not let the ServiceAccount {account} impersonate {}; {remedy}; \
                 until then it refuses what agents ask",
                missing.join(", ")
            );
            Wanted::no(IMPERSONATION, NOT_GRANTED, message)
        }
        Rights::Narrow(kinds) => {
            let kinds = kinds.join(" and ");
            let message = format!(
                "spec.kubernetes: {kinds} of those whom the Policies let in are not known beforehand, and the \
                 ServiceAccount {account} may impersonate some {kinds} at most: agents of other names are refused by the \
                 API server"
            );
            Wanted::unknown(IMPERSONATION, "Narrower", message)
        }
        Rights::Unknown(why) => {
            let message = format!(
                "spec.kubernetes: whether the ServiceAccount {account} may act as its agents was not told; the operator \
                 needs the right to create subjectaccessreviews, as its chart gives it ({why})"
            );
            Wanted::unknown(IMPERSONATION, "NotChecked", message)
        }
    })
}

/// The same in the cluster of a kubeconfig, in this Secret. `None`: no gateway has asked yet.
fn elsewhere(secret: &str, rights: &Rights) -> Option<Wanted> {
    const PATH: &str = "spec.kubernetes.kubeconfigRef";
    let account = format!("the account of the kubeconfig in Secret {secret}");
    Some(match rights {
        Rights::NotNeeded => return None,
        Rights::Held => {
            Wanted::yes(IMPERSONATION, "GrantedByOthers", format!("{account} may act as any agent there"))
        }
        Rights::Missing(missing) => {
            let message = format!(
                "{PATH}: its cluster does not let {account} impersonate {}; give it the rights of \
                 examples/kubernetes-api/rights.yaml there; until then the cluster refuses what agents ask",
                missing.join(", ")
            );
            Wanted::no(IMPERSONATION, NOT_GRANTED, message)
        }
        Rights::Narrow(kinds) => {
            let kinds = kinds.join(" and ");
            let message = format!(
                "{PATH}: {account} may impersonate some {kinds} at most: agents of other names are refused by its cluster"
            );
            Wanted::unknown(IMPERSONATION, "Narrower", message)
        }
        Rights::Unknown(why) => {
            let message = format!("{PATH}: whether {account} may act as its agents was not told: {why}");
            Wanted::unknown(IMPERSONATION, "NotChecked", message)
        }
    })
}

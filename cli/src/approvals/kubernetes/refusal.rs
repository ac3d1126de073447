//! What an API server's refusal means to an approver.

use crate::cluster::innermost;
use anyhow::anyhow;

/// How messages of the admission policy begin. What the API server puts before them is of no use to an approver.
const POLICY: &str = "portcullis: ";

/// An error of the API server in words that say what to do.
pub(super) fn explain(error: kube::Error, server: &str, namespace: &str) -> anyhow::Error {
    let kube::Error::Api(status) = error else {
        return anyhow!("no answer from the API server at {server}: {}", innermost(&error));
    };
    let message = &status.message;
    if let Some((_, words)) = message.split_once(POLICY) {
        return anyhow!("the admission policy refuses it: {POLICY}{words}");
    }
    match status.code {
        401 => anyhow!(
            "the API server at {server} does not know you ({message}): log in, or choose another --context"
        ),
        403 => anyhow!(
            "{message}; approvers hold get, list and patch on approvalrequests.portcullis.dev in namespace \
             {namespace}, for example by the chart's ClusterRole portcullis-approver"
        ),
        404 => anyhow!(
            "the API server at {server} knows no approval requests ({message}): is Portcullis installed there?"
        ),
        _ => anyhow!("the API server at {server} refuses it: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn explained(code: u16, message: &str) -> String {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        explain(kube::Error::Api(status.boxed()), "https://api.example", "shop").to_string()
    }

    #[test]
    fn the_words_of_the_admission_policy_are_left_as_they_are() {
        let message = "approvalrequests.portcullis.dev \"orders-1\" is forbidden: ValidatingAdmissionPolicy \
                       'portcullis-approver-binding' with binding 'portcullis-approver-binding' denied request: \
                       portcullis: bob may not approve for Policy agents; it takes a Role";
        let expected = "the admission policy refuses it: portcullis: bob may not approve for Policy agents; it takes a Role";
        assert_eq!(explained(403, message), expected);
    }

    #[test]
    fn every_other_refusal_says_what_to_do() {
        assert!(explained(401, "Unauthorized").contains("log in"));
        assert!(explained(403, "User \"bob\" cannot patch").contains("portcullis-approver"));
        assert!(explained(404, "page not found").contains("installed"));
        assert!(explained(500, "etcdserver: no leader").contains("no leader"));
    }
}

//! What the gate says while the policies in force may be out of date beyond their limit.

use crate::contact::Contact;
use crate::refusal::{Refusal, RefusalKind};
use proxy_policy::{Evaluation, RuleRef, Verdict};

/// Name of the built-in rule, in refusals and records.
const RULE: &str = "policy-stale";

/// The refusal of whatever is asked meanwhile. `None`: the policies can be relied on.
pub(super) fn refusal(contact: &Contact) -> Option<Refusal> {
    let limit = contact.limit().filter(|_| contact.is_lost())?;
    let rule = RuleRef { policy: String::new(), generation: 0, rule: RULE.to_owned() };
    Some(Refusal {
        kind: RefusalKind::Unavailable,
        rule: Some(rule),
        message: format!(
            "the gateway has not been able to ask for newer policies for {} s, more than the {} s it may go without",
            contact.age().as_secs(),
            limit.as_secs()
        ),
        hint: "try again later, and tell whoever runs the gateway that it cannot reach its control plane; nothing \
               was run"
            .to_owned(),
    })
}

/// The same as a verdict, for the record.
pub(super) fn evaluation(refusal: &Refusal) -> Evaluation {
    let rule = refusal.rule.clone().unwrap_or(RuleRef {
        policy: String::new(),
        generation: 0,
        rule: RULE.to_owned(),
    });
    let verdict = Verdict::Deny { rule, message: refusal.message.clone() };
    Evaluation { verdict, observed: Vec::new(), constant: false }
}

//! Waiting for what a decision comes to.

use crate::approvals::{Standing, Store};
use crds::v1alpha1::ApprovalRequest;
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// How long an operator may take before the command line goes without its word; it takes milliseconds.
const OPERATOR: Duration = Duration::from_secs(5);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// What to wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Patience {
    /// The operator's word, for a short time.
    Operator,
    /// The end, which comes when the request expires at the latest.
    UntilOver,
}

/// The request as it is when there is nothing more to wait for.
pub(super) fn wait(
    store: &dyn Store,
    mut request: ApprovalRequest,
    patience: Patience,
) -> anyhow::Result<(ApprovalRequest, Standing)> {
    let deadline = Instant::now() + OPERATOR;
    loop {
        let standing = store.standing(&request, Timestamp::now());
        let waits = match (&standing, patience) {
            (Standing::Over(_), _) | (Standing::Pending(_), Patience::Operator) => false,
            (Standing::Unconfirmed(_), Patience::Operator) => Instant::now() < deadline,
            (Standing::Pending(_) | Standing::Unconfirmed(_), Patience::UntilOver) => true,
        };
        if !waits {
            return Ok((request, standing));
        }
        std::thread::sleep(LOOK);
        request = store.read_again(&request)?;
    }
}

//! Control planes: where approvals are asked.

use proxy_core::approval::{ApprovalError, Approvals, Pending, Question};
use std::path::PathBuf;
use std::sync::Arc;

/// Approvals by files in a directory.
///
/// # Errors
/// The directory cannot be used.
pub fn approvals(directory: PathBuf) -> Result<Arc<dyn Approvals>, ApprovalError> {
    Ok(Arc::new(Nobody { directory }))
}

/// Nobody to ask: every held command is refused.
#[derive(Debug)]
struct Nobody {
    directory: PathBuf,
}

#[async_trait::async_trait]
impl Approvals for Nobody {
    async fn ask(&self, _question: Question) -> Result<Box<dyn Pending>, ApprovalError> {
        let step = format!("ask for an approval in {}", self.directory.display());
        Err(ApprovalError { step, source: None })
    }
}
